"""The architecture: imports point down and form no cycles, the library does not know the command line, files are small."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsv2v_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
SOURCE_FILES = sorted(file for folder in ("fsv2v", "fsv2v_cli", "stages", "weights") for file in (ROOT / folder).rglob("*.py"))
LIBRARY = [file for file in SOURCE_FILES if not file.is_relative_to(ROOT / "fsv2v_cli")]
COMMAND_STAGES = {
    "extract_poses",
    "extract_sketch",
    "extract_flow",
    "segment",
    "build_dataset",
    "train",
    "finetune",
    "predict",
    "synthesize",
    "evaluate",
    "export",
}
CORE = {"networks", "flow", "clip", "runner"}


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions, except those imported only for type checking."""
    for node in _runtime_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from _runtime_nodes(child)


def package(module: str) -> str:
    """`stages.clip.reader` -> "clip"; "" for what is not in a package of the library."""
    parts = module.split(".")
    return parts[1] if parts[0] == "stages" and len(parts) > 1 else ""


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def files_of_packages(*packages: str) -> list[Path]:
    return [
        file for file in SOURCE_FILES if file.is_relative_to(ROOT / "stages") and file.relative_to(ROOT / "stages").parts[0] in packages
    ]


@pytest.mark.parametrize("file", SOURCE_FILES, ids=name)
def test_nothing_uses_torchvision(file):
    assert not [module for module in imported(file) if module.split(".")[0] == "torchvision"]


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_cycles(imports: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Groups of names that import each other, directly or indirectly."""
    reached = {name: set(targets) for name, targets in imports.items()}
    for through in imports:
        for targets in reached.values():
            if through in targets:
                targets |= reached[through]
    return sorted({tuple(sorted(n for n in reached[name] if name in reached[n])) for name in imports if name in reached[name]})


def imports_of_modules() -> dict[str, set[str]]:
    """module -> the modules that it imports, also inside functions. `from package import module` is an import of the module alone."""
    modules = {module_of(file): file for file in SOURCE_FILES}
    found = {}
    for module, file in modules.items():
        names = set(imported(file)) & modules.keys()
        found[module] = {n for n in names if not any(other.startswith(f"{n}.") for other in names)} - {module}
    return found


def test_modules_have_no_import_cycles():
    assert import_cycles(imports_of_modules()) == []


def test_packages_have_no_import_cycles():
    packages: dict[str, set[str]] = {}
    for module, targets in imports_of_modules().items():
        own = package(module)
        packages.setdefault(own, set()).update({package(target) for target in targets} - {own, ""})
    packages.pop("", None)
    assert import_cycles(packages) == []


def test_the_top_level_stays_small():
    """A drawing of the packages, with `stages` opened, has at most 30 boxes."""
    inside_stages = {file.relative_to(ROOT / "stages").parts[0] for file in SOURCE_FILES if file.is_relative_to(ROOT / "stages")}
    boxes = inside_stages - {"__init__.py"} | {"fsv2v", "fsv2v_cli", "weights", "benchmarks", "tools"}
    assert len(boxes) <= 30, sorted(boxes)


def test_an_import_cycle_is_found():
    assert import_cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [("a", "b", "c")]


@pytest.mark.parametrize("file", LIBRARY, ids=name)
def test_the_library_does_not_know_the_command_line(file):
    assert not [module for module in imported(file) if module.split(".")[0] in ("click", "rich", "fsv2v_cli")]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "sys.exit", "exit"), f"line {node.lineno}"


NAMES_OF_OPTIONS_AND_COMMANDS = re.compile(rf"(?<![\w-])--[a-z]|(?<![\w-])-o\b|`fsv2v |\bfsv2v ({'|'.join(COMMANDS)})\b")
EXEMPT = {
    "stages/extract_sketch/backends/face_alignment.py",  # options of curl
}


def sentences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string literal that is not a docstring; f-strings with {} for their values."""
    bodies = [body for node in ast.walk(tree) if isinstance(body := getattr(node, "body", None), list)]
    docstrings = {statement.value for body in bodies for statement in body if isinstance(statement, ast.Expr)}
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings | parts:
            yield node.lineno, node.value


@pytest.mark.parametrize("file", [file for file in LIBRARY if name(file) not in EXEMPT], ids=name)
def test_no_sentence_of_the_library_names_an_option_or_a_command(file):
    """Such sentences are in fsv2v_cli/hints.py."""
    found = sentences(ast.parse(file.read_text(encoding="utf-8")))
    assert [(line, text) for line, text in found if NAMES_OF_OPTIONS_AND_COMMANDS.search(text)] == []


def test_an_option_in_a_sentence_is_found():
    source = 'def f(x):\n    """Give --size."""\n    raise E(f"{x} is there", hint=f"Run `fsv2v {x}` with --size {x}, or another -o")\n'
    (hint,) = [text for _, text in sentences(ast.parse(source)) if NAMES_OF_OPTIONS_AND_COMMANDS.search(text)]
    assert hint == "Run `fsv2v {}` with --size {}, or another -o"


@pytest.mark.parametrize("file", LIBRARY, ids=name)
def test_a_hint_begins_like_a_sentence(file):
    """It is printed after the message, as a sentence of its own."""
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    hints = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "hint"]
    texts = [
        text
        for hint in hints
        if isinstance(hint, ast.Constant | ast.JoinedStr)
        for _, text in sentences(ast.Module([ast.Return(hint)], []))
    ]
    assert [text for text in texts if text[:1].islower()] == []


