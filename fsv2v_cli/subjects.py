"""Options that choose between several faces or people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class Subject(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A face or person. several: whether "all" is allowed."""

    name = "subject"

    def __init__(self, *, several: bool = True) -> None:
        self.words = ("largest", "center", *(("all",) if several else ()))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value in self.words:
            return str(value)
        if str(value).isdecimal():
            return int(value)
        self.fail(f"{value!r} is not one of {', '.join(self.words)}, or a number from 0.", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "[largest|center|N|all]" if "all" in self.words else "largest|center|N"


def subject_option(what: str) -> Callable[[Any], Any]:
    """--face or --person, by `what`: "largest", "center", "all", or a number from the left, from 0, in the first frame that shows any."""
    return click.option(
        f"--{what}", type=Subject(), default="largest", show_default=True, help=f"Which {what} to follow; N counts from 0, from the left."
    )
