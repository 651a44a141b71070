"""COCO keypoints in and out: one JSON file for all frames, either annotations of images or a list of results.

    {"images": [{"id": 7, "file_name": "000007.jpg", "width": 640, "height": 480}, ...],
     "annotations": [{"image_id": 7, "category_id": 1, "track_id": 3, "keypoints": [x, y, v, ... 17 times]}, ...]}
    [{"image_id": 7, "category_id": 1, "keypoints": [x, y, score, ...], "score": 0.9}, ...]

A person may have 17 points, the 133 of COCO-WholeBody, or 17 with foot_kpts, face_kpts, lefthand_kpts and righthand_kpts. If the `v` of all
bodies in a file are 0, 1 or 2, and at least one is 2, all `v` are flags (0 absent, 1 hidden, 2 visible; the confidence is v / 2). Otherwise
they are confidences.
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
from stages.clip.openpose import columns_of_people, load_json, read_points, shortest_floats
from stages.clip.people import Person
from stages.clip.scaling import Poses, WidthHeight, common_size, scale_poses
from stages.errors import InputError
from stages.tables.skeletons import COCO_17, COCO_17_IN_BODY_25, COCO_WHOLEBODY, FEET_IN_BODY_25, Points, convert_to_body_25

_PERSON_CATEGORY = 1
_EXTRA_PARTS = {"foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
"""key -> number of points, in the order of COCO-WholeBody's 133 points, after the 17 of the body."""
_KEYPOINT_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

CocoPerson = tuple[Points, int]
"""The 17 or 133 points of a person, and the track_id, -1 if unknown."""


def read_coco(path: Path, num_frames: int | None = None, size: WidthHeight | None = None) -> Poses:
    """The people of a COCO keypoint file. Every image is a frame. Frames are ordered by the names of the images, or else by their ids.

    A list of results does not mention images without people. So every id between the first and the last is a frame, too. With
    `num_frames`, the length of the clip to which the people belong, frames without people are added before the first id and after the
    last. Points are scaled to frames of `size`, if given. Raises InputError naming the file.
    """
    value = load_json(path)
    try:
        return _parse(path, value, num_frames, size)
    except (TypeError, ValueError, AttributeError) as error:  # such as a number in place of a list, or an object as an id
        raise InputError(f"{path} is not a COCO keypoint file: {error}") from error


def _parse(path: Path, value: Any, num_frames: int | None, size: WidthHeight | None) -> Poses:
    annotations = value if isinstance(value, list) else value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(entry, dict) and "image_id" in entry for entry in annotations):
        raise InputError(f"{path} is not a COCO keypoint file: it has no annotations with an image_id")
    images = value.get("images") if isinstance(value, dict) else None
    frame_of_image, count = (
        _order_of_images(path, images) if images else _order_of_results(path, [entry["image_id"] for entry in annotations], num_frames)
    )
    person_categories = _person_categories(value.get("categories") if isinstance(value, dict) else None)
    by_frame: list[list[CocoPerson]] = [[] for _ in range(count)]
    for entry in annotations:
        if entry["image_id"] not in frame_of_image:
            raise InputError(f"{path}: an annotation refers to the image {entry['image_id']!r}, which is not in the list")
        if entry.get("category_id") in person_categories and entry.get("keypoints"):
            by_frame[frame_of_image[entry["image_id"]]].append(_read_person(path, entry))
    scale = 0.5 if _has_flags(by_frame) else 1.0
    frames = [
        [_to_person(points, track_id, scale) for points, track_id in people_of_frame if points[:, 2].any()] for people_of_frame in by_frame
    ]
    image_size = common_size(path, [(image.get("width"), image.get("height")) for image in images or ()])
    return scale_poses(path, frames, image_size, size)


