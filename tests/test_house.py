"""The order of the house: imports point down, the library knows no command line, files stay small enough to be read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(file for folder in ("fsv2v_cli", "stages", "weights") for file in (ROOT / folder).rglob("*.py"))
COMMAND_STAGES = {"extract_poses", "extract_sketch", "segment", "build_dataset", "train", "finetune", "synthesize", "evaluate"}
ROOMS_BELOW = {"networks", "flow", "clip", "runner"}


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, except for type checking alone."""
    for node in _run_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from _run_nodes(child)


def room(module: str) -> str:
    """`stages.clip.reader` -> "clip"; "" for what is not in a room of the library."""
    parts = module.split(".")
    return parts[1] if parts[0] == "stages" and len(parts) > 1 else ""


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def of_rooms(*rooms: str) -> list[Path]:
    return [file for file in SOURCES if file.is_relative_to(ROOT / "stages") and file.relative_to(ROOT / "stages").parts[0] in rooms]


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_nothing_uses_torchvision(file):
    assert not [module for module in imported(file) if module.split(".")[0] == "torchvision"]


@pytest.mark.parametrize("file", [file for file in SOURCES if not file.is_relative_to(ROOT / "fsv2v_cli")], ids=name)
def test_the_library_knows_no_command_line(file):
    assert not [module for module in imported(file) if module.split(".")[0] in ("click", "rich", "fsv2v_cli")]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "sys.exit", "exit"), f"line {node.lineno}"


@pytest.mark.parametrize("file", of_rooms(*COMMAND_STAGES), ids=name)
def test_a_stage_never_imports_another_stage(file):
    own = file.relative_to(ROOT / "stages").parts[0]
    assert not [module for module in imported(file) if room(module) in COMMAND_STAGES - {own}]


@pytest.mark.parametrize("file", of_rooms("conditions"), ids=name)
def test_conditions_look_down(file):
    assert not [module for module in imported(file) if room(module) in COMMAND_STAGES]


@pytest.mark.parametrize("file", of_rooms(*ROOMS_BELOW), ids=name)
def test_the_rooms_below_look_down(file):
    assert not [module for module in imported(file) if room(module) in COMMAND_STAGES | {"conditions"}]


@pytest.mark.parametrize("file", of_rooms("networks"), ids=name)
def test_networks_know_no_clips(file):
    assert not [module for module in imported(file) if room(module) in {"clip", "runner"}]


@pytest.mark.parametrize("file", [file for file in SOURCES if file.is_relative_to(ROOT / "weights")], ids=name)
def test_weights_know_only_the_errors(file):
    assert {room(module) for module in imported(file)} - {""} <= {"errors"}


@pytest.mark.parametrize("file", [file for file in SOURCES if file.stat().st_size], ids=name)
def test_files_are_small_and_explain_themselves(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a file begins by saying what it is"


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_pickles_are_never_loaded_from_files(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert called != "pickle.load", f"line {node.lineno}"
        if called == "torch.load":
            assert keywords.get("weights_only") == "True", f"line {node.lineno}"
        if called in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle") == "False", f"line {node.lineno}"


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_an_assert_only_narrows_a_type(file):
    """`python -O` leaves them out: neither what a program does nor what it refuses may hang on one."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assert):
            text = ast.unparse(node.test)
            assert re.fullmatch(r"isinstance\([\w.]+, .*\)|[\w.]+ is not None", text), f"line {node.lineno}: {text}"
