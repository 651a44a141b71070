"""Small stages for the tests of the runner: they do to a clip what a real one may do, good and bad."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from stages.clip import Clip
from stages.errors import InvalidClip, MissingRequirement, NoDetection
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
    elif deed == "full":
        raise OSError(28, os.strerror(28), str(clip.path))
    elif deed == "sleep":
        time.sleep(60)
    elif deed == "slow":
        time.sleep(0.5)


def calls(log: str, stem: str) -> int:
    """How often a clip was begun."""
    return sum(line.split()[0] == stem for line in Path(log).read_text().splitlines())
