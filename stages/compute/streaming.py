"""Pipelining: a function processes an item in a thread while the caller uses the previous result and reads the next item."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

SWITCH_SECONDS = 0.0005
"""Interpreter switch interval: how long a thread runs while others wait. Python's default of 5 ms is as long as a detector takes."""


def map_in_thread(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) for each of `items`, in order.

    `function` runs in a thread, one call at a time, while the caller works on the previous result and `items` produces the next item.
    Its errors are raised in the caller.
    """
    with ThreadPoolExecutor(1) as thread, _short_switch_interval:
        running: tuple[Item, Future[Result]] | None = None
        for item in items:
            previous = running and (running[0], running[1].result())
            running = item, thread.submit(function, item)
            if previous:
                yield previous
        if running:
            yield running[0], running[1].result()


class _ShortSwitchInterval:
    """Shortens the switch interval from the first entry, by any thread, to the last exit."""

    def __init__(self) -> None:
        self._lock, self._users, self._previous = threading.Lock(), 0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._previous = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_SECONDS, self._previous))
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                sys.setswitchinterval(self._previous)


_short_switch_interval = _ShortSwitchInterval()
