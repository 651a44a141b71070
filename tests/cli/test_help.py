"""`--help` is instant: no command loads a heavy library before it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from fsv2v_cli.main import COMMANDS

HEAVY = ["torch", "cv2", "dlib", "mediapipe", "numpy", "scipy", "skimage", "rich", "face_alignment"]
SUBCOMMANDS = [["weights", "list"], ["weights", "fetch"], ["weights", "verify"], ["evaluate", "study"], ["evaluate", "score"]]
EVERY_COMMAND = [[], *([name] for name in COMMANDS), *SUBCOMMANDS]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_help_imports_nothing_heavy(command):
    script = (
        "import contextlib, io, json, sys\n"
        "from fsv2v_cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as output: code = run(sys.argv[1:])\n"
        f"print(json.dumps([code, output.getvalue(), [name for name in {HEAVY} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", script, *command, "--help"], capture_output=True, text=True, check=True)
    code, output, loaded = json.loads(done.stdout)
    assert code == 0, done.stderr
    assert " ".join(["Usage: fsv2v", *command]) in output
    assert loaded == []


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_help_takes_less_than_0_3_seconds(fsv2v, command):
    def seconds() -> float:
        """Processor time, which does not depend on other programs."""
        before = os.times()
        fsv2v(*command, "--help")
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    assert min(seconds() for _ in range(2)) < 0.3


def test_the_list_of_commands_describes_each_command(fsv2v):
    output = fsv2v("--help").stdout
    for name, (_, line) in COMMANDS.items():
        assert name in output and line.split()[0] in output


def test_version_is_printed(fsv2v):
    from stages import __version__

    assert fsv2v("--version").stdout.strip() == f"fsv2v, version {__version__}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(fsv2v, shell):
    result = fsv2v("completion", shell)
    assert result.exit_code == 0
    assert f"_FSV2V_COMPLETE={shell}_complete" in result.stdout
    assert shell != "bash" or "-o default" in result.stdout  # complete file names if there is no other completion


def test_completion_knows_the_commands(fsv2v):
    result = fsv2v(env={"_FSV2V_COMPLETE": "bash_complete", "COMP_WORDS": "fsv2v extr", "COMP_CWORD": "1"})
    assert "plain,extract-sketch" in result.lines


@pytest.mark.parametrize("line", ["extract-sketch vid", "synthesize --driving po", "train --data=fa", "evaluate a.mp4 -r b", "clip pack a"])
def test_completion_leaves_paths_to_the_shell(fsv2v, line):
    words = f"fsv2v {line}"
    result = fsv2v(env={"_FSV2V_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)})
    assert result.lines == ["file", re.split("[ =]", words)[-1], "_"]
