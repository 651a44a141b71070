"""The options that the scripts of all tables share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from experiment import Experiment
from scales import SCALES, Scale
from sources import rows_of

from stages.errors import Fsv2vError


def parser(description: str | None, scales: Mapping[str, Scale] = SCALES) -> argparse.ArgumentParser:
    """The options; --quick only with a scale of that name."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="a folder of actors.py, or a dataset of `fsv2v build-dataset`")
    options.add_argument("--out", type=Path, required=True, help="tables may share a folder, and with it what they have in common")
    options.add_argument("--scale", choices=scales, default="small")
    if "quick" in scales:
        options.add_argument("--quick", action="store_true", help="a rehearsal of every line in a few minutes; its figures mean nothing")
    options.add_argument("--seeds", type=int, help="in place of the scale's")
    options.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    options.add_argument("--device", default="auto")
    return options


def experiment(
    given: argparse.Namespace, kind: str, metrics: tuple[str, ...], examples: int = 1, scales: Mapping[str, Scale] = SCALES
) -> Experiment:
    """The experiment that the options ask for; each kind of driving and each scale has a folder of its own."""
    name = "quick" if getattr(given, "quick", False) else given.scale
    scale = replace(scales[name], seeds=given.seeds) if given.seeds else scales[name]
    return Experiment(given.out / f"{kind}-{name}", tuple(rows_of(given.data)), kind, scale, metrics, examples, given.device)


def sentences(main: Callable[[], None]) -> None:
    """Run a script; what a user can mend ends it with a sentence instead of a traceback."""
    try:
        main()
    except Fsv2vError as error:
        sys.exit(str(error))
