"""The folder of a run: config.json, log.ndjson, speed.ndjson, states (to resume exactly) and snapshots (models with the EMA weights)."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stages.errors import READ_ERRORS, InputError, ParametersDiffer
from stages.io.differences import differences
from stages.io.files import LOCK_SUFFIX, explain_write_errors, write_atomically
from stages.io.reading import parse_object
from stages.train.config import TrainConfig

MILESTONES_KEPT = 3
SNAPSHOTS_KEPT = 3


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten: dict[str, list[str]] = {}

    def claim(self, config: TrainConfig, data: str, *, overwrite: bool) -> None:
        """Write config.json for a new run, or check that the run here has the same `config` and `data`, so that it can be resumed.

        Raises ParametersDiffer, with the differences, and InputError when the folder contains other files or config.json is damaged.
        With `overwrite`, it raises neither: states, snapshots and logs are removed, and a new run starts. A run with the same settings is
        resumed in any case.
        """
        header = json.loads(json.dumps({"schema": "fsv2v.run/1", "data": data, "config": config.to_json()}))
        file = self.path / "config.json"
        if file.exists():
            if (existing := self._read_header(file, overwrite)) == header:
                return
            if not overwrite:
                changes = "; ".join(differences(existing or {}, header))
                raise ParametersDiffer(f"{self.path} holds a run with other settings: {changes}", code="output-differs")
        elif self.path.is_dir() and any(entry.name != LOCK_SUFFIX for entry in self.path.iterdir()) and not overwrite:
            raise InputError(f"{self.path} is not empty and holds no run", code="output-exists")
        for old in [*self._states(), *self.path.glob("snapshot-*.safetensors"), *self.path.glob("*.ndjson")]:
            old.unlink(missing_ok=True)
        write_atomically(file, json.dumps(header, indent=1).encode())

    def _read_header(self, file: Path, overwrite: bool) -> dict[str, Any] | None:
        """The content of config.json, with defaults for settings that earlier versions lacked.

        If the file is damaged, returns None with `overwrite`, and raises InputError without it.
        """
        try:
            header = parse_object(file.read_bytes())
            header["config"] = json.loads(json.dumps(TrainConfig.from_json(header["config"]).to_json()))
            return header
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if overwrite:
                return None
            raise InputError(f"{file} is damaged: {error}", code="run-damaged") from error

    def planned_lengths(self, config: TrainConfig) -> list[int] | None:
        """The steps of the phases of the run in this folder, if it has the same budget and number of phases; else None."""
        file = self.path / "config.json"
        if not file.exists():
            return None
        existing = (self._read_header(file, False) or {})["config"]
        same = existing["budget"] == config.budget and len(existing["phases"]) == len(config.phases)
        return [phase["steps"] for phase in existing["phases"]] if same else None

    def snapshot(self, step: int) -> Path:
        """The path of the snapshot of a step."""
        return self.path / f"snapshot-{step:08d}.safetensors"

    def remove_old_snapshots(self, keep: set[int]) -> None:
        """Remove all snapshots except the newest `SNAPSHOTS_KEPT` and those of the steps `keep`."""
        for old in sorted(self.path.glob("snapshot-*.safetensors"))[:-SNAPSHOTS_KEPT]:
            if _step_of(old) not in keep:
                old.unlink()

    def latest_state(self) -> dict[str, Any] | None:
        """The newest state, or None. Raises InputError when it is damaged."""
        states = self._states()
        return _read_state(states[-1]) if states else None

    def state_to_return_to(self, step: int, milestones: Sequence[int]) -> dict[str, Any]:
        """The state of the newest milestone up to `step`, or else of the oldest milestone. Raises InputError when it is damaged."""
        at_milestones = [path for path in self._states() if _step_of(path) in milestones]
        return _read_state(([path for path in at_milestones if _step_of(path) <= step] or at_milestones[:1])[-1])

    def save_state(self, step: int, state: dict[str, Any], milestones: Sequence[int]) -> None:
        """Write a state. Of the older states, only those of the newest `MILESTONES_KEPT` milestones are kept."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.path / f"state-{step:08d}.pt", buffer.getvalue())
        states = self._states()
        for old in set(states[:-1]) - set([path for path in states if _step_of(path) in milestones][-MILESTONES_KEPT:]):
            old.unlink()

    def remove_after(self, step: int) -> None:
        """Remove the states and snapshots of later steps."""
        for path in [*reversed(self._states()), *self.path.glob("snapshot-*.safetensors")]:
            if _step_of(path) > step:
                path.unlink()

    def _states(self) -> list[Path]:
        return sorted(self.path.glob("state-*.pt"))

    def cut_log(self, step: int, history: Sequence[dict[str, Any]]) -> None:
        """Remove rows after `step` from the log. history: all rows about returns of the run, which replace those in the log."""
        file = self.path / "log.ndjson"
        rows = _read_rows(file) if file.exists() else []
        kept = [row for row in rows if row["step"] <= step and "went_back_from" not in row] + list(history)
        write_atomically(file, "".join(json.dumps(row) + "\n" for row in sorted(kept, key=lambda row: row["step"])).encode())

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to log.ndjson, which is the same for every run with these settings."""
        self._append("log.ndjson", row)

    def log_speed(self, row: dict[str, Any]) -> None:
        """Append a row to speed.ndjson, which differs between runs."""
        self._append("speed.ndjson", row)

    def _append(self, name: str, row: dict[str, Any]) -> None:
        """Append a row to a file, after those rows that could not be written before because the disk was full."""
        pending = self._unwritten.setdefault(name, [])
        pending.append(json.dumps(row, allow_nan=False) + "\n")
        file = self.path / name
        size = file.stat().st_size if file.exists() else 0
        try:
            with explain_write_errors(file), file.open("a", encoding="utf-8") as stream:
                stream.write("".join(pending))
        except InputError:
            os.truncate(file, size)
            raise
        pending.clear()


def _read_state(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it is not the state of a run")
    except (*READ_ERRORS, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is damaged: {reason}", hint="Remove it, and the run goes on from the one before it") from error
    return state


def _read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a log, without an incomplete last line. Raises InputError when the log is damaged."""
    try:
        rows = [parse_object(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        if not all(isinstance(row.get("step"), int) for row in rows):
            raise ValueError("a row has no step")
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is damaged: {error}", hint="Remove it, and the run goes on without its rows") from error
    return rows


def _step_of(path: Path) -> int:
    """The step in the file name of a state or snapshot: state-00000120.pt -> 120."""
    return int(path.stem.split("-")[1])
