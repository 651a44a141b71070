"""The layout of NVIDIA's library Imaginaire: a folder for each kind of file, with the same file names in all.

    ROOT/
      images/SEQ/FRAME.jpg
      landmarks-dlib68/SEQ/FRAME.json         68 pairs [x, y]                    -> landmarks
      poses-openpose/SEQ/FRAME.json           OpenPose                           -> poses
      pose_maps-densepose/SEQ/FRAME.png       DensePose IUV                      -> densepose
      human_instance_maps/SEQ/FRAME.png       instance ids                       -> instances
      seg_maps/SEQ/FRAME.png                  label ids, by default Cityscapes'  -> segment

Images have no rate: the default is 25 frames per second.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, folders_in, matching_files
from stages.clip.images import list_images

FOLDERS = {
    "landmarks-dlib68": "landmarks",
    "poses-openpose": "poses",
    "pose_maps-densepose": "densepose",
    "human_instance_maps": "instances",
    "seg_maps": "segment",
}
"""Name of a folder -> layer."""


def _recognises(root: Path) -> bool:
    return (root / "images").is_dir() and any((root / name).is_dir() for name in FOLDERS)


def _recordings(root: Path) -> Iterator[Recording]:
    layer_folders = {name: kind for name, kind in FOLDERS.items() if (root / name).is_dir()}
    for folder in folders_in(root / "images"):
        images = tuple(list_images(folder))
        layers = {kind: matching_files(images, root / name / folder.name) for name, kind in layer_folders.items()}
        yield Recording(folder.name, images, layers, labels="cityscapes-ids")


LAYOUT = Layout("imaginaire", _recognises, _recordings)
