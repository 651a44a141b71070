"""Make an overview of drives as a PNG.

    python benchmarks/papers/show_drives.py out/drives -o out/drives.png

The first rows show the middle frames of clips. The last rows show frames of one clip with its labels, instances, depth and flow.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from show_actors import flow_colours

from stages.clip import Clip, open_clip
from stages.clip.preview import evenly_spaced
from stages.conditions.labels import LabelLayer, colourise

Picture = NDArray[np.uint8]


def main() -> None:
    options = _options()
    clips = [open_clip(path) for path in sorted(options.folder.glob("*.clip"))]
    chosen = [clips[index] for index in evenly_spaced(len(clips), options.rows * options.columns)]
    cells = [clip.frame(clip.num_frames // 2) for clip in chosen]
    rows = [np.hstack(cells[start : start + options.columns]) for start in range(0, len(cells), options.columns)]
    columns = [layers(chosen[0], index) for index in evenly_spaced(chosen[0].num_frames - 1, options.columns)]
    rows += [np.hstack(row) for row in zip(*columns, strict=True)]
    Image.fromarray(np.vstack([row for row in rows if row.shape == rows[0].shape])).save(options.out)


def layers(clip: Clip, index: int) -> list[Picture]:
    """A frame of a clip, its label map, instances, depth and flow as images."""
    labels = LabelLayer(clip.layer("segment"))
    palette = np.random.default_rng(0).integers(60, 256, (256, 3)).astype(np.uint8)
    palette[0] = 0
    with np.load(clip.path / "depth" / f"{index:06d}.npz") as entry:
        depth = entry["depth"]
    nearness = np.where(depth > 0, 255 * np.clip(4 / np.maximum(depth, 1e-3), 0, 1) ** 0.5, 0).astype(np.uint8)
    flow = clip.layer("flow").image(index).astype(np.float32)
    instances = palette[clip.layer("instances").image(index)]
    return [clip.frame(index), colourise(labels.image(index), labels.table), instances, cv2.merge([nearness] * 3), flow_colours(flow)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of clips made by drives.py")
    parser.add_argument("-o", "--out", type=Path, required=True, help="path of the PNG")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--rows", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
