"""START:STOP on the command line: a range of frames."""

from __future__ import annotations


def parse_span(text: str | None) -> tuple[int | None, int | None]:
    """(start, stop) as frame numbers, None where one is left out. Negative numbers count from the end. Raises UsageError."""
    from stages.errors import UsageError

    try:
        start, stop = (int(part) if part else None for part in (text or ":").split(":"))
    except ValueError:
        raise UsageError(f"{text!r} is not a range of frames", hint="Write it as START:STOP in frames, for example 0:60") from None
    return start, stop
