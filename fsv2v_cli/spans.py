"""START:STOP on the command line: a part of a video."""

from __future__ import annotations


def span(text: str | None) -> tuple[int | None, int | None]:
    """START:STOP as frame numbers; negative ones count from the end, and either may be left out. Raises UsageError."""
    from stages.errors import UsageError

    try:
        start, stop = (int(part) if part else None for part in (text or ":").split(":"))
    except ValueError:
        raise UsageError(f"{text!r} is not a part of a video", hint="Write it as START:STOP in frames, for example 0:60") from None
    return start, stop
