"""Small stages for the tests of the runner: they do to a clip what a real one may do, good and bad."""

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
class StandIn:
    """log: a file that gets a line per call. by_stem: what to do for inputs of this name, as "stem=deed"."""

    log: str
    by_stem: tuple[str, ...] = ()


def extract(clip: Clip, options: StandIn, overwrite: bool = False) -> Outcome:
    """Read all frames and do the deed that the options name for this clip."""
    with open(options.log, "a") as log:
        log.write(f"{clip.path.stem} {os.getpid()}\n")
    deed = dict(pair.split("=") for pair in options.by_stem).get(clip.path.stem, "")
    if deed == "die once" and calls(options.log, clip.path.stem) > 1:
        deed = ""
    if deed.startswith("after "):
        while not calls(options.log, deed.removeprefix("after ")):
            time.sleep(0.01)
        deed = "slow"
    _do(deed, clip)
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return Outcome("stand-in", "done", sum(1 for _ in clip.frames()), {"pid": os.getpid(), "threads": threads})


def glance(clip: Clip, options: StandIn, overwrite: bool = False) -> Outcome:
    """As little as a stage can do."""
    return Outcome("stand-in", "done", clip.num_frames)


@dataclass(frozen=True)
class DoomedSketch:
    """folder: where each node leaves a line per call in a file of its name. doomed: the node whose second call never ends."""

    folder: str
    doomed: str
    sketch: SketchOptions

    def calls(self, node: str) -> int:
        file = Path(self.folder) / node
        return len(file.read_text().splitlines()) if file.exists() else 0


def sketch_until_doom(clip: Clip, options: DoomedSketch, overwrite: bool = False) -> Outcome:
    """The real extract-sketch. Other nodes are not through with their sixth call before the doomed one is stuck."""
    import ray

    from stages.extract_sketch import extract

    node = ray.get_runtime_context().get_node_id()
    with open(Path(options.folder) / node, "a") as log:
        log.write(f"{os.getpid()}\n")
    if node == options.doomed:
        return extract(Stuck(clip.store) if options.calls(node) == 2 else clip, options.sketch, overwrite)
    while options.calls(node) == 6 and options.calls(options.doomed) < 2:
        time.sleep(0.01)
    return extract(clip, options.sketch, overwrite)


class Stuck(Clip):
    """Its sixth frame never comes."""

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for index, frame in enumerate(super().frames(start, stop)):
            while index == 5:
                time.sleep(1)
            yield frame


def _do(deed: str, clip: Clip) -> None:
    if deed in ("die", "die once"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "exit":
        os._exit(7)
    elif deed == "bug":
        raise ZeroDivisionError("a bug")
    elif deed == "no face":
        raise NoDetection(f"{clip.path} shows no face", hint="Try another video")
    elif deed == "invalid":
        raise InvalidClip(f"{clip.path} is damaged")
    elif deed == "missing":
        raise MissingRequirement("The weights x are not here", hint="Run: fsv2v weights fetch x")
    elif deed == "interrupted import":
        raise ImportError("initialization failed") from KeyboardInterrupt()
    elif deed == "full":
        raise OSError(28, os.strerror(28), str(clip.path))
    elif deed == "watch for ever":
        while True:
            for _ in clip.frames():
                time.sleep(0.05)
    elif deed == "sleep":
        time.sleep(60)
    elif deed == "slow":
        time.sleep(0.5)


def calls(log: str, stem: str) -> int:
    """How often a clip was begun."""
    return sum(line.split()[0] == stem for line in Path(log).read_text().splitlines())
