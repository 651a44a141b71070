"""What a run leaves on disk: config.json, log.ndjson, state-* (to go on exactly) and snapshot-* (EMA weights, to use)."""

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
        """Start the run here, or go on with it when `config` and `data` are those that started it.

        Raises ParametersDiffer, which lists what differs. `overwrite` begins anew: states, snapshots and the log are removed.
        """
        wanted = json.loads(json.dumps({"schema": "fsv2v.run/1", "data": data, "config": config.to_json()}))
        file = self.path / "config.json"
        if file.exists():
            if (found := self._started_with(file, overwrite)) == wanted:
                return
            if not overwrite:
                changes = "; ".join(differences(found or {}, wanted))
                raise ParametersDiffer(f"{self.path} holds a run with other settings: {changes}", code="output-differs")
        elif self.path.is_dir() and any(entry.name != LOCK_SUFFIX for entry in self.path.iterdir()) and not overwrite:
            raise InputError(f"{self.path} is not empty and holds no run", code="output-exists")
        for old in [*self._states(), *self.path.glob("snapshot-*.safetensors"), *self.path.glob("*.ndjson")]:
            old.unlink(missing_ok=True)
        write_atomically(file, json.dumps(wanted, indent=1).encode())

    def _started_with(self, file: Path, overwrite: bool) -> dict[str, Any] | None:
        """config.json, with what earlier versions lacked; None of a damaged one that is to be replaced. Raises InputError."""
        try:
            found = parse_object(file.read_bytes())
            found["config"] = json.loads(json.dumps(TrainConfig.from_json(found["config"]).to_json()))
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if overwrite:
                return None
            raise InputError(f"{file} is damaged: {error}", code="run-damaged") from error

    def planned(self, config: TrainConfig) -> list[int] | None:
        """The lengths of the phases of the run that is here, if it was planned for the same time and as many phases."""
        file = self.path / "config.json"
        if not file.exists():
            return None
        found = (self._started_with(file, False) or {})["config"]
        same = found["budget"] == config.budget and len(found["phases"]) == len(config.phases)
        return [phase["steps"] for phase in found["phases"]] if same else None

    def snapshot(self, step: int) -> Path:
        return self.path / f"snapshot-{step:08d}.safetensors"

    def forget_snapshots(self, keep: set[int]) -> None:
        """All but the newest, and those of the steps to keep."""
        for old in sorted(self.path.glob("snapshot-*.safetensors"))[:-SNAPSHOTS_KEPT]:
            if _step_of(old) not in keep:
                old.unlink()

    def latest_state(self) -> dict[str, Any] | None:
        states = self._states()
        return _read_state(states[-1]) if states else None

    def state_to_go_back_to(self, step: int, milestones: Sequence[int]) -> dict[str, Any]:
        """That of the newest milestone up to a step, or of the oldest that is left."""
        good = [path for path in self._states() if _step_of(path) in milestones]
        return _read_state(([path for path in good if _step_of(path) <= step] or good[:1])[-1])

    def save_state(self, step: int, state: dict[str, Any], milestones: Sequence[int]) -> None:
        """Write a state; of the older ones the newest milestones are kept."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.path / f"state-{step:08d}.pt", buffer.getvalue())
        states = self._states()
        for old in set(states[:-1]) - set([path for path in states if _step_of(path) in milestones][-MILESTONES_KEPT:]):
            old.unlink()

    def forget_states_after(self, step: int) -> None:
        """And the snapshots that were made after it."""
        for path in [*reversed(self._states()), *self.path.glob("snapshot-*.safetensors")]:
            if _step_of(path) > step:
                path.unlink()

    def _states(self) -> list[Path]:
        return sorted(self.path.glob("state-*.pt"))

    def keep_log_until(self, step: int, history: Sequence[dict[str, Any]]) -> None:
        """Forget rows after `step`: they will be written again, and be the same. `history`: rows about times that the run went back."""
        file = self.path / "log.ndjson"
        rows = _rows(file) if file.exists() else []
        kept = [row for row in rows if row["step"] <= step and "went_back_from" not in row] + list(history)
        write_atomically(file, "".join(json.dumps(row) + "\n" for row in sorted(kept, key=lambda row: row["step"])).encode())

    def log(self, row: dict[str, Any]) -> None:
        """A row of log.ndjson: the same for every run with these settings."""
        self._append("log.ndjson", row)

    def log_speed(self, row: dict[str, Any]) -> None:
        """A row of speed.ndjson: how long it took, here and now."""
        self._append("speed.ndjson", row)

    def _append(self, name: str, row: dict[str, Any]) -> None:
        """Rows that a full disk has refused come before the next one."""
        waiting = self._unwritten.setdefault(name, [])
        waiting.append(json.dumps(row, allow_nan=False) + "\n")
        file = self.path / name
        before = file.stat().st_size if file.exists() else 0
        try:
            with explain_write_errors(file), file.open("a", encoding="utf-8") as stream:
                stream.write("".join(waiting))
        except InputError:
            os.truncate(file, before)
            raise
        waiting.clear()


def _read_state(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds something else")
    except (*READ_ERRORS, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is damaged: {reason}", hint="Remove it, and the run goes on from the one before it") from error
    return state


def _rows(file: Path) -> list[dict[str, Any]]:
    """Of a log; a last line that was cut off is left out."""
    try:
        rows = [parse_object(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        if not all(isinstance(row.get("step"), int) for row in rows):
            raise ValueError("a row has no step")
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is damaged: {error}", hint="Remove it, and the run goes on without its rows") from error
    return rows


def _step_of(path: Path) -> int:
    """Of state-00000120.pt, or a snapshot."""
    return int(path.stem.split("-")[1])
