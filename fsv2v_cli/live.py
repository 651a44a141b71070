"""fsv2v synthesize with a live driver: a camera, or y4m on stdin. The result goes to a window, to a video, or as y4m to stdout."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from fsv2v_cli import console
from fsv2v_cli.console_reporter import ConsoleReporter
from fsv2v_cli.options import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.clip.camera import Camera, Captured
    from stages.clip.y4m import Y4mReader

    Image = NDArray[np.uint8]

CAMERA = "camera:"
CAMERA_RATE = Fraction(25)
"""Frames per second of a written result that a camera drives. To keep this rate, frames are repeated or left out."""
STDOUT = Path("-")
WINDOW_TEST = "import cv2; cv2.namedWindow('fsv2v'); cv2.destroyAllWindows()"
WINDOW = "fsv2v"
"""Title of the window."""
MAX_WINDOW = (1280, 720)
"""Largest width and height of the window when it opens. It can be enlarged with the mouse."""
QUIT, RESTART = ("q", "\x1b"), "r"
"""Keys of the window."""
SECONDS_PER_UPDATE = 0.02
"""While the driver gives no image, the window is drawn and its keys are read at this interval."""


def is_live(driving: Sequence[str], format: str | None) -> bool:
    """Whether --driving or --format chooses a live driver."""
    return format is not None or any(name.startswith(CAMERA) for name in driving)


def run_live(
    examples: str | None, driving: Sequence[str], options: dict[str, Any], clip_options: Mapping[str, Any], *, view: bool, run: Run
) -> int:
    """Animate until the driver ends or the user stops the command. The written result is complete in both cases.

    clip_options: values of the options that apply only to driving clips.
    """
    _require_usable_options(examples, driving, clip_options, view=view, run=run)
    from fsv2v.live import Live
    from stages.errors import InputError

    window = _Window() if view else None
    subjects, latencies, stream_error = options.pop("subjects"), [], None
    live = Live(examples or "", subject=subjects[0] if subjects else "largest", reporter=ConsoleReporter(), **options)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_open_driver(driving[0]))
        writer = None if run.out is None else _ResultWriter(run.out, source.fps, stack, pasted=live.pasted, note=options["note"])
        images, begun = _TimedImages(source, window), time.perf_counter()
        with console.progress("synthesize", None, "frames") as bar:
            try:
                for done, frame in enumerate(live(images), 1):
                    latencies.append(time.perf_counter() - images.captured)
                    if writer is not None:
                        writer.write(frame)
                    bar.move(done)
                    if window is None:
                        continue
                    window.show(frame)
                    if window.closed:
                        break
                    if window.take_restart():
                        live.restart()
            except KeyboardInterrupt:
                pass
            except InputError as error:  # the rest of the stream is damaged
                stream_error = error
        seconds = time.perf_counter() - begun
    if source.cut_short:
        console.warning("the stream ends in the middle of a frame, which is left out")
    console.note(_summary(latencies, seconds, source.dropped, live.held_frames))
    if stream_error is not None:
        raise stream_error
    if run.out not in (None, STDOUT) and latencies:
        record = {"clip": str(run.out), "layer": "frames", "status": "done", "frames": len(latencies), "seconds": round(seconds, 3)}
        console.emit({**record, "held_frames": live.held_frames, "reason": ""} if run.json else str(run.out))
    return 0


def _require_usable_options(examples: str | None, driving: Sequence[str], clip_options: Mapping[str, Any], *, view: bool, run: Run) -> None:
    from stages.errors import InputError, UsageError

    for flag, value in clip_options.items():
        if value:
            raise UsageError(f"{flag} applies to driving clips, not to a live driver", hint="Leave it out")
    if len(driving) > 1:
        raise UsageError("a live driver cannot be combined with other drivers", hint="Give one --driving")
    if examples is None:
        raise UsageError("Missing option '--examples'.", hint="A live driver animates the face of an example")
    if run.out is None and not view:
        raise UsageError("the result would be neither shown nor written", hint="Use --view, -o NAME.mp4, or -o - for y4m on stdout")
    if run.out not in (None, STDOUT) and run.out.exists() and not run.overwrite:
        raise InputError(f"{run.out} exists", hint="Choose another name, or replace it with --overwrite")


@contextlib.contextmanager
def _open_driver(name: str) -> Iterator[Camera | Y4mReader]:
    if name.startswith(CAMERA):
        from stages.clip.camera import Camera

        with Camera(name.removeprefix(CAMERA)) as camera:
            yield camera
    else:
        from stages.clip.y4m import Y4mReader
        from stages.errors import InputError

        with contextlib.ExitStack() as stack:
            try:
                stream = _open_stdin() if name == "-" else stack.enter_context(open(name, "rb"))
            except OSError as error:
                reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
                raise InputError(f"{name} {reason}") from error
            yield Y4mReader(stream, "stdin" if name == "-" else name)


def _open_stdin() -> BinaryIO:
    """A separate reader of stdin, because Python crashes at exit while a thread waits for `sys.stdin.buffer`."""
    try:
        return open(os.dup(sys.stdin.fileno()), "rb")
    except io.UnsupportedOperation:  # replaced by an object that is no file
        return sys.stdin.buffer


class _TimedImages:
    """The images of a driver until the window is closed, with the time of the last one."""

    captured = 0.0
    """Time of the last image, by `time.perf_counter`."""

    def __init__(self, source: Camera | Y4mReader, window: _Window | None) -> None:
        self._source, self._window = source, window

    def __iter__(self) -> Iterator[Image]:
        images = self._source.captured()
        while (timed := next(images, None) if self._window is None else _next_image(images, self._window)) is not None:
            image, self.captured = timed
            yield image


def _next_image(images: Iterator[Captured], window: _Window) -> Captured | None:
    """The next image, or None after the last one or if the window was closed. The window stays responsive until the image arrives."""
    future: Future[Captured | None] = Future()

    def read() -> None:
        try:
            future.set_result(next(images, None))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=read, daemon=True).start()
    while not wait([future], timeout=SECONDS_PER_UPDATE).done:
        window.update()
        if window.closed:
            return None
    return future.result()


class _ResultWriter:
    """Writes frames as they are made, to a video or as y4m to stdout. fps: None for a driver without a frame rate."""

    def __init__(self, out: Path, fps: Fraction | None, stack: contextlib.ExitStack, *, pasted: bool, note: bool) -> None:
        self._out, self._stack, self._paced_by_clock, self._fps = out, stack, fps is None, fps or CAMERA_RATE
        self._parameters = {"placement": {"pasted": pasted}, "note": note}
        self._writer: _Writer | None = None
        self._num_written = 0

    def write(self, frame: Image) -> None:
        if self._writer is None:
            self._writer, self._begun = self._open(frame), time.perf_counter()
        if not self._paced_by_clock:
            self._writer.write(frame)
            return
        due = int((time.perf_counter() - self._begun) * self._fps) + 1
        for _ in range(due - self._num_written):
            self._writer.write(frame)
        self._num_written = due

    def _open(self, frame: Image) -> _Writer:
        from stages.clip import VideoWriter
        from stages.clip.provenance import note_of
        from stages.clip.y4m import Y4mWriter

        height, width = frame.shape[:2]
        if self._out == STDOUT:
            return Y4mWriter(sys.stdout.buffer, width, height, self._fps)
        return self._stack.enter_context(VideoWriter(self._out, width, height, self._fps, note=note_of("synthesize", self._parameters)))


class _Writer(Protocol):
    def write(self, frame: Image) -> None: ...


class _Window:
    """A window that shows frames. Raises MissingRequirement if no window can be opened."""

    def __init__(self) -> None:
        from stages.errors import MissingRequirement

        # without a display Qt ends the process, so this is tried in another process
        tried = subprocess.run([sys.executable, "-c", WINDOW_TEST], capture_output=True, check=False)
        if tried.returncode:
            raise MissingRequirement(
                "no window can be opened: there is no display, or OpenCV was built without windows",
                hint="Leave out --view, and write the result with -o",
            )
        self._open = self._restart = False
        self.closed = False

    def show(self, frame: Image) -> None:
        import cv2

        if not self._open:
            _open_window(*frame.shape[1::-1])
            self._open = True
        cv2.imshow(WINDOW, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.update()

    def update(self) -> None:
        """Draw the window and read its keys."""
        import cv2

        if not self._open:
            return
        key = cv2.waitKey(1)
        pressed = "" if key < 0 else chr(key & 0xFF)
        self.closed |= pressed in QUIT or cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1
        self._restart |= pressed == RESTART

    def take_restart(self) -> bool:
        """Whether the key for a new start was pressed since the last call."""
        restart, self._restart = self._restart, False
        return restart


def _open_window(width: int, height: int) -> None:
    """Open a window without a tool bar for frames of this size. Large frames are shown smaller."""
    import cv2

    fonts = os.environ.get("QT_QPA_FONTDIR")
    if fonts and not os.path.isdir(fonts):  # set by OpenCV, whose packages come without fonts; Qt would warn of it
        os.environ["QT_QPA_FONTDIR"] = os.path.dirname(cv2.__file__)
    cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    scale = min(1.0, MAX_WINDOW[0] / width, MAX_WINDOW[1] / height)
    cv2.resizeWindow(WINDOW, round(width * scale), round(height * scale))


def _summary(latencies: Sequence[float], seconds: float, dropped: int, held: int) -> str:
    if not latencies:
        return "no frame was made"
    median, slow = (1000 * statistics.quantiles([*latencies, latencies[-1]], n=20, method="inclusive")[part] for part in (9, 18))
    text = f"{len(latencies)} frames, {len(latencies) / seconds:.1f} per second; latency {median:.0f} ms (median), {slow:.0f} ms (95 %)"
    return text + (f"; {dropped} camera images were skipped" if dropped else "") + (f"; {held} images showed no face" if held else "")
