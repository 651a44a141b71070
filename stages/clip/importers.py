"""Import of clips from the files of other tools: videos, images, OpenPose, COCO, DensePose and optical flow files, and whole data sets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from stages.clip.clip import Clip, is_clip, open_clip
from stages.clip.coco import read_coco
from stages.clip.create import DEFAULT_FPS, FrameStorage, as_clip, clip_path, create_clip, discard_on_failure, stored_path
from stages.clip.datasets import LAYOUTS, import_layout
from stages.clip.flow_files import list_flow, read_flow
from stages.clip.images import is_image, list_images, read_image
from stages.clip.layer_importers import add_layer, digest_of, write_layer
from stages.clip.openpose import Body, list_json, read_openpose
from stages.clip.scaling import Poses, WidthHeight
from stages.errors import InputError, UsageError

LayoutName = Literal[
    "auto", "video", "images", "openpose", "coco", "densepose", "flow",
    "imaginaire", "few-shot-vid2vid", "youtube-dance", "faceforensics", "cityscapes", "camvid", "apolloscape",
]  # fmt: skip
"""The kinds of input. Those in the second line are data sets (`LAYOUTS`); each of their sequences becomes a clip."""


def import_clips(
    source: str | Path,
    out: str | Path | None = None,
    layout: LayoutName = "auto",
    frames: FrameStorage | None = None,
    fps: Fraction | None = None,
    size: WidthHeight | None = None,
    labels: str | None = None,
    body: Body = "auto",
) -> list[Clip]:
    """The clips of `iterate_imports`, as a list."""
    return list(iterate_imports(source, out, layout, frames, fps, size, labels, body))


def iterate_imports(
    source: str | Path,
    out: str | Path | None = None,
    layout: LayoutName = "auto",
    frames: FrameStorage | None = None,
    fps: Fraction | None = None,
    size: WidthHeight | None = None,
    labels: str | None = None,
    body: Body = "auto",
) -> Iterator[Clip]:
    """Make clips from `source` and yield each when it is finished. Only data sets give more than one.

    fps: the rate of images and JSON files, which have none. size: the width and height of frames, for JSON files without images. labels:
    the name of the table of a data set's label ids, if not the default. body: the skeleton of OpenPose's 25 points. Poses, DensePose images
    and optical flow become a layer of the clip at `out`; if there is no clip, poses and DensePose images make a new one without frames.
    Finished clips of the same source are reused. Raises InputError when the layout is ambiguous, or a file is missing or damaged.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source} does not exist")
    resolved_layout = guess_layout(source) if layout == "auto" else layout
    if body != "auto" and resolved_layout != "openpose":
        raise UsageError(
            f"{source} has the layout {resolved_layout}: only a folder of OpenPose files takes a skeleton", hint="Leave it out"
        )
    if resolved_layout in LAYOUTS:
        yield from import_layout(LAYOUTS[resolved_layout], source, Path(out) if out else Path.cwd(), frames, fps, labels)
    elif resolved_layout == "openpose":
        yield import_openpose(source, out, fps or DEFAULT_FPS, size, body)
    elif resolved_layout == "coco":
        yield import_coco(source, out, fps or DEFAULT_FPS, size)
    elif resolved_layout == "densepose":
        yield import_densepose(source, out, fps or DEFAULT_FPS)
    elif resolved_layout == "flow":
        yield import_flow(source, out)
    elif resolved_layout == "video" and source.is_dir():
        raise UsageError(f"{source} is a folder, not a video")
    else:
        yield as_clip(source, out, frames, fps)


def guess_layout(source: Path) -> LayoutName:
    """The layout of `source`, from its name and the names of its files. Raises InputError when several data sets fit."""
    if not source.is_dir():
        return "images" if is_image(source) else "coco" if source.suffix.lower() == ".json" else "video"
    if is_clip(source):
        return "images"
    data_sets = [name for name, layout in LAYOUTS.items() if layout.recognises(source)]
    if len(data_sets) > 1:
        raise InputError(f"{source} could have the layout {' or '.join(data_sets)}", code="layout-ambiguous")
    return data_sets[0] if data_sets else _guess_layout_of_files([entry for entry in source.iterdir() if entry.is_file()])  # type: ignore[return-value]


def _guess_layout_of_files(files: Sequence[Path]) -> LayoutName:
    images = [path for path in files if is_image(path)]
    if images:
        return "densepose" if all(path.stem.endswith("_IUV") for path in images) else "images"
    if any(path.suffix == ".flo" for path in files):
        return "flow"
    return "openpose" if any(path.suffix == ".json" for path in files) else "images"


