"""Which results are one set, and the statistics of the set, of its references and of its baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stages.evaluate.cache import Cache
from stages.evaluate.extractor import Extractor, Networks, extract, of_still
from stages.evaluate.footage import Footage, Image
from stages.evaluate.measure import OnEvent, fit
from stages.evaluate.statistics import Statistics
from weights import registry


@dataclass(frozen=True)
class Pool:
    """Results that are compared as a whole: `name` is their folder, or the path of the only one."""

    name: str
    pairs: tuple[tuple[Footage, Footage], ...]

    @property
    def least_side(self) -> int:
        """Of all frames of its results, in pixels."""
        return min(min(result.width, result.height) for result, _ in self.pairs)

    def samples(self, extractor: Extractor, has_example: bool) -> int:
        """How many vectors its results give."""
        return sum(extractor.samples(reference.num_frames - first_scored(reference, has_example)) for _, reference in self.pairs)


def first_scored(reference: Footage, has_example: bool) -> int:
    """The first frame that counts: 1 where the first one is the example, which was given away."""
    return 0 if has_example or reference.num_frames == 1 else 1


@dataclass(frozen=True)
class Sides:
    """Statistics of the results of a pool, of their references, and of the examples repeated (None where frames are single)."""

    results: Statistics
    references: Statistics
    baseline: Statistics | None

    def __add__(self, other: Sides) -> Sides:
        both = self.baseline is not None and other.baseline is not None
        baseline = self.baseline + other.baseline if both else None  # type: ignore[operator]
        return Sides(self.results + other.results, self.references + other.references, baseline)


def pools(pairs: Sequence[tuple[Footage, Footage]]) -> list[Pool]:
    """Results that lie in one folder are one pool, unless two of them have the same reference: then they compete, each for itself."""
    folders: dict[Path, list[tuple[Footage, Footage]]] = {}
    for pair in pairs:
        folders.setdefault(Path(pair[0].path).parent, []).append(pair)
    found = []
    for folder, given in folders.items():
        members = list(dict.fromkeys(given))
        compete = len({reference.path for _, reference in members}) < len(members)
        alone = compete or len(members) == 1
        found += [Pool(pair[0].path, (pair,)) for pair in members] if alone else [Pool(str(folder), tuple(members))]
    return found


class Gatherer:
    """Looks at footage through several networks at once, but only at what the cache does not know."""

    def __init__(self, device: str, cache: Cache, on_event: OnEvent) -> None:
        self._networks, self._cache, self._on_event = Networks(device), cache, on_event

    def sides(self, result: Footage, reference: Footage, example: Image | None, extractors: Sequence[Extractor]) -> dict[str, Sides]:
        """By the name of the extractor. example: as for `measure`; without it the first frame was given away and does not count."""
        if not extractors:
            return {}
        start = first_scored(reference, example is not None)
        ours = self._footage(result, result, start, extractors)
        theirs = self._footage(reference, result, start, extractors)
        repeated = example if example is not None else _first(reference, result) if start else None
        frames = reference.num_frames - start
        return {one.name: Sides(ours[one.name], theirs[one.name], self._baseline(one, repeated, frames)) for one in extractors}

    def _footage(self, footage: Footage, size: Footage, start: int, extractors: Sequence[Extractor]) -> dict[str, Statistics]:
        """The frames from `start` on, at the size of `size`."""
        about: dict[str, str | int] = {"frames": footage.digest(), "start": start, "width": size.width, "height": size.height}
        places = {extractor.name: self._cache.path(**about, **_identity(extractor)) for extractor in extractors}
        known = {name: entry for name, path in places.items() if (entry := self._cache.read(path)) is not None}
        unknown = [extractor for extractor in extractors if extractor.name not in known]
        if unknown:
            done = start

            def seen(count: int) -> None:
                nonlocal done
                done += count
                self._on_event({"done": done, "total": footage.num_frames})

            frames = (fit(frame, size.width, size.height) for frame in islice(footage.frames(), start, None))
            made = extract(frames, str(about), unknown, self._networks, seen)
            for name, statistics in made.items():
                self._cache.write(places[name], statistics)
            known |= made
        return known

    def _baseline(self, extractor: Extractor, image: Image | None, frames: int) -> Statistics | None:
        if image is None:
            return None
        count, digest = extractor.samples(frames), hashlib.sha256(image.tobytes()).hexdigest()
        place = self._cache.path(still=digest, shape=str(image.shape), count=count, **_identity(extractor))
        known = self._cache.read(place)
        if known is None:
            known = of_still(image, digest, extractor, self._networks, count)
            self._cache.write(place, known)
        return known


def _identity(extractor: Extractor) -> dict[str, str | int]:
    return {"extractor": extractor.name, "weights": registry.sha256(extractor.weights)}


def _first(reference: Footage, size: Footage) -> Image:
    frames: Iterator[Image] = reference.frames()
    return fit(next(frames), size.width, size.height)
