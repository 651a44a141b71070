"""`evaluate --html`: one page that needs nothing else."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fsv2v_cli.main import run
from stages.clip import read_frames
from stages.evaluate.report import FULL_ERROR, error_map

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def darker(frame: np.ndarray, index: int) -> np.ndarray:
    return np.clip(frame.astype(int) - 10 * index, 0, 255).astype(np.uint8)


@pytest.fixture
def page(make, tmp_path) -> Path:
    """The report about a perfect result and one that gets darker and darker."""
    good, bad, file = make("good").path, make("bad</script>", darker).path, tmp_path / "report.html"
    metrics = ["--metric", "psnr", "--metric", "warping-error"]
    assert run(["evaluate", good, bad, "-r", make("truth").path, *metrics, "--html", str(file)]) == 0
    return file


def content(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="report">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_it_holds_the_figures_of_each_frame_and_their_intervals(page, make):
    group = content(page)["groups"][0]
    good, bad = group["results"]
    curves = group["series"]["psnr"]
    assert curves[good] == [None] + [100.0] * (make.frames - 1)  # the first frame is the example, and is not scored
    assert curves[bad][1] > curves[bad][2] > curves[bad][5]
    row = next(row for row in group["scores"] if row["result"] == bad and row["metric"] == "psnr")
    assert row["low"] < row["value"] < row["high"] and row["value"] == pytest.approx(np.mean(curves[bad][1:]))


def test_its_videos_are_in_the_page_and_can_be_played(page, make, tmp_path):
    videos = content(page)["groups"][0]["videos"]
    assert [video["name"].split("/")[0] for video in videos[::2]][0] == "reference" and len(videos) == 5
    for index, video in enumerate(videos):
        file = tmp_path / f"{index}.mp4"
        file.write_bytes(base64.b64decode(video["src"].removeprefix("data:video/mp4;base64,")))
        frames = list(read_frames(file))
        assert len(frames) == make.frames and frames[0].shape == (make.side, make.side, 3)
    assert not re.search(r"https?://(?!www\.w3\.org)", page.read_text()), "the page must not need the network"


def test_an_error_map_is_black_where_nothing_differs_and_brightest_from_a_quarter_of_the_range():
    truth = np.zeros((4, 4, 3), np.uint8)
    frame = truth.copy()
    frame[0], frame[1] = FULL_ERROR, 255
    drawn = error_map(truth, frame).astype(int).sum(-1)
    assert drawn[0, 0] == drawn[1, 0] > 500 and drawn[2:].max() < 20


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_draws_the_tables_the_curves_and_the_players(page):
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert dom.count("<video") == 5 and dom.count("<svg") == 2
    assert "100.00" in dom and "frame 0 of 6" in dom and "grey levels ↓" in dom
    assert dom.count("<path") == 6  # two results and the repeated example in each plot
