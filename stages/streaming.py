"""Work beside other work: a detector runs in a thread while the frames before and after it are read, drawn and written."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TURN_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait for it. Python's own 5 ms is as long as a detector takes."""


def beside(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) for each of `items`, in order.

    `function` runs in a thread, one call at a time, while the caller works on the result before and `items` makes the next one. What it
    raises is raised here.
    """
    with ThreadPoolExecutor(1) as thread, _short_turns():
        running: tuple[Item, Future[Result]] | None = None
        for item in items:
            before = running and (running[0], running[1].result())
            running = item, thread.submit(function, item)
            if before:
                yield before
        if running:
            yield running[0], running[1].result()


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(TURN_SECONDS, usual))
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
