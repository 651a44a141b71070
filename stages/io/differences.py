"""How existing output differs from the requested output: the list in the message of a command that refuses to replace it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The fields in which two JSON objects differ, each as "name: old -> new"; the name of a nested field is "outer.inner"."""
    before, after = _flatten(old), _flatten(new)
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"{name}: {json.dumps(before.get(name))} -> {json.dumps(after.get(name))}" for name in names]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item})
    return flat
