"""docs/commands.md documents every command and option. It is generated: python docs/generate.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import pytest

from fsv2v_cli.main import cli

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "commands.md").read_text(encoding="utf-8")


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, click.Command]]:
    commands = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        commands.append((" ".join(["fsv2v", *path, name]), command))
        commands += every_command(command, (*path, name)) if isinstance(command, click.Group) else []
    return commands


def test_the_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.page() == generate.PAGE.read_text(encoding="utf-8"), "run: python docs/generate.py"


def test_every_command_has_a_chapter(page):
    assert [path for path, _ in every_command(cli) if f"# {path}\n" not in page] == []


def test_every_option_is_in_the_chapter_of_its_command(page):
    missing = []
    for path, command in every_command(cli):
        chapter = page.partition(f"# {path}\n")[2].partition("\n## ")[0]
        options = [option for option in command.params if isinstance(option, click.Option) and option.name != "help"]
        missing += [(path, option.opts) for option in options if not any(f"`{name}" in chapter for name in option.opts)]
    assert missing == []


def test_every_command_and_option_has_a_help_text():
    for path, command in every_command(cli):
        assert command.help and command.help.strip()[0].isupper(), path
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{path} {option.name}"
                assert option.help.rstrip().endswith((".", ")")), f"{path} {option.name}: a sentence ends in a full stop"


def test_exit_codes_and_variables_are_documented(page):
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert f"| {code} | " in page
    for variable in ("FSV2V_DEBUG", "FSV2V_WEIGHTS", "FSV2V_WEIGHTS_MIRROR"):
        assert f"`{variable}`" in page


def test_the_readme_links_to_the_reference():
    assert "docs/commands.md" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
