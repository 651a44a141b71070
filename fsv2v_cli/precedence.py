"""Precedence of the sources of option values, for all commands.

A flag takes precedence over the environment (FSV2V_EXTRACT_SKETCH_JOBS, then FSV2V_JOBS), that over the --config file (table
[extract-sketch], then top level), that over the preset, and that over the default. `Command` applies it; the body of a command sees final
values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOUND = "fsv2v.precedence"  # in Context.meta, with a suffix: .values, .config (file name), .preset (parameter -> name of the preset)
_NOT_IN_FILES = {"config", "dry_run", "help", "version"}
_RESERVED = {"WEIGHTS", "WEIGHTS_MIRROR", "DEBUG"}  # FSV2V_* variables that are not options


@dataclass(frozen=True)
class Resolved:
    """The final value of each option and argument of the running command, and where it came from, by parameter name.

    keys: the name in files and (upper case) in the environment: "metric" for --metric, whatever the parameter's name.
    """

    command: str
    values: Mapping[str, Any]
    sources: Mapping[str, str]
    keys: Mapping[str, str]

    def given(self) -> dict[str, Any]:
        """The options that the user has set by flag, environment or config file (not by preset or default)."""
        return {name: value for name, value in self.values.items() if not self.sources[name].startswith(("preset", "default"))}


def resolved() -> Resolved:
    """The resolved options of the running command, for --dry-run and for commands that store their configuration."""
    context = click.get_current_context()
    parameters = [parameter for parameter in context.command.params if parameter.name in _values(context)]
    keys = {parameter.name: key(parameter) for parameter in parameters if parameter.name and parameter.name not in _NOT_IN_FILES}
    values, sources = ({name: of(context, name) for name in keys} for of in (_value, _source))
    return Resolved(" ".join(_path(context)), values, sources, keys)


def key(parameter: click.Parameter) -> str:
    """The name of an option in files and in the environment: its longest spelling without dashes, keep_going for --keep-going."""
    longest = max(parameter.opts, key=len)
    return _name(longest.lstrip("-"))


class PresetOption(click.Option):
    """--preset NAME; `load(NAME)` returns the option values of the preset."""

    def __init__(self, param_decls: Sequence[str], load: Callable[[str], Mapping[str, Any]], **attributes: Any) -> None:
        super().__init__(param_decls, **attributes)
        self.load = load


class Command(click.Command):
    """A command whose options follow the order of precedence."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        bind_environment(ctx)
        rest = super().parse_args(ctx, args)
        ctx.meta[_FOUND + ".values"] = dict(ctx.params)
        for parameter in self.params:
            if isinstance(parameter, PresetOption):
                _apply_preset(ctx, parameter)
        return rest


def bind_environment(context: click.Context) -> None:
    """Let each option of the command read FSV2V_<COMMAND>_<OPTION> and then FSV2V_<OPTION>."""
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and parameter.name and parameter.name not in ("help", "version"):
            parameter.envvar = variables(context, parameter)


def load_config(context: click.Context, parameter: click.Parameter, file: str | None) -> str | None:
    """Callback of --config, which is processed before all other options: its values become click's defaults."""
    if file is None:
        return None
    table = _read_toml(file)
    own, common = _own_table(table, _path(context), file), {given: value for given, value in table.items() if not isinstance(value, dict)}
    known = {key(parameter): parameter.name for parameter in context.command.params if parameter.name not in _NOT_IN_FILES}
    below = context.command.commands if isinstance(context.command, click.Group) else {}
    for given in own:
        if _name(given) not in known and given not in below:
            raise click.UsageError(f"{file}: {' '.join(_path(context))} has no option {given!r}")
    _refuse_unknown(context, table, file)
    for values in (own, common):
        if twice := [name for name in values if "-" in name and _name(name) in values]:
            raise click.UsageError(f"{file} sets {twice[0]} twice, with a hyphen and with an underscore")
    merged = {_name(given): value for given, value in {**common, **own}.items()}
    for parameter in context.command.params:
        if key(parameter) in merged:
            _require_plain(merged[key(parameter)], parameter, file)
            if parameter.multiple and not isinstance(merged[key(parameter)], list):
                merged[key(parameter)] = [merged[key(parameter)]]
    context.default_map = {known[given]: value for given, value in merged.items() if given in known}
    context.meta[_FOUND + ".config"] = file
    return file


