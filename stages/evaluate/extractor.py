"""Feature vectors of videos: networks that encode frames or windows of frames, and the statistics of their features."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.frame_source import Image
from stages.evaluate.statistics import Statistics, sample_keys

Values = NDArray[np.float32]
"""Encoded frames or feature vectors."""
BATCH = 16


@dataclass(frozen=True)
class FrameEncoder:
    """The part of an extractor that encodes single frames.

    `open(device)` returns a function: frames uint8 [B, H, W, 3] -> float32 [B, ...].
    """

    name: str
    open: Callable[[str], Callable[[NDArray[np.uint8]], Values]]


def _open_single_frame(device: str) -> Callable[[Values], Values]:
    """For windows of one frame: the vector is the encoded frame."""
    return lambda window: window[0]


@dataclass(frozen=True)
class Extractor:
    """A network whose features are compared.

    encoder: encodes the frames, once for all extractors that use it.
    window, stride: windows of `window` encoded frames begin every `stride` frames, and each becomes one vector.
    open: `open(device)` returns a function from an encoded window [window, ...] to a vector [dimensions].
    weights: the file's name in the registry. Its sha256 and `name` identify the features, so a change of the features needs a new name.
    min_side: frames need sides of at least this number of pixels.
    """

    name: str
    weights: str
    dimensions: int
    encoder: FrameEncoder
    window: int = 1
    stride: int = 1
    min_side: int = 1
    open: Callable[[str], Callable[[Values], Values]] = _open_single_frame

    def num_vectors(self, num_frames: int) -> int:
        """Number of vectors of a video with `num_frames` frames."""
        return max(0, (num_frames - self.window) // self.stride + 1)


class Networks:
    """The networks of extractors on a device, each opened at its first use."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._opened: dict[str, Callable[..., Values]] = {}

    def encoder(self, extractor: Extractor) -> Callable[[NDArray[np.uint8]], Values]:
        return self._open_once(f"encoder {extractor.encoder.name}", extractor.encoder.open)

    def vector(self, extractor: Extractor) -> Callable[[Values], Values]:
        return self._open_once(f"vector {extractor.name}", extractor.open)

    def _open_once(self, name: str, open: Callable[[str], Callable[..., Values]]) -> Callable[..., Values]:
        if name not in self._opened:
            self._opened[name] = open(self._device)
        return self._opened[name]


def extract(
    frames: Iterable[Image], digest: str, extractors: Sequence[Extractor], networks: Networks, on_batch: Callable[[int], None]
) -> dict[str, Statistics]:
    """Extractor's name -> statistics of `frames`, in one pass.

    `digest` identifies the frames; `on_batch` is called with the size of each batch.
    """
    encoders = {extractor.encoder.name: networks.encoder(extractor) for extractor in extractors}
    windows = [(extractor, _Windows(extractor, networks.vector(extractor))) for extractor in extractors]
    found = {extractor.name: Statistics.empty(extractor.dimensions) for extractor in extractors}
    remaining = iter(frames)
    while batch := list(islice(remaining, BATCH)):
        encoded = {name: encode(np.stack(batch)) for name, encode in encoders.items()}
        for extractor, window in windows:
            vectors = list(window.push(encoded[extractor.encoder.name]))
            if vectors:
                keys = sample_keys(f"{extractor.name} {digest}", found[extractor.name].count, len(vectors))
                found[extractor.name] += Statistics.of(np.stack(vectors), keys)
        on_batch(len(batch))
    return {name: statistics.canonical() for name, statistics in found.items()}


def still_statistics(image: Image, digest: str, extractor: Extractor, networks: Networks, count: int) -> Statistics:
    """Statistics of the `count` vectors of a video that repeats `image`. The vectors are equal, so only one is computed."""
    (vector,) = extract([image] * extractor.window, digest, [extractor], networks, lambda frames: None)[extractor.name].sample
    return Statistics.repeated(vector, sample_keys(f"{extractor.name} {digest}", 0, count))


class _Windows:
    """Turns a stream of encoded frames into vectors."""

    def __init__(self, extractor: Extractor, vector: Callable[[Values], Values]) -> None:
        self._extractor, self._vector = extractor, vector
        self._recent: deque[Values] = deque(maxlen=extractor.window)
        self._count = 0

    def push(self, encoded: Values) -> Iterator[Values]:
        for frame in encoded:
            self._recent.append(frame)
            self._count += 1
            start = self._count - self._extractor.window
            if start >= 0 and start % self._extractor.stride == 0:
                yield self._vector(np.stack(self._recent))
