"""Errors of the library have a code and facts; the command line adds hints that name options and commands."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from fsv2v_cli import console
from fsv2v_cli.hints import HINTS, with_hint
from stages import errors
from stages.backends import AUTO, Backend, Backends
from stages.errors import Fsv2vError, InputError, MissingRequirement, ParametersDiffer, Sentence, add_prefix
from stages.evaluate import Score
from stages.evaluate.partial_result import PartialResult, load
from stages.runner import Report

ROOT = Path(__file__).resolve().parents[2]
ERROR_CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Fsv2vError)]
DEFAULT_CODES = {error_class.code for error_class in ERROR_CLASSES}
"""The codes of errors that are raised without a code. They have no hints."""


class UseOfCode(NamedTuple):
    """A call in the library with the keyword `code`: it makes an error or a sentence."""

    position: str
    """FILE:LINE."""
    code: str
    facts: frozenset[str] | None
    """The names of the facts in the call; None if they cannot be read from the source."""


def uses() -> Iterator[UseOfCode]:
    """The calls with a constant code. Facts are read from a dict in the call, or from a variable of the same file that holds one."""
    for file in sorted(file for folder in ("fsv2v", "stages", "weights") for file in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        variables = {ast.unparse(node.targets[0]): names_in(node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign)}
        for node in ast.walk(tree):
            keywords = {keyword.arg: keyword.value for keyword in node.keywords} if isinstance(node, ast.Call) else {}
            if isinstance(node, ast.Call) and isinstance(code := keywords.get("code"), ast.Constant):
                facts = keywords.get("facts", ast.Dict([], []))
                names = names_in(facts) if isinstance(facts, ast.Dict) else variables.get(ast.unparse(facts))
                yield UseOfCode(f"{file.relative_to(ROOT)}:{node.lineno}", str(code.value), names)


def names_in(facts: ast.expr) -> frozenset[str] | None:
    """The keys of a dict in the source; None for any other expression."""
    return frozenset(ast.unparse(key).strip("'") for key in facts.keys if key) if isinstance(facts, ast.Dict) else None


USES = list(uses())


def test_every_code_of_the_library_has_a_hint_and_every_hint_a_use():
    assert {use.code for use in USES} == HINTS.keys()
    assert not HINTS.keys() & DEFAULT_CODES and len(DEFAULT_CODES) == len(ERROR_CLASSES), "each class has a code of its own"


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.code} {use.position}")
def test_a_hint_uses_only_facts_of_the_error(use):
    template = HINTS[use.code]
    if isinstance(template, str) and use.facts is not None:
        assert {field for _, field, _, _ in string.Formatter().parse(template) if field} <= use.facts | {"hint"}


@pytest.mark.parametrize("code", sorted({*HINTS} | DEFAULT_CODES))
def test_codes_are_words_with_hyphens(code):
    assert code.replace("-", "").isalnum() and code == code.lower()


def test_the_hint_of_the_command_line_replaces_that_of_the_library():
    problem = ParametersDiffer("out.mp4 exists already", hint="use another path", code="output-exists")
    assert str(problem) == "out.mp4 exists already. use another path"
    assert with_hint(str(problem)) == "out.mp4 exists already. Replace it with --overwrite, or choose another path with -o"


def test_a_hint_can_contain_that_of_the_library_and_facts():
    problem = MissingRequirement("The weights x are not here", hint="put them into /cache", code="weights-absent", facts={"name": "x"})
    assert (
        with_hint(str(problem))
        == "The weights x are not here. Run `fsv2v weights fetch x` with an internet connection, or put them into /cache"
    )


@pytest.mark.parametrize(
    "text",
    [
        "any text",
        InputError("a.png is damaged").sentence,
        InputError("a.png is damaged", hint="Save it again").sentence,
        Sentence("a code of another version", code="unknown-word"),
        Sentence("a code without its facts", code="weights-to-fetch"),
        Sentence("a code with facts of the wrong type", code="no-face", facts={"others": 3}),
    ],
)
def test_text_for_which_no_hint_can_be_made_does_not_change(text):
    assert with_hint(text) == text


@pytest.mark.parametrize(
    ("facts", "hint"),
    [
        ({"face": "largest", "others": [], "find_smaller": []}, "Look at the clip with `fsv2v clip preview`"),
        (
            {"face": "largest", "others": ["dlib"], "find_smaller": ["mediapipe"]},
            "Try --face 0, which also looks for small faces, or --backend dlib; or look at the clip with `fsv2v clip preview`",
        ),
        (
            {"face": "2", "others": ["dlib", "mediapipe"], "find_smaller": []},
            "Try --backend dlib, or --backend mediapipe; or look at the clip with `fsv2v clip preview` "
            "(face 2 was chosen; faces are numbered from the left, from 0)",
        ),
    ],
)
def test_the_hint_for_a_clip_without_a_face_suggests_other_options(facts, hint):
    assert with_hint(Sentence("No face was found", code="no-face", facts=facts)) == f"No face was found. {hint}"


def test_an_error_and_its_sentence_keep_all_fields_across_processes():
    problem = InputError("No shot lasts 3 s", hint="h", code="no-shot", facts={"seconds": 3})
    received = pickle.loads(pickle.dumps(problem))
    assert (type(received), received.message, received.hint, received.code, received.facts) == (
        InputError,
        "No shot lasts 3 s",
        "h",
        "no-shot",
        {"seconds": 3},
    )
    for text in (
        pickle.loads(pickle.dumps(str(problem))),
        copy.deepcopy(str(problem)),
        add_prefix("", str(problem)),
        Fsv2vError.from_text(str(problem)).sentence,
    ):
        assert isinstance(text, Sentence)
        assert (text, text.message, text.hint, text.code, text.facts) == (str(problem), "No shot lasts 3 s", "h", "no-shot", {"seconds": 3})


def test_a_prefix_keeps_code_and_facts_and_plain_text_stays_plain():
    sentence = Sentence("No shot lasts 3 s", code="no-shot")
    assert with_hint(add_prefix("a.mp4: ", sentence)) == "a.mp4: No shot lasts 3 s. Lower --min-seconds"
    assert type(add_prefix("a.mp4: ", "it is short")) is str


def test_sentences_in_records_get_their_hints_in_json(capfdbinary):
    notes = {"warnings": [Sentence("a.clip has two layers", code="several-kinds")]}
    console.emit(Report("a.clip", "frames", "failed", reason=str(InputError("No shot", code="no-shot")), notes=notes).json())
    record = json.loads(capfdbinary.readouterr().out)
    assert record["reason"] == "No shot. Lower --min-seconds" and record.keys() == Report("", "", "done").json().keys()
    assert record["notes"] == {"warnings": ["a.clip has two layers. Choose another one with --kind"]}


def test_a_reason_keeps_its_hint_in_the_file_of_a_partial_result(tmp_path):
    reason = Sentence("the weights x are not here", code="weights-to-fetch", facts={"name": "x"})
    score = Score("a.mp4", "truth.mp4", "fid", "", "lower", unavailable=reason)
    for text in (reason, "needs 2 frames"):
        PartialResult(("fid",), scores=[replace(score, unavailable=text)], reasons={("a.mp4", "fid"): text}).save(tmp_path / "part.npz")
        part = load(tmp_path / "part.npz")
        assert [with_hint(part.scores[0].unavailable), with_hint(part.reasons["a.mp4", "fid"])] == [with_hint(text)] * 2


def test_a_note_about_a_fallback_says_how_to_get_the_better_backend(monkeypatch):
    absent = MissingRequirement("The weights x.task are not here", hint="put them there", code="weights-absent", facts={"name": "x.task"})

    class BackendsWithoutTheBest(Backends):
        def get(self, name):
            return Backend(name=name, produces="nothing", open=lambda device: None)

        def require(self, name):
            if name == AUTO["poses"][0]:
                raise absent
            return super().require(name)

    monkeypatch.setattr("stages.backends._unavailable", {})
    (note,) = BackendsWithoutTheBest("poses").require("auto").notes["once"]
    assert with_hint(note) == (
        "small is used, because the better mediapipe is not available: The weights x.task are not here. "
        "Run `fsv2v weights fetch x.task` with an internet connection, or put them there"
    )
