"""Options of the commands, each defined once.

A command over many inputs:

    @command("extract-sketch")
    @inputs_argument                                # -> inputs: Inputs, which iterates over paths; - stands for the paths on stdin
    @backend_option("landmarks", "Landmark detector.")    # -> backend: str
    @device_option                                  # -> device: str
    @clip_stage_options                             # -> run: Run; adds -o --overwrite --jobs --shard --engine --failures ... + common
    def extract_sketch(inputs: Inputs, backend: str, device: str, run: Run) -> int:
        from stages.extract_sketch import SketchOptions
        return run_over_clips("stages.extract_sketch:extract", inputs, SketchOptions(backend=backend, device=device), run, "sketch")

Another command: stack `out_option(required=True)`, `overwrite_option`, `seed_option`, `jobs_option`, `preset_option(...)` and end with
`common_options` (--config --dry-run --json -q -v). Options that are fields of Run are collected in `run`; others are parameters of the
function. The return value of a command is its exit code (None is 0). `resolved().set_by_user()` returns the options that the user has set.

--dry-run, the order of precedence, -q and errors need no code in the command.
"""

from __future__ import annotations

import codecs
import functools
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from fsv2v_cli import console, precedence
from fsv2v_cli.dry_run import print_options
from fsv2v_cli.precedence import Resolved, resolved
from stages.backends import Backends

__all__ = [
    "PATH",
    "Command",
    "Group",
    "Inputs",
    "Resolved",
    "Run",
    "address_option",
    "backend_option",
    "base_option",
    "clip_stage_options",
    "command",
    "common_options",
    "config_option",
    "device_option",
    "dry_run_option",
    "engine_option",
    "group",
    "inputs_argument",
    "jobs_option",
    "json_option",
    "many_options",
    "null_option",
    "default_group",
    "out_option",
    "overwrite_option",
    "path_option",
    "perceptual_option",
    "preset_option",
    "quiet_option",
    "resolved",
    "seed_option",
    "shard_option",
    "verbose_option",
]

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


@dataclass(frozen=True)
class Run:
    """Options that many commands share: how a command runs, and where it writes. Fields for which a command has no option keep their
    defaults."""

    out: Path | None = None
    overwrite: bool = False
    jobs: int = 1
    shard: tuple[int, int] = (0, 1)
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    failures: str | None = None
    keep_going: bool = True
    json: bool = False
    quiet: bool = False
    verbose: bool = False


class Inputs:
    """The INPUT arguments, with - replaced by the paths on stdin. It can be iterated only once, because the iteration reads stdin."""

    def __init__(self, named: tuple[str, ...], null: bool) -> None:
        self.named = named
        self.null = null

    @property
    def total(self) -> int | None:
        """Number of inputs; None if a pipe is among them."""
        if "-" not in self.named:
            return len(self.named)
        on_stdin = count_on_stdin(self._separator)
        return None if on_stdin is None else len(self.named) - 1 + on_stdin

    @property
    def _separator(self) -> bytes:
        return b"\0" if self.null else b"\n"

    def __iter__(self) -> Iterator[str]:
        for name in self.named:
            if name == "-":
                yield from paths_on_stdin(self._separator)
            else:
                yield name


def paths_on_stdin(separator: bytes) -> Iterator[str]:
    """Yield each path as soon as its line is complete. Empty lines are skipped; a byte order mark and carriage returns of Windows are
    removed.
    """
    pending: list[bytes] = []  # blocks of an incomplete path, which may be as long as the whole file
    while block := os.read(sys.stdin.fileno(), 1 << 16):  # not sys.stdin.buffer: a thread that blocks in it prevents the interpreter's exit
        first, *others = block.split(separator)
        pending.append(first)
        if others:
            complete = [b"".join(pending), *others[:-1]]
            pending = others[-1:]
            yield from (os.fsdecode(path) for path in map(_cleaner(separator), complete) if path)
    if last := _cleaner(separator)(b"".join(pending)):
        yield os.fsdecode(last)


