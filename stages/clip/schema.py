"""clip.json and layer.json: strict reading, deterministic writing, and checks of their fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from stages.clip.probe import Timestamps
from stages.errors import InvalidClip
from stages.io.image_headers import MAX_SIDE

CLIP_SCHEMA = "fsv2v.clip/1"
LAYER_SCHEMA = "fsv2v.layer/1"
MAX_FRAMES = 10_000_000
MAX_JSON = 256 << 20
"""Largest JSON file in bytes; as Python objects it can take twenty times as much memory."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


def is_layer_name(name: str) -> bool:
    """Whether `name` can be that of a layer: a lower-case letter, then at most 40 lower-case letters, digits, - and _."""
    return bool(_NAME.fullmatch(name))


def dump(value: Mapping[str, Any]) -> bytes:
    """JSON in ASCII, indented by two spaces, with a final newline. Raises ValueError for NaN."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode("ascii")


def load(data: bytes, name: str) -> dict[str, Any]:
    """Parse a JSON object without NaN and duplicate keys. Raises InvalidClip, whose message begins with `name`."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a name occurs twice")
        return dict(pairs)

    if len(data) > MAX_JSON:
        raise InvalidClip(f"{name} is larger than {MAX_JSON >> 20} MiB")
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InvalidClip(f"{name} is not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidClip(f"{name} is not a JSON object")
    return value


def require_schema(value: Mapping[str, Any], schema: str, name: str) -> None:
    """Raises InvalidClip unless the entry "schema" has the name and the major version of `schema`. Minor versions are ignored."""
    family, _, supported = schema.partition("/")
    match = re.fullmatch(rf"{re.escape(family)}/(\d+)(\.\d+)*", str(value.get("schema")))
    if match is None:
        raise InvalidClip(f'{name} has the schema "{value.get("schema")}", not "{schema}"')
    if int(match[1]) > int(supported):
        raise InvalidClip(f'{name} was written in a newer format, "{value["schema"]}"; this version reads "{schema}"', hint="Update fsv2v")
    if int(match[1]) < int(supported):
        raise InvalidClip(f'{name} has the schema "{value["schema"]}", which never existed')


def read_integer(value: Mapping[str, Any], key: str, low: int, high: int, name: str) -> int:
    """The integer value[key]. Raises InvalidClip unless it is within [low, high]."""
    number = value.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise InvalidClip(f'{name}: "{key}" must be a whole number from {low} to {high}, not {number!r}')
    return number


def read_rational(value: Mapping[str, Any], key: str, name: str) -> Fraction:
    """value[key], a positive rational such as "30000/1001". Raises InvalidClip."""
    text = value.get(key)
    match = re.fullmatch(r"(\d{1,12})(?:/(\d{1,12}))?", text) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0 or int(match[2] or 1) == 0:
        raise InvalidClip(f'{name}: "{key}" must be a positive rational such as "30000/1001", not {text!r}')
    return Fraction(int(match[1]), int(match[2] or 1))


def read_seconds(value: Mapping[str, Any], key: str, name: str) -> Fraction:
    """value[key], a time in seconds such as "-1/30"; 0 if absent. Raises InvalidClip."""
    text = str(value.get(key, "0"))
    match = re.fullmatch(r"(-?\d{1,40})(?:/(\d{1,40}))?|-?\d{1,9}\.\d{1,18}", text)
    if match is None or match[2] is not None and int(match[2]) == 0:
        raise InvalidClip(f'{name}: "{key}" must be seconds such as "1/30", not {text!r:.100}')
    return Fraction(text)


def read_ffmpeg_name(value: Mapping[str, Any], key: str, name: str) -> str:
    """value[key], a name in ffmpeg such as "yuv420p"; "" if absent.

    Raises InvalidClip for other characters than those of names, since ffmpeg could read them as options.
    """
    text = value.get(key, "")
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{0,40}", text):
        raise InvalidClip(f'{name}: "{key}" must be a name of ffmpeg\'s, not {text!r:.100}')
    return text


def rational_text(value: Fraction) -> str:
    """A rational as text, always with a denominator, such as "25/1"."""
    return f"{value.numerator}/{value.denominator}"


def read_timestamps(value: Mapping[str, Any], num_frames: int, name: str) -> Timestamps | None:
    """The times of the frames of a variable-rate clip; None for a constant rate. Raises InvalidClip."""
    entry = value.get("timestamps")
    if entry is None:
        return None
    ticks = entry.get("ticks") if isinstance(entry, dict) else None
    if not isinstance(ticks, list) or len(ticks) != num_frames or not all(type(tick) is int for tick in ticks):
        raise InvalidClip(f'{name}: "timestamps" must hold {num_frames} whole ticks and a time base')
    if any(a >= b for a, b in zip(ticks, ticks[1:], strict=False)):
        raise InvalidClip(f'{name}: "timestamps" do not rise from frame to frame')
    return Timestamps(read_rational(entry, "time_base", name), tuple(ticks))


def timestamps_json(times: Timestamps | None) -> dict[str, Any] | None:
    return None if times is None else {"time_base": rational_text(times.time_base), "ticks": list(times.ticks)}


def check_clip(value: Mapping[str, Any], name: str) -> None:
    """Raises InvalidClip unless `value` is a valid clip.json of format 1."""
    require_schema(value, CLIP_SCHEMA, name)
    read_integer(value, "width", 1, MAX_SIDE, name)
    read_integer(value, "height", 1, MAX_SIDE, name)
    num_frames = read_integer(value, "num_frames", 1, MAX_FRAMES, name)
    read_rational(value, "fps", name)
    read_timestamps(value, num_frames, name)
    if not isinstance(value.get("id"), str) or not value["id"]:
        raise InvalidClip(f'{name}: "id" must be a string')
    if PurePath(value["id"]).name != value["id"] or value["id"] in (".", "..") or "\0" in value["id"]:
        raise InvalidClip(f'{name}: "id" must be a name, not the path {value["id"]!r}', hint="Files are named after it")
    if not isinstance(value.get("source"), dict | None):
        raise InvalidClip(f'{name}: "source" must be an object or null')


def check_layer(value: Mapping[str, Any], kind: str, num_frames: int, name: str) -> None:
    """Raises InvalidClip unless `value` is a valid layer.json of `kind` for a clip of `num_frames` frames."""
    require_schema(value, LAYER_SCHEMA, name)
    if value.get("kind") != kind:
        raise InvalidClip(f'{name}: "kind" is {value.get("kind")!r}, but its folder is {kind}')
    if read_integer(value, "num_frames", 1, MAX_FRAMES, name) != num_frames:
        raise InvalidClip(f"{name}: the layer has {value['num_frames']} frames, the clip has {num_frames}")
    if "channels" in value:
        read_integer(value, "channels", 1, 3, name)
    for key, type_ in (("digest", str), ("producer", dict), ("inputs", dict)):
        if not isinstance(value.get(key), type_):
            raise InvalidClip(f'{name}: "{key}" is missing or of the wrong type')
