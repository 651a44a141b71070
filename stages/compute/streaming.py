"""Pipelining: a function runs in a thread on one item while the caller works on the result before it and reads the next."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TURN_SECONDS = 0.0005
"""How long a thread may hold the interpreter while others wait for it. Python's default of 5 ms is as long as a detector takes."""


def beside(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) for each of `items`, in order.

    `function` runs in a thread, one call at a time, while the caller works on the previous result and `items` produces the next item.
    Its errors are raised here.
    """
    with ThreadPoolExecutor(1) as thread, _short_turns:
        running: tuple[Item, Future[Result]] | None = None
        for item in items:
            before = running and (running[0], running[1].result())
            running = item, thread.submit(function, item)
            if before:
                yield before
        if running:
            yield running[0], running[1].result()


class _ShortTurns:
    """Shortens the turns of threads while it is entered at least once, by any thread; the last exit restores the interval."""

    def __init__(self) -> None:
        self._lock, self._entered, self._usual = threading.Lock(), 0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._entered == 0:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(TURN_SECONDS, self._usual))
            self._entered += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                sys.setswitchinterval(self._usual)


_short_turns = _ShortTurns()
