"""Running MediaPipe tasks without their chatter."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_MILLISECONDS = 40
"""Step of the time stamps that a task is given; only their order matters."""
UNFILTERED_MILLISECONDS = 1_000_000
"""A step so long that MediaPipe's filters in time, which lag, have forgotten the frame before."""


class VisionTask:
    """A MediaPipe vision task: called with the frames of one clip in order, it returns its raw results.

    `create(vision)` makes the task from the module mediapipe.tasks.python.vision; `found(result)` tells whether there is anything in it.
    A task in video mode remembers the frame before; `step` is the time between frames that it is told, None for a task in image mode.
    MediaPipe writes warnings to standard error when a task is made and each time one of its parts runs first; all of that is dropped.
    The task is closed when this object is no longer used.
    """

    def __init__(self, create: Callable[[Any], Any], found: Callable[[Any], bool], step: int | None = FRAME_MILLISECONDS) -> None:
        self._found = found
        self._step = step
        self._frames = 0
        self._ran_wholly = False
        with native_stderr_silenced():
            self._task = create(_vision())
        weakref.finalize(self, _close, self._task)
        self(np.zeros((64, 64, 3), np.uint8))

    def __call__(self, frame: NDArray[np.uint8]) -> Any:
        """frame: uint8 RGB [H, W, 3]."""
        from mediapipe import Image, ImageFormat

        image = Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        self._frames += 1
        with contextlib.nullcontext() if self._ran_wholly else native_stderr_silenced():
            result = self._task.detect(image) if self._step is None else self._task.detect_for_video(image, self._frames * self._step)
        self._ran_wholly = self._ran_wholly or self._found(result)
        return result


def _vision() -> Any:
    """The module mediapipe.tasks.python.vision.

    MediaPipe keeps the traceback of an optional import of its own that fails, and so the frames of all its callers with what they hold
    (detectors among it). It is therefore imported in a thread that has no callers.
    """
    name = "mediapipe.tasks.python.vision"
    thread = threading.Thread(target=_import, args=(name,))
    thread.start()
    thread.join()
    return importlib.import_module(name)


def _import(name: str) -> None:
    with contextlib.suppress(ImportError):  # raised again where it is seen
        importlib.import_module(name)


def _close(task: Any) -> None:
    """In a thread of its own: the garbage collector may come here in the middle of another task's call, whose lock closing waits for."""
    try:
        threading.Thread(target=_close_now, args=(task,), name="mediapipe-close").start()
    except RuntimeError:  # the interpreter is ending, and starts no threads any more
        _close_now(task)


def _close_now(task: Any) -> None:
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
