"""Feature vectors of footage: networks that look at frames, or at windows of frames, and what is kept of their answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.frame_source import Image
from stages.evaluate.statistics import Statistics, keys_of

Values = NDArray[np.float32]
BATCH = 16


@dataclass(frozen=True)
class FrameEncoder:
    """What is done to each frame by itself. `open(device)` returns a function: frames uint8 [B, H, W, 3] -> float32 [B, ...]."""

    name: str
    open: Callable[[str], Callable[[NDArray[np.uint8]], Values]]


def _itself(device: str) -> Callable[[Values], Values]:
    return lambda window: window[0]


@dataclass(frozen=True)
class Extractor:
    """A network whose features are compared.

    Frames go through `look`, which extractors of the same look share; then every window of `window` frames, `stride` frames apart, becomes
    one vector: `open(device)` returns a function [window, ...] -> [dimensions]. `weights` is the file's name in the registry; its sha256
    and `name` identify the features, so a change of what they are needs another name. Frames need sides of `least_side` pixels.
    """

    name: str
    weights: str
    dimensions: int
    look: FrameEncoder
    window: int = 1
    stride: int = 1
    least_side: int = 1
    open: Callable[[str], Callable[[Values], Values]] = _itself

    def samples(self, frames: int) -> int:
        """How many vectors so many frames give."""
        return max(0, (frames - self.window) // self.stride + 1)


class Networks:
    """What extractors open on a device, opened once for all footage."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._opened: dict[str, Callable[..., Values]] = {}

    def look(self, extractor: Extractor) -> Callable[[NDArray[np.uint8]], Values]:
        return self._once(f"look {extractor.look.name}", extractor.look.open)

    def vector(self, extractor: Extractor) -> Callable[[Values], Values]:
        return self._once(f"vector {extractor.name}", extractor.open)

    def _once(self, name: str, open: Callable[[str], Callable[..., Values]]) -> Callable[..., Values]:
        if name not in self._opened:
            self._opened[name] = open(self._device)
        return self._opened[name]


def extract(
    frames: Iterable[Image], digest: str, extractors: Sequence[Extractor], networks: Networks, seen: Callable[[int], None]
) -> dict[str, Statistics]:
    """Statistics of `frames` by the name of the extractor, in one pass; `digest` identifies the frames, `seen` is told their number."""
    looks = {extractor.look.name: networks.look(extractor) for extractor in extractors}
    windows = [(extractor, _Windows(extractor, networks.vector(extractor))) for extractor in extractors]
    found = {extractor.name: Statistics.empty(extractor.dimensions) for extractor in extractors}
    remaining = iter(frames)
    while batch := list(islice(remaining, BATCH)):
        looked = {name: look(np.stack(batch)) for name, look in looks.items()}
        for extractor, window in windows:
            vectors = list(window.push(looked[extractor.look.name]))
            if vectors:
                keys = keys_of(f"{extractor.name} {digest}", found[extractor.name].count, len(vectors))
                found[extractor.name] += Statistics.of(np.stack(vectors), keys)
        seen(len(batch))
    return {name: statistics.settled() for name, statistics in found.items()}


def of_still(image: Image, digest: str, extractor: Extractor, networks: Networks, count: int) -> Statistics:
    """`count` vectors of footage in which nothing but `image` is seen: all are the same, so that it is looked at once."""
    (vector,) = extract([image] * extractor.window, digest, [extractor], networks, lambda frames: None)[extractor.name].sample
    return Statistics.repeated(vector, keys_of(f"{extractor.name} {digest}", 0, count))


class _Windows:
    """Turns a stream of looks into vectors."""

    def __init__(self, extractor: Extractor, vector: Callable[[Values], Values]) -> None:
        self._extractor, self._vector = extractor, vector
        self._recent: deque[Values] = deque(maxlen=extractor.window)
        self._count = 0

    def push(self, looked: Values) -> Iterator[Values]:
        for one in looked:
            self._recent.append(one)
            self._count += 1
            past = self._count - self._extractor.window
            if past >= 0 and past % self._extractor.stride == 0:
                yield self._vector(np.stack(self._recent))
