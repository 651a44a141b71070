"""Reading inputs ahead in a thread, without blocking."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
from collections.abc import Iterable


class Feeder:
    """Reads ahead in the inputs in a thread, so that a slow producer of paths never holds back finished results."""

    def __init__(self, sources: Iterable[str], ahead: int) -> None:
        self._queue: queue.Queue[str | BaseException | None] = queue.Queue(ahead)
        self.bell, self._ring = multiprocessing.Pipe(duplex=False)
        self.exhausted = False
        self._stopped = False
        threading.Thread(target=self._read, args=(sources,), daemon=True).start()

    def _read(self, sources: Iterable[str]) -> None:
        last: BaseException | None = None
        try:
            for source in sources:
                self._put(source)
                if self._stopped:
                    return
        except BaseException as error:  # handed over to the thread that reads from the queue
            last = error
        self._put(last)

    def _put(self, item: str | BaseException | None) -> None:
        self._queue.put(item)
        self._ring.send_bytes(b".")

    def next(self) -> str | None:
        """The next input, or None when there is none now; `exhausted` is set when there will be none."""
        if self.exhausted:
            return None
        try:
            item = self._queue.get_nowait()
        except queue.Empty:
            return None
        self.bell.recv_bytes()
        if isinstance(item, str):
            return item
        self.exhausted = True
        if item is not None:
            raise item
        return None

    def stop(self) -> None:
        """Let the thread end after the input that it is reading now."""
        self._stopped = self.exhausted = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
