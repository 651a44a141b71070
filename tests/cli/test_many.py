"""Many inputs on the command line: lists of failed inputs, which can be inputs again, and the engine Ray."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import time
from pathlib import Path

import pytest

SKETCH = ("extract-sketch", "--backend", "dlib", "--background", "none")


@pytest.fixture
def videos(face_video, tmp_path):
    """A video of a face, and two files that are not videos."""
    for name in ("broken.mp4", "broken too.mp4"):
        (tmp_path / name).write_text("no video")
    return [face_video, tmp_path / "broken.mp4", tmp_path / "broken too.mp4"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_failed_inputs_are_listed_and_the_list_can_be_an_input(fsv2v, videos, tmp_path, jobs):
    face, broken, other = videos
    command = (*SKETCH, "-o", tmp_path / "out", "--jobs", jobs, "--failures", tmp_path / "again.txt")
    assert fsv2v(*command, *videos).exit_code == 3
    assert sorted((tmp_path / "again.txt").read_text().splitlines()) == sorted([str(broken), str(other)])

    shutil.copyfile(face, broken)  # one of them is repaired
    with (tmp_path / "again.txt").open("rb") as stdin:
        again = fsv2v.start(*command, "-", stdin=stdin)
        stdout, _ = again.communicate(timeout=120)
    assert again.returncode == 3
    assert stdout == os.fsencode(tmp_path / "out" / "broken.clip") + b"\n"
    assert (tmp_path / "again.txt").read_text() == f"{other}\n"


def test_progress_shows_the_length_of_a_list_in_a_file(fsv2v, face_video, tmp_path):
    (tmp_path / "all.txt").write_text(f"{face_video}\nabsent.mp4\nabsent too.mp4")
    controller, terminal = pty.openpty()
    with (tmp_path / "all.txt").open("rb") as stdin:
        process = fsv2v.start(*SKETCH, "-", "-o", tmp_path / "out", stdin=stdin, stderr=terminal, env={"TERM": "xterm"})
    os.close(terminal)
    drawn = b""
    with contextlib.suppress(OSError):  # on Linux this means that the other end is closed
        while block := os.read(controller, 4096):
            drawn += block
    assert process.wait(60) == 3
    assert b"3/3 clips" in drawn


def test_the_list_of_failures_is_empty_if_no_input_failed(fsv2v, face_video, tmp_path):
    assert fsv2v(*SKETCH, face_video, "-o", tmp_path, "--failures", tmp_path / "again.txt").exit_code == 0
    assert (tmp_path / "again.txt").read_bytes() == b""


def test_failures_are_separated_like_the_inputs(fsv2v, tmp_path):
    result = fsv2v(*SKETCH, "-0", "-", "-o", tmp_path, "--failures", tmp_path / "again", stdin=b"two\nlines.mp4\0absent.mp4\0")
    assert result.exit_code == 3
    assert (tmp_path / "again").read_bytes() == b"two\nlines.mp4\0absent.mp4\0"


def test_a_run_that_stops_early_keeps_the_earlier_failures(fsv2v, tmp_path):
    (tmp_path / "again.txt").write_text("old.mp4\n")
    fsv2v(*SKETCH, "absent.mp4", "untried.mp4", "--fail-fast", "-o", tmp_path, "--failures", tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_text() == "old.mp4\nabsent.mp4\n"


def test_a_shard_keeps_the_earlier_failures_which_may_be_those_of_other_shards(fsv2v, tmp_path):
    (tmp_path / "again.txt").write_text("a.mp4\nb.mp4\n")
    command = (*SKETCH, "-", "--shard", "0/2", "-o", tmp_path, "--failures", tmp_path / "again.txt")
    fsv2v(*command, stdin=(tmp_path / "again.txt").read_text())
    assert (tmp_path / "again.txt").read_text() == "a.mp4\nb.mp4\na.mp4\n"


def test_a_list_that_cannot_be_written_is_refused_before_the_work(fsv2v, face_video, tmp_path):
    result = fsv2v(*SKETCH, face_video, "-o", tmp_path / "out", "--failures", tmp_path)
    assert result.exit_code == 2
    assert "The list of failures" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_address_needs_the_engine_ray(fsv2v, face_video):
    result = fsv2v(*SKETCH, face_video, "--address", "auto")
    assert result.exit_code == 2
    assert "Add --engine ray" in result.stderr


class TestRay:
    @pytest.fixture(autouse=True)
    def ray(self):
        pytest.importorskip("ray")

    def test_a_killed_worker_is_replaced_and_only_data_is_printed(self, fsv2v, videos, make_face_video, leftovers, tmp_path):
        face, broken, _ = videos
        long = make_face_video(tmp_path / "long.mp4", 400)
        process = fsv2v.start(*SKETCH, face, broken, long, "-o", "out", "--engine", "ray", "--failures", "again.txt", cwd=tmp_path)
        os.kill(_worker_that_reads(long), signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 3
        assert sorted(stdout.splitlines()) == [b"out/face.clip", b"out/long.clip"]
        assert stderr.decode().startswith("fsv2v: error: ") and stderr.count(b"\n") == 1 and b"broken.mp4" in stderr
        assert (tmp_path / "again.txt").read_text() == f"{broken}\n"
        assert leftovers(tmp_path / "out") == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupt_ends_the_run_and_leaves_no_partial_output(
        self, fsv2v, make_face_video, visible_layers, leftovers, tmp_path, number
    ):
        long = make_face_video(tmp_path / "long.mp4", 1200)
        process = fsv2v.start(*SKETCH, long, "-o", tmp_path / "out", "--engine", "ray")
        worker = _worker_that_reads(long)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as the terminal does: to the whole process group
        else:
            process.terminate()
        stdout, stderr = process.communicate(timeout=60)
        sentence = b"fsv2v: error: interrupted; run the same command again to continue"
        assert (process.returncode, stderr.strip()) == ((130, sentence) if number == signal.SIGINT else (143, b""))
        assert stdout == b""
        assert "sketch" not in visible_layers(tmp_path / "out" / "long.clip")
        assert leftovers(tmp_path / "out") == []
        _wait_until(lambda: not Path(f"/proc/{worker}").exists())

    def test_an_absent_cluster_is_reported_in_a_sentence(self, fsv2v, face_video, tmp_path):
        result = fsv2v(*SKETCH, face_video, "-o", tmp_path, "--engine", "ray", env={"RAY_ADDRESS": "127.0.0.1:9"}, timeout=60)
        assert result.exit_code == 4
        assert result.stdout == ""
        assert result.stderr.startswith("fsv2v: error: No Ray cluster answers at 127.0.0.1:9")


def _worker_that_reads(video: Path) -> int:
    """The id of the process whose ffmpeg decodes the video."""
    _wait_until(lambda: _decoders(video))
    (stat, *_) = [(decoder.parent / "stat").read_text() for decoder in _decoders(video)]
    return int(stat.rpartition(")")[2].split()[1])


def _decoders(video: Path) -> list[Path]:
    decoders = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = cmdline.read_bytes().split(b"\0")
            decoders += [cmdline] if any(word.startswith(b"pipe:") for word in words) and os.fsencode(video) in b" ".join(words) else []
    return decoders


def _wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
