"""Generates the reference part of docs/commands.md from the commands: `python docs/generate.py`. A test checks that it is up to date."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fsv2v_cli.main import COMMANDS, cli
from fsv2v_cli.options import clip_stage_options, command, device_option, inputs_argument, seed_option

PAGE = Path(__file__).parent / "commands.md"
BEGIN = "<!-- From here on the page is generated: python docs/generate.py -->"


@command("shared")
@inputs_argument
@clip_stage_options
@seed_option
@device_option
def shared(**_: Any) -> None:
    """A command with all shared options."""


def page() -> str:
    """The text of the page: its hand-written part, and the generated part."""
    handwritten = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    return handwritten + BEGIN + "\n\n" + "\n".join(reference()).rstrip() + "\n"


def reference() -> Iterator[str]:
    """The lines of the reference: the shared options, then all commands."""
    yield "## Shared options\n"
    yield "Commands that have a shared option list only its name.\n"
    yield from table(options(shared))
    root = click.Context(cli, info_name="fsv2v")
    for name in COMMANDS:
        subcommand = cli.get_command(root, name)
        assert subcommand is not None
        yield from section(subcommand, click.Context(subcommand, info_name=name, parent=root), "##")


def section(click_command: click.Command, context: click.Context, level: str) -> Iterator[str]:
    """The lines about a command, then those about its subcommands. level: the marks of its heading."""
    yield f"{level} {context.command_path}\n"
    subcommands = click_command.commands if isinstance(click_command, click.Group) else {}
    yield from usage(click_command, context) if click_command.params or not subcommands else [description(click_command)]
    for name, subcommand in subcommands.items():
        yield from section(subcommand, click.Context(subcommand, info_name=name, parent=context), level + "#")


def usage(click_command: click.Command, context: click.Context) -> Iterator[str]:
    """How to call a command, what it does, and its options."""
    yield f"    {' '.join([context.command_path, *click_command.collect_usage_pieces(context)])}\n"
    yield description(click_command)
    common = {tuple(row) for row in options(shared)}
    own = [row for row in options(click_command) if tuple(row) not in common]
    if own:
        yield from table(own)
    names = [row[0].split(", ")[0].split(" ")[0].strip("`") for row in options(click_command) if tuple(row) in common]
    if names:
        yield f"Shared options: {', '.join(f'`{name}`' for name in names)}.\n"


def description(click_command: click.Command) -> str:
    """The help text of a command, one line for each paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in textwrap.dedent(click_command.help or "").strip().split("\n\n")) + "\n"


def options(click_command: click.Command) -> list[list[str]]:
    """[spelling, default, meaning] of each option."""
    shown = [parameter for parameter in click_command.params if isinstance(parameter, click.Option) and parameter.name != "help"]
    return [[spelling(click_command, option), default(option), escape(option.help or "")] for option in shown]


def spelling(click_command: click.Command, option: click.Option) -> str:
    """All names of an option, the longest first, with its value."""
    names = sorted(option.opts, key=len, reverse=True) + option.secondary_opts
    value = "" if option.is_flag else " " + _METAVARS.get(metavar := option.make_metavar(click.Context(click_command)), metavar)
    return ", ".join(f"`{name}{escape(value) if name == names[0] else ''}`" for name in names)


def default(option: click.Option) -> str:
    """The default of an option as a cell of the table; empty if there is none."""
    if option.required:
        return "required"
    if option.is_flag and not option.secondary_opts:
        return ""
    if option.is_flag:
        return f"`{option.opts[0] if option.default else option.secondary_opts[0]}`"
    return "" if option.default in (None, ()) or not isinstance(option.default, (str, int, float)) else f"`{option.default}`"


def escape(text: str) -> str:
    """The text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


_METAVARS = {"INTEGER RANGE": "N", "INTEGER": "N", "FLOAT RANGE": "X", "FLOAT": "X", "TEXT": "NAME"}
"""click's names of values -> the names in the page."""


def table(rows: list[list[str]]) -> Iterator[str]:
    """The lines of a table of options."""
    yield "| option | default | meaning |"
    yield "| --- | --- | --- |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
