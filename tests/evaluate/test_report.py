"""`evaluate --html`: one page without other files."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from fsv2v_cli.main import run
from stages.clip import read_frames
from stages.evaluate.report import FULL_ERROR, error_map


def darken(frame: np.ndarray, index: int) -> np.ndarray:
    return np.clip(frame.astype(int) - 10 * index, 0, 255).astype(np.uint8)


@pytest.fixture
def page(make, tmp_path) -> Path:
    """The report on a perfect result and one whose frames get darker."""
    good, bad, file = make("good").path, make("bad</script><!--<script>", darken).path, tmp_path / "report.html"
    metrics = ["--metric", "psnr", "--metric", "warping-error"]
    assert run(["evaluate", good, bad, "-r", make("truth").path, *metrics, "--html", str(file)]) == 0
    return file


def content(page: Path) -> dict:
    match = re.search(r'<script type="application/json" id="report">(.*?)</script>', page.read_text(), re.DOTALL)
    assert match
    return json.loads(match[1])


def test_the_page_contains_the_scores_of_each_frame_and_their_intervals(page, make):
    group = content(page)["groups"][0]
    good, bad = group["results"]
    curves = group["series"]["psnr"]
    assert curves[good] == [None] + [100.0] * (make.frames - 1)  # the first frame is the example, and is not scored
    assert curves[bad][1] > curves[bad][2] > curves[bad][5]
    row = next(row for row in group["scores"] if row["result"] == bad and row["metric"] == "psnr")
    assert row["low"] < row["value"] < row["high"] and row["value"] == pytest.approx(np.mean(curves[bad][1:]))


def test_the_videos_are_part_of_the_page_and_can_be_decoded(page, make, tmp_path):
    videos = content(page)["groups"][0]["videos"]
    assert [video["name"].split("/")[0] for video in videos[::2]][0] == "reference" and len(videos) == 5
    for index, video in enumerate(videos):
        file = tmp_path / f"{index}.mp4"
        file.write_bytes(base64.b64decode(video["src"].removeprefix("data:video/mp4;base64,")))
        frames = list(read_frames(file))
        assert len(frames) == make.frames and frames[0].shape == (make.side, make.side, 3)
    assert not re.search(r"https?://(?!www\.w3\.org)", page.read_text()), "the page must not need the network"


def test_an_error_map_is_black_for_equal_pixels_and_brightest_at_the_full_error_and_above():
    truth = np.zeros((4, 4, 3), np.uint8)
    frame = truth.copy()
    frame[0], frame[1] = FULL_ERROR, 255
    brightness = error_map(truth, frame).astype(int).sum(-1)
    assert brightness[0, 0] == brightness[1, 0] > 500 and brightness[2:].max() < 20


def test_a_browser_draws_the_curves_plays_the_videos_and_steps_through_frames(page, browser):
    browser.resize(1200, 1400)
    browser.open(page.as_uri())
    assert browser.value("document.querySelectorAll('video').length") == 5
    assert browser.value("document.querySelectorAll('svg path').length") == 8  # two results and two baselines, two metrics
    assert "100.00" in browser.value("document.querySelector('table').innerText")
    assert browser.value("document.querySelector('output').textContent") == "frame 0 of 6"

    browser.click("button[aria-label='one frame forward']")
    assert browser.value("document.querySelector('output').textContent") == "frame 1 of 6"
    browser.wait("[...document.querySelectorAll('video')].every(video => Math.floor(video.currentTime * 25) === 1)")
    browser.click("svg")  # the middle of the plot
    assert browser.value("Number(document.querySelector('input').value)") in (2, 3)
    browser.click("button")
    browser.wait("document.querySelector('button').textContent === 'pause'")
    browser.wait("Number(document.querySelector('input').value) > 3")

    assert not browser.console_errors
    assert [address for address in browser.requests if not address.startswith(("data:", "blob:"))] == [page.as_uri()]


@pytest.mark.parametrize("option", ["--html", "-o"])
def test_an_output_that_cannot_be_written_is_refused_before_the_evaluation(option: str, make, unwritable, capfd):
    code = run(["evaluate", make("good").path, "-r", make("truth").path, "--metric", "psnr", option, str(unwritable / "file")])
    output = capfd.readouterr()
    assert code == 3 and output.out == "" and f"{unwritable / 'file'} cannot be written" in output.err


def test_results_of_odd_sizes_and_slightly_different_aspect_ratios_are_shown(make, tmp_path):
    """Browsers need even sizes, and aspect ratios may differ by 2 percent from that of the reference."""
    truth, tall, wide = make("truth"), make("tall", lambda frame, index: frame[:, :-3]), make("wide", lambda frame, index: frame[:-3])
    assert run(["evaluate", tall.path, wide.path, "-r", truth.path, "--metric", "psnr", "--html", str(tmp_path / "page.html")]) == 0
    videos = content(tmp_path / "page.html")["groups"][0]["videos"]
    assert len(videos) == 5
    for video in videos:
        (tmp_path / "video.mp4").write_bytes(base64.b64decode(video["src"].partition(",")[2]))
        assert {frame.shape for frame in read_frames(tmp_path / "video.mp4")} == {(192, 188, 3)}


def test_the_curve_of_a_single_frame_is_a_dot(make, tmp_path, browser):
    image, truth, page = make("one", frames=1), make("truth", darken, frames=1), tmp_path / "one.html"
    assert run(["evaluate", image.path, "-r", truth.path, "--metric", "psnr", "--html", str(page)]) == 0
    browser.open(page.as_uri())
    assert browser.value("document.querySelector('svg path').getAttribute('d')").endswith("h0")
    assert not browser.console_errors
