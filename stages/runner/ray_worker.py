"""A worker of the Ray engine: an actor that loads the stage once and lives as long as the run."""

from __future__ import annotations

import os
import pickle
import socket

from stages.errors import Fsv2vError, UsageError
from stages.runner.report import ClipTask, InputProgress, Report
from stages.runner.work import FATAL_ERRORS, limit_threads, run_one


class RayWorker:
    """`run` processes one input at a time. `progress` and `stop` may be called from another thread meanwhile."""

    def __init__(self, pickled_task: bytes, folder: str, threads: int) -> None:
        self._pickled_task, self._folder, self._threads = pickled_task, folder, threads
        self._task: ClipTask
        self._progress: InputProgress | None = None
        self._stopped = False

    def start(self) -> str | Fsv2vError:
        """Change to the folder of the command, so that relative paths work, and load the task. Returns the id of the node, or an error."""
        import ray

        try:
            os.chdir(self._folder)
        except OSError as error:
            return UsageError(
                f"The node {socket.gethostname()} cannot enter {self._folder}, the folder of this command: {error.strerror}",
                hint="Start the command in a folder that all nodes have under the same name",
            )
        limit_threads(self._threads)
        self._task = pickle.loads(self._pickled_task)
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def run(self, source: str) -> Report | Fsv2vError | None:
        """The report on an input, one of FATAL_ERRORS, or None after `stop`."""
        self._progress = None
        try:
            return run_one(self._task, source, self._on_step)
        except FATAL_ERRORS as error:
            return error
        except KeyboardInterrupt:
            return None

    def progress(self) -> InputProgress | None:
        """The progress of the current input."""
        return self._progress

    def stop(self) -> None:
        """End the work on the current input at its next step, so that partial output is removed."""
        self._stopped = True

    def _on_step(self, progress: InputProgress) -> None:
        self._progress = progress
        if self._stopped:
            raise KeyboardInterrupt