def _require_plain(value: Any, parameter: click.Parameter, file: str) -> None:
    """UsageError unless a value is of the type of its option, or a list of such values for an option that takes several.

    Strings are always accepted.
    """
    several = isinstance(value, list) and (parameter.multiple or parameter.nargs != 1)
    wanted, fits = _kind(parameter.type)
    for item in value if several else [value]:
        if not isinstance(item, str) and not fits(item):
            raise click.UsageError(f"{file}: {key(parameter)} must be {wanted}, not {item!r:.100}")


def _kind(given: click.ParamType[Any]) -> tuple[str, Callable[[Any], bool]]:
    """The required type of a value that is not a string, in words and as a test."""
    if isinstance(given, click.types.BoolParamType):
        return "true or false", lambda item: isinstance(item, bool)
    if isinstance(given, click.types.IntParamType):
        return "a whole number", lambda item: type(item) is int
    if isinstance(given, click.Path):
        return "a text", lambda item: False
    return "a number" if isinstance(given, click.types.FloatParamType) else "a text or a number", _is_number


def _is_number(item: Any) -> bool:
    return type(item) in (int, float) and abs(item) < 1e300


def _read_toml(file: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(Path(file).read_text(encoding="utf-8-sig"))
        return values
    except OSError as error:
        raise click.UsageError(f"The configuration {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.UsageError(f"The configuration {file} is not valid TOML: {error}") from error


def _own_table(table: dict[str, Any], path: list[str], file: str) -> dict[str, Any]:
    for name in path:
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise click.UsageError(f"{file}: {name} must be a table, [{'.'.join(path)}]")
    return table if path else {}


def _refuse_unknown(context: click.Context, table: dict[str, Any], file: str) -> None:
    """Raises UsageError for names that no command knows. Options of other commands are accepted: one file may serve all commands."""
    commands = _all_commands(context)
    options = {key(parameter) for command in commands.values() for parameter in command.params}
    for given, value in table.items():
        if isinstance(value, dict) and given not in commands:
            raise click.UsageError(f"{file}: there is no command {given!r} for the table [{given}]")
        if not isinstance(value, dict) and _name(given) not in options - _NOT_IN_FILES:
            raise click.UsageError(f"{file}: no command has an option {given!r}")


def _all_commands(context: click.Context) -> dict[str, click.Command]:
    root = context.find_root()
    if not isinstance(root.command, click.Group):
        return {context.command.name or "": context.command}
    found: dict[str, click.Command] = {}
    for name in root.command.list_commands(root):
        command = root.command.get_command(root, name)
        if command is not None:
            found[name] = command
            found.update(command.commands if isinstance(command, click.Group) else {})
    return found


def _apply_preset(context: click.Context, option: PresetOption) -> None:
    name = context.params.get(option.name or "")
    if name is None:
        return
    values = option.load(name)
    for set_by_preset, value in values.items():
        if set_by_preset in context.params and context.get_parameter_source(set_by_preset) is ParameterSource.DEFAULT:
            context.params[set_by_preset] = _values(context)[set_by_preset] = value
            context.meta.setdefault(_FOUND + ".preset", {})[set_by_preset] = name


def _values(context: click.Context) -> dict[str, Any]:
    values: dict[str, Any] = context.meta.get(_FOUND + ".values", context.params)
    return values


def _value(context: click.Context, name: str) -> Any:
    return _values(context)[name]


def _source(context: click.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "flag"
    if source is ParameterSource.ENVIRONMENT:
        parameter = next(parameter for parameter in context.command.params if parameter.name == name)
        return "environment " + next((variable for variable in variables(context, parameter) if os.environ.get(variable)), "")
    if source is ParameterSource.DEFAULT_MAP:
        return f"config {context.meta[_FOUND + '.config']}"
    preset = context.meta.get(_FOUND + ".preset", {}).get(name)
    return f"preset {preset}" if preset else "default"


def variables(context: click.Context, parameter: click.Parameter) -> list[str]:
    """The environment variables that an option is read from, the first that is set."""
    option = key(parameter).upper()
    own = "_".join(["FSV2V", *_path(context), option]).upper().replace("-", "_")
    return [variable for variable in (own, f"FSV2V_{option}") if variable.removeprefix("FSV2V_") not in _RESERVED]


def _path(context: click.Context) -> list[str]:
    """The names below the root: ["clip", "pack"]."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return names


def _name(key: str) -> str:
    return key.replace("-", "_")
