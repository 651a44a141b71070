"""Records of the runner: a task, its progress and its result for one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Outcome:
    """What a per-clip stage returns: the layer that it made or found finished, its number of frames, and notes for the report."""

    layer: str
    status: Literal["done", "skipped"]
    frames: int
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Progress on one input: `read` of its `frames` frames."""

    source: str
    read: int
    frames: int


@dataclass(frozen=True)
class Report:
    """The result of the input `source`. `clip` is the path of the finished clip, or the input's path when it failed.

    A failed one has the reason as a sentence and the `exit_code` of its error (see stages/errors.py); `seconds` is wall time.
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

    function: the import path of `extract(clip, options, overwrite) -> Outcome`, such as "stages.extract_sketch:extract"; a path and
    not the function itself, so that only the workers load what it needs. options: its frozen options, picklable. out: where clips
    go, as in `stages.clip.as_clip`. layer: its name in the reports of failed inputs.
    With `of_clips` false an input is just a name: the function is `work(name, options, on_step) -> Outcome`, where on_step may be None.
    """

    function: str
    options: Any
    out: str | None = None
    overwrite: bool = False
    layer: str = ""
    of_clips: bool = True
