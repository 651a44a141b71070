"""Dance videos from few-shot vid2vid's list of YouTube videos, with the layers that its public code has extracted.

    ROOT/
      NAME.mp4 ...                            or in ROOT/videos/; clips refer to the videos
      openpose/NAME/*_keypoints.json          optional: one file for each frame, in order        -> poses
      densepose/NAME/*_IUV.png                optional: one image for each frame, in order       -> densepose
      densemask/NAME/*_INDS.png               optional: the same, with a number for each person  -> instances

Clips have the rate and sound of the videos. For the frames that the public code has extracted to images/, use the layout few-shot-vid2vid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, files_in, videos_in
from stages.clip.images import is_image, list_images
from stages.clip.openpose import list_json


def _videos(root: Path) -> list[Path]:
    return videos_in(root) or videos_in(root / "videos")


def _recognises(root: Path) -> bool:
    return bool(_videos(root)) and not any(map(is_image, files_in(root)))


def _recordings(root: Path) -> Iterator[Recording]:
    for video in _videos(root):
        layers: dict[str, tuple[Path, ...]] = {}
        if (folder := root / "openpose" / video.stem).is_dir():
            layers["poses"] = tuple(list_json(folder))
        for name, kind in (("densepose", "densepose"), ("densemask", "instances")):
            if (folder := root / name / video.stem).is_dir():
                layers[kind] = tuple(list_images(folder))
        yield Recording(video.stem, video, layers)


LAYOUT = Layout("youtube-dance", _recognises, _recordings)