@pytest.mark.parametrize("file", files_of_packages(*COMMAND_STAGES), ids=name)
def test_a_stage_never_imports_another_stage(file):
    own = file.relative_to(ROOT / "stages").parts[0]
    assert not [module for module in imported(file) if package(module) in COMMAND_STAGES - {own}]


@pytest.mark.parametrize("file", files_of_packages("conditions"), ids=name)
def test_conditions_import_no_stage(file):
    assert not [module for module in imported(file) if package(module) in COMMAND_STAGES]


@pytest.mark.parametrize("file", files_of_packages(*CORE), ids=name)
def test_the_core_imports_no_stage(file):
    assert not [module for module in imported(file) if package(module) in COMMAND_STAGES | {"conditions"}]


@pytest.mark.parametrize("file", files_of_packages("networks"), ids=name)
def test_networks_do_not_import_clips(file):
    assert not [module for module in imported(file) if package(module) in {"clip", "runner"}]


@pytest.mark.parametrize("file", [file for file in SOURCE_FILES if file.is_relative_to(ROOT / "weights")], ids=name)
def test_weights_import_only_the_errors(file):
    assert {package(module) for module in imported(file)} - {""} <= {"errors"}


@pytest.mark.parametrize("file", [file for file in SOURCE_FILES if file.stat().st_size], ids=name)
def test_files_are_small_and_explain_themselves(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a file begins by saying what it is"


def test_the_wheel_contains_only_the_four_packages():
    from setuptools.config.setupcfg import read_configuration

    packages = set(read_configuration(ROOT / "setup.cfg")["options"]["packages"])
    assert packages == {".".join(file.parent.relative_to(ROOT).parts) for file in SOURCE_FILES if file.name == "__init__.py"}
    assert {package.split(".")[0] for package in packages} == {"fsv2v", "fsv2v_cli", "stages", "weights"}


@pytest.mark.parametrize("file", [file for file in SOURCE_FILES if not file.is_relative_to(ROOT / "fsv2v_cli")], ids=name)
def test_the_library_has_no_scripts(file):
    assert "__main__" not in file.read_text(encoding="utf-8"), "scripts are in tools/ or benchmarks/"


@pytest.mark.parametrize("file", SOURCE_FILES, ids=name)
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


@pytest.mark.parametrize("file", SOURCE_FILES, ids=name)
def test_an_assert_only_narrows_a_type(file):
    """`python -O` removes asserts, so neither the behaviour of a program nor its checks may depend on one."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assert):
            text = ast.unparse(node.test)
            assert re.fullmatch(r"isinstance\([\w.]+, .*\)|[\w.]+ is not None", text), f"line {node.lineno}: {text}"
