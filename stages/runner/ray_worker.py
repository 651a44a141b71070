"""A worker on Ray: an actor that loads the stage once and lives as long as the run."""

from __future__ import annotations

import os
import pickle
import socket

from stages.errors import Fsv2vError, UsageError
from stages.runner.report import ClipTask, Report, Step
from stages.runner.work import CONCERNS_ALL, limit_threads, run_one


class RayWorker:
    """`run` is called for one input at a time; `step` and `stop` may be called beside it, from another thread."""

    def __init__(self, pickled_task: bytes, folder: str, threads: int) -> None:
        self._pickled_task, self._folder, self._threads = pickled_task, folder, threads
        self._task: ClipTask
        self._step: Step | None = None
        self._stopped = False

    def begin(self) -> str | Fsv2vError:
        """Change to the folder of the command, so that relative paths are valid, and load the task. Returns the id of the node."""
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
        """The report on an input, an error that concerns every input, or None when the work was stopped."""
        self._step = None
        try:
            return run_one(self._task, source, self._proceed)
        except CONCERNS_ALL as error:
            return error
        except KeyboardInterrupt:
            return None

    def step(self) -> Step | None:
        """The progress of the current input."""
        return self._step

    def stop(self) -> None:
        """End the work on the input at its next step, so that half-made output is cleaned up."""
        self._stopped = True

    def _proceed(self, step: Step) -> None:
        self._step = step
        if self._stopped:
            raise KeyboardInterrupt
