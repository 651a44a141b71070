"""The order of precedence of option values, for all commands.

From first to last: a flag, the environment (FSV2V_EXTRACT_SKETCH_JOBS, then FSV2V_JOBS), the --config file (table [extract-sketch], then
top level), the preset, the default. `Command` applies this order, so the function of a command receives final values.
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

_META = "fsv2v.precedence"  # prefix of keys in Context.meta: .values, .config (file name), .preset (parameter -> name of the preset)
_NOT_IN_FILES = {"config", "dry_run", "help", "version"}
_RESERVED = {"WEIGHTS", "WEIGHTS_MIRROR", "DEBUG"}  # FSV2V_* variables that are not options


@dataclass(frozen=True)
class Resolved:
    """The options and arguments of the running command.

    values: parameter's name -> final value.
    sources: parameter's name -> where the value comes from.
    keys: parameter's name -> name in files and, in upper case, in the environment; "metric" for --metric, whose parameter is `metrics`.
    """

    command: str
    values: Mapping[str, Any]
    sources: Mapping[str, str]
    keys: Mapping[str, str]

    def set_by_user(self) -> dict[str, Any]:
        """The options that the user has set by a flag, the environment or a config file, and not by a preset or a default."""
        return {name: value for name, value in self.values.items() if not self.sources[name].startswith(("preset", "default"))}


def resolved() -> Resolved:
    """The resolved options of the running command, for --dry-run and for commands that store their configuration."""
    context = click.get_current_context()
    parameters = [parameter for parameter in context.command.params if parameter.name in _values(context)]
    keys = {parameter.name: option_key(parameter) for parameter in parameters if parameter.name and parameter.name not in _NOT_IN_FILES}
    values, sources = ({name: get(context, name) for name in keys} for get in (_value, _source))
    return Resolved(" ".join(_command_names(context)), values, sources, keys)


def option_key(parameter: click.Parameter) -> str:
    """The name of an option in files and in the environment: its longest spelling without leading dashes, keep_going for --keep-going."""
    longest = max(parameter.opts, key=len)
    return _underscored(longest.lstrip("-"))


class PresetOption(click.Option):
    """--preset NAME; `load(NAME)` returns the option values of the preset."""

    def __init__(self, param_decls: Sequence[str], load: Callable[[str], Mapping[str, Any]], **attributes: Any) -> None:
        super().__init__(param_decls, **attributes)
        self.load = load


class Command(click.Command):
    """A command whose options follow the order of precedence."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        bind_environment(ctx)
        remaining = super().parse_args(ctx, args)
        ctx.meta[_META + ".values"] = dict(ctx.params)
        for parameter in self.params:
            if isinstance(parameter, PresetOption):
                _apply_preset(ctx, parameter)
        return remaining


def bind_environment(context: click.Context) -> None:
    """Let each option of the command read FSV2V_<COMMAND>_<OPTION> and then FSV2V_<OPTION>."""
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and parameter.name and parameter.name not in ("help", "version"):
            parameter.envvar = environment_variables(context, parameter)


def load_config(context: click.Context, parameter: click.Parameter, file: str | None) -> str | None:
    """Callback of --config: the values in the file become click's defaults. It runs before all other options are processed."""
    if file is None:
        return None
    table = _read_toml(file)
    own, common = (
        _command_table(table, _command_names(context), file),
        {name: value for name, value in table.items() if not isinstance(value, dict)},
    )
    known = {option_key(parameter): parameter.name for parameter in context.command.params if parameter.name not in _NOT_IN_FILES}
    subcommands = context.command.commands if isinstance(context.command, click.Group) else {}
    for name in own:
        if _underscored(name) not in known and name not in subcommands:
            raise click.UsageError(f"{file}: {' '.join(_command_names(context))} has no option {name!r}")
    _refuse_unknown(context, table, file)
    for values in (own, common):
        if repeated := [name for name in values if "-" in name and _underscored(name) in values]:
            raise click.UsageError(f"{file} sets {repeated[0]} twice, with a hyphen and with an underscore")
    merged = {_underscored(name): value for name, value in {**common, **own}.items()}
    for parameter in context.command.params:
        key = option_key(parameter)
        if key in merged:
            _require_type(merged[key], parameter, file)
            if parameter.multiple and not isinstance(merged[key], list):
                merged[key] = [merged[key]]
    context.default_map = {known[key]: value for key, value in merged.items() if key in known}
    context.meta[_META + ".config"] = file
    return file


