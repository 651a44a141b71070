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
from stages.clip.create import DEFAULT_FPS, FrameStorage, all_or_nothing, as_clip, clip_path, create_clip, kept_path
from stages.clip.datasets import LAYOUTS, import_layout
from stages.clip.flow_files import list_flow, read_flow
from stages.clip.foreign import add_layer, digest_of, write_layer
from stages.clip.images import is_image, list_images, read_image
from stages.clip.openpose import Body, list_json, read_openpose
from stages.clip.scaling import Poses, Size
from stages.errors import InputError, UsageError

Layout = Literal[
    "auto", "video", "images", "openpose", "coco", "densepose", "flow",
    "imaginaire", "few-shot-vid2vid", "youtube-dance", "faceforensics", "cityscapes", "camvid", "apolloscape",
]  # fmt: skip
"""The kinds of input; those of the second line are data sets (`LAYOUTS`), which become one clip per sequence."""


def import_clips(
    source: str | Path,
    out: str | Path | None = None,
    layout: Layout = "auto",
    frames: FrameStorage | None = None,
    fps: Fraction | None = None,
    size: Size | None = None,
    labels: str | None = None,
    body: Body = "auto",
) -> list[Clip]:
    """The clips of `each_clip` as a list."""
    return list(each_clip(source, out, layout, frames, fps, size, labels, body))


