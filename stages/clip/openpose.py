"""OpenPose JSON in and out: one file per frame, BODY_25 (or COCO with 18 points, which becomes BODY_25), hands and face.

Points are in pixels, or with OpenPose's --keypoint_scale 3 and 4 relative to the image. Files that ControlNet's tools have written contain
the size of the image as canvas_width and canvas_height.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.clip.clip import Clip
from stages.clip.ffmpeg import require_readable_file
from stages.clip.images import by_name, natural_key
from stages.clip.people import Person
from stages.clip.scaling import Poses, WidthHeight, common_size, read_coordinates, scale_poses
from stages.clip.schema import MAX_JSON
from stages.errors import InputError
from stages.io.reading import parse_json
from stages.tables.skeletons import BODY_25, BODY_25B, OPENPOSE_18, POINT_COUNTS, Points, Skeleton, convert_to_body_25

PARTS = {"keypoints": ("pose_keypoints_2d", 25)} | {
    part: (f"{part}_keypoints_2d", POINT_COUNTS[part]) for part in ("face", "hand_left", "hand_right")
}
"""Array of the layer -> (key in the JSON file, number of points). Before OpenPose 1.2 the keys did not end in `_2d`."""

Body = Literal["auto", "body_25", "body_25b"]
"""The skeleton of 25 points. auto: BODY_25, or an error if it does not fit. OpenPose does not write which model it has used."""


def list_json(folder: Path) -> list[Path]:
    """The JSON files directly in `folder` in natural order. Raises InputError when there is none, or two have the same name."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder with JSON files")
    files = [path for path in folder.iterdir() if path.suffix.lower() == ".json" and not path.name.startswith(".")]
    if not files:
        raise InputError(f"{folder} holds no JSON file")
    return list(by_name(sorted(files, key=lambda path: natural_key(path.name))).values())


def read_openpose(files: Sequence[Path], size: WidthHeight | None = None, body: Body = "auto") -> Poses:
    """The people in the files of a folder, which has one file per frame, scaled to frames of `size` (width, height) if it is given.

    Raises InputError naming a file that is not OpenPose JSON, for points that cannot be scaled (see `find_scaling`), and with "auto" for
    points that are not in the order of BODY_25.
    """
    folder, values = files[0].parent, [_read_frame(path) for path in files]
    image_size = common_size(folder, [(value.get("canvas_width"), value.get("canvas_height")) for value in values])
    people = [[person for person in value["people"] if isinstance(person, dict)] for value in values]
    skeleton = BODY_25B if body == "body_25b" else BODY_25
    frames = [[_read_person(path, person, skeleton) for person in persons] for path, persons in zip(files, people, strict=True)]
    if body == "auto":
        _require_body_25(folder, [person.parts["keypoints"] for persons in frames for person in persons])
    poses = scale_poses(folder, frames, image_size, size)
    return replace(poses, parameters={**poses.parameters, "skeleton": skeleton.name}) if skeleton is BODY_25B else poses


def _require_body_25(folder: Path, bodies: Sequence[Points]) -> None:
    """Raises InputError when the points 1 to 4 of most people are much nearer to the nose than the points 5 and 6.

    1 to 4 are the eyes and ears in BODY_25B, neck and right arm in BODY_25. 5 and 6 are the shoulders in BODY_25B, left shoulder and elbow
    in BODY_25.
    """
    looks_like_25b = []
    for points in bodies:
        distance, seen = np.linalg.norm(points[:, :2] - points[0, :2], axis=1), points[:, 2] > 0
        near, far = (distance[part][seen[part]] for part in (slice(1, 5), slice(5, 7)))
        if seen[0] and len(near) > 1 and len(far):
            looks_like_25b.append(far.min() > 1.5 * near.max())
    if looks_like_25b and np.mean(looks_like_25b) > 0.5:
        raise InputError(f"{folder} cannot be BODY_25: its points 1 to 4, neck and right arm, lie around the nose", code="not-body-25")


