"""Writes the reference part of docs/commands.md from the commands themselves: `python docs/generate.py`. A test holds it up to date."""

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
    """Has every shared option once."""


def page() -> str:
    """The page as it should be: the hand-written part as it is, and the generated part."""
    written = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    return written + BEGIN + "\n\n" + "\n".join(generated()).rstrip() + "\n"


def generated() -> Iterator[str]:
    """Lines of the reference: shared options, then every command."""
    yield "## Shared options\n"
    yield "Commands that have them list their names only.\n"
    yield from table(options(shared))
    root = click.Context(cli, info_name="fsv2v")
    for name in COMMANDS:
        found = cli.get_command(root, name)
        assert found is not None
        yield from chapter(found, click.Context(found, info_name=name, parent=root), "##")


def chapter(what: click.Command, context: click.Context, level: str) -> Iterator[str]:
    """A command, and after it those below it."""
    yield f"{level} {context.command_path}\n"
    below = what.commands if isinstance(what, click.Group) else {}
    yield from usage(what, context) if what.params or not below else [prose(what)]
    for name, inner in below.items():
        yield from chapter(inner, click.Context(inner, info_name=name, parent=context), level + "#")


def usage(what: click.Command, context: click.Context) -> Iterator[str]:
    """How to call a command, what it does, and its options."""
    yield f"    {' '.join([context.command_path, *what.collect_usage_pieces(context)])}\n"
    yield prose(what)
    common = {tuple(row) for row in options(shared)}
    own = [row for row in options(what) if tuple(row) not in common]
    if own:
        yield from table(own)
    named = [row[0].split(", ")[0].split(" ")[0].strip("`") for row in options(what) if tuple(row) in common]
    if named:
        yield f"Shared options: {', '.join(f'`{name}`' for name in named)}.\n"


def prose(what: click.Command) -> str:
    return "\n\n".join(" ".join(part.split()) for part in textwrap.dedent(what.help or "").strip().split("\n\n")) + "\n"


def options(what: click.Command) -> list[list[str]]:
    """Spelling, default and meaning of each option."""
    found = [parameter for parameter in what.params if isinstance(parameter, click.Option) and parameter.name != "help"]
    return [[spelling(what, option), default(option), cell(option.help or "")] for option in found]


def spelling(what: click.Command, option: click.Option) -> str:
    names = sorted(option.opts, key=len, reverse=True) + option.secondary_opts
    value = "" if option.is_flag else " " + _PLAIN.get(metavar := option.make_metavar(click.Context(what)), metavar)
    return ", ".join(f"`{name}{cell(value) if name == names[0] else ''}`" for name in names)


def default(option: click.Option) -> str:
    if option.required:
        return "required"
    if option.is_flag and not option.secondary_opts:
        return ""
    if option.is_flag:
        return f"`{option.opts[0] if option.default else option.secondary_opts[0]}`"
    return "" if option.default in (None, ()) or not isinstance(option.default, (str, int, float)) else f"`{option.default}`"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


_PLAIN = {"INTEGER RANGE": "N", "INTEGER": "N", "FLOAT RANGE": "X", "FLOAT": "X", "TEXT": "NAME"}
"""Values as people call them."""


def table(rows: list[list[str]]) -> Iterator[str]:
    yield "| option | default | meaning |"
    yield "| --- | --- | --- |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
