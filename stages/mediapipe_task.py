"""Opening and closing MediaPipe tasks without their chatter."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

FRAME_MILLISECONDS = 40
"""Step of the time stamps that a task in video mode is given; only their order matters to it."""


def vision() -> Any:
    """The module mediapipe.tasks.python.vision.

    MediaPipe keeps the traceback of an optional import of its own that fails, and so the frames of all its callers with what they hold
    (detectors among it). It is therefore imported in a thread that has no callers.
    """
    name = "mediapipe.tasks.python.vision"
    with native_stderr_silenced():
        thread = threading.Thread(target=_import, args=(name,))
        thread.start()
        thread.join()
    return importlib.import_module(name)


def open_task(owner: object, create: Callable[[], Any], warm_up: Callable[[Any], object]) -> Any:
    """The task that `create` makes, closed when `owner` is no longer used. `warm_up(task)` runs it once, since it also talks then."""
    with native_stderr_silenced():
        task = create()
        warm_up(task)
    weakref.finalize(owner, _close, task)
    return task


def _import(name: str) -> None:
    with contextlib.suppress(ImportError):  # raised again where it is seen
        importlib.import_module(name)


def _close(task: Any) -> None:
    try:
        task.close()
    except RuntimeError:  # the interpreter is ending and MediaPipe's threads are gone: nothing is left to free
        task._handle = None


@contextlib.contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """While inside, what C++ code writes to file descriptor 2 is dropped; exceptions pass as always."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
