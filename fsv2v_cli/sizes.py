"""Sizes on the command line: two sides such as 256x128, or one side of a square if the command accepts it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import click


class Sides(NamedTuple):
    """Two sides in pixels, in the order of the option: HxW or WxH."""

    first: int
    second: int

    def __str__(self) -> str:
        return f"{self.first}x{self.second}"


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """AxB, or with `squares` also A, which stands for AxA. sides: the allowed values of a side; example: for the error message."""

    name = "size"

    def __init__(self, example: str, sides: range = range(1, 16385), squares: bool = False) -> None:
        self.example, self.sides, self.squares = example, sides, squares

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sides:
        if isinstance(value, Sides):
            return value
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
        if match is None or not (match[2] or self.squares):
            self.fail(f"{value!r} is not a size such as {self.example}.", param, ctx)
        size = Sides(int(match[1]), int(match[2] or match[1]))
        if not all(side in self.sides for side in size):
            self.fail(f"{value!r} is not a size with sides from {self.sides[0]} to {self.sides[-1]}.", param, ctx)
        return size
