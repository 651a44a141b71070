"""MediaPipe tasks, without the messages that MediaPipe prints."""

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
"""Step between the time stamps of frames that are passed to a task; only their order matters."""
UNFILTERED_MILLISECONDS = 1_000_000
"""A step so long that MediaPipe's temporal filters, which lag behind motion, ignore the previous frame."""


class VisionTask:
    """A MediaPipe vision task: called with the frames of one clip in order, it returns its raw results.

    `create(vision)` makes the task from the module mediapipe.tasks.python.vision; `found(result)` says whether a result has a detection.
    A task in video mode tracks from the previous frame; `step` is the time between its frames in milliseconds, None for image mode.
    MediaPipe writes warnings to standard error when a task is made and when one of its parts first runs; they are dropped.
    The task is closed when this object is garbage-collected.
    """

    def __init__(self, create: Callable[[Any], Any], found: Callable[[Any], bool], step: int | None = FRAME_MILLISECONDS) -> None:
        self._found = found
        self._step = step
        self._frames = 0
        self._all_parts_ran = False
        with silence_native_stderr():
            self._task = create(_import_vision())
        weakref.finalize(self, _close, self._task)
        self(np.zeros((64, 64, 3), np.uint8))

    def __call__(self, frame: NDArray[np.uint8]) -> Any:
        """frame: uint8 RGB [H, W, 3]."""
        from mediapipe import Image, ImageFormat

        image = Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        self._frames += 1
        with contextlib.nullcontext() if self._all_parts_ran else silence_native_stderr():
            result = self._task.detect(image) if self._step is None else self._task.detect_for_video(image, self._frames * self._step)
        self._all_parts_ran = self._all_parts_ran or self._found(result)
        return result


def _import_vision() -> Any:
    """The module mediapipe.tasks.python.vision.

    An optional import inside MediaPipe fails, and MediaPipe keeps the traceback, which keeps the local variables of all callers alive, such
    as detectors. So MediaPipe is imported in a thread, where it has no callers.
    """
    name = "mediapipe.tasks.python.vision"
    thread = threading.Thread(target=_try_import, args=(name,))
    thread.start()
    thread.join()
    return importlib.import_module(name)


def _try_import(name: str) -> None:
    with contextlib.suppress(ImportError):  # the caller imports the module again and sees the error
        importlib.import_module(name)


def _close(task: Any) -> None:
    """Close in another thread: the garbage collector may call this during the call of another task, whose lock `close` waits for."""
    try:
        threading.Thread(target=_close_now, args=(task,), name="mediapipe-close").start()
    except RuntimeError:  # the interpreter is ending and no longer starts threads
        _close_now(task)


def _close_now(task: Any) -> None:
    try:
        task.close()
    except RuntimeError:  # the interpreter is ending and MediaPipe's threads have ended: nothing is left to free
        task._handle = None


@contextlib.contextmanager
def silence_native_stderr() -> Iterator[None]:
    """In the block, whatever is written to file descriptor 2, also by C++ code, is dropped; exceptions are raised as usual."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
