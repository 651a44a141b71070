"""Make an overview of actors as a PNG.

    python benchmarks/papers/show_actors.py out/actors -o docs/actors.png

The first rows show the middle frames of clips. The last row shows frames of one clip with pose, label map and flow.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.clip import Clip, open_clip
from stages.clip.preview import evenly_spaced
from stages.conditions.labels import LabelLayer, colourise
from stages.conditions.poses import draw_pose

Pixels = NDArray[np.uint8]


def main() -> None:
    options = _options()
    clips = [open_clip(path) for path in sorted(options.folder.glob("*.clip"))]
    chosen = [clips[index] for index in evenly_spaced(len(clips), options.rows * options.columns)]
    cells = [clip.frame(clip.num_frames // 2) for clip in chosen]
    rows = [np.hstack(cells[start : start + options.columns]) for start in range(0, len(cells), options.columns)]
    rows.append(np.hstack(layers(chosen[0], options.columns)))
    picture = Image.fromarray(np.vstack(rows)).quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(options.out, optimize=True)


def layers(clip: Clip, columns: int) -> list[Pixels]:
    """Frames of a clip, spread over time, each followed by its pose, label map and flow as images."""
    labels = LabelLayer(clip.layer("segment"))
    poses = clip.layer("poses").arrays()["keypoints"]
    images: list[Pixels] = []
    for index in evenly_spaced(clip.num_frames - 1, columns // 4):
        images.append(clip.frame(index))
        images.append(draw_pose(poses[index], clip.height, clip.width))
        images.append(colourise(labels.image(index), labels.table))
        images.append(flow_colours(clip.layer("flow").image(index).astype(np.float32)))
    return images


def flow_colours(flow: NDArray[np.float32]) -> Pixels:
    """An image [H, W, 3] of a flow [H, W, 2]: direction as hue, length as saturation."""
    length, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    saturation = np.clip(length / max(float(np.percentile(length, 99)), 1.0), 0, 1)
    hsv = np.dstack([angle, saturation, np.ones_like(length)]).astype(np.float32)
    return (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of clips made by actors.py")
    parser.add_argument("-o", "--out", type=Path, required=True, help="path of the PNG, which has 256 colours")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
