"""Which results form a set, and the feature statistics of the set, of its references and of its baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stages.evaluate.cache import Cache
from stages.evaluate.extractor import Extractor, Networks, extract, still_statistics
from stages.evaluate.frame_source import FrameSource, Image
from stages.evaluate.measure import Baselines, OnEvent, fit
from stages.evaluate.motion import MIN_SIDE
from stages.evaluate.statistics import Statistics
from weights import registry

Pair = tuple[FrameSource, FrameSource]
"""A result and its reference."""


def shortest_side(pairs: Sequence[Pair]) -> int:
    """The shortest side of the frames of all results, in pixels."""
    return min(min(result.width, result.height) for result, _ in pairs)


def count_samples(pairs: Sequence[Pair], extractor: Extractor, has_example: bool) -> int:
    """Number of feature vectors of the results."""
    return sum(extractor.num_vectors(reference.num_frames - first_scored(reference, has_example)) for _, reference in pairs)


def first_scored(reference: FrameSource, has_example: bool) -> int:
    """Index of the first frame that is scored: 1 where frame 0 is the example."""
    return 0 if has_example or reference.num_frames == 1 else 1


@dataclass(frozen=True)
class SetStatistics:
    """Statistics of a set's results, of their references, and of the baselines (see `measure.Baselines`), which may not exist."""

    results: Statistics
    references: Statistics
    repeated: Statistics | None = None
    warped: Statistics | None = None

    def __add__(self, other: SetStatistics) -> SetStatistics:
        def add(first: Statistics | None, second: Statistics | None) -> Statistics | None:
            return None if first is None or second is None else first + second

        baselines = add(self.repeated, other.repeated), add(self.warped, other.warped)
        return SetStatistics(self.results + other.results, self.references + other.references, *baselines)


def set_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The name of the set to which each (result, reference), given as paths, belongs.

    Results in one folder form a set, unless two of them have the same reference: then they are rival results, and each is a set of its own.
    A single result in a folder is a set of its own, too. The name is the path of the folder, or of the result that is a set of its own.
    """
    folders: dict[Path, set[tuple[str, str]]] = {}
    for pair in pairs:
        folders.setdefault(Path(pair[0]).parent, set()).add(pair)

    def form_a_set(members: set[tuple[str, str]]) -> bool:
        return len(members) > 1 and len({reference for _, reference in members}) == len(members)

    return [str(Path(result).parent) if form_a_set(folders[Path(result).parent]) else result for result, _ in pairs]


class StatisticsCollector:
    """Computes statistics of videos for several networks in one pass. Statistics that are in the cache are read instead."""

    def __init__(self, device: str, cache: Cache, on_event: OnEvent) -> None:
        self._networks, self._cache, self._on_event = Networks(device), cache, on_event

    def collect(
        self, result: FrameSource, reference: FrameSource, example: Image | None, extractors: Sequence[Extractor]
    ) -> dict[str, SetStatistics]:
        """Extractor's name -> statistics of a result. example: as for `measure`."""
        if not extractors:
            return {}
        names = [extractor.name for extractor in extractors]
        start = first_scored(reference, example is not None)
        results = self._statistics(result, result, start, extractors)
        references = self._statistics(reference, result, start, extractors)
        if example is None and start:
            example = _first_frame(reference, result)
        if example is None:
            return {name: SetStatistics(results[name], references[name]) for name in names}
        repeated = {extractor.name: self._repeated_statistics(extractor, example, reference.num_frames - start) for extractor in extractors}
        warped = self._statistics(reference, result, start, extractors, example) if min(example.shape[:2]) >= MIN_SIDE else {}
        return {name: SetStatistics(results[name], references[name], repeated[name], warped.get(name)) for name in names}

    def _statistics(
        self, source: FrameSource, result: FrameSource, start: int, extractors: Sequence[Extractor], example: Image | None = None
    ) -> dict[str, Statistics]:
        """Statistics of the frames of `source` from `start` on, at the size of `result`; with an `example`, of the example warped to these
        frames."""
        identity: dict[str, str | int] = {"frames": source.digest(), "start": start, "width": result.width, "height": result.height}
        if example is not None:
            identity["moved"] = _digest(example)
        paths = {extractor.name: self._cache.path(**identity, **_identity(extractor)) for extractor in extractors}
        cached = {name: entry for name, path in paths.items() if (entry := self._cache.read(path)) is not None}
        missing = [extractor for extractor in extractors if extractor.name not in cached]
        if missing:
            done = start

            def on_batch(count: int) -> None:
                nonlocal done
                done += count
                self._on_event({"done": done, "total": source.num_frames})

            fitted = (fit(frame, result.width, result.height) for frame in islice(source.frames(), start, None))
            frames = fitted if example is None else map(Baselines(example).warped, fitted)
            computed = extract(frames, str(identity), missing, self._networks, on_batch)
            for name, statistics in computed.items():
                self._cache.write(paths[name], statistics)
            cached |= computed
        return cached

    def _repeated_statistics(self, extractor: Extractor, image: Image, frames: int) -> Statistics:
        """Statistics of a video that repeats `image` for `frames` frames."""
        count, digest = extractor.num_vectors(frames), _digest(image)
        path = self._cache.path(still=digest, count=count, **_identity(extractor))
        statistics = self._cache.read(path)
        if statistics is None:
            statistics = still_statistics(image, digest, extractor, self._networks, count)
            self._cache.write(path, statistics)
        return statistics


def _identity(extractor: Extractor) -> dict[str, str | int]:
    """What identifies the features in the cache."""
    return {"extractor": extractor.name, "weights": registry.sha256(extractor.weights)}


def _digest(image: Image) -> str:
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def _first_frame(reference: FrameSource, result: FrameSource) -> Image:
    """The first frame of the reference at the size of the result."""
    frames: Iterator[Image] = reference.frames()
    return fit(next(frames), result.width, result.height)