def coco_file(clip: Clip) -> bytes:
    """The layer `poses` as a COCO annotation file, with COCO-WholeBody's feet, face and hands if the clip has them.

    COCO has no neck, no mid-hip and no pupils. The third number of a point is its confidence.
    """
    arrays = clip.layer("poses").arrays()
    images = [
        {"id": index, "file_name": f"{index:06d}.png", "width": clip.width, "height": clip.height} for index in range(clip.num_frames)
    ]
    category = {"id": _PERSON_CATEGORY, "name": "person", "supercategory": "person", "keypoints": list(_KEYPOINT_NAMES), "skeleton": []}
    annotations = [{"id": number, **entry} for number, entry in enumerate(_annotations(arrays, clip.num_frames), 1)]
    value = {"info": {"description": clip.id}, "images": images, "annotations": annotations, "categories": [category]}
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _annotations(arrays: Mapping[str, np.ndarray], num_frames: int) -> Iterator[dict[str, Any]]:
    for index in range(num_frames):
        for column in columns_of_people(arrays, index):
            body = arrays["keypoints"][index, column]
            x0, y0, x1, y1 = shortest_floats(arrays["boxes"][index, column])
            yield {
                "image_id": index,
                "category_id": _PERSON_CATEGORY,
                "track_id": int(arrays["track_id"][index, column]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
                "num_keypoints": int((body[list(COCO_17_IN_BODY_25), 2] > 0).sum()),
                "keypoints": shortest_floats(body[list(COCO_17_IN_BODY_25)]),
                **_extra_parts(arrays, index, column),
            }


def _extra_parts(arrays: Mapping[str, np.ndarray], index: int, column: int) -> dict[str, list[float]]:
    """The entries for feet, face and hands, without those that have no point."""
    parts = {"foot_kpts": arrays["keypoints"][index, column, FEET_IN_BODY_25]}
    parts |= {"face_kpts": arrays["face"][index, column, :68]} if "face" in arrays else {}
    parts |= {f"{side}hand_kpts": arrays[f"hand_{side}"][index, column] for side in ("left", "right") if f"hand_{side}" in arrays}
    return {name: shortest_floats(points) for name, points in parts.items() if points[:, 2].any()}


def _person_categories(categories: Any) -> set[Any]:
    """The category ids of people: those of the categories named person, or else 1. A missing id (None) always counts as a person."""
    named = [category for category in categories or [] if isinstance(category, dict) and category.get("name") == "person"]
    return {None, *(category.get("id") for category in named)} if named else {None, _PERSON_CATEGORY}


def _order_of_images(path: Path, images: Any) -> tuple[dict[Any, int], int]:
    """(image id -> index of the frame, number of frames)"""
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


def _order_of_results(path: Path, ids: Sequence[Any], num_frames: int | None) -> tuple[dict[Any, int], int]:
    """(image id -> index of the frame, number of frames). An id is a number, or a name whose last number counts."""
    numbers: dict[Any, int] = {}
    for name in ids:
        match = re.search(r"(\d{1,12})\D*$", str(name))
        if not isinstance(name, (int, str)) or match is None:
            raise InputError(f"{path}: the image_id {name!r} is no number, so the order of the frames is unknown")
        numbers[name] = int(match[1])
    name_of_number: dict[int, Any] = {}
    for name, number in numbers.items():
        if (other := name_of_number.setdefault(number, name)) is not name:
            raise InputError(f"{path}: the image_ids {other!r} and {name!r} are the same frame")
    if not numbers:
        raise InputError(f"{path} holds no people")
    lowest, highest = min(numbers.values()), max(numbers.values())
    count = num_frames or highest - lowest + 1
    first = lowest if num_frames is None else max(0, highest + 1 - num_frames)
    if lowest < first or count > 10**6:
        raise InputError(f"{path} refers to the frames {lowest} to {highest}" + (f", but the clip has {num_frames}" if num_frames else ""))
    return {name: number - first for name, number in numbers.items()}, count


def _read_person(path: Path, entry: Mapping[str, Any]) -> CocoPerson:
    name = f"{path}: keypoints of the image {entry['image_id']!r}"
    is_wholebody = isinstance(entry["keypoints"], list) and len(entry["keypoints"]) == 3 * COCO_WHOLEBODY.count
    points = read_points(name, entry["keypoints"], COCO_WHOLEBODY.count if is_wholebody else COCO_17.count)
    if not is_wholebody and any(entry.get(key) for key in _EXTRA_PARTS):
        points = np.concatenate([points, *(read_points(f"{name}, {key}", entry.get(key) or [], n) for key, n in _EXTRA_PARTS.items())])
    track_id = entry.get("track_id")
    return points, track_id if isinstance(track_id, int) and 0 <= track_id < 2**31 else -1


def _has_flags(by_frame: Sequence[list[CocoPerson]]) -> bool:
    """Whether the third numbers of the points are flags: those of the 17 points of bodies are only 0, 1 and 2, with at least one 2."""
    values = np.unique(np.concatenate([[0.0], *(points[:17, 2] for people in by_frame for points, _ in people)]))
    return bool(values.max() == 2 and np.isin(values, (0, 1, 2)).all())


def _to_person(points: Points, track_id: int, scale: float) -> Person:
    body = points * np.array([1, 1, scale], np.float32)
    return Person(convert_to_body_25(body, COCO_WHOLEBODY if len(points) == COCO_WHOLEBODY.count else COCO_17), track_id)
