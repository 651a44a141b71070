"""OpenPose JSON in and out: one file per frame, BODY_25 (or COCO with 18 points, which becomes BODY_25)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.clip import Clip
from stages.clip.ffmpeg import require_readable_file
from stages.clip.pictures import natural_key
from stages.errors import BadInput

PARTS = {"keypoints": ("pose_keypoints_2d", 25), "face": ("face_keypoints_2d", 70)} | {
    f"hand_{side}": (f"hand_{side}_keypoints_2d", 21) for side in ("left", "right")
}
"""Array of the layer -> (key of the JSON file, number of points)."""

_COCO_18_IN_BODY_25 = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]


def list_json(folder: Path) -> list[Path]:
    """The JSON files directly in `folder` in natural order. BadInput when there is none."""
    files = [path for path in folder.iterdir() if path.suffix.lower() == ".json" and not path.name.startswith(".")]
    if not files:
        raise BadInput(f"{folder} holds no JSON file")
    return sorted(files, key=lambda path: natural_key(path.name))


def read_openpose(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """The arrays of a `poses` layer: keypoints [T, P, 25, 3], boxes [T, P, 4], track_id [T, P], and where any person has
    them face [T, P, 70, 3], hand_left, hand_right [T, P, 21, 3].

    A person keeps column and track_id from frame to frame (nearest by mean distance of the shared points); a column
    without a person has confidence 0 and track_id -1. Raises BadInput naming the file that is not OpenPose JSON.
    """
    frames = _tracked([_people(path) for path in files])
    columns = max(1, max((column + 1 for frame in frames for column in frame), default=1))
    arrays = {name: np.zeros((len(files), columns, count, 3), np.float32) for name, (_, count) in PARTS.items()}
    arrays["track_id"] = np.full((len(files), columns), -1, np.int32)
    for index, frame in enumerate(frames):
        for column, person in frame.items():
            arrays["track_id"][index, column] = column
            for name in PARTS:
                arrays[name][index, column] = person[name]
    arrays["boxes"] = boxes_of(arrays["keypoints"])
    return {name: array for name, array in arrays.items() if name in ("keypoints", "boxes", "track_id") or array.any()}


def boxes_of(points: np.ndarray) -> np.ndarray:
    """[..., K, 3] points to the boxes [..., 4] (x0, y0, x1, y1) around those with a confidence; zeros where there is none."""
    seen = points[..., 2:] > 0
    low = np.where(seen, points[..., :2], np.inf).min(-2)
    high = np.where(seen, points[..., :2], -np.inf).max(-2)
    return np.where(seen.any(-2), np.concatenate([low, high], -1), 0).astype(np.float32)


def openpose_files(clip: Clip) -> Iterator[tuple[str, bytes]]:
    """(name, content) of ID_000000000000_keypoints.json and so on, as OpenPose 1.3 writes them."""
    arrays = clip.layer("poses").arrays()
    parts = {array: key for array, (key, _) in PARTS.items() if array in arrays}
    for index in range(clip.num_frames):
        present = [column for column in range(arrays["keypoints"].shape[1]) if (arrays["keypoints"][index, column, :, 2] > 0).any()]
        people = [_person_json(arrays, parts, index, column) for column in present]
        text = json.dumps({"version": 1.3, "people": people}, separators=(",", ":"), allow_nan=False)
        yield f"{clip.id}_{index:012d}_keypoints.json", text.encode()


def _person_json(arrays: Mapping[str, np.ndarray], parts: Mapping[str, str], index: int, column: int) -> dict[str, Any]:
    points = {key: [round(float(value), 3) for value in arrays[array][index, column].ravel()] for array, key in parts.items()}
    empty: dict[str, Any] = {key: [] for key, _ in PARTS.values()}
    return {"person_id": [int(arrays["track_id"][index, column])], **empty, **points}


def load_json(path: Path) -> Any:
    """Any JSON value. Raises BadInput naming the file."""
    require_readable_file(path)
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}") from error


def _people(path: Path) -> list[dict[str, np.ndarray]]:
    value = load_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("people"), list):
        raise BadInput(f'{path} is not OpenPose JSON: it has no list "people"')
    return [_person(path, person) for person in value["people"] if isinstance(person, dict)]


def _person(path: Path, person: Mapping[str, Any]) -> dict[str, np.ndarray]:
    points = {name: _points(path, key, person.get(key, []), count) for name, (key, count) in PARTS.items() if name != "keypoints"}
    body = person.get("pose_keypoints_2d", [])
    if isinstance(body, list) and len(body) == 54:
        return {**points, "keypoints": _from_coco(_points(path, "pose_keypoints_2d", body, 18))}
    return {**points, "keypoints": _points(path, "pose_keypoints_2d", body, 25)}


def _points(path: Path, key: str, values: Any, count: int) -> np.ndarray:
    """[count, 3]; confidence 0 stands for a point that is absent, and its place is set to 0."""
    if values == []:
        return np.zeros((count, 3), np.float32)
    try:
        points = np.array(values, np.float32).reshape(-1, 3)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path}: {key} is not a list of x, y, confidence") from error
    if len(points) != count:
        raise BadInput(f"{path}: {key} has {len(points)} points; {count} are known" + (" (BODY_25)" if count == 25 else ""))
    if not np.isfinite(points).all():
        raise BadInput(f"{path}: {key} holds NaN or infinite numbers")
    return np.where(points[:, 2:] > 0, points, 0).astype(np.float32)


def _from_coco(points: np.ndarray) -> np.ndarray:
    body = np.zeros((25, 3), np.float32)
    body[_COCO_18_IN_BODY_25] = points
    hips = body[[9, 12]]
    if (hips[:, 2] > 0).all():
        body[8] = [*hips[:, :2].mean(0), hips[:, 2].min()]
    return body


def _tracked(frames: list[list[dict[str, np.ndarray]]]) -> list[dict[int, dict[str, np.ndarray]]]:
    """Give each person a column: that of the nearest person of an earlier frame, else a new one."""
    last: dict[int, np.ndarray] = {}
    tracked = []
    for people in frames:
        pairs = sorted(
            (distance, column, number)
            for column, before in last.items()
            for number, person in enumerate(people)
            if (distance := _distance(before, person["keypoints"])) < 1.0
        )
        columns: dict[int, int] = {}
        for _, column, number in pairs:
            if number not in columns and column not in columns.values():
                columns[number] = column
        for number in range(len(people)):
            columns.setdefault(number, next(free for free in range(10**6) if free not in last and free not in columns.values()))
        tracked.append({columns[number]: person for number, person in enumerate(people)})
        last.update({columns[number]: person["keypoints"] for number, person in enumerate(people)})
    return tracked


def _distance(before: np.ndarray, now: np.ndarray) -> float:
    """Mean distance of the points seen in both, in heights of the person; infinite when none is."""
    shared = (before[:, 2] > 0) & (now[:, 2] > 0)
    if not shared.any():
        return float("inf")
    height = max(float(np.ptp(before[before[:, 2] > 0, 1])), float(np.ptp(now[now[:, 2] > 0, 1])), 1.0)
    return float(np.linalg.norm(before[shared, :2] - now[shared, :2], axis=1).mean()) / height