def import_openpose(
    folder: Path, out: str | Path | None = None, fps: Fraction = DEFAULT_FPS, size: WidthHeight | None = None, body: Body = "auto"
) -> Clip:
    """Import a folder of OpenPose JSON, a file per frame, as the layer `poses` of the clip at `out`, or of a new clip without frames.

    OpenPose does not write the size of the image. Without `size` a new clip has the smallest even size that contains every point. Points
    of an image of another size, and relative coordinates, are converted to pixels of the clip's frames.
    """
    files, clip = list_json(folder), _find_existing_clip(folder, out)
    return _import_poses(folder, out, files, read_openpose(files, (clip.width, clip.height) if clip else size, body), fps, "openpose")


def import_flow(folder: Path, out: str | Path | None) -> Clip:
    """Import a folder of .flo, KITTI PNG or npz files, the flow from each frame to the next, as layers of the clip at `out`.

    The layers are `flow` and `flow_confidence`. A file for the last frame is optional. Raises UsageError when there is no clip at `out`.
    """
    if out is None or not is_clip(Path(out)) or not Path(out).exists():
        raise UsageError(f"The optical flow in {folder} needs a clip that it belongs to", code="flow-without-clip")
    clip = open_clip(out)
    files = list_flow(folder)
    if len(files) not in (clip.num_frames - 1, clip.num_frames):
        raise InputError(f"{folder} holds flow from {len(files)} frames to the next, but {clip.path} has {clip.num_frames} frames")

    def read_field(index: int) -> Iterator[np.ndarray]:
        """Field `index` of the `FlowField` of each frame."""
        for path in files:
            field = read_flow(path)
            if field.confidence.shape != (clip.height, clip.width):
                height, width = field.confidence.shape
                raise InputError(f"{path} is {width} x {height}, but the frames of {clip.path} are {clip.width} x {clip.height}")
            yield field[index]
        if len(files) < clip.num_frames:
            yield np.zeros_like(field[index])

    write_layer(clip, "flow", "flow", files, lambda: read_field(0), {})
    write_layer(clip, "flow_confidence", "flow", files, lambda: read_field(1), {})
    return clip


def import_coco(file: Path, out: str | Path | None = None, fps: Fraction = DEFAULT_FPS, size: WidthHeight | None = None) -> Clip:
    """Import a COCO keypoint file as the layer `poses`; see `import_openpose`.

    A new clip has frames of `size`, else of the size of the images that the file states.
    """
    clip = _find_existing_clip(file, out)
    poses = read_coco(file, clip.num_frames, (clip.width, clip.height)) if clip else read_coco(file, size=size)
    return _import_poses(file, out, [file], poses, fps, "coco")


def import_densepose(folder: Path, out: str | Path | None = None, fps: Fraction = DEFAULT_FPS) -> Clip:
    """Import a folder of DensePose IUV images as the layer `densepose` of the clip at `out`, or of a new clip without frames.

    If some names end in _IUV, other images (_INDS) are ignored. Raises InputError unless each frame has an image of the right size.
    """
    files = list_images(folder)
    files = [path for path in files if path.stem.endswith("_IUV")] or files
    target = clip_path(folder, out)
    with discard_on_failure(target):
        height, width = read_image(files[0]).shape[:2]
        clip = _open_or_create(target, folder, files, len(files), (width, height), fps)
        add_layer(clip, "densepose", "densepose", files)
    return clip


def _find_existing_clip(source: Path, out: str | Path | None) -> Clip | None:
    """The existing clip to which a layer made from `source` is added, None if there is none."""
    target = clip_path(source, out)
    return open_clip(target) if (target / "clip.json").exists() else None


def _import_poses(source: Path, out: str | Path | None, files: Sequence[Path], poses: Poses, fps: Fraction, backend: str) -> Clip:
    target = clip_path(source, out)
    with discard_on_failure(target):
        points = poses.arrays["keypoints"]
        clip = _open_or_create(target, source, files, len(points), poses.size or _size_around(points), fps)
        write_layer(clip, "poses", backend, files, lambda: poses.arrays, {"skeleton": "BODY_25"}, poses.parameters)
    return clip


def _open_or_create(target: Path, source: Path, files: Sequence[Path], num_frames: int, size: WidthHeight, fps: Fraction) -> Clip:
    """The clip at `target`, which must have `num_frames` frames, or a new one without frames."""
    if (target / "clip.json").exists():
        clip = open_clip(target)
        if clip.num_frames != num_frames:
            raise InputError(f"{source} holds {num_frames} frames, but {target} has {clip.num_frames}")
        return clip
    content = {"sha256": digest_of(files), "bytes": sum(path.stat().st_size for path in files)}
    source_entry = {"path": stored_path(source, target), **content, "crop": None, "range": None}
    return create_clip(target, width=size[0], height=size[1], num_frames=num_frames, fps=fps, source=source_entry)


def _size_around(points: np.ndarray) -> WidthHeight:
    corner = points[..., :2].reshape(-1, 2).max(0)
    width, height = (max(2, 2 * math.ceil((float(value) + 1) / 2)) for value in corner)
    return width, height
