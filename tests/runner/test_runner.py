"""A stage over many inputs: a failed input does not affect the others, and few inputs are kept in memory."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import stages.clip
from fsv2v_cli.hints import with_hint
from stages.clip import Clip, Producer, as_clip, open_clip
from stages.errors import MissingRequirement, NoDetection, UsageError
from stages.io.files import shared_lock
from stages.runner import ClipTask, exit_code, run_over_clips
from stages.runner.report import InputProgress
from stages.runner.work import available_cores

ONE_AND_TWO_JOBS = pytest.mark.parametrize("jobs", [1, 2])


def stems(reports) -> list[str]:
    return sorted(Path(report.clip).stem for report in reports)


@ONE_AND_TWO_JOBS
def test_every_input_gets_a_report(inputs, task, jobs):
    reports = list(run_over_clips(task(), inputs("a", "b", "c"), jobs))
    assert stems(reports) == ["a", "b", "c"]
    assert {(report.status, report.layer, report.frames, report.reason) for report in reports} == {("done", "stub", 5, "")}
    assert all(report.clip.endswith(".clip") and report.seconds > 0 for report in reports)


@ONE_AND_TWO_JOBS
@pytest.mark.parametrize(
    ("fault", "reason", "code"),
    [
        ("no face", "shows no face. Try another video", 3),
        ("invalid", "is damaged", 5),
        ("full", "No space left on device: ", 3),
        ("bug", "Unexpected ZeroDivisionError: a bug", 1),
    ],
)
def test_one_bad_input_never_stops_the_others(inputs, task, jobs, fault, reason, code):
    reports = {Path(report.clip).stem: report for report in run_over_clips(task(b=fault), inputs("a", "b", "c"), jobs)}
    assert [reports[name].status for name in "abc"] == ["done", "failed", "done"]
    assert reason in reports["b"].reason
    assert reports["b"].exit_code == code
    assert reports["b"].clip.endswith("b.mp4") and reports["b"].layer == "stub"


@ONE_AND_TWO_JOBS
def test_no_clip_remains_if_nothing_is_detected(inputs, task, jobs, tmp_path):
    list(run_over_clips(task(b="no face"), inputs("a", "b"), jobs))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.clip"]


def test_a_clip_is_kept_while_another_stage_works_on_it_even_if_nothing_is_detected(inputs, task, tmp_path):
    """This happens when extract-poses and extract-sketch start on one video at once, and one of them detects nothing."""
    (video,) = inputs("b")

    def lock_clip(source: str, out: str | None) -> Clip:
        clip = as_clip(source, out)
        other_stage.enter_context(shared_lock(clip.path))
        return clip

    with contextlib.ExitStack() as other_stage, pytest.MonkeyPatch.context() as patched:
        patched.setattr(stages.clip, "as_clip", lock_clip)
        assert [report.status for report in run_over_clips(task(b="no face"), [video])] == ["failed"]
        assert sum(1 for _ in open_clip(tmp_path / "out" / "b.clip").frames()) == 5


def test_a_clip_that_existed_before_is_kept_if_nothing_is_detected(inputs, task, tmp_path):
    existing, imported = as_clip(inputs("b")[0], tmp_path), as_clip(inputs("c")[0], tmp_path / "out")
    list(run_over_clips(replace(task(b="no face"), out=None), [str(existing.path)]))
    list(run_over_clips(task(c="no face"), inputs("c")))
    assert existing.path.is_dir() and imported.path.is_dir()


def test_a_clip_with_another_layer_is_kept_if_nothing_is_detected(inputs, task, tmp_path, monkeypatch, stub_stages):
    def add_mask_and_fail(clip, options, overwrite=False):
        with clip.writing("mask", Producer("another"), {}) as layer:
            for _ in range(clip.num_frames):
                layer.image(np.zeros((clip.height, clip.width), np.uint8))
        raise NoDetection("nothing")

    monkeypatch.setattr(stub_stages, "extract", add_mask_and_fail)
    assert [report.status for report in run_over_clips(task(), inputs("a"))] == ["failed"]
    assert (tmp_path / "out" / "a.clip" / "mask").is_dir()


@ONE_AND_TWO_JOBS
def test_an_absent_input_is_reported(inputs, task, jobs):
    reports = list(run_over_clips(task(), [*inputs("a"), "absent.mp4"], jobs))
    assert {report.clip: report.reason for report in reports}["absent.mp4"] == "absent.mp4 does not exist"


@ONE_AND_TWO_JOBS
def test_a_missing_requirement_ends_the_run(inputs, task, jobs):
    with pytest.raises(MissingRequirement, match="fsv2v weights fetch x"):
        list(run_over_clips(task(a="missing"), inputs("a", "b", "c"), jobs))


def test_an_interrupt_while_python_imports_a_module_is_not_a_failure_of_the_input(inputs, task):
    with pytest.raises(KeyboardInterrupt):
        list(run_over_clips(task(a="interrupted import"), inputs("a", "b"), 1))


@ONE_AND_TWO_JOBS
def test_fail_fast_stops_at_the_first_failure(inputs, task, jobs):
    others = dict.fromkeys("bcdef", "after a")  # otherwise one worker could finish b to f before the other starts a
    reports = list(run_over_clips(task(a="no face", **others), inputs(*"abcdef"), jobs, keep_going=False))
    assert reports[-1].status == "failed"
    assert len(reports) < 6


def test_the_input_of_a_killed_worker_is_tried_again(inputs, task, stub_stages):
    work = task(b="die once")
    reports = list(run_over_clips(work, inputs("a", "b", "c"), jobs=2))
    assert stems(reports) == ["a", "b", "c"]
    assert {report.status for report in reports} == {"done"}
    assert stub_stages.count_calls(work.options.log, "b") == 2


@pytest.mark.parametrize(("fault", "cause"), [("die", "SIGKILL"), ("exit", "exit code 7")])
def test_an_input_that_kills_its_worker_twice_is_given_up(inputs, task, stub_stages, fault, cause):
    work = task(b=fault)
    reports = {Path(report.clip).stem: report for report in run_over_clips(work, inputs("a", "b", "c"), jobs=2)}
    assert [reports[name].status for name in "abc"] == ["done", "failed", "done"]
    assert cause in reports["b"].reason and with_hint(reports["b"].reason).endswith("try fewer --jobs")
    assert stub_stages.count_calls(work.options.log, "b") == 2


def test_workers_are_reused_for_the_whole_run(inputs, task):
    reports = list(run_over_clips(task(), inputs(*"abcdef"), jobs=2))
    assert len({report.notes["pid"] for report in reports}) <= 2


def test_no_more_workers_than_inputs_are_started(inputs, task):
    started = time.perf_counter()
    (report,) = run_over_clips(task(), inputs("a"), jobs=64)
    assert report.status == "done"
    assert time.perf_counter() - started < 30


def test_the_jobs_share_the_cores(inputs, task, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    reports = list(run_over_clips(task(), inputs("a", "b"), jobs=2))
    assert {report.notes["threads"] for report in reports} == {str(max(1, available_cores() // 2))}


def test_the_number_of_threads_set_by_the_user_is_kept(inputs, task, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    reports = list(run_over_clips(task(), inputs("a", "b"), jobs=2))
    assert {report.notes["threads"] for report in reports} == {"3"}


@ONE_AND_TWO_JOBS
def test_inputs_can_be_endless_and_few_are_read_ahead(inputs, task, jobs):
    (video,) = inputs("a")
    counter = itertools.count()
    reports = run_over_clips(task(), (video for _ in counter), jobs)
    for _ in range(5):
        assert next(reports).status == "done"
    reports.close()
    assert next(counter) <= 5 + 3 * jobs


def test_results_do_not_wait_for_a_slow_producer_of_inputs(inputs, task):
    produced = threading.Event()

    def producer():
        yield from inputs("a", "b")
        assert produced.wait(60)
        yield from inputs("c")

    reports = run_over_clips(task(), producer(), jobs=3)
    assert stems([next(reports), next(reports)]) == ["a", "b"]
    produced.set()
    assert stems(reports) == ["c"]


@ONE_AND_TWO_JOBS
def test_an_error_of_the_iterator_of_inputs_is_raised(inputs, task, jobs):
    def broken():
        yield from inputs("a")
        raise UsageError("the list is broken")

    with pytest.raises(UsageError, match="the list is broken"):
        list(run_over_clips(task(), broken(), jobs))


@ONE_AND_TWO_JOBS
def test_shards_divide_the_inputs(inputs, task, jobs):
    everything = inputs(*"abcde")
    parts = [stems(run_over_clips(task(), everything, jobs, shard=(index, 3))) for index in range(3)]
    assert parts == [["a", "d"], ["b", "e"], ["c"]]


@pytest.mark.parametrize("shard", [(3, 3), (-1, 3), (0, 0)])
def test_an_invalid_shard_is_refused(task, shard):
    with pytest.raises(UsageError, match="no shard"):
        next(run_over_clips(task(), [], shard=shard))


def test_closing_the_iterator_ends_the_workers_at_once(inputs, task):
    reports = run_over_clips(task(b="sleep"), inputs("a", "b"), jobs=2)
    assert next(reports).status == "done"
    started = time.perf_counter()
    reports.close()
    assert time.perf_counter() - started < 8


@ONE_AND_TWO_JOBS
def test_steps_report_the_progress_of_an_input(make_face_video, stub_stages, tmp_path, monkeypatch, jobs):
    from stages.runner import watched

    monkeypatch.setattr(watched, "_INTERVAL", 0.0)  # affects only this process, not the workers
    video = str(make_face_video(tmp_path / "long.mp4", 100 if jobs == 1 else 2000))
    work = ClipTask("stub_stages:extract", stub_stages.StubOptions(str(tmp_path / "log")), str(tmp_path / "out"))
    steps: list[InputProgress] = []
    reports = list(run_over_clips(work, [video] if jobs == 1 else [video, "absent"], jobs, on_step=steps.append))
    assert {report.status for report in reports} <= {"done", "failed"}
    assert steps and {step.source for step in steps} == {video}
    assert [step.read for step in steps] == sorted(step.read for step in steps)
    assert all(0 < step.read <= step.frames for step in steps)


@pytest.mark.parametrize(("failures", "code"), [([], 0), ([5, 5], 5), ([5, 3], 3), ([3], 3), ([1], 3)])
def test_the_exit_code_depends_on_the_failures(failures, code):
    assert exit_code(failures) == code


def test_ray_is_an_extra(inputs, task, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingRequirement, match=r"pip install 'fsv2v\[ray\]'"):
        list(run_over_clips(task(), inputs("a"), engine="ray"))


def test_the_address_of_a_cluster_needs_the_engine_ray(inputs, task):
    with pytest.raises(UsageError, match="is that of a Ray cluster"):
        list(run_over_clips(task(), inputs("a"), address="auto"))


def test_only_the_broken_ones_of_4000_clips_fail(inputs, stub_stages, tmp_path):
    (video,) = inputs("a")
    intact, total = as_clip(video, out=tmp_path), 4000
    sources = [tmp_path / f"{index}.clip" for index in range(total)]
    broken = {str(source) for source in sources[::100]}
    for source in sources:
        if str(source) in broken:
            source.mkdir()
        else:
            source.symlink_to(intact.path)
    task = ClipTask("stub_stages:read_nothing", stub_stages.StubOptions(""), layer="stub")
    reports = list(run_over_clips(task, map(str, sources), jobs=2))
    assert {report.source for report in reports} == set(map(str, sources)) and len(reports) == total
    assert {report.source for report in reports if report.status == "failed"} == broken