def count_on_stdin(separator: bytes) -> int | None:
    """Number of paths left on stdin if it is a file; None if it is a pipe. Reads without consuming."""
    descriptor = sys.stdin.fileno()
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    position, count, last = os.lseek(descriptor, 0, os.SEEK_CUR), 0, separator
    while block := os.read(descriptor, 1 << 20):
        count, last = count + block.count(separator), block[-1:]
    os.lseek(descriptor, position, os.SEEK_SET)
    return count + (last != separator)


def _cleaner(separator: bytes) -> Callable[[bytes], bytes]:
    """A function that removes what Windows adds to a line of a text file: a byte order mark and a carriage return."""
    return (lambda line: line.removeprefix(codecs.BOM_UTF8).removesuffix(b"\r")) if separator == b"\n" else (lambda path: path)


class Command(precedence.Command):
    """A command of fsv2v. It follows the order of precedence, and prints the values of its options with --dry-run.

    The options that are fields of `Run` are collected in the parameter `run`, the arguments INPUT in `inputs`.
    explain: called by --dry-run with the values of the options; returns option -> what its value `auto` stands for, and why.
    """

    def __init__(self, *arguments: Any, explain: Callable[[dict[str, Any]], dict[str, str]] = lambda values: {}, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.explain = explain

    def invoke(self, ctx: click.Context) -> Any:
        console.configure(quiet=ctx.params.get("quiet", False), verbose=ctx.params.get("verbose", False))
        if ctx.params.pop("dry_run", False):
            print_options(resolved(), self.explain(ctx.params), as_json=ctx.params.get("json", False))
            return 0
        ctx.params.pop("config", None)
        self._collect_parameters(ctx.params)
        return super().invoke(ctx)

    def _collect_parameters(self, params: dict[str, Any]) -> None:
        run = {field.name: params.pop(field.name) for field in fields(Run) if field.name in params}
        if run:
            if run.get("out") is not None:
                run["out"] = Path(run["out"])
            params["run"] = Run(**run)
        if "inputs" in params and "null" in params:
            params["inputs"] = Inputs(params["inputs"], params.pop("null"))


class Group(click.Group):
    """A group whose commands are `Command`s."""

    command_class = Command


class DefaultGroup(Command, click.Group):
    """A command with arguments that also has subcommands: `evaluate RESULT...` and `evaluate study A B`.

    A subcommand is recognised only as the first argument. An input that is called study must be written as ./study.
    """

    command_class = Command
    allow_extra_args = False  # as for commands; click's groups allow them
    allow_interspersed_args = True

    def __init__(self, name: str, commands: Sequence[click.Command], **attributes: Any) -> None:
        super().__init__(name, commands=commands, invoke_without_command=True, **attributes)

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        """The context of this command, or of the subcommand in the first argument."""
        if args and args[0] in self.commands:
            context = self.context_class(self, info_name=info_name, parent=parent)
            return self.commands[args[0]].make_context(args[0], args[1:], parent=context, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """No parameters for a subcommand, whose usage line would otherwise read `evaluate INPUT... study`."""
        return super().get_params(ctx) if ctx.command is self else []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return click.Command.collect_usage_pieces(self, ctx)


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """`@command("extract-sketch")`: like click.command, for a `Command`."""
    return click.command(name, cls=Command, **attributes)


def group(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Group]:
    """`@group("weights")`: like click.group; `@weights.command("list")` then makes a `Command`."""
    return click.group(name, cls=Group, **attributes)


def default_group(name: str, subcommands: Sequence[click.Command]) -> Callable[[Callable[..., Any]], DefaultGroup]:
    """`@default_group("evaluate", [study, score])`: a command with subcommands."""
    return click.command(name, cls=DefaultGroup, commands=subcommands)


class _Device(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", str(value)):
            self.fail(f"{value!r} is not one of auto, cpu, cuda, cuda:N, mps.", param, ctx)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "[auto|cpu|cuda|cuda:N|mps]"


class _Shard(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if match is None:
            self.fail(f"{value!r} is not of the form I/N, such as 0/4.", param, ctx)
        index, count = int(match[1]), int(match[2])
        if index >= count:
            self.fail(f"there is no shard {index} of {count}; shards count from 0 to {count - 1}.", param, ctx)
        return index, count

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "I/N"


PATH = click.Path(readable=False)
"""A path as text, which shells complete. The stage checks whether it can be read."""
path_option = functools.partial(click.option, type=PATH)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace a finished output that was made with other inputs or parameters."
)
jobs_option = click.option(
    "--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Number of inputs that are processed at the same time."
)
shard_option = click.option(
    "--shard", type=_Shard(), default="0/1", metavar="I/N", help="Process every N-th input, beginning with number I (from 0)."
)
engine_option = click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Processes of this machine, or Ray."
)
address_option = click.option(
    "--address",
    metavar="auto|HOST:PORT|ray://HOST:PORT",
    help="The Ray cluster; default: RAY_ADDRESS, or else Ray is started on this machine.",
)
failures_option = path_option(
    "--failures",
    metavar="FILE",
    help="Write the failed inputs to FILE, one per line (with -0 separated by NUL). To retry, give FILE on stdin and - as INPUT.",
)
keep_going_option = click.option(
    "--keep-going/--fail-fast", default=True, show_default=True, help="Continue with the other inputs after a failure, or stop."
)
config_option = path_option(
    "--config",
    metavar="FILE.toml",
    is_eager=True,
    callback=precedence.load_config,
    help="Read options from a TOML file (see docs/commands.md).",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Print the value of every option and its source, and do nothing else.")
json_option = click.option("--json", is_flag=True, help="Print one JSON object per line instead of paths.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print errors only: no progress, notes or warnings.")
verbose_option = click.option("--verbose", "-v", is_flag=True, help="Print details of each step.")
base_option = path_option("--base", metavar="FILE", help="The model from which a finetuned one was made, if it is not found automatically.")
perceptual_option = click.option(
    "--perceptual",
    type=click.Choice(["auto", "squeezenet", "squeezenet-1.1", "vgg19", "none"]),
    default="auto",
    show_default=True,
    help="Feature network of the perceptual loss. auto: squeezenet if its weights are present, else squeezenet-1.1 if they can be fetched "
    "(5 MB), else none; vgg19 for the paper's presets and models trained with them.",
)
device_option = click.option("--device", type=_Device(), default="auto", show_default=True, help="Where networks run.")
seed_option = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all random numbers.")


def out_option(help: str = "The output.", required: bool = False, metavar: str = "PATH") -> Decorator[Any]:
    """-o/--out -> run.out."""
    return path_option("--out", "-o", metavar=metavar, required=required, help=help)


def backend_option(kind: str, help: str) -> Decorator[Any]:
    """--backend -> backend: "auto" or the name of a backend of this kind (see stages/backends.py)."""
    names = ["auto", *Backends(kind).names()]
    help = f"{help} `fsv2v doctor` lists those that can run here."
    return click.option("--backend", type=click.Choice(names), default="auto", show_default=True, help=help)


def preset_option(names: tuple[str, ...], load: Callable[[str], Mapping[str, Any]], default: str | None = None) -> Decorator[Any]:
    """--preset -> preset. `load(name)` returns the option values of the preset; it is called only when the command runs."""
    return click.option(
        "--preset",
        cls=precedence.PresetOption,
        load=load,
        type=click.Choice(names),
        default=default,
        show_default=True,
        help="A named set of options.",
    )


def _stack(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Combine decorators; --help lists their options in this order."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _require_inputs(context: click.Context, parameter: click.Parameter, inputs: tuple[str, ...]) -> tuple[str, ...]:
    if not inputs:
        raise click.UsageError("No INPUT was given: give paths, or - to read them from stdin", context)
    if "-" in inputs and sys.stdin is None:
        raise click.UsageError("No INPUT was given: stdin is closed, so - stands for no input", context)
    return inputs


null_option = click.option("--null", "-0", is_flag=True, help="Paths on stdin end with NUL instead of a line break.")
inputs_argument = _stack(
    click.argument("inputs", nargs=-1, type=PATH, metavar="INPUT...", callback=_require_inputs),
    null_option,
)
many_options = _stack(jobs_option, shard_option, engine_option, address_option, failures_option, keep_going_option)
common_options = _stack(config_option, dry_run_option, json_option, quiet_option, verbose_option)
clip_stage_options = _stack(
    out_option("A folder for the clips, or NAME.clip for one input. Default: the current folder.", metavar="PATH"),
    overwrite_option,
    many_options,
    common_options,
)
