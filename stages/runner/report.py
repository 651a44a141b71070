"""Dataclasses of the runner: a task, and its progress and result for one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Outcome:
    """The result of a stage for one clip: the layer that it made or found finished, the number of frames, and notes for the report.

    path: the path of the result, if it is not that of the input.
    """

    layer: str
    status: Literal["done", "skipped"]
    frames: int
    notes: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True)
class InputProgress:
    """Progress on one input: `read` of its `frames` frames have been read."""

    source: str
    read: int
    frames: int


@dataclass(frozen=True)
class Report:
    """The result of the input `source`. `clip` is the path of the finished clip, or the input's path when it failed.

    If it failed, `reason` is a sentence, and `exit_code` that of the error (stages/errors.py). `seconds` is wall time.
    """

    clip: str
    layer: str
    status: Literal["done", "skipped", "failed"]
    frames: int = 0
    seconds: float = 0.0
    reason: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    traceback: str = ""
    source: str = ""

    def json(self) -> dict[str, Any]:
        """The record that `--json` prints."""
        return {
            "clip": self.clip,
            "layer": self.layer,
            "status": self.status,
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
            "notes": dict(self.notes),
        }


@dataclass(frozen=True)
class ClipTask:
    """One stage, to be run over many inputs.

    function: the import path of `extract(clip, options, overwrite) -> Outcome`, such as "stages.extract_sketch:extract". It is a path, so
    that only the workers import what the function needs. options: its options, a frozen dataclass that can be pickled. out: where clips are
    made, as in `stages.clip.as_clip`. layer: the name of the layer in the reports of failed inputs. opens_clips: whether each input is
    opened as a clip. If not, an input is any string that the function understands, and the function is
    `work(name, options, on_step) -> Outcome`, where on_step may be None.
    """

    function: str
    options: Any
    out: str | None = None
    overwrite: bool = False
    layer: str = ""
    opens_clips: bool = True
