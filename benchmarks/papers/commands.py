"""The options that the scripts of all tables share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from experiment import Experiment
from scales import SCALES, Scale
from sources import read_rows

from stages.errors import Fsv2vError


def make_parser(description: str | None, scales: Mapping[str, Scale] = SCALES) -> argparse.ArgumentParser:
    """A parser with the shared options; it has --quick only if there is a scale of that name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of actors.py, or a dataset of `fsv2v build-dataset`")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the results; tables with the same folder share their common models"
    )
    parser.add_argument("--scale", choices=scales, default="small")
    if "quick" in scales:
        parser.add_argument("--quick", action="store_true", help="try every row in a few minutes; the figures are meaningless")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: that of the scale")
    parser.add_argument("--jobs", type=int, default=1, help="number of trainings that run at the same time")
    parser.add_argument("--device", default="auto")
    return parser


def make_experiment(
    arguments: argparse.Namespace, kind: str, metrics: tuple[str, ...], examples: int = 1, scales: Mapping[str, Scale] = SCALES
) -> Experiment:
    """The experiment that the options describe. Each driving kind and scale has a folder of its own."""
    name = "quick" if getattr(arguments, "quick", False) else arguments.scale
    scale = replace(scales[name], seeds=arguments.seeds) if arguments.seeds else scales[name]
    return Experiment(arguments.out / f"{kind}-{name}", tuple(read_rows(arguments.data)), kind, scale, metrics, examples, arguments.device)


def run_script(main: Callable[[], None]) -> None:
    """Run a script; an error of the library ends it with a message instead of a traceback."""
    try:
        main()
    except Fsv2vError as error:
        sys.exit(str(error))
