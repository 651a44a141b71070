"""COCO keypoints in and out: one JSON file for all frames, either annotations of images or a list of results.

    {"images": [{"id": 7, "file_name": "000007.jpg", "width": 640, "height": 480}, ...],
     "annotations": [{"image_id": 7, "category_id": 1, "track_id": 3, "keypoints": [x, y, v, ... 17 times]}, ...]}
    [{"image_id": 7, "category_id": 1, "keypoints": [x, y, score, ...], "score": 0.9}, ...]

A person may have 17 points, COCO-WholeBody's 133, or 17 and its foot_kpts, face_kpts, lefthand_kpts and righthand_kpts. `v` is a flag (0
absent, 1 hidden, 2 visible, read as confidence v / 2) where the file has a 2, else a confidence.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.clip import Clip
from stages.clip.images import natural_key
from stages.clip.openpose import load_json, numbers_of, people_in, read_points
from stages.clip.people import Person
from stages.clip.scaling import Poses, Size, one_size, poses_of
from stages.errors import InputError
from stages.tables.skeletons import COCO_17, COCO_17_IN_BODY_25, COCO_WHOLEBODY, FEET_IN_BODY_25, Points, convert

_PERSON = 1
_EXTRAS = {"foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
"""In the order of COCO-WholeBody's 133 points, after the 17 of the body."""
_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

Found = tuple[Points, int]
"""17 or 133 points of a person, and the track_id or -1."""


def read_coco(path: Path, num_frames: int | None = None, size: Size | None = None) -> Poses:
    """Every image of the file is a frame, in the order of their names, or else of their ids.

    A list of results does not name images without people: ids that are missing between the first and the last are such frames, and with
    `num_frames` (of the clip that they belong to) also those before and after. Points are scaled to frames of `size` where that is given.
    Raises InputError naming the file.
    """
    value = load_json(path)
    try:
        return _coco(path, value, num_frames, size)
    except (TypeError, ValueError, AttributeError) as error:  # numbers where lists should be, ids that are objects
        raise InputError(f"{path} is not a COCO keypoint file: {error}") from error


def _coco(path: Path, value: Any, num_frames: int | None, size: Size | None) -> Poses:
    listed = value if isinstance(value, list) else value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) and "image_id" in entry for entry in listed):
        raise InputError(f"{path} is not a COCO keypoint file: it has no annotations with an image_id")
    images = value.get("images") if isinstance(value, dict) else None
    order, count = _images(path, images) if images else _frames_of_results(path, [entry["image_id"] for entry in listed], num_frames)
    people = _people(value.get("categories") if isinstance(value, dict) else None)
    by_frame: list[list[Found]] = [[] for _ in range(count)]
    for entry in listed:
        if entry["image_id"] not in order:
            raise InputError(f"{path}: an annotation refers to the image {entry['image_id']!r}, which is not in the list")
        if entry.get("category_id") in people and entry.get("keypoints"):
            by_frame[order[entry["image_id"]]].append(_found(path, entry))
    scale = 0.5 if _has_flags(by_frame) else 1.0
    frames = [[_person(points, number, scale) for points, number in found if points[:, 2].any()] for found in by_frame]
    own = one_size(path, [(image.get("width"), image.get("height")) for image in images or ()])
    return poses_of(path, frames, own, size)


