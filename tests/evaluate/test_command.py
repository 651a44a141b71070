"""`fsv2v evaluate` writes scores to stdout and everything else to stderr."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import stages.evaluate
from fsv2v_cli.evaluate import evaluate as command
from fsv2v_cli.main import run
from stages.evaluate import find_metric, metric_names


def darken(frame: np.ndarray, index: int) -> np.ndarray:
    return np.clip(frame.astype(int) - 10, 0, 255).astype(np.uint8)


def test_without_json_the_scores_are_an_aligned_table(make, capfd: pytest.CaptureFixture[str]):
    assert run(["evaluate", make("one", darken).path, make("another").path, "-r", make("truth").path, "--metric", "psnr"]) == 0
    heading, first, second = capfd.readouterr().out.splitlines()
    assert heading.split()[:3] == ["result", "metric", "value"]
    for line in (first, second):
        assert line.index("psnr") == heading.index("metric") and line.index("dB") == heading.index("unit")


def test_with_json_there_is_one_object_per_result_and_metric(make, capfd: pytest.CaptureFixture[str]):
    result = make("result", darken).path
    assert run(["evaluate", result, "-r", make("truth").path, "--metric", "psnr", "--metric", "warping-error", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(row["result"], row["metric"]) for row in rows] == [(result, "psnr"), (result, "warping-error")]
    assert rows[0]["value"] > rows[0]["baseline"] and rows[1]["floor"] is not None


def test_an_unavailable_metric_is_a_row_and_a_warning_and_no_failure(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    assert run(["evaluate", make("result", darken).path, "-r", make("truth").path, "--landmarks", "mediapipe"]) == 0
    output = capfd.readouterr()
    assert [line.split()[-1] for line in output.out.splitlines() if "perceptual" in line] == ["unavailable"]
    assert "kid-squeezenet are unavailable" in output.err and "FSV2V_WEIGHTS_MIRROR" in output.err


def test_an_unavailable_metric_that_is_named_gives_exit_code_4(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    assert run(["evaluate", make("result").path, "-r", make("truth").path, "--metric", "perceptual"]) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["{truth}", "-r", "nowhere.mp4"], 3, "nowhere.mp4 does not exist"),
        (["{truth}", "-r", "{short}"], 3, "has 3"),
        (["{truth}", "-r", "{truth}", "--metric", "beauty"], 2, "psnr"),
        (["{truth}"], 2, "--reference"),
        (["{truth}", "{truth}", "{truth}", "-r", "{truth}", "-r", "{truth}"], 2, "2 references for 3 results"),
        (["{truth}", "-r", "{truth}", "--example", "nowhere.png"], 3, "nowhere.png"),
        (["{empty}", "-r", "{truth}"], 3, "no image"),
        (["{clips}", "-r", "{truth}"], 3, "Give its entries: {clips}/*"),
    ],
)
def test_bad_input_is_reported_in_a_sentence_with_its_exit_code(
    make, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str
):
    (tmp_path / "empty").mkdir()
    paths = {"truth": make("truth").path, "short": make("short", frames=3).path, "empty": str(tmp_path / "empty")}
    paths["clips"] = str(Path(paths["truth"]).parent)
    assert run(["evaluate", *(argument.format(**paths) for argument in arguments)]) == code
    output = capfd.readouterr()
    assert output.out == "" and output.err.startswith("fsv2v: error: ") and "Traceback" not in output.err
    assert sentence.format(**paths) in output.err


def test_the_help_and_the_readme_name_every_metric():
    (option,) = (parameter for parameter in command.params if parameter.name == "metrics")
    words = set(re.findall(r"[a-z0-9-]+", getattr(option, "help", "")))
    assert [name for name in metric_names() if not {name, *find_metric(name).aliases} & words] == []
    readme = (Path(stages.evaluate.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in metric_names() if f"`{name}`" not in readme] == []


def test_scores_before_an_error_are_not_lost(make, capfd: pytest.CaptureFixture[str]):
    good, bad, truths = make("out/good", darken).path, make("out/bad").path, [make(f"truth/{name}").path for name in ("good", "bad")]
    last = sorted(Path(bad).iterdir())[-1]
    last.write_bytes(last.read_bytes()[:100])
    assert run(["evaluate", good, bad, "-r", truths[0], "-r", truths[1], "--metric", "psnr"]) == 3
    output = capfd.readouterr()
    assert [line.split()[:2] for line in output.out.splitlines()] == [["result", "metric"], [good, "psnr"]]
    assert "fsv2v: error: " in output.err and last.name in output.err


@pytest.mark.parametrize("option", ["-o", "--html"])
def test_a_file_that_is_not_an_output_of_evaluate_is_not_replaced(option: str, make, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    video = tmp_path / "video.mp4"
    video.write_bytes(b"a video")
    arguments = ["evaluate", make("result", darken).path, "-r", make("truth").path, "--metric", "psnr", option]
    assert run([*arguments, str(video)]) == 3
    output = capfd.readouterr()
    assert output.out == "" and "so it is not replaced" in output.err and video.read_bytes() == b"a video"
    for _ in range(2):
        assert run([*arguments, str(tmp_path / "output")]) == 0