def openpose_files(clip: Clip) -> Iterator[tuple[str, bytes]]:
    """(name, content) of ID_000000000000_keypoints.json and so on, in version 1.3 of OpenPose's format."""
    arrays = clip.layer("poses").arrays()
    parts = {array: key for array, (key, _) in PARTS.items() if array in arrays}
    for index in range(clip.num_frames):
        people = [_person_json(arrays, parts, index, column) for column in columns_of_people(arrays, index)]
        text = json.dumps({"version": 1.3, "people": people}, separators=(",", ":"), allow_nan=False)
        yield f"{clip.id}_{index:012d}_keypoints.json", text.encode()


def columns_of_people(arrays: Mapping[str, np.ndarray], index: int) -> list[int]:
    """The columns in the arrays of the people who have a point in frame `index`."""
    seen = [(arrays[name][index, ..., 2] > 0).any(-1) for name in PARTS if name in arrays]
    return [int(column) for column in np.flatnonzero(np.any(seen, axis=0))]


def shortest_floats(array: np.ndarray) -> list[float]:
    """The numbers of an array as a flat list, in the fewest digits from which the same float32 numbers can be read."""
    return [float(text) for text in array.ravel().astype(np.float32).astype(str)]


def _person_json(arrays: Mapping[str, np.ndarray], parts: Mapping[str, str], index: int, column: int) -> dict[str, Any]:
    points = {key: shortest_floats(arrays[array][index, column]) for array, key in parts.items()}
    empty: dict[str, Any] = {key: [] for key, _ in PARTS.values()}
    return {"person_id": [int(arrays["track_id"][index, column])], **empty, **points}


def load_json(path: Path) -> Any:
    """Any JSON value. Raises InputError naming the file."""
    require_readable_file(path)
    if path.stat().st_size > MAX_JSON:
        raise InputError(f"{path} is larger than {MAX_JSON >> 20} MiB, the limit for JSON files", hint="Split it")
    try:
        return parse_json(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def _read_frame(path: Path) -> dict[str, Any]:
    value = load_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("people"), list):
        raise InputError(f'{path} is not OpenPose JSON: it has no list "people"')
    return value


def _read_person(path: Path, person: Mapping[str, Any], skeleton: Skeleton) -> Person:
    """skeleton: the one that applies if the body has 25 points."""
    lists = {name: person.get(key, person.get(key.removesuffix("_2d"))) or [] for name, (key, _) in PARTS.items()}
    parts = {
        name: read_points(f"{path}: {PARTS[name][0]}", lists[name], POINT_COUNTS[name]) for name in POINT_COUNTS if name != "keypoints"
    }
    number = person.get("person_id")
    return Person({**parts, "keypoints": _read_body(path, lists["keypoints"], skeleton)}, _person_number(number))


def _read_body(path: Path, values: Any, skeleton_of_25: Skeleton) -> Points:
    skeleton = OPENPOSE_18 if isinstance(values, list) and len(values) // 3 == OPENPOSE_18.count else skeleton_of_25
    points = read_points(f"{path}: {PARTS['keypoints'][0]}", values, skeleton.count)
    return convert_to_body_25(points, skeleton)["keypoints"]


def _person_number(value: Any) -> int:
    """The number in a person_id, which is a list of one number; -1 if unknown, as OpenPose itself writes."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, int) and 0 <= first < 2**31 else -1


def read_points(name: str, values: Any, count: int) -> Points:
    """A flat list x, y, confidence, ... -> points [count, 3]. An empty list gives absent points.

    A point with confidence 0 is absent, and its coordinates are set to 0. Raises InputError with a message that begins with `name`.
    """
    if values == []:
        return np.zeros((count, 3), np.float32)
    try:
        coordinates = read_coordinates(values)
    except TypeError as error:
        raise InputError(f"{name} is not a list of x, y, confidence") from error
    except ValueError as error:
        raise InputError(f"{name} {error}") from error
    if coordinates.size % 3:
        raise InputError(f"{name} is not a list of x, y, confidence")
    points = coordinates.reshape(-1, 3)
    if len(points) != count:
        raise InputError(f"{name} has {len(points)} points; {count} are known" + (" (BODY_25)" if count == 25 else ""))
    return np.where(points[:, 2:] > 0, points, 0).astype(np.float32)
