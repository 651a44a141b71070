"""Which results are one set, and the statistics of the set, of its references and of its baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stages.evaluate.cache import Cache
from stages.evaluate.extractor import Extractor, Networks, extract, of_still
from stages.evaluate.frame_source import FrameSource, Image
from stages.evaluate.measure import Baselines, OnEvent, fit
from stages.evaluate.motion import MIN_SIDE
from stages.evaluate.statistics import Statistics
from weights import registry

Pair = tuple[FrameSource, FrameSource]
"""A result and its reference."""


def min_side(pairs: Sequence[Pair]) -> int:
    """The shortest side of all frames of the results, in pixels."""
    return min(min(result.width, result.height) for result, _ in pairs)


def samples(pairs: Sequence[Pair], extractor: Extractor, has_example: bool) -> int:
    """Number of feature vectors of the results."""
    return sum(extractor.samples(reference.num_frames - first_scored(reference, has_example)) for _, reference in pairs)


def first_scored(reference: FrameSource, has_example: bool) -> int:
    """Index of the first frame that counts: 1 where frame 0 serves as the example."""
    return 0 if has_example or reference.num_frames == 1 else 1


@dataclass(frozen=True)
class SetStatistics:
    """Statistics of a pool's results, of their references, and of the baselines (see `measure.Baselines`), None where they do not exist."""

    results: Statistics
    references: Statistics
    repeated: Statistics | None = None
    warped: Statistics | None = None

    def __add__(self, other: SetStatistics) -> SetStatistics:
        def both(one: Statistics | None, more: Statistics | None) -> Statistics | None:
            return None if one is None or more is None else one + more

        baselines = both(self.repeated, other.repeated), both(self.warped, other.warped)
        return SetStatistics(self.results + other.results, self.references + other.references, *baselines)


def set_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The name of the set to which each (result, reference), given as paths, belongs.

    Results that lie in one folder are one set, of its name, unless two of them have the same reference: then they compete, and each is a
    set of its own, as is a single result.
    """
    folders: dict[Path, set[tuple[str, str]]] = {}
    for pair in pairs:
        folders.setdefault(Path(pair[0]).parent, set()).add(pair)

    def together(members: set[tuple[str, str]]) -> bool:
        return len(members) > 1 and len({reference for _, reference in members}) == len(members)

    return [str(Path(result).parent) if together(folders[Path(result).parent]) else result for result, _ in pairs]


class StatisticsCollector:
    """Computes the statistics of videos for several networks in one pass; what the cache has is not computed."""

    def __init__(self, device: str, cache: Cache, on_event: OnEvent) -> None:
        self._networks, self._cache, self._on_event = Networks(device), cache, on_event

    def sides(
        self, result: FrameSource, reference: FrameSource, example: Image | None, extractors: Sequence[Extractor]
    ) -> dict[str, SetStatistics]:
        """Extractor's name -> statistics. example: as for `measure`; without it the first frame serves as the example and does not
        count."""
        if not extractors:
            return {}
        start = first_scored(reference, example is not None)
        ours = self._statistics(result, result, start, extractors)
        theirs = self._statistics(reference, result, start, extractors)
        still = example if example is not None else _first(reference, result) if start else None
        if still is None:
            return {one.name: SetStatistics(ours[one.name], theirs[one.name]) for one in extractors}
        repeated = {one.name: self._repeated(one, still, reference.num_frames - start) for one in extractors}
        warped = self._statistics(reference, result, start, extractors, still) if min(still.shape[:2]) >= MIN_SIDE else {}
        return {one.name: SetStatistics(ours[one.name], theirs[one.name], repeated[one.name], warped.get(one.name)) for one in extractors}

    def _statistics(
        self, source: FrameSource, size: FrameSource, start: int, extractors: Sequence[Extractor], moved: Image | None = None
    ) -> dict[str, Statistics]:
        """The frames from `start` on, at the size of `size`; or the image `moved`, warped to these frames."""
        about: dict[str, str | int] = {"frames": source.digest(), "start": start, "width": size.width, "height": size.height}
        if moved is not None:
            about["moved"] = _digest(moved)
        places = {extractor.name: self._cache.path(**about, **_identity(extractor)) for extractor in extractors}
        cached = {name: entry for name, path in places.items() if (entry := self._cache.read(path)) is not None}
        missing = [extractor for extractor in extractors if extractor.name not in cached]
        if missing:
            done = start

            def seen(count: int) -> None:
                nonlocal done
                done += count
                self._on_event({"done": done, "total": source.num_frames})

            fitted = (fit(frame, size.width, size.height) for frame in islice(source.frames(), start, None))
            frames = fitted if moved is None else map(Baselines(moved).warped, fitted)
            made = extract(frames, str(about), missing, self._networks, seen)
            for name, statistics in made.items():
                self._cache.write(places[name], statistics)
            cached |= made
        return cached

    def _repeated(self, extractor: Extractor, image: Image, frames: int) -> Statistics:
        count, digest = extractor.samples(frames), _digest(image)
        place = self._cache.path(still=digest, count=count, **_identity(extractor))
        statistics = self._cache.read(place)
        if statistics is None:
            statistics = of_still(image, digest, extractor, self._networks, count)
            self._cache.write(place, statistics)
        return statistics


def _identity(extractor: Extractor) -> dict[str, str | int]:
    return {"extractor": extractor.name, "weights": registry.sha256(extractor.weights)}


def _digest(image: Image) -> str:
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def _first(reference: FrameSource, size: FrameSource) -> Image:
    frames: Iterator[Image] = reference.frames()
    return fit(next(frames), size.width, size.height)
