"""`synthesize --report`: a page about the quality of a result, on clips whose faults are known by construction."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import browser as chromium
import cv2
import numpy as np
import pytest

from fsv2v_cli.main import run
from stages.clip import Clip, Producer, create_clip, open_clip
from stages.conditions import redetection
from stages.errors import ParametersDiffer, UsageError
from stages.networks.fewshot.config import PRESETS
from stages.synthesize import Outcome, ReportRequest, SynthesizeOptions, synthesize
from stages.synthesize.report import record

TINY = PRESETS["tiny"]
OPTIONS = SynthesizeOptions(device="cpu", crop="none", normalize="off", size="model", precision="fp32", num_examples=1)
LENGTH, UNDETECTED = 20, (7, 8, 9)
"""Number of frames of the driving clip, and the frames without a detection."""


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "person.clip", 0))


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    """A driving clip without a detection in the frames `UNDETECTED`."""
    folder = tmp_path_factory.mktemp("clips")
    painted = open_clip(make_painted_clip(folder / "painted.clip", 1, num_frames=LENGTH))
    points = painted.layer("landmarks").arrays()["points"].copy()
    points[list(UNDETECTED)] = 0
    clip = create_clip(folder / "driver.clip", painted.frames(), storage="png")
    with clip.writing("landmarks", Producer("test"), {"frames": clip.frames_digest()}) as layer:
        layer.arrays(points=points)
    return clip


@pytest.fixture
def make(model, person, driver, tmp_path):
    """make(name, ...): the outcome of a synthesis with the report `out.html`."""

    def run_synthesis(name: str = "out.mp4", options: SynthesizeOptions = OPTIONS, page: str = "out.html", **more: Any) -> Outcome:
        return synthesize([person], driver, model, tmp_path / name, options, report=ReportRequest(tmp_path / page, **more))

    return run_synthesis


def content(page: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="content">(.*?)</script>', page.read_text(), re.DOTALL)
    assert match
    return json.loads(match[1])


def decode_image(address: str) -> np.ndarray:
    """The image of a data URL, float [H, W, 3]."""
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1].astype(float)


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    """Detecting faces takes most of the time, so only tests that need it use a detector."""
    monkeypatch.setattr("stages.synthesize.report.record.missing_detector", lambda: "it is turned off")


def test_the_page_shows_frames_of_the_result_and_the_driving_frames(make, person, driver, tmp_path):
    make("out.clip")
    report = content(tmp_path / "out.html")
    columns, rows = [column["frame"] for column in report["columns"]], {row["name"]: row["images"] for row in report["rows"]}
    assert columns == [0, 2, 3, 5, 7, 9, 10, 12, 14, 16, 17, 19], "twelve of twenty, evenly spaced"
    result = [*open_clip(tmp_path / "out.clip").frames()]
    for column, frame in enumerate(columns):
        assert np.abs(decode_image(rows["result"][column]) - result[frame]).mean() < 6
        assert np.abs(decode_image(rows["driving video"][column]) - driver.frame(frame)).mean() < 6
    (example,) = report["examples"]
    assert np.abs(decode_image(example["src"]) - person.frame(0)).mean() < 6


def test_the_mask_and_its_mean_are_those_of_show_mask(make, model, person, driver, tmp_path):
    make()
    synthesize([person], driver, model, tmp_path / "mask.clip", replace(OPTIONS, show="mask"))
    masks = np.stack([*open_clip(tmp_path / "mask.clip").frames()]).astype(float)
    report = content(tmp_path / "out.html")
    (painted,) = (curve["values"] for curve in report["curves"] if "painted" in curve["title"])
    assert np.allclose(painted, masks.mean((1, 2, 3)) / 255, atol=1 / 255)
    (images,) = (row["images"] for row in report["rows"] if row["name"].startswith("painted"))
    for column, image in zip(report["columns"], images, strict=True):
        assert np.abs(decode_image(image) - masks[column["frame"]]).mean() < 6


def test_a_small_face_of_a_large_frame_is_shown_in_a_close_up():
    frame = np.zeros((600, 800, 3), np.uint8)
    frame[100:200, 300:400] = 255
    corners = np.array([[300, 100, 1], [399, 199, 1], [0, 0, 0]], np.float32)
    close_up = record.close_up(frame, corners)
    assert close_up is not None and close_up.shape == (256, 256, 3)
    assert close_up[70:186, 70:186].min() == 255 and close_up[:58].max() == 0, "the white square fills the middle half"
    assert record.close_up(frame[:250, 200:450], corners - np.array([200, 0, 0], np.float32)) is None, "the frame is hardly larger"
    assert record.close_up(frame, corners * 0) is None


def test_frames_without_a_detection_are_marked_and_messages_have_hints(make, tmp_path):
    make(messages=[("warning", "a warning")], add_hint=lambda text: f"{text}!")
    report = content(tmp_path / "out.html")
    assert [band["spans"] for band in report["bands"] if band["what"] == "no detection"] == [[[UNDETECTED[0], UNDETECTED[-1]]]]
    assert [column["frame"] for column in report["columns"] if "no detection" in column["marks"]] == [7, 9]
    messages = [(message["kind"], message["text"]) for message in report["messages"]]
    assert messages[0] == ("warning", "a warning!")
    assert ("note", "3 driving frames without a detection repeat the last frame with one!") in messages


def test_the_landmark_error_is_measured_on_the_faces_in_the_result(make, driver, tmp_path, monkeypatch):
    """The detector finds every face two pixels to the right of the driving landmarks."""
    points = driver.layer("landmarks").arrays()["points"][:, 0].copy()
    points[list(UNDETECTED)] = points[UNDETECTED[0] - 1]
    detections = iter(points + np.array([2, 0, 0], np.float32))
    monkeypatch.setattr("stages.synthesize.report.record.missing_detector", str)
    monkeypatch.setattr("stages.synthesize.report.record.detector_factory", lambda name, device: lambda: lambda frame: [next(detections)])
    monkeypatch.setattr("stages.models.identity.open_if_available", lambda: None)
    make()
    (errors,) = (curve["values"] for curve in content(tmp_path / "out.html")["curves"] if "landmark" in curve["title"])
    eyes = np.linalg.norm(points[:, 36:42, :2].mean(1) - points[:, 42:48, :2].mean(1), axis=-1)
    assert np.allclose(errors, 100 * 2 / eyes, rtol=1e-4)


def test_without_a_detector_the_page_says_why_there_is_no_landmark_error(make, tmp_path):
    make()
    report = content(tmp_path / "out.html")
    assert not [curve for curve in report["curves"] if "landmark" in curve["title"]]
    assert {"kind": "note", "text": "the landmark error is not measured: it is turned off"} in report["messages"]


def test_a_report_changes_no_frame(make, model, person, driver, tmp_path):
    make("with.mp4")
    synthesize([person], driver, model, tmp_path / "without.mp4", OPTIONS)
    assert (tmp_path / "with.mp4").read_bytes() == (tmp_path / "without.mp4").read_bytes()


def test_a_missing_report_of_a_finished_result_is_written_and_an_existing_one_kept(make, model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "out.mp4", OPTIONS)
    assert [make().status, make().status] == ["done", "skipped"]
    make("other.mp4", replace(OPTIONS, show="raw"))
    assert make().status == "done", "the page belonged to another result"


def test_the_page_loads_no_other_files(make, tmp_path):
    make()
    page = (tmp_path / "out.html").read_text()
    assert not re.search(r"https?://(?!www\.w3\.org)|<link|@import|src=[\"'](?!data:)", page)
    assert len(page) < 3_000_000


@pytest.mark.parametrize(
    ("page", "error", "sentence"),
    [("folder.html", ParametersDiffer, "is not a report"), ("out.txt", UsageError, "End its name in .html"),
     ("out.clip/page.html", UsageError, "lies inside the result"), ("notes.html", ParametersDiffer, "is not a report")],
)  # fmt: skip
def test_a_path_that_cannot_be_a_report_is_refused_before_the_synthesis(page, error, sentence, make, tmp_path):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "notes.html").write_text("<p>Notes")
    with pytest.raises(error, match=sentence):
        make("out.clip", page=page)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "notes.html"]
    assert (tmp_path / "notes.html").read_text() == "<p>Notes"


def test_the_command_writes_hints_and_available_measurements_into_the_page(model, person, driver, tmp_path, monkeypatch):
    monkeypatch.setattr("stages.synthesize.report.record.missing_detector", redetection.missing_detector)
    options = ["--model", model.path, "--crop", "none", "--device", "cpu", "--size", "model"]
    command = ["synthesize", "--examples", person.path, "--driving", driver.path, *options, "-o", tmp_path / "out.mp4", "--report"]
    assert run([*map(str, command), str(tmp_path / "out.html")]) == 0
    report = content(tmp_path / "out.html")
    messages = [message["text"] for message in report["messages"]]
    assert any("Use --normalize on or off for another choice" in text for text in messages) and any(
        "--backend" in text for text in messages
    )
    errors = [curve["values"] for curve in report["curves"] if "landmark" in curve["title"]]
    assert all(len(values) == LENGTH for values in errors)
    assert bool(redetection.missing_detector()) == any("the landmark error is not measured" in text for text in messages)


def test_a_report_without_the_suffix_html_is_a_usage_error(model, person, driver, tmp_path):
    command = ["synthesize", "--examples", person.path, "--driving", driver.path, "--model", model.path, "-o", tmp_path / "out.mp4"]
    assert run([*map(str, command), "--report", str(tmp_path / "out.txt")]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[chromium.Browser]:
    if chromium.find_executable() is None:
        pytest.skip("no Chromium was found")
    with chromium.open_browser(tmp_path / "browser") as tab:
        yield tab


def test_a_browser_draws_the_page_and_a_click_on_a_curve_selects_the_frame(make, tmp_path, browser):
    make(messages=[("warning", "</script><b>bold</b>")])
    page = tmp_path / "out.html"
    browser.open(page.as_uri())
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.value("document.querySelectorAll('.strip img').length") == 4 * 12
    assert "</script><b>bold</b>" in browser.value("document.querySelector('.messages').innerText")
    browser.click("svg")  # between frames 8 and 9; the nearest column is frame 7
    assert browser.value("document.querySelector('.strip .at').dataset.column") == "4"
    assert not browser.console_errors
    assert [address for address in browser.requests if not address.startswith("data:")] == [page.as_uri()]
