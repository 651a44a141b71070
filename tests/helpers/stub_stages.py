"""Stages for the tests of the runner, with options that make them fail, crash, die or hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.clip import Clip
from stages.errors import InvalidClip, MissingRequirement, NoDetection
from stages.extract_sketch import SketchOptions
from stages.runner import Outcome


@dataclass(frozen=True)
class StubOptions:
    """Options of `extract`.

    log: a file that gets a line per call. faults: the faults of the inputs, as "STEM=FAULT", where STEM is the name of an input without
    its suffix. `_cause` lists the faults.
    """

    log: str
    faults: tuple[str, ...] = ()


def extract(clip: Clip, options: StubOptions, overwrite: bool = False) -> Outcome:
    """Cause the fault that the options name for this clip, then read all frames."""
    with open(options.log, "a") as log:
        log.write(f"{clip.path.stem} {os.getpid()}\n")
    fault = dict(pair.split("=") for pair in options.faults).get(clip.path.stem, "")
    if fault == "die once" and count_calls(options.log, clip.path.stem) > 1:
        fault = ""
    if fault.startswith("after "):
        while not count_calls(options.log, fault.removeprefix("after ")):
            time.sleep(0.01)
        fault = "slow"
    _cause(fault, clip)
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return Outcome("stub", "done", sum(1 for _ in clip.frames()), {"pid": os.getpid(), "threads": threads})


def read_nothing(clip: Clip, options: StubOptions, overwrite: bool = False) -> Outcome:
    """The fastest possible stage: it reads no frame."""
    return Outcome("stub", "done", clip.num_frames)


@dataclass(frozen=True)
class HangOptions:
    """Options of `sketch_or_hang`.

    folder: contains a file for each node, named by its id, with a line per call. hanging_node: the id of the node whose second call
    never ends.
    """

    folder: str
    hanging_node: str
    sketch: SketchOptions

    def count_calls(self, node: str) -> int:
        file = Path(self.folder) / node
        return len(file.read_text().splitlines()) if file.exists() else 0


def sketch_or_hang(clip: Clip, options: HangOptions, overwrite: bool = False) -> Outcome:
    """The real extract-sketch. Other nodes do not finish their sixth call before the hanging node hangs."""
    import ray

    from stages.extract_sketch import extract

    node = ray.get_runtime_context().get_node_id()
    with open(Path(options.folder) / node, "a") as log:
        log.write(f"{os.getpid()}\n")
    if node == options.hanging_node:
        return extract(HangingClip(clip.store) if options.count_calls(node) == 2 else clip, options.sketch, overwrite)
    while options.count_calls(node) == 6 and options.count_calls(options.hanging_node) < 2:
        time.sleep(0.01)
    return extract(clip, options.sketch, overwrite)


class HangingClip(Clip):
    """A clip that never yields its sixth frame."""

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for index, frame in enumerate(super().frames(start, stop)):
            while index == 5:
                time.sleep(1)
            yield frame


def _cause(fault: str, clip: Clip) -> None:
    if fault in ("die", "die once"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "exit":
        os._exit(7)
    elif fault == "bug":
        raise ZeroDivisionError("a bug")
    elif fault == "no face":
        raise NoDetection(f"{clip.path} shows no face", hint="Try another video")
    elif fault == "invalid":
        raise InvalidClip(f"{clip.path} is damaged")
    elif fault == "missing":
        raise MissingRequirement("The weights x are missing", hint="Run: fsv2v weights fetch x")
    elif fault == "interrupted import":
        raise ImportError("initialization failed") from KeyboardInterrupt()
    elif fault == "full":
        raise OSError(28, os.strerror(28), str(clip.path))
    elif fault == "read forever":
        while True:
            for _ in clip.frames():
                time.sleep(0.05)
    elif fault == "sleep":
        time.sleep(60)
    elif fault == "slow":
        time.sleep(0.5)


def count_calls(log: str, stem: str) -> int:
    """How often `extract` was called for the clip with this stem."""
    return sum(line.split()[0] == stem for line in Path(log).read_text().splitlines())
