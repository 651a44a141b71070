"""The layout of few-shot vid2vid's public code: folders with the prefix train_ or test_, or none, as its data/preprocess leaves them.

    ROOT/
      train_images/SEQ/00000.jpg              also test_images/, or images/VIDEO/frame000000.jpg
      train_keypoints/SEQ/00000.txt           faces: 68 lines x,y                                    -> landmarks
      train_openpose/SEQ/00000_keypoints.json bodies: OpenPose                                       -> poses
      train_densepose/SEQ/00000_IUV.png       bodies: DensePose IUV                                  -> densepose
      train_densemask/SEQ/00000_INDS.png      bodies: a number for each person                       -> instances
      train_labels/SEQ/00000.png              streets: label ids, by default Cityscapes' (34: void)  -> segment
      all_subsequences.json                   positions of people; not read, since fsv2v tracks people itself

Files are paired by the name of the frame, without _keypoints, _IUV and _INDS; a folder with the same number of files and entirely different
names is paired by order, as in the public code. Where that code's cleaning has removed frames, numbers jump, and a sequence becomes several
clips. Images have no rate: 25 frames per second unless --fps is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, consecutive_runs, files_in, folders_in, matching_files
from stages.clip.images import list_images

FOLDERS = {"keypoints": "landmarks", "openpose": "poses", "densepose": "densepose", "densemask": "instances", "labels": "segment"}
"""Folder without its prefix -> layer."""
_PREFIXES = ("train_", "test_", "")
_ENDINGS = {"poses": "_keypoints", "densepose": "_IUV", "instances": "_INDS"}
"""Layer -> what follows the name of the frame. DensePose writes _IUV and _INDS into one folder."""


def _recognises(root: Path) -> bool:
    return any((root / f"{prefix}images").is_dir() and _layers(root, prefix) for prefix in _PREFIXES)


def _layers(root: Path, prefix: str) -> dict[Path, str]:
    return {root / f"{prefix}{name}": kind for name, kind in FOLDERS.items() if (root / f"{prefix}{name}").is_dir()}


def _recordings(root: Path) -> Iterator[Recording]:
    for prefix in _PREFIXES:
        for folder in folders_in(root / f"{prefix}images"):
            yield from _sequence(folder, prefix.replace("_", "-") + folder.name, _layers(root, prefix))


def _sequence(folder: Path, name: str, kinds: dict[Path, str]) -> Iterator[Recording]:
    """The whole sequence as NAME, or its stretches as NAME-FIRSTFRAME."""
    images = tuple(list_images(folder))
    numbers = [int(found[1]) for image in images if (found := re.search(r"(\d{1,15})\D*$", image.stem))]
    ascending = len(numbers) == len(images) and all(a < b for a, b in zip(numbers, numbers[1:], strict=False))
    stretches = consecutive_runs(numbers) if ascending else [slice(None)]
    files = {kind: _paired(images, other / folder.name, _ENDINGS.get(kind, "")) for other, kind in kinds.items()}
    for stretch in stretches:
        part = images[stretch]
        layers = {kind: paths[stretch] for kind, paths in files.items()}
        yield Recording(name if len(stretches) == 1 else f"{name}-{part[0].stem}", part, layers, labels="cityscapes-ids")


def _paired(images: tuple[Path, ...], folder: Path, ending: str) -> tuple[Path, ...]:
    files = files_in(folder)
    strangers = not {path.stem.removesuffix(ending) for path in files} & {image.stem for image in images}
    return tuple(files) if strangers and len(files) == len(images) else matching_files(images, folder, ending)


LAYOUT = Layout("few-shot-vid2vid", _recognises, _recordings)
