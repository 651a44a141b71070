"""Cityscapes: street scenes of German cities in snippets of 30 frames, the 20th of which is labelled by hand.

    ROOT/
      leftImg8bit_sequence/{train,val,test}/CITY/CITY_SNIPPET_FRAME_leftImg8bit.png     2048 x 1024, 17 frames per second
      leftImg8bit/{train,val,test}/CITY/CITY_SNIPPET_FRAME_leftImg8bit.png              labelled frames; used if there are no sequences
      gtFine/{train,val,test}/CITY/CITY_SNIPPET_FRAME_gtFine_labelIds.png               label ids             -> segment
                                   CITY_SNIPPET_FRAME_gtFine_instanceIds.png            id or id x 1000 + n   -> instances

A clip is a run of successive frames, named train-CITY_SNIPPET_FIRSTFRAME. Layers have an entry for every frame, so a clip has labels only
if all of its frames are labelled. If not, each labelled frame also becomes a clip of its own, whose name ends in `-labelled`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, consecutive_runs, folders_in, images_in
from stages.clip.images import add_frame

FPS = Fraction(17)
_IMAGES = ("leftImg8bit_sequence", "leftImg8bit")
_NAME = re.compile(r"(?P<snippet>.+_\d+)_(?P<frame>\d+)_leftImg8bit")
_LAYERS = {"segment": "labelIds", "instances": "instanceIds"}


def _recognises(root: Path) -> bool:
    return any((root / name).is_dir() for name in _IMAGES)


def _recordings(root: Path) -> Iterator[Recording]:
    images = next((root / name for name in _IMAGES if (root / name).is_dir()), root)
    for split in folders_in(images):
        for city in folders_in(split):
            for snippet in _snippets(city):
                yield from _runs(snippet, split.name, root / "gtFine" / split.name / city.name)


def _snippets(city: Path) -> list[dict[int, Path]]:
    """Frame number -> image for each snippet of a city."""
    snippets: dict[str, dict[int, Path]] = defaultdict(dict)
    for image in images_in(city):
        if match := _NAME.fullmatch(image.stem):
            add_frame(snippets[match["snippet"]], int(match["frame"]), image)
    return list(snippets.values())


def _runs(snippet: dict[int, Path], split: str, truth: Path) -> Iterator[Recording]:
    numbers = sorted(snippet)
    for run in consecutive_runs(numbers, 1):
        images = [snippet[number] for number in numbers[run]]
        layers = _find_layers(images, truth)
        yield _recording(split, images, layers)
        for image in images if "segment" not in layers else []:
            if labelled := _find_layers([image], truth):
                yield _recording(split, [image], labelled, "-labelled")


def _find_layers(images: Sequence[Path], truth: Path) -> dict[str, tuple[Path, ...]]:
    """The layers for which every image has a file."""
    stems = [image.stem.removesuffix("_leftImg8bit") for image in images]
    files = {kind: tuple(truth / f"{stem}_gtFine_{ending}.png" for stem in stems) for kind, ending in _LAYERS.items()}
    return {kind: paths for kind, paths in files.items() if all(path.is_file() for path in paths)}


def _recording(split: str, images: Sequence[Path], layers: dict[str, tuple[Path, ...]], ending: str = "") -> Recording:
    name = f"{split}-{images[0].stem.removesuffix('_leftImg8bit')}{ending}"
    return Recording(name, tuple(images), layers, FPS, labels="cityscapes-ids")


LAYOUT = Layout("cityscapes", _recognises, _recordings)
