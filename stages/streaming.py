"""Iterators that work in the background, so that decoding, detection and drawing overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def ahead(source: Iterable[Item], depth: int = 4) -> Iterator[Item]:
    """The items of `source`, produced by a thread that is at most `depth` items ahead; its exceptions are raised here.

    When the consumer stops early, the thread ends and `source` is closed.
    """
    waiting: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_produce, args=(source, waiting, stopped), daemon=True)
    thread.start()
    try:
        while True:
            more, item = waiting.get()
            if isinstance(item, BaseException) and not more:
                raise item
            if not more:
                return
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        while thread.is_alive():
            _drain(waiting)
            thread.join(timeout=0.01)


def _produce(source: Iterable[Item], waiting: queue.Queue[tuple[bool, Item | BaseException | None]], stopped: threading.Event) -> None:
    items = iter(source)
    end: BaseException | None = None
    try:
        for item in items:
            waiting.put((True, item))
            if stopped.is_set():
                break
    except BaseException as error:
        end = error
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
        waiting.put((False, end))


def _drain(waiting: queue.Queue[tuple[bool, Item | BaseException | None]]) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
