"""The contract with shell scripts, checked on extract-sketch; the other commands over many inputs share its code."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsv2v_cli.console import emit

SKETCH = ("extract-sketch", "--backend", "dlib", "--background", "none")


@pytest.fixture
def videos(make_tiny_video, face_video, tmp_path):
    """Three inputs: a face, a video without a face, and a face in a file with a difficult name."""
    difficult = tmp_path / '-it\'s a "fäce" %d.mp4'
    difficult.write_bytes(face_video.read_bytes())
    return face_video, make_tiny_video(tmp_path / "noise.mp4"), difficult


@pytest.fixture(scope="module")
def long_video(make_face_video, tmp_path_factory):
    """A video whose extraction takes long enough to be interrupted."""
    return make_face_video(tmp_path_factory.mktemp("long") / "long.mp4", 1200)


def test_stdout_is_the_path_of_each_finished_clip_and_nothing_else(fsv2v, videos, tmp_path):
    face, noise, difficult = videos
    result = fsv2v(*SKETCH, face, noise, difficult, "-o", tmp_path / "out")
    assert result.lines == [str(tmp_path / "out" / f"{name.stem}.clip") for name in (face, difficult)]
    assert result.exit_code == 3
    (message,) = result.stderr.splitlines()
    assert message.startswith("fsv2v: error: ") and "noise" in message


def test_json_is_one_object_per_input(fsv2v, videos, tmp_path):
    face, noise, _ = videos
    result = fsv2v(*SKETCH, face, noise, "-o", tmp_path / "out", "--json")
    done, failed = map(json.loads, result.lines)
    assert done["status"] == "done" and done["layer"] == "sketch" and done["frames"] == 12 and done["seconds"] > 0
    assert done["clip"] == str(tmp_path / "out" / "face.clip")
    assert failed["status"] == "failed" and failed["clip"] == str(noise) and "face" in failed["reason"]


def test_paths_come_from_stdin_one_per_line(fsv2v, videos, tmp_path):
    face, _, difficult = videos
    result = fsv2v(*SKETCH, "-", "-o", tmp_path / "out", stdin=f"{face}\n\n{difficult}")
    assert result.exit_code == 0, result.stderr
    assert len(result.lines) == 2


def test_a_list_on_stdin_may_have_the_line_breaks_of_windows(fsv2v, tmp_path):
    result = fsv2v("clip", "info", "-", stdin="\ufeffa.clip\r\nb.clip\r\n", cwd=tmp_path)
    assert [line.partition(" does not")[0] for line in result.stderr.splitlines()] == ["fsv2v: error: a.clip", "fsv2v: error: b.clip"]


def test_paths_with_line_breaks_come_from_stdin_separated_by_nul(fsv2v, face_video, tmp_path):
    odd = tmp_path / "two\nlines.mp4"
    odd.write_bytes(face_video.read_bytes())
    result = fsv2v(*SKETCH, "-0", "-", "-o", tmp_path / "out", stdin=os.fsencode(odd) + b"\0")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "two\nlines.clip").is_dir()


def test_a_file_name_that_begins_with_a_dash_follows_two_dashes(fsv2v, videos, tmp_path):
    _, _, difficult = videos
    assert fsv2v(*SKETCH, "-o", tmp_path / "out", "--", difficult.name, cwd=difficult.parent).exit_code == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_appear_while_stdin_is_still_open(fsv2v, face_video, tmp_path, jobs):
    process = fsv2v.start(*SKETCH, "-", "-o", tmp_path, "--jobs", jobs)
    process.stdin.write(os.fsencode(face_video) + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == os.fsencode(tmp_path / "face.clip") + b"\n"
    process.stdin.close()
    assert process.wait(60) == 0


def test_json_is_valid_text_even_if_a_file_name_is_not(capfdbinary):
    emit({"clip": os.fsdecode(b"bad\xff.clip"), "reason": "für später"})
    emit({"clip": "für später"})
    bad, good = capfdbinary.readouterr().out.decode("utf-8").splitlines()
    assert os.fsencode(json.loads(bad)["clip"]) == b"bad\xff.clip" and good == '{"clip": "für später"}'


def test_a_finished_clip_is_skipped(fsv2v, face_video, tmp_path):
    fsv2v(*SKETCH, face_video, "-o", tmp_path)
    before = _state(tmp_path)
    again = fsv2v(*SKETCH, face_video, "-o", tmp_path, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["status"] == "skipped"
    assert _state(tmp_path) == before


def test_other_parameters_are_refused_with_the_differences_unless_overwrite(fsv2v, face_video, tmp_path):
    fsv2v(*SKETCH, face_video, "-o", tmp_path)
    before = _state(tmp_path)
    refused = fsv2v(*SKETCH, face_video, "-o", tmp_path, "--smoothing", "3")
    assert refused.exit_code == 3
    assert "smoothing: 1.0 -> 3.0" in refused.stderr and "--overwrite" in refused.stderr
    assert _state(tmp_path) == before

    replaced = fsv2v(*SKETCH, face_video, "-o", tmp_path, "--smoothing", "3", "--overwrite")
    assert replaced.exit_code == 0
    assert _state(tmp_path) != before


def test_a_shard_takes_every_nth_input(fsv2v, face_video, tmp_path):
    inputs = []
    for name in "abcde":
        inputs.append(tmp_path / f"{name}.mp4")
        inputs[-1].write_bytes(face_video.read_bytes())
    done = [fsv2v(*SKETCH, *inputs, "--shard", f"{index}/2", "-o", tmp_path / "out").lines for index in range(2)]
    assert [[Path(line).stem for line in lines] for lines in done] == [["a", "c", "e"], ["b", "d"]]


def test_fail_fast_stops_at_the_first_failure(fsv2v, face_video, tmp_path):
    assert fsv2v(*SKETCH, "absent.mp4", face_video, "-o", tmp_path).lines != []
    assert fsv2v(*SKETCH, "absent.mp4", face_video, "-o", tmp_path, "--fail-fast").lines == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_results_do_not_depend_on_the_number_of_jobs(fsv2v, videos, tmp_path, jobs):
    face, noise, difficult = videos
    result = fsv2v(*SKETCH, face, noise, difficult, "-o", tmp_path / "out", "--jobs", jobs)
    assert sorted(Path(line).stem for line in result.lines) == sorted([face.stem, difficult.stem])
    assert result.exit_code == 3


# Exit codes


def test_exit_code_1_is_for_unexpected_errors(fsv2v, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import stages.runner\ndef broken(*a): raise KeyError('x')\nstages.runner.run_over_clips = broken\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    result = fsv2v(*SKETCH, "a.mp4", env={"PYTHONPATH": path})
    assert result.exit_code == 1
    assert "unexpected KeyError: 'x'" in result.stderr and "FSV2V_DEBUG=1" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in fsv2v(*SKETCH, "a.mp4", env={"PYTHONPATH": path, "FSV2V_DEBUG": "1"}).stderr


@pytest.mark.parametrize(
    "arguments", [["nope"], ["extract-sketch"], ["extract-sketch", "a", "--nope"], ["extract-sketch", "a", "--shard", "2/2"]], ids=" ".join
)
def test_exit_code_2_is_for_usage(fsv2v, arguments):
    result = fsv2v(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("fsv2v: error: ") and "--help`" in result.stderr
    assert result.stdout == ""


def test_exit_code_3_is_for_inputs_that_failed(fsv2v, tmp_path):
    result = fsv2v(*SKETCH, tmp_path / "absent.mp4")
    assert result.exit_code == 3
    assert result.stderr == f"fsv2v: error: {tmp_path}/absent.mp4 does not exist\n"


def test_exit_code_4_is_for_a_missing_requirement_and_ends_the_run(fsv2v, face_video, tmp_path):
    offline = {"FSV2V_WEIGHTS_MIRROR": "http://127.0.0.1:9", "FSV2V_WEIGHTS": str(tmp_path / "cache"), "https_proxy": "http://127.0.0.1:9"}
    process = fsv2v.start("extract-sketch", "--backend", "mediapipe", face_video, "x.mp4", "-o", tmp_path / "out", env=offline)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 4
    assert b"fsv2v weights fetch face_landmarker.task" in stderr
    assert b"x.mp4" not in stderr


def test_exit_code_4_is_for_ray_when_it_is_not_installed(fsv2v, face_video, tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    result = fsv2v(*SKETCH, face_video, "--engine", "ray", env={"PYTHONPATH": path})
    assert result.exit_code == 4
    assert "pip install 'fsv2v[ray]'" in result.stderr


def test_exit_code_5_is_for_a_clip_of_a_newer_format(fsv2v, face_video, tmp_path):
    fsv2v(*SKETCH, face_video, "-o", tmp_path)
    description = tmp_path / "face.clip" / "clip.json"
    description.write_text(description.read_text().replace("fsv2v.clip/1", "fsv2v.clip/2"))
    result = fsv2v(*SKETCH, tmp_path / "face.clip")
    assert result.exit_code == 5
    assert "newer" in result.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_exit_code_130_is_for_ctrl_c_and_no_partial_output_is_left(fsv2v, long_video, visible_layers, leftovers, tmp_path, jobs):
    process = fsv2v.start(*SKETCH, long_video, "-o", tmp_path / "out", "--jobs", jobs)
    _wait_until(lambda: leftovers(tmp_path / "out"))
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to the whole process group
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.strip() == b"fsv2v: error: interrupted; run the same command again to continue"
    assert stdout == b""
    assert "sketch" not in visible_layers(tmp_path / "out" / "long.clip")
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize(
    "work",
    ["exec('raise KeyboardInterrupt')", "raise ImportError('initialization failed') from KeyboardInterrupt()"],
    ids=["in executed source text", "in a module written in C"],
)
def test_exit_code_130_is_also_for_ctrl_c_during_an_import(tmp_path, work):
    program = f"from fsv2v_cli import main\ndef work(*arguments, **options):\n    {work}\nmain.cli.main = work\nmain.main()"
    (tmp_path / "trial.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-m", "trial"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "fsv2v: error: interrupted; run the same command again to continue\n")


def test_sigterm_cleans_up_too(fsv2v, long_video, leftovers, tmp_path):
    process = fsv2v.start(*SKETCH, long_video, "-o", tmp_path / "out", "--jobs", "2")
    _wait_until(lambda: leftovers(tmp_path / "out"))
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert leftovers(tmp_path / "out") == []


def test_workers_end_with_a_killed_parent_and_the_same_command_continues(fsv2v, make_face_video, leftovers, tmp_path):
    video = make_face_video(tmp_path / "long.mp4", 300)
    process = fsv2v.start(*SKETCH, video, "-o", tmp_path / "out", "--jobs", "2")
    _wait_until(lambda: leftovers(tmp_path / "out"))
    process.kill()
    process.wait()
    process.stdout.read()  # ends when the last worker, which has inherited stdout, is gone
    assert leftovers(tmp_path / "out") == []

    again = fsv2v(*SKETCH, video, "-o", tmp_path / "out", "--jobs", "2")
    assert (again.exit_code, again.lines) == (0, [str(tmp_path / "out" / "long.clip")])


# Streams


def test_a_closed_pipe_ends_quietly(fsv2v, face_video, tmp_path):
    process = fsv2v.start(*SKETCH, face_video, "-o", tmp_path)
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert stderr == b""


def test_help_into_a_closed_pipe_ends_quietly(fsv2v):
    process = fsv2v.start("extract-sketch", "--help")
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(60)


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_streams_that_are_closed_at_the_start_change_nothing_else(closed, fsv2v, face_video, tmp_path):
    """Daemons and some schedulers start programs like this. Files that are opened later must not get the numbers of the streams."""
    process = fsv2v.start(*SKETCH, face_video, "-o", tmp_path, preexec_fn=lambda: [os.close(number) for number in closed])
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert [path.suffix for path in tmp_path.iterdir()] == [".clip"]
    assert stderr == b"" and stdout.splitlines() == ([] if 1 in closed else [os.fsencode(next(tmp_path.iterdir()))])


def test_a_closed_stdin_is_refused_as_a_list_of_inputs(fsv2v, tmp_path):
    process = fsv2v.start(*SKETCH, "-", "-o", tmp_path, preexec_fn=lambda: os.close(0))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2 and b"stdin is closed" in stderr


def test_output_can_be_piped_to_another_command(fsv2v, videos, tmp_path):
    face, _, difficult = videos
    first = fsv2v.start(*SKETCH, face, difficult, "-o", tmp_path / "out")
    second = subprocess.run(["sort"], stdin=first.stdout, capture_output=True, text=True, check=True)
    assert len(second.stdout.splitlines()) == 2
    assert first.wait(60) == 0


def test_progress_is_not_shown_when_stderr_is_not_a_terminal(fsv2v, face_video, tmp_path):
    assert fsv2v(*SKETCH, face_video, "-o", tmp_path).stderr == ""


@pytest.mark.parametrize(
    ("flags", "env", "visible"), [([], {}, True), (["-q"], {}, False), ([], {"RANK": "1"}, False)], ids=["plain", "-q", "rank 1"]
)
def test_progress_is_shown_on_a_terminal(fsv2v, make_face_video, tmp_path, flags, env, visible):
    video = make_face_video(tmp_path / "face.mp4", 100)
    controller, terminal = pty.openpty()
    process = fsv2v.start(*SKETCH, video, "-o", tmp_path / "out", *flags, stderr=terminal, env={"TERM": "xterm", **env})
    os.close(terminal)
    output = _read_all(controller)
    assert process.wait(60) == 0
    assert process.stdout.read() == os.fsencode(tmp_path / "out" / "face.clip") + b"\n"
    assert (b"1/1 clips" in output) is visible
    assert visible or output == b""


@pytest.mark.parametrize(
    ("variables", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
    ids=["nothing", "a count", "a policy"],
)
def test_busy_waiting_of_threads_is_limited_unless_the_user_sets_it(variables, spins):
    program = "import os; from fsv2v_cli import main; main.run = lambda arguments: print(os.environ.get('GOMP_SPINCOUNT')); main.main()"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    done = subprocess.run([sys.executable, "-c", program], env={**clean, **variables}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(spins)


def test_verbose_prints_more_on_stderr(fsv2v, face_video, tmp_path):
    result = fsv2v(*SKETCH, face_video, "-o", tmp_path, "-v")
    assert "face.clip: sketch done, 12 frames in" in result.stderr
    assert result.lines == [str(tmp_path / "face.clip")]


def test_a_read_only_output_is_reported_in_a_sentence(fsv2v, face_video, unwritable):
    result = fsv2v(*SKETCH, face_video, "-o", unwritable / "out")
    assert result.exit_code == 3
    assert result.stderr.startswith("fsv2v: error: ") and "Traceback" not in result.stderr
    assert result.stdout == ""


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Path -> (modification time, size) of every file."""
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in folder.rglob("*") if file.is_file()}


def _wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _read_all(descriptor: int) -> bytes:
    """The bytes that are written to a terminal until its other end closes."""
    collected = b""
    try:
        while block := os.read(descriptor, 4096):
            collected += block
    except OSError:  # on Linux this means that the other end is closed
        pass
    return collected
