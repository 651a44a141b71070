"""Parts of a video on the command line: START:STOP in frames, START-STOP in time."""

from __future__ import annotations

import re
from fractions import Fraction

import click

time_option = click.option(
    "--time", metavar="START-STOP",
    help="Use only this part of the driving video and of its sound, in seconds or as h:mm:ss, as in 12.5-20 or 1:30-2:00. START or STOP "
    "may be left out.",
)  # fmt: skip


def parse_span(text: str | None) -> tuple[int | None, int | None]:
    """(start, stop) as frame numbers, None where one is left out. Negative numbers count from the end. Raises UsageError."""
    from stages.errors import UsageError

    try:
        start, stop = (int(part) if part else None for part in (text or ":").split(":"))
    except ValueError:
        raise UsageError(f"{text!r} is not a range of frames", hint="Write it as START:STOP in frames, for example 0:60") from None
    return start, stop


def time_span(text: str | None) -> tuple[Fraction | None, Fraction | None]:
    """START-STOP as seconds; either may be left out. Raises UsageError."""
    from stages.errors import UsageError

    if text is None:
        return None, None
    start, dash, stop = text.partition("-")
    try:
        if not dash or not (start + stop).strip():
            raise ValueError
        return _seconds(start), _seconds(stop)
    except ValueError:
        hint = "Write it as START-STOP in seconds or h:mm:ss, for example 12.5-20 or 1:30-2:00"
        raise UsageError(f"{text!r} is not a span of time", hint=hint) from None


def _seconds(text: str) -> Fraction | None:
    """None for an empty text. Raises ValueError for a text that is not a time."""
    if not text.strip():
        return None
    found = re.fullmatch(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{1,9})?)", text.strip())
    if found is None:
        raise ValueError
    hours, minutes, seconds = int(found[1] or 0), int(found[2] or 0), Fraction(found[3])
    if (found[2] and seconds >= 60) or (found[1] and minutes >= 60):
        raise ValueError
    return 3600 * hours + 60 * minutes + seconds
