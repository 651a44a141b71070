"""What a run leaves on disk: config.json, log.ndjson, state-* (to go on exactly) and snapshot-* (EMA weights, to use)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from stages.errors import BadInput, ParametersDiffer
from stages.files import write_atomically
from stages.train.config import TrainConfig

STATES_KEPT = 2


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, config: TrainConfig, data: str, *, overwrite: bool) -> None:
        """Start the run here, or go on with it when `config` and `data` are those that started it.

        Raises ParametersDiffer, which lists what differs. `overwrite` begins anew: states, snapshots and the log are removed.
        """
        wanted = json.loads(json.dumps({"schema": "fsv2v.run/1", "data": data, "config": config.to_json()}))
        file = self.path / "config.json"
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            found["config"] = {"flow_teacher": "dis", **found["config"]}  # runs that began before there was a choice
            if found == wanted:
                return
            if not overwrite:
                changes = "; ".join(_differences(found, wanted))
                raise ParametersDiffer(f"{self.path} holds a run with other settings: {changes}", hint="use another -o, or --overwrite")
        elif self.path.is_dir() and any(self.path.iterdir()) and not overwrite:
            raise BadInput(f"{self.path} is not empty and holds no run", hint="use another -o, or --overwrite")
        for old in [*self.path.glob("state-*.pt"), *self.path.glob("snapshot-*.safetensors"), self.path / "log.ndjson"]:
            old.unlink(missing_ok=True)
        write_atomically(file, json.dumps(wanted, indent=1).encode())

    def latest_state(self) -> dict[str, Any] | None:
        states = sorted(self.path.glob("state-*.pt"))
        return torch.load(states[-1], map_location="cpu", weights_only=True) if states else None

    def save_state(self, step: int, state: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.path / f"state-{step:08d}.pt", buffer.getvalue())
        for old in sorted(self.path.glob("state-*.pt"))[:-STATES_KEPT]:
            old.unlink()

    def keep_log_until(self, step: int) -> None:
        """Forget rows after `step`: they will be written again, and be the same."""
        file = self.path / "log.ndjson"
        if file.exists():
            rows = [line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
            write_atomically(file, "".join(row for row in rows if json.loads(row)["step"] <= step).encode())

    def log(self, row: dict[str, Any]) -> None:
        with (self.path / "log.ndjson").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [d for key in sorted(old.keys() | new.keys()) for d in _differences(old.get(key), new.get(key), f"{name}.{key}".strip("."))]
    return [] if old == new else [f"{name}: {json.dumps(old)} -> {json.dumps(new)}"]
