"""What --dry-run prints."""

from __future__ import annotations

import json
from typing import Any

from fsv2v_cli.console import emit
from fsv2v_cli.precedence import Resolved
from fsv2v_cli.sizes import Sides


def print_options(options: Resolved, decisions: dict[str, str], as_json: bool) -> None:
    """Print the values of all options to stdout: as JSON, or as TOML that --config accepts, with the source of each value as a comment.

    decisions: option -> what its value `auto` stands for, and why.
    """
    if as_json:
        values, sources = (
            {options.keys[name]: _toml_value(value) for name, value in table.items()} for table in (options.values, options.sources)
        )
        emit({"command": options.command, "values": values, "sources": sources} | ({"decisions": decisions} if decisions else {}))
        return
    lines = {name: _toml_line(options.keys[name], value) for name, value in options.values.items()}
    width = max(map(len, lines.values()), default=0)
    emit(f"[{'.'.join(options.command.split())}]")
    for name, line in lines.items():
        emit(f"{line:{width}}  # {options.sources[name]}")
    for name, text in decisions.items():
        emit(f"# {name}: {text}")


def _toml_line(name: str, value: Any) -> str:
    if value is None:
        return f"# {name} is not set"
    if name == "inputs":
        return f"# inputs = {json.dumps(_toml_value(value), ensure_ascii=False)}"
    return f"{name.replace('_', '-')} = {json.dumps(_toml_value(value), ensure_ascii=False)}"


def _toml_value(value: Any) -> Any:
    if isinstance(value, Sides):
        return str(value)
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(item, int) for item in value):
        return f"{value[0]}/{value[1]}"  # a shard
    if isinstance(value, (list, tuple)):
        return [_toml_value(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
