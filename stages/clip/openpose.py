"""OpenPose JSON in and out: one file per frame, BODY_25 (or COCO with 18 points, which becomes BODY_25), hands and face.

Points are pixels, or with --keypoint_scale 3 and 4 shares of the picture. Its size is in canvas_width and canvas_height where ControlNet's
tools wrote the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.clip import Clip
from stages.clip.ffmpeg import require_readable_file
from stages.clip.people import Person
from stages.clip.pictures import natural_key
from stages.clip.scaling import Poses, Size, one_size, poses_of
from stages.errors import BadInput
from stages.skeletons import BODY_25, OPENPOSE_18, SIZES, Points, convert

PARTS = {"keypoints": ("pose_keypoints_2d", 25)} | {
    part: (f"{part}_keypoints_2d", SIZES[part]) for part in ("face", "hand_left", "hand_right")
}
"""Array of the layer -> (key of the JSON file, number of points). Before OpenPose 1.2 the keys had no `_2d`."""

_BODIES = {BODY_25.count: BODY_25, OPENPOSE_18.count: OPENPOSE_18}


def list_json(folder: Path) -> list[Path]:
    """The JSON files directly in `folder` in natural order. BadInput when there is none."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder with JSON files")
    files = [path for path in folder.iterdir() if path.suffix.lower() == ".json" and not path.name.startswith(".")]
    if not files:
        raise BadInput(f"{folder} holds no JSON file")
    return sorted(files, key=lambda path: natural_key(path.name))


def read_openpose(files: Sequence[Path], size: Size | None = None) -> Poses:
    """The people of a folder, one file per frame, scaled to frames of `size` (width, height) where that is given.

    Raises BadInput naming the file that is not OpenPose JSON, and for points whose picture is not known or has another shape.
    """
    values = [_frame(path) for path in files]
    own = one_size(files[0].parent, [(value.get("canvas_width"), value.get("canvas_height")) for value in values])
    frames = [
        [_person(path, person) for person in value["people"] if isinstance(person, dict)] for path, value in zip(files, values, strict=True)
    ]
    return poses_of(files[0].parent, frames, own, size)


def openpose_files(clip: Clip) -> Iterator[tuple[str, bytes]]:
    """(name, content) of ID_000000000000_keypoints.json and so on, as OpenPose 1.3 writes them."""
    arrays = clip.layer("poses").arrays()
    parts = {array: key for array, (key, _) in PARTS.items() if array in arrays}
    for index in range(clip.num_frames):
        people = [_person_json(arrays, parts, index, column) for column in people_in(arrays, index)]
        text = json.dumps({"version": 1.3, "people": people}, separators=(",", ":"), allow_nan=False)
        yield f"{clip.id}_{index:012d}_keypoints.json", text.encode()


def people_in(arrays: Mapping[str, np.ndarray], index: int) -> list[int]:
    """The columns of those of whom anything is seen in frame `index`."""
    seen = [(arrays[name][index, ..., 2] > 0).any(-1) for name in PARTS if name in arrays]
    return [int(column) for column in np.flatnonzero(np.any(seen, axis=0))]


def numbers_of(array: np.ndarray) -> list[float]:
    """A flat list of float32 numbers in the fewest digits that give the very same numbers again."""
    return [float(text) for text in array.ravel().astype(np.float32).astype(str)]


def _person_json(arrays: Mapping[str, np.ndarray], parts: Mapping[str, str], index: int, column: int) -> dict[str, Any]:
    points = {key: numbers_of(arrays[array][index, column]) for array, key in parts.items()}
    empty: dict[str, Any] = {key: [] for key, _ in PARTS.values()}
    return {"person_id": [int(arrays["track_id"][index, column])], **empty, **points}


def load_json(path: Path) -> Any:
    """Any JSON value. Raises BadInput naming the file."""
    require_readable_file(path)
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}") from error


def _frame(path: Path) -> dict[str, Any]:
    value = load_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("people"), list):
        raise BadInput(f'{path} is not OpenPose JSON: it has no list "people"')
    return value


def _person(path: Path, person: Mapping[str, Any]) -> Person:
    lists = {name: person.get(key, person.get(key.removesuffix("_2d"))) or [] for name, (key, _) in PARTS.items()}
    parts = {name: read_points(f"{path}: {PARTS[name][0]}", lists[name], SIZES[name]) for name in SIZES if name != "keypoints"}
    number = person.get("person_id")
    return Person({**parts, "keypoints": _body(path, lists["keypoints"])}, _number(number))


def _body(path: Path, values: Any) -> Points:
    skeleton = _BODIES.get(len(values) // 3 if isinstance(values, list) else 0, BODY_25)
    points = read_points(f"{path}: {PARTS['keypoints'][0]}", values, skeleton.count)
    return convert(points, skeleton)["keypoints"]


def _number(value: Any) -> int:
    """person_id is a list of one number; OpenPose itself writes [-1]."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, int) and 0 <= first < 2**31 else -1


def read_points(name: str, values: Any, count: int) -> Points:
    """[count, 3] of a flat list x, y, confidence; an empty one is all absent. Confidence 0 stands for a point that is absent,
    and its place is set to 0. Raises BadInput, beginning with `name`.
    """
    if values == []:
        return np.zeros((count, 3), np.float32)
    try:
        points = np.array(values, np.float32).reshape(-1, 3)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"{name} is not a list of x, y, confidence") from error
    if len(points) != count:
        raise BadInput(f"{name} has {len(points)} points; {count} are known" + (" (BODY_25)" if count == 25 else ""))
    if not np.isfinite(points).all():
        raise BadInput(f"{name} holds NaN, null or infinite numbers")
    return np.where(points[:, 2:] > 0, points, 0).astype(np.float32)
