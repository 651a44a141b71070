"""Reading inputs ahead in a thread, so that the caller never waits for them."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
from collections.abc import Iterable


class Feeder:
    """Reads up to `ahead` inputs in advance in a thread, so that a slow source of paths never delays results.

    ready: a connection that can be read while `next` has something to return; for `multiprocessing.connection.wait`.
    """

    def __init__(self, sources: Iterable[str], ahead: int) -> None:
        self._queue: queue.Queue[str | BaseException | None] = queue.Queue(ahead)
        self.ready, self._notify = multiprocessing.Pipe(duplex=False)
        self.exhausted = False
        self._stopped = False
        threading.Thread(target=self._read, args=(sources,), daemon=True).start()

    def _read(self, sources: Iterable[str]) -> None:
        end: BaseException | None = None
        try:
            for source in sources:
                self._put(source)
                if self._stopped:
                    return
        except BaseException as error:  # `next` raises it
            end = error
        self._put(end)

    def _put(self, item: str | BaseException | None) -> None:
        self._queue.put(item)
        self._notify.send_bytes(b".")

    def next(self) -> str | None:
        """The next input, or None if none is ready. `exhausted` is set when there will be no more."""
        if self.exhausted:
            return None
        try:
            item = self._queue.get_nowait()
        except queue.Empty:
            return None
        self.ready.recv_bytes()
        if isinstance(item, str):
            return item
        self.exhausted = True
        if item is not None:
            raise item
        return None

    def stop(self) -> None:
        """End the thread after the input that it is reading."""
        self._stopped = self.exhausted = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
