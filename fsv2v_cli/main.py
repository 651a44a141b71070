"""The program `fsv2v`. The module of a command is imported when the command is chosen; heavy libraries are imported when it runs."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, NoReturn

import click

from fsv2v_cli import console
from stages import __version__

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT."""
COMMANDS = {
    "extract-poses": ("fsv2v_cli.extract_poses:extract_poses", "Find the body poses in videos."),
    "extract-sketch": ("fsv2v_cli.extract_sketch:extract_sketch", "Find face landmarks in videos and draw their sketches."),
    "segment": ("fsv2v_cli.segment:segment", "Label the pixels of videos, or mask the people in them."),
    "build-dataset": ("fsv2v_cli.build_dataset:build_dataset", "Turn clips of many people into a training set."),
    "train": ("fsv2v_cli.train:train", "Train a model on a dataset."),
    "finetune": ("fsv2v_cli.finetune:finetune", "Adapt a model to images of one person."),
    "predict": ("fsv2v_cli.predict:predict", "Predict the label maps that follow those of a clip."),
    "synthesize": ("fsv2v_cli.synthesize:synthesize", "Animate example images by a driving video."),
    "evaluate": ("fsv2v_cli.evaluate:evaluate", "Measure results against references."),
    "export": ("fsv2v_cli.export:export", "Write a model as ONNX files for other programs."),
    "clip": ("fsv2v_cli.clip:clip", "Inspect clips, pack, split, import and export them, and estimate their optical flow."),
    "weights": ("fsv2v_cli.weights:weights", "List, fetch and verify weight files."),
    "doctor": ("fsv2v_cli.doctor:doctor", "Check what works on this machine, and print how to fix what does not."),
    "completion": ("fsv2v_cli.completion:completion", "Print the completion script of a shell."),
}
"""name -> (import path of the command, its line in `fsv2v --help`)."""


class LazyGroup(click.Group):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group("fsv2v", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="fsv2v")
def cli() -> None:
    """Few-shot video-to-video synthesis: animate a face, a body or a street from a few example images.

    Commands read and write clips, so they chain like Unix tools. Each has its own --help; `fsv2v doctor` says what works here.
    """


def main() -> NoReturn:
    """The entry point: run the command line and exit with its exit code."""
    _open_standard_streams()
    signal.signal(signal.SIGTERM, _terminate)
    _limit_openmp_spinning()
    code: int | None = None

    def exit_at_once() -> None:
        """Exit without unloading PyTorch, which takes half a second.

        It also makes the exit code 130 after an interrupt. Otherwise `python -m` would end with the signal SIGINT if the interrupt came
        while a module was loading.
        """
        if code is not None:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(code)

    atexit.register(exit_at_once)  # registered first, therefore called last
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _exit_code_of_closed_stdout()
    except OSError as problem:
        code = code or _report_stdout_error(problem)
        _discard_stdout()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code. Errors are printed to stderr as sentences."""
    try:
        result: Any = cli.main(arguments, prog_name="fsv2v", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (console.StdoutClosed, BrokenPipeError):
        return _exit_code_of_closed_stdout()
    except (KeyboardInterrupt, click.Abort):
        return _report_interrupt()
    except click.UsageError as problem:
        console.error(_usage_sentence(problem))
        return 2
    except click.ClickException as problem:
        console.error(problem.format_message())
        return problem.exit_code
    except Exception as problem:
        from stages.errors import was_interrupted

        return _report_interrupt() if was_interrupted(problem) else _report_error(problem)


def _report_interrupt() -> int:
    console.error("interrupted; run the same command again to continue")
    return INTERRUPTED


def _open_standard_streams() -> None:
    """Open the null device in place of each standard stream that the parent process has closed.

    Otherwise the next file that is opened would get the number of such a stream, and libraries would write into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115


def _limit_openmp_spinning() -> None:
    """Limit the busy waiting of OpenMP threads, which can take ten times as long as the work when other programs run, too.

    On an idle machine the limit costs nothing. PyTorch reads the variable when it is loaded. A value that the user has set is kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _report_error(problem: Exception) -> int:
    """Print an error and return the exit code."""
    from stages.errors import Fsv2vError
    from stages.runner.work import missing_package

    if console.debugging():
        traceback.print_exception(problem)
    if isinstance(problem, ModuleNotFoundError) and (problem.name or "").partition(".")[0] not in ("stages", "fsv2v_cli", "weights"):
        problem = missing_package(problem)
    if isinstance(problem, Fsv2vError):
        console.error(str(problem))
        return problem.exit_code
    if isinstance(problem, OSError) and problem.strerror is not None:
        console.error(problem.strerror if problem.filename is None else f"{problem.strerror}: {problem.filename}")
        return 3
    console.error(f"unexpected {type(problem).__name__}: {problem}. Set FSV2V_DEBUG=1 to see where, and please report it")
    return 1


def _usage_sentence(problem: click.UsageError) -> str:
    command = problem.ctx.command_path if problem.ctx is not None else "fsv2v"
    return f"{problem.format_message().rstrip('.')}. See `{command} --help`"


def _exit_code_of_closed_stdout() -> int:
    """The exit code when the reader of stdout has closed it, as `head` does. Nothing is printed."""
    _discard_stdout()
    return 141  # 128 + SIGPIPE, which does not exist everywhere


def _report_stdout_error(problem: OSError) -> int:
    error = console.StdoutWriteError(problem)
    console.error(error.format_message())
    return error.exit_code


def _discard_stdout() -> None:
    """Send further output to the null device, so that flushing at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