def coco_file(clip: Clip) -> bytes:
    """The layer `poses` as COCO annotations, with COCO-WholeBody's feet, face and hands where they are known. COCO has no neck, no
    mid-hip and no pupils; the third number of a point is its confidence.
    """
    arrays = clip.layer("poses").arrays()
    images = [
        {"id": index, "file_name": f"{index:06d}.png", "width": clip.width, "height": clip.height} for index in range(clip.num_frames)
    ]
    category = {"id": _PERSON, "name": "person", "supercategory": "person", "keypoints": list(_NAMES), "skeleton": []}
    annotations = [{"id": number, **entry} for number, entry in enumerate(_annotations(arrays, clip.num_frames), 1)]
    value = {"info": {"description": clip.id}, "images": images, "annotations": annotations, "categories": [category]}
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _annotations(arrays: Mapping[str, np.ndarray], num_frames: int) -> Iterator[dict[str, Any]]:
    for index in range(num_frames):
        for column in people_in(arrays, index):
            body = arrays["keypoints"][index, column]
            x0, y0, x1, y1 = numbers_of(arrays["boxes"][index, column])
            yield {
                "image_id": index,
                "category_id": _PERSON,
                "track_id": int(arrays["track_id"][index, column]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
                "num_keypoints": int((body[list(COCO_17_IN_BODY_25), 2] > 0).sum()),
                "keypoints": numbers_of(body[list(COCO_17_IN_BODY_25)]),
                **_extras(arrays, index, column),
            }


def _extras(arrays: Mapping[str, np.ndarray], index: int, column: int) -> dict[str, list[float]]:
    """Those of feet, face and hands that have any point."""
    parts = {"foot_kpts": arrays["keypoints"][index, column, FEET_IN_BODY_25]}
    parts |= {"face_kpts": arrays["face"][index, column, :68]} if "face" in arrays else {}
    parts |= {f"{side}hand_kpts": arrays[f"hand_{side}"][index, column] for side in ("left", "right") if f"hand_{side}" in arrays}
    return {name: numbers_of(points) for name, points in parts.items() if points[:, 2].any()}


def _people(categories: Any) -> set[Any]:
    """The category ids that are people: those named person, else 1; or none given."""
    named = [category for category in categories or [] if isinstance(category, dict) and category.get("name") == "person"]
    return {None, *(category.get("id") for category in named)} if named else {None, _PERSON}


def _images(path: Path, images: Any) -> tuple[dict[Any, int], int]:
    """(image id -> number of the frame, number of frames)"""
    if not isinstance(images, list) or not all(isinstance(image, dict) and isinstance(image.get("id"), (int, str)) for image in images):
        raise InputError(f"{path} is not a COCO keypoint file: its images have no ids")
    ordered = sorted(images, key=lambda image: natural_key(str(image.get("file_name", image["id"]))))
    order = {image["id"]: index for index, image in enumerate(ordered)}
    if len(order) != len(images):
        raise InputError(f"{path}: two images have the same id")
    for name, count in Counter(image["file_name"] for image in images if "file_name" in image).items():
        if count > 1:
            raise InputError(f"{path}: {count} images are named {name}", hint="A file holds one video; split it into one for each")
    return order, len(order)


def _frames_of_results(path: Path, ids: Sequence[Any], num_frames: int | None) -> tuple[dict[Any, int], int]:
    """(image id -> number of the frame, number of frames). An id is a number, or a name that ends in one."""
    numbers: dict[Any, int] = {}
    for name in ids:
        found = re.search(r"(\d{1,12})\D*$", str(name))
        if not isinstance(name, (int, str)) or found is None:
            raise InputError(f"{path}: the image_id {name!r} is no number, so the order of the frames is unknown")
        numbers[name] = int(found[1])
    named: dict[int, Any] = {}
    for name, number in numbers.items():
        if (other := named.setdefault(number, name)) is not name:
            raise InputError(f"{path}: the image_ids {other!r} and {name!r} are the same frame")
    if not numbers:
        raise InputError(f"{path} holds no people")
    low, high = min(numbers.values()), max(numbers.values())
    count = num_frames or high - low + 1
    first = low if num_frames is None else max(0, high + 1 - num_frames)
    if low < first or count > 10**6:
        raise InputError(f"{path} refers to the frames {low} to {high}" + (f", but the clip has {num_frames}" if num_frames else ""))
    return {name: number - first for name, number in numbers.items()}, count


def _found(path: Path, entry: Mapping[str, Any]) -> Found:
    name = f"{path}: keypoints of the image {entry['image_id']!r}"
    whole = isinstance(entry["keypoints"], list) and len(entry["keypoints"]) == 3 * COCO_WHOLEBODY.count
    points = read_points(name, entry["keypoints"], COCO_WHOLEBODY.count if whole else COCO_17.count)
    if not whole and any(entry.get(key) for key in _EXTRAS):
        points = np.concatenate([points, *(read_points(f"{name}, {key}", entry.get(key) or [], n) for key, n in _EXTRAS.items())])
    number = entry.get("track_id")
    return points, number if isinstance(number, int) and 0 <= number < 2**31 else -1


def _has_flags(by_frame: Sequence[list[Found]]) -> bool:
    """Whether the third numbers are 0, 1 and 2, some of them 2."""
    third = np.unique(np.concatenate([[0.0], *(points[:17, 2] for found in by_frame for points, _ in found)]))
    return bool(third.max() == 2 and np.isin(third, (0, 1, 2)).all())


def _person(points: Points, number: int, scale: float) -> Person:
    body = points * np.array([1, 1, scale], np.float32)
    return Person(convert(body, COCO_WHOLEBODY if len(points) == COCO_WHOLEBODY.count else COCO_17), number)