def each_clip(
    source: str | Path,
    out: str | Path | None = None,
    layout: Layout = "auto",
    frames: FrameStorage | None = None,
    fps: Fraction | None = None,
    size: Size | None = None,
    labels: str | None = None,
    body: Body = "auto",
) -> Iterator[Clip]:
    """Make clips from `source`, one after the other; only data sets give more than one.

    `fps` is for images and JSON, which have no rate; `size` for JSON without images; `labels` names the table of a data set's label ids
    where it is not the default; `body` names the skeleton of OpenPose's 25 points. Poses and DensePose images become a layer of the clip at
    `out` if one exists, else a clip without frames. Clips already made from the same source are reused. Raises InputError when
    the layout is ambiguous or damaged.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source} does not exist")
    found = guess_layout(source) if layout == "auto" else layout
    if body != "auto" and found != "openpose":
        raise UsageError(f"{source} has the layout {found}: only a folder of OpenPose files takes a skeleton", hint="Leave it out")
    if found in LAYOUTS:
        yield from import_layout(LAYOUTS[found], source, Path(out) if out else Path.cwd(), frames, fps, labels)
    elif found == "openpose":
        yield import_openpose(source, out, fps or DEFAULT_FPS, size, body)
    elif found == "coco":
        yield import_coco(source, out, fps or DEFAULT_FPS, size)
    elif found == "densepose":
        yield import_densepose(source, out, fps or DEFAULT_FPS)
    elif found == "flow":
        yield import_flow(source, out)
    elif found == "video" and source.is_dir():
        raise UsageError(f"{source} is a folder, not a video")
    else:
        yield as_clip(source, out, frames, fps)


def guess_layout(source: Path) -> Layout:
    """The layout of `source`. Raises InputError when several fit."""
    if not source.is_dir():
        return "images" if is_image(source) else "coco" if source.suffix.lower() == ".json" else "video"
    if is_clip(source):
        return "images"
    sets = [name for name, layout in LAYOUTS.items() if layout.recognises(source)]
    if len(sets) > 1:
        raise InputError(f"{source} could have the layout {' or '.join(sets)}", code="layout-ambiguous")
    return sets[0] if sets else _guess_files([entry for entry in source.iterdir() if entry.is_file()])  # type: ignore[return-value]


def _guess_files(files: Sequence[Path]) -> Layout:
    images = [path for path in files if is_image(path)]
    if images:
        return "densepose" if all(path.stem.endswith("_IUV") for path in images) else "images"
    if any(path.suffix == ".flo" for path in files):
        return "flow"
    return "openpose" if any(path.suffix == ".json" for path in files) else "images"


def import_openpose(
    folder: Path, out: str | Path | None = None, fps: Fraction = DEFAULT_FPS, size: Size | None = None, body: Body = "auto"
) -> Clip:
    """The people of an OpenPose JSON folder, one file per frame, as the layer `poses` of the clip at `out`, or of a new one without frames.

    OpenPose does not write the size of the image; without `size` it is the smallest even one that holds every point. Points of an image
    of another size, and relative coordinates, become pixels of the clip's frames.
    """
    files, clip = list_json(folder), _existing(folder, out)
    return _with_poses(folder, out, files, read_openpose(files, (clip.width, clip.height) if clip else size, body), fps, "openpose")


def import_flow(folder: Path, out: str | Path | None) -> Clip:
    """The clip at `out` with the layers `flow` and `flow_confidence` of a folder's .flo, KITTI PNG or npz files, t to t + 1.

    The file of the last frame may be missing, since no frame follows it. Raises UsageError when there is no clip at `out`.
    """
    if out is None or not is_clip(Path(out)) or not Path(out).exists():
        raise UsageError(f"The optical flow in {folder} needs a clip that it belongs to", code="flow-without-clip")
    clip = open_clip(out)
    files = list_flow(folder)
    if len(files) not in (clip.num_frames - 1, clip.num_frames):
        raise InputError(f"{folder} holds flow from {len(files)} frames to the next, but {clip.path} has {clip.num_frames} frames")

    def fields(part: int) -> Iterator[np.ndarray]:
        for path in files:
            field = read_flow(path)
            if field.confidence.shape != (clip.height, clip.width):
                height, width = field.confidence.shape
                raise InputError(f"{path} is {width} x {height}, but the frames of {clip.path} are {clip.width} x {clip.height}")
            yield field[part]
        if len(files) < clip.num_frames:
            yield np.zeros_like(field[part])

    write_layer(clip, "flow", "flow", files, lambda: fields(0), {})
    write_layer(clip, "flow_confidence", "flow", files, lambda: fields(1), {})
    return clip


def import_coco(file: Path, out: str | Path | None = None, fps: Fraction = DEFAULT_FPS, size: Size | None = None) -> Clip:
    """The people of a COCO keypoint file as the layer `poses`; see `import_openpose`. The size is that in the file, else `size`."""
    clip = _existing(file, out)
    found = read_coco(file, clip.num_frames, (clip.width, clip.height)) if clip else read_coco(file, size=size)
    return _with_poses(file, out, [file], found, fps, "coco")


def import_densepose(folder: Path, out: str | Path | None = None, fps: Fraction = DEFAULT_FPS) -> Clip:
    """A folder of DensePose IUV images as the layer `densepose` of the clip at `out`, or of a new one without frames.

    If some names end in _IUV, other images (_INDS) are ignored. Raises InputError unless there is one of the right size for each frame.
    """
    files = list_images(folder)
    files = [path for path in files if path.stem.endswith("_IUV")] or files
    target = clip_path(folder, out)
    with all_or_nothing(target):
        height, width = read_image(files[0]).shape[:2]
        clip = _clip_at(target, folder, files, len(files), (width, height), fps)
        add_layer(clip, "densepose", "densepose", files)
    return clip


def _existing(source: Path, out: str | Path | None) -> Clip | None:
    """The existing clip that a layer of `source` belongs to, if any."""
    target = clip_path(source, out)
    return open_clip(target) if (target / "clip.json").exists() else None


def _with_poses(source: Path, out: str | Path | None, files: Sequence[Path], found: Poses, fps: Fraction, backend: str) -> Clip:
    target = clip_path(source, out)
    with all_or_nothing(target):
        points = found.arrays["keypoints"]
        clip = _clip_at(target, source, files, len(points), found.size or _size_around(points), fps)
        write_layer(clip, "poses", backend, files, lambda: found.arrays, {"skeleton": "BODY_25"}, found.parameters)
    return clip


def _clip_at(target: Path, source: Path, files: Sequence[Path], num_frames: int, size: Size, fps: Fraction) -> Clip:
    """The clip at `target`, which must have `num_frames` frames, or a new one without frames."""
    if (target / "clip.json").exists():
        clip = open_clip(target)
        if clip.num_frames != num_frames:
            raise InputError(f"{source} holds {num_frames} frames, but {target} has {clip.num_frames}")
        return clip
    described = {"path": kept_path(source, target), "sha256": digest_of(files), "bytes": sum(path.stat().st_size for path in files)}
    whole = {**described, "crop": None, "range": None}
    return create_clip(target, width=size[0], height=size[1], num_frames=num_frames, fps=fps, source=whole)


def _size_around(points: np.ndarray) -> Size:
    far = points[..., :2].reshape(-1, 2).max(0)
    width, height = (max(2, 2 * math.ceil((float(value) + 1) / 2)) for value in far)
    return width, height
