"""The page of a study in a real Chromium: complete studies by mouse, keys and touch, from disk and from a server, and their scores."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Browser
from studies import Preference, is_fooled, likes_ours, likes_theirs

from fsv2v_cli.main import run
from stages.clip import VideoWriter
from stages.evaluate.study import StudyOptions, make_study
from stages.evaluate.study.key import Key, Question, read_key

CLIPS, CATCH, FRAMES, FPS = 3, 2, 15, 15


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ours/, theirs/ and truth/ with videos of a moving disc, one second of 320x180 each."""
    root = tmp_path_factory.mktemp("methods")
    for method, colour in (("ours", (30, 120, 200)), ("theirs", (200, 90, 30)), ("truth", (60, 60, 60))):
        for clip in range(CLIPS):
            with VideoWriter(root / method / f"clip{clip}.mp4", 320, 180, Fraction(FPS)) as video:
                for index in range(FRAMES):
                    image = np.full((180, 320, 3), 200, np.uint8)
                    video.write(cv2.circle(image, (60 + 12 * index, 50 + 30 * clip), 30, colour, -1, cv2.LINE_AA))
    return root


@pytest.fixture(scope="module")
def make_site(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """make_site(post="...", reference=False): a study of the two methods."""

    def make(reference: bool = False, **options: Any) -> Path:
        site = tmp_path_factory.mktemp("study") / "site"
        methods = str(folders / "ours"), str(folders / "theirs")
        make_study(methods, str(folders / "truth") if reference else "", site, StudyOptions(catch=CATCH, **options))
        return site

    return make


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Path]) -> Path:
    """A study without --post."""
    return make_site()


@pytest.fixture(scope="module")
def key(site: Path) -> Key:
    return key_of(site)


def key_of(site: Path) -> Key:
    return read_key(site.with_name("site.key.json"))


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """serve(handler class) -> the address of a local server."""
    servers = []

    def serve(handler: Callable[..., BaseHTTPRequestHandler]) -> str:
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class Files(SimpleHTTPRequestHandler):
    """A web server of static files that writes no log."""

    def log_message(self, *_: Any) -> None:
        pass


