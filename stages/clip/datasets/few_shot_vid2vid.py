"""The layout of few-shot vid2vid's public code: folders with the prefix train_, test_ or none, as its scripts in data/preprocess name them.

    ROOT/
      train_images/SEQ/00000.jpg              also test_images/, or images/VIDEO/frame000000.jpg
      train_keypoints/SEQ/00000.txt           faces: 68 lines x,y                                    -> landmarks
      train_openpose/SEQ/00000_keypoints.json bodies: OpenPose                                       -> poses
      train_densepose/SEQ/00000_IUV.png       bodies: DensePose IUV                                  -> densepose
      train_densemask/SEQ/00000_INDS.png      bodies: a number for each person                       -> instances
      train_labels/SEQ/00000.png              streets: label ids, by default Cityscapes' (34: void)  -> segment
      all_subsequences.json                   positions of people; not read, since fsv2v tracks people itself

Files are matched by the name of the frame, without _keypoints, _IUV and _INDS. If no name matches and the numbers of files are equal, files
are matched in order, as in the public code. If those scripts have removed frames, a sequence is split into several clips at the gaps in the
frame numbers. Images have no rate: the default is 25 frames per second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, consecutive_runs, files_in, folders_in, matching_files
from stages.clip.images import list_images

FOLDERS = {"keypoints": "landmarks", "openpose": "poses", "densepose": "densepose", "densemask": "instances", "labels": "segment"}
"""Name of a folder, without its prefix -> layer."""
_PREFIXES = ("train_", "test_", "")
_NAME_ENDINGS = {"poses": "_keypoints", "densepose": "_IUV", "instances": "_INDS"}
"""Layer -> the ending after the name of the frame. DensePose writes _IUV and _INDS to one folder."""


def _recognises(root: Path) -> bool:
    return any((root / f"{prefix}images").is_dir() and _layer_folders(root, prefix) for prefix in _PREFIXES)


def _layer_folders(root: Path, prefix: str) -> dict[Path, str]:
    return {root / f"{prefix}{name}": kind for name, kind in FOLDERS.items() if (root / f"{prefix}{name}").is_dir()}


def _recordings(root: Path) -> Iterator[Recording]:
    for prefix in _PREFIXES:
        for folder in folders_in(root / f"{prefix}images"):
            yield from _recordings_of_sequence(folder, prefix.replace("_", "-") + folder.name, _layer_folders(root, prefix))


def _recordings_of_sequence(folder: Path, name: str, layer_folders: dict[Path, str]) -> Iterator[Recording]:
    """The recording NAME of a sequence without gaps, else a recording NAME-FIRSTFRAME for each run of frames."""
    images = tuple(list_images(folder))
    numbers = [int(match[1]) for image in images if (match := re.search(r"(\d{1,15})\D*$", image.stem))]
    ascending = len(numbers) == len(images) and all(a < b for a, b in zip(numbers, numbers[1:], strict=False))
    runs = consecutive_runs(numbers) if ascending else [slice(None)]
    files = {
        kind: _match_by_name_or_order(images, layer_folder / folder.name, _NAME_ENDINGS.get(kind, ""))
        for layer_folder, kind in layer_folders.items()
    }
    for run in runs:
        run_images = images[run]
        layers = {kind: paths[run] for kind, paths in files.items()}
        yield Recording(name if len(runs) == 1 else f"{name}-{run_images[0].stem}", run_images, layers, labels="cityscapes-ids")


def _match_by_name_or_order(images: tuple[Path, ...], folder: Path, ending: str) -> tuple[Path, ...]:
    files = files_in(folder)
    no_common_names = not {path.stem.removesuffix(ending) for path in files} & {image.stem for image in images}
    return tuple(files) if no_common_names and len(files) == len(images) else matching_files(images, folder, ending)


LAYOUT = Layout("few-shot-vid2vid", _recognises, _recordings)
