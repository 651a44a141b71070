"""A camera as a source of frames. Only the newest frame is kept; older frames that were not taken are dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.compute.mediapipe_task import silence_native_stderr
from stages.errors import InputError

MAX_WAIT = 10.0
"""Seconds without a frame after which a camera is considered lost."""


class Captured(NamedTuple):
    """An image and its time."""

    image: NDArray[np.uint8]
    """RGB [H, W, 3]."""
    time: float
    """When it was received, in seconds of `time.perf_counter`."""


class Camera:
    """A camera from which the newest frame can be taken at any time. Used as a context manager.

    source: the number of the camera, or a URL or path for OpenCV (rtsp://..., /dev/video2). Raises InputError for a camera that gives no
    frame.
    """

    fps = None
    """A camera has no fixed frame rate."""
    cut_short = False
    """Whether the source ended in the middle of a frame, as a stream may (see `Y4mReader`). A camera never does."""

    def __init__(self, source: str) -> None:
        self.source = source
        with silence_native_stderr():
            self._capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
            opened = self._capture.isOpened() and self._capture.grab()
        if not opened:
            raise InputError(f"the camera {source} gives no frames", hint="Is another program using it? Or try camera:1")
        self._changed = threading.Condition()
        self._newest: Captured | None = None
        self._ended = self._closing = False
        self.dropped = 0
        """Number of frames that were replaced by newer ones before they were taken."""
        self._thread = threading.Thread(target=self._grab, name="camera", daemon=True)
        self._thread.start()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing = True
        self._thread.join(timeout=1)
        self._capture.release()

    def _grab(self) -> None:
        while not self._closing:
            ok, image = self._capture.read()
            with self._changed:
                if ok:
                    self.dropped += self._newest is not None
                    self._newest = Captured(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), time.perf_counter())  # type: ignore[arg-type]
                self._ended = not ok
                self._changed.notify()
            if not ok:
                return

    def captured(self) -> Iterator[Captured]:
        """Yield the newest frame each time, or wait for one. Ends when the camera is disconnected or sends nothing for MAX_WAIT seconds."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended, MAX_WAIT)
                captured, self._newest = self._newest, None
            if captured is None:
                return
            yield captured