class Collector(BaseHTTPRequestHandler):
    """Accepts answers from pages of any origin; while `broken` is true, it answers with status 503."""

    arrived: list[bytes] = []
    broken = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.broken:
            self.arrived.append(body)
        self.send_response(503 if self.broken else 200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


# Complete studies


def visible_question(browser: Browser, key: Key) -> tuple[Question, list[str]]:
    """The question on the page, and its videos from left to right."""
    sources = browser.value("[...document.querySelectorAll('.card:not([hidden]) .choice video')].map((video) => video.src)")
    videos = [Path(source).stem for source in sources]
    (question,) = (question for question in key.questions if set(question.videos) == set(videos))
    return question, videos


def wait_until_ready(browser: Browser, number: int) -> None:
    browser.wait(f"document.getElementById('count').textContent.startsWith('{number} of')")
    browser.wait("document.querySelector('.card:not([hidden]) .choice:enabled')")


Choose = Callable[[Browser, int], None]
"""choose(browser, side): chooses video 1 (side 0) or video 2 (side 1)."""


def by_keys(browser: Browser, side: int) -> None:
    browser.press(("ArrowLeft", "ArrowRight")[side])


def by_mouse(browser: Browser, side: int) -> None:
    browser.click(f".card:not([hidden]) .choice:nth-child({side + 1})")


def by_touch(browser: Browser, side: int) -> None:
    browser.tap(f".card:not([hidden]) .choice:nth-child({side + 1})")


def answer(browser: Browser, key: Key, preference: Preference, choose: Choose, numbers: range) -> list[str]:
    """Answer the questions of the page with these numbers. Returns their ids in order."""
    answered = []
    for number in numbers:
        wait_until_ready(browser, number)
        question, videos = visible_question(browser, key)
        choose(browser, videos.index(question.videos[0 if preference(question) else 1]))
        answered.append(question.id)
    return answered


def complete_study(browser: Browser, address: str, key: Key, preference: Preference, choose: Choose) -> None:
    browser.open(address)
    browser.click("#start")
    answer(browser, key, preference, choose, range(1, CLIPS + CATCH + 1))
    browser.wait("!document.getElementById('end').hidden")


def download_answers(browser: Browser) -> Path:
    """The file of answers that the page offers."""
    path = browser.download("#download")
    assert path.suffix == ".json"
    return path


def scores(capfd: pytest.CaptureFixture[str], key: Path, *files: Path) -> list[dict[str, Any]]:
    capfd.readouterr()
    assert run(["evaluate", "score", *map(str, files), "--key", str(key), "--json"]) == 0
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_studies_from_disk_are_completed_downloaded_and_scored(browser, site, key, capfd):
    files = []
    for worker, preference, choose in (("ann", likes_ours, by_keys), ("ben", likes_theirs, by_mouse), ("cat", is_fooled, by_keys)):
        complete_study(browser, f"{site.as_uri()}/index.html?worker={worker}", key, preference, choose)
        files.append(download_answers(browser))
        assert browser.value("document.getElementById('code').textContent") == json.loads(files[-1].read_text())["code"]
    assert browser.console_errors == []
    ours, theirs, *rest = scores(capfd, site.with_name("site.key.json"), *files)
    assert (ours["method"], ours["rate"], ours["preferred"], ours["answers"], ours["workers"]) == ("ours", 0.5, CLIPS, 2 * CLIPS, 2)
    assert theirs["rate"] == 0.5
    workers = {row["worker"]: row for row in rest if row["row"] == "worker"}
    assert {name: (row["failed"], row["left_out"]) for name, row in workers.items()} == {
        "ann": (0, False), "ben": (0, False), "cat": (CATCH, True)
    }  # fmt: skip
    assert (workers["ann"]["agreement"], workers["ben"]["agreement"], workers["cat"]["agreement"]) == (0, 0, None)
    assert all(0 <= row["seconds"] < 60 for row in workers.values())


def test_answers_are_sent_to_the_server_without_other_requests(browser, make_site, serve, capfd, tmp_path):
    collector: Any = type("OwnCollector", (Collector,), {"arrived": []})
    post = serve(collector) + "/answers"
    site = make_site(post=post, reference=True, code="DONE-42")
    address = serve(partial(Files, directory=str(site)))
    complete_study(browser, f"{address}/?workerId=A1B2", key_of(site), likes_ours, by_mouse)
    browser.wait("document.getElementById('sent').textContent === 'Your answers have arrived.'")
    assert browser.value("document.getElementById('code').textContent") == "DONE-42"
    assert not browser.value("document.getElementById('hand-in').offsetHeight"), "the worker need not send a file"
    (body,) = collector.arrived
    (tmp_path / "posted.json").write_bytes(body)
    assert scores(capfd, site.with_name("site.key.json"), tmp_path / "posted.json", download_answers(browser))[0]["rate"] == 1
    assert {request for request in browser.requests if not request.startswith((address, "data:", "blob:"))} == {post}
    assert browser.console_errors == []
    browser.open(f"{address}/?workerId=A1B2")
    browser.wait("document.getElementById('sent').textContent === 'Your answers have arrived.'")
    assert len(collector.arrived) == 1, "a worker who comes back does not send them again"


def test_a_failing_server_is_reported_and_can_be_tried_again(browser, make_site, serve):
    collector: Any = type("OwnCollector", (Collector,), {"arrived": [], "broken": True})
    site = make_site(post=serve(collector))
    complete_study(browser, f"{site.as_uri()}/index.html", key_of(site), likes_ours, by_keys)
    browser.wait("document.getElementById('sent').textContent.includes('503')")
    assert browser.value("document.getElementById('hand-in').offsetHeight") > 0
    assert json.loads(download_answers(browser).read_text())["worker"].startswith("anonymous-")
    collector.broken = False
    browser.click("#again")
    browser.wait("document.getElementById('sent').textContent === 'Your answers have arrived.'")
    assert len(collector.arrived) == 1


def test_a_reloaded_page_continues_with_the_next_question(browser, site, key):
    address = f"{site.as_uri()}/index.html?PROLIFIC_PID=p1"
    browser.open(address)
    browser.click("#start")
    answered = answer(browser, key, likes_ours, by_keys, range(1, 3))
    wait_until_ready(browser, 3)
    third = visible_question(browser, key)
    browser.open(address)
    assert browser.value("document.getElementById('start').textContent") == "Continue"
    assert "answered 2" in browser.value("document.getElementById('intro').innerText")
    browser.click("#start")
    wait_until_ready(browser, 3)
    assert visible_question(browser, key) == third
    answered += answer(browser, key, likes_ours, by_keys, range(3, CLIPS + CATCH + 1))
    browser.wait("!document.getElementById('end').hidden")
    stored = json.loads(download_answers(browser).read_text())
    assert [row["question"] for row in stored["answers"]] == answered and set(answered) == set(key.blocks[0])
    browser.open(address)
    assert browser.value("document.getElementById('end').offsetHeight") > 0, "a finished study stays finished"


def test_order_and_sides_are_random_per_worker_and_unbiased(browser, site, key):
    browser.open(f"{site.as_uri()}/index.html")
    plans = browser.value("Array.from({length: 600}, (_, number) => plan('worker' + number).map((one) => [one.id, one.shown[0]]))")
    assert plans == browser.value("Array.from({length: 600}, (_, number) => plan('worker' + number).map((one) => [one.id, one.shown[0]]))")
    for question in key.questions:
        positions = [[name for name, _ in plan].index(question.id) for plan in plans]
        assert np.bincount(positions) == pytest.approx(600 / (CLIPS + CATCH), abs=50)  # 5 standard deviations
        left = sum(first == question.videos[0] for plan in plans for name, first in plan if name == question.id)
        assert left == pytest.approx(300, abs=61)


def test_blocks_of_questions_are_assigned_evenly(browser, make_site):
    site = make_site(per_worker=1)
    browser.open(f"{site.as_uri()}/index.html")
    drawn = browser.value("Array.from({length: 600}, (_, number) => plan('worker' + number).map((one) => one.id).sort().join())")
    blocks = [",".join(block) for block in key_of(site).blocks]
    assert len(blocks) == 3 and set(drawn) == set(blocks)
    assert [drawn.count(block) for block in blocks] == pytest.approx([200] * 3, abs=58)


# Watching


TIMES = "[...document.querySelectorAll('.card:not([hidden]) video[src]')].map((video) => video.currentTime)"


def watch(browser: Browser, seconds: float) -> np.ndarray:
    """The current times of the visible videos, sampled for a number of seconds: [samples, videos] in seconds."""
    end, times = time.monotonic() + seconds, []
    while time.monotonic() < end:
        times.append(browser.value(TIMES))
        time.sleep(0.02)
    return np.array(times)


@pytest.mark.parametrize("host", ["disk", "server"])
def test_the_videos_repeat_in_sync(browser, make_site, serve, host):
    site = make_site(reference=True)
    browser.open(f"{site.as_uri()}/index.html" if host == "disk" else serve(partial(Files, directory=str(site))))
    browser.click("#start")
    wait_until_ready(browser, 1)
    times = watch(browser, 4)
    assert times.shape[1] == 3 and times.max() > 0.8
    assert (np.diff(times[:, 0]) < -0.5).sum() >= 2, "a video of one second repeats within four"
    same_round = np.ptp(times, axis=1) < 0.6  # leaves out samples at which only some of the videos have started again
    assert same_round.mean() > 0.9 and np.quantile(np.ptp(times[same_round], axis=1), 0.95) < 0.2


def test_the_other_videos_wait_for_a_slow_one(browser, site):
    browser.open(f"{site.as_uri()}/index.html")
    browser.click("#start")
    wait_until_ready(browser, 1)
    browser.value("document.querySelector('.card:not([hidden]) .choice video').playbackRate = 0.4")
    times = watch(browser, 6)
    assert (np.diff(times[:, 0]) < -0.5).sum() >= 1
    assert (np.ptp(times, axis=1) < 0.25).mean() > 0.9


def test_space_and_the_button_pause_and_resume(browser, site):
    browser.open(f"{site.as_uri()}/index.html")
    browser.click("#start")
    wait_until_ready(browser, 1)
    browser.press(" ")
    browser.wait("[...document.querySelectorAll('.card:not([hidden]) video[src]')].every((video) => video.paused)")
    time.sleep(0.2)
    assert np.ptp(watch(browser, 0.5), axis=0).max() == 0
    assert browser.value("document.getElementById('pause').textContent") == "Play"
    browser.click("#pause")
    time.sleep(0.2)
    assert np.ptp(watch(browser, 0.5), axis=0).min() > 0


def test_with_reduced_motion_the_worker_starts_the_videos_before_answering(browser, site, key):
    browser.prefer(prefers_reduced_motion="reduce")
    browser.open(f"{site.as_uri()}/index.html?worker=still")
    browser.click("#start")
    browser.wait("[...document.querySelectorAll('.card:not([hidden]) video[src]')].every((video) => video.readyState >= 2)")
    time.sleep(0.3)
    assert np.ptp(watch(browser, 0.3)) == 0 and browser.value("document.getElementById('pause').textContent") == "Play"
    by_keys(browser, 0)
    time.sleep(0.4)
    assert browser.value("document.getElementById('count').textContent").startswith("1 of"), (
        "a question cannot be answered before its videos have been played"
    )
    browser.click("#pause")
    answer(browser, key, likes_ours, by_keys, range(1, 2))
    wait_until_ready(browser, 2)


def test_the_next_videos_are_loaded_in_advance(browser, site):
    browser.open(f"{site.as_uri()}/index.html")
    browser.click("#start")
    wait_until_ready(browser, 1)
    browser.wait("[...document.querySelectorAll('.card[hidden] video[src]')].filter((video) => video.readyState === 4).length === 2")


def test_a_held_key_answers_only_one_question(browser, site, key):
    browser.open(f"{site.as_uri()}/index.html?worker=heavy")
    browser.click("#start")
    wait_until_ready(browser, 1)
    for repeat in [False] + [True] * 20:
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", windowsVirtualKeyCode=37, autoRepeat=repeat)
        time.sleep(0.05)
    wait_until_ready(browser, 2)


def test_a_video_that_cannot_be_loaded_is_reported(browser, make_site):
    site = make_site()
    for video in (site / "videos").iterdir():
        video.unlink()
    browser.open(f"{site.as_uri()}/index.html")
    browser.click("#start")
    browser.wait("document.getElementById('problem').innerText.includes('cannot be loaded')")
    assert browser.value("document.querySelectorAll('.choice:enabled').length") == 0


# Small screens and accessibility


@pytest.mark.parametrize("size", [(390, 844), (844, 390), (320, 568)], ids="{0[0]}x{0[1]}".format)
def test_a_phone_shows_both_videos_without_scrolling_and_touch_answers(browser, make_site, size):
    site = make_site(reference=True)
    browser.resize(*size, phone=True)
    browser.open(f"{site.as_uri()}/index.html?worker=phone")
    assert browser.value("document.documentElement.scrollWidth") <= size[0]
    browser.tap("#start")
    wait_until_ready(browser, 1)
    assert browser.value("document.documentElement.scrollWidth") <= size[0]
    bottom = browser.value("document.querySelector('.card:not([hidden]) .choice:last-child').getBoundingClientRect().bottom")
    assert browser.value("scrollY") == 0 and bottom <= size[1], "both videos are visible at once"
    answer(browser, key_of(site), likes_ours, by_touch, range(1, CLIPS + CATCH + 1))
    browser.wait("!document.getElementById('end').hidden")


CONTRAST = """
(() => {
  const luminance = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [red, green, blue] = colour.match(/[\\d.]+/g).map((c) => linear(c / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const backgroundOf = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const withText = [...document.querySelectorAll("body *")].filter((element) => element.offsetHeight && hasText(element));
  return withText.map((element) => {
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(backgroundOf(element))].sort();
    return [element.textContent.trim().slice(0, 30), (other + 0.05) / (one + 0.05)];
  });
})()
"""
"""JavaScript: [text, contrast] of each visible text against its background, by WCAG 2."""


def test_text_has_contrast_and_controls_have_names_and_a_visible_focus(browser, make_site):
    site = make_site(reference=True)
    browser.open(f"{site.as_uri()}/index.html?worker=all")
    weak = [row for row in browser.value(CONTRAST) if row[1] < 4.5]
    browser.press("Tab")
    assert browser.value("document.activeElement.id") == "start"
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    wait_until_ready(browser, 1)
    weak += [row for row in browser.value(CONTRAST) if row[1] < 4.5]
    assert browser.value("document.activeElement.id") == "ask", "a screen reader reads the question"
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    assert sorted(name for role, name in named if role == "button") == ["Pause", "Video 1", "Video 2"]
    assert ("progressbar", f"1 of {CLIPS + CATCH}") in [(role.lower(), name) for role, name in named]
    browser.press("Tab")
    assert browser.value("document.activeElement.className") == "choice"
    answer(browser, key_of(site), likes_ours, by_keys, range(1, CLIPS + CATCH + 1))
    browser.wait("!document.getElementById('end').hidden")
    weak += [row for row in browser.value(CONTRAST) if row[1] < 4.5]
    assert weak == []
    assert browser.value("document.documentElement.lang") == "en"