def _require_type(value: Any, parameter: click.Parameter, file: str) -> None:
    """Raises UsageError unless the value is a string or has the type of its option. For an option that may be repeated, the value may be
    a list of such values."""
    several = isinstance(value, list) and (parameter.multiple or parameter.nargs != 1)
    description, fits = _value_type(parameter.type)
    for item in value if several else [value]:
        if not isinstance(item, str) and not fits(item):
            raise click.UsageError(f"{file}: {option_key(parameter)} must be {description}, not {item!r:.100}")


def _value_type(option_type: click.ParamType[Any]) -> tuple[str, Callable[[Any], bool]]:
    """(description, test) of the values that an option accepts besides strings."""
    if isinstance(option_type, click.types.BoolParamType):
        return "true or false", lambda item: isinstance(item, bool)
    if isinstance(option_type, click.types.IntParamType):
        return "a whole number", lambda item: type(item) is int
    if isinstance(option_type, click.Path):
        return "a string", lambda item: False
    return "a number" if isinstance(option_type, click.types.FloatParamType) else "a string or a number", _is_number


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


def _command_table(table: dict[str, Any], path: list[str], file: str) -> dict[str, Any]:
    """The table of the command whose names are `path`; empty if the file has none."""
    for name in path:
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise click.UsageError(f"{file}: {name} must be a table, [{'.'.join(path)}]")
    return table if path else {}


def _refuse_unknown(context: click.Context, table: dict[str, Any], file: str) -> None:
    """Raises UsageError for names that no command knows. Options of other commands are accepted, so that all commands can share a file."""
    commands = _all_commands(context)
    options = {option_key(parameter) for command in commands.values() for parameter in command.params}
    for name, value in table.items():
        if isinstance(value, dict) and name not in commands:
            raise click.UsageError(f"{file}: there is no command {name!r} for the table [{name}]")
        if not isinstance(value, dict) and _underscored(name) not in options - _NOT_IN_FILES:
            raise click.UsageError(f"{file}: no command has an option {name!r}")


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
    preset = context.params.get(option.name or "")
    if preset is None:
        return
    for name, value in option.load(preset).items():
        if name in context.params and context.get_parameter_source(name) is ParameterSource.DEFAULT:
            context.params[name] = _values(context)[name] = value
            context.meta.setdefault(_META + ".preset", {})[name] = preset


def _values(context: click.Context) -> dict[str, Any]:
    values: dict[str, Any] = context.meta.get(_META + ".values", context.params)
    return values


def _value(context: click.Context, name: str) -> Any:
    return _values(context)[name]


def _source(context: click.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "flag"
    if source is ParameterSource.ENVIRONMENT:
        parameter = next(parameter for parameter in context.command.params if parameter.name == name)
        return "environment " + next((variable for variable in environment_variables(context, parameter) if os.environ.get(variable)), "")
    if source is ParameterSource.DEFAULT_MAP:
        return f"config {context.meta[_META + '.config']}"
    preset = context.meta.get(_META + ".preset", {}).get(name)
    return f"preset {preset}" if preset else "default"


def environment_variables(context: click.Context, parameter: click.Parameter) -> list[str]:
    """The environment variables of an option; the first one that is set counts."""
    option = option_key(parameter).upper()
    own = "_".join(["FSV2V", *_command_names(context), option]).upper().replace("-", "_")
    return [variable for variable in (own, f"FSV2V_{option}") if variable.removeprefix("FSV2V_") not in _RESERVED]


def _command_names(context: click.Context) -> list[str]:
    """The names of the command without the program's: ["clip", "pack"]."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return names


def _underscored(name: str) -> str:
    return name.replace("-", "_")
