"""The Ray engine on one machine: its workers behave like local processes."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from pathlib import Path

import pytest

from fsv2v_cli.hints import with_hint
from stages.errors import MissingRequirement, UsageError
from stages.runner import ClipTask, FailureList, ray_pool, run_over_clips

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def shared_ray_cluster(stub_stages):
    """A running Ray, which the engine uses and does not stop."""
    root = Path(__file__).resolve().parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(stub_stages.__file__).parent), str(root)]))
        patch.delenv("OMP_NUM_THREADS", raising=False)
        small = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 80 << 20}
        ray.init("local", log_to_driver=False, logging_level=logging.ERROR, **small)
        yield
        ray.shutdown()


def on_ray(task, inputs, jobs=2, **options):
    return run_over_clips(task, inputs, jobs, engine="ray", **options)


def by_stem(reports):
    return {Path(report.source).stem: report for report in reports}


def test_reports_have_the_names_and_paths_of_a_local_run(inputs, task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [os.path.relpath(path) for path in inputs("a", "b", "c")]
    reports = by_stem(on_ray(task(b="no face"), names))
    assert [reports[name].status for name in "abc"] == ["done", "failed", "done"]
    assert "shows no face" in reports["b"].reason
    assert [reports[name].source for name in "abc"] == names
    assert reports["a"].clip == str(tmp_path / "out" / "a.clip") and reports["b"].clip == "b.mp4"


def test_workers_are_reused_and_share_the_cores(inputs, task):
    reports = list(on_ray(task(), inputs(*"abcdef")))
    assert len({report.notes["pid"] for report in reports}) <= 2
    assert {report.notes["threads"] for report in reports} == {"1"}


def test_an_input_that_kills_its_worker_is_tried_again_and_then_given_up(inputs, task, stub_stages):
    work = task(a="die once", b="die")
    reports = by_stem(on_ray(work, inputs("a", "b", "c")))
    assert [reports[name].status for name in "abc"] == ["done", "failed", "done"]
    assert "on the Ray cluster" in reports["b"].reason and with_hint(reports["b"].reason).endswith("try fewer --jobs")
    assert stub_stages.count_calls(work.options.log, "b") >= 2


def test_a_full_disk_fails_only_the_affected_input(inputs, task, tmp_path):
    failures = FailureList(tmp_path / "failed.txt")
    names = inputs("a", "b", "c")
    reports = by_stem(on_ray(task(b="full"), names))
    for report in reports.values():
        if report.status == "failed":
            failures.add(report.source)
    assert [reports[name].status for name in "abc"] == ["done", "failed", "done"]
    assert "No space left on device" in reports["b"].reason and "Free some space" in reports["b"].reason
    assert (tmp_path / "failed.txt").read_text() == f"{names[1]}\n"


def test_a_missing_requirement_ends_the_run(inputs, task):
    with pytest.raises(MissingRequirement, match="fsv2v weights fetch x"):
        list(on_ray(task(a="missing"), inputs("a", "b", "c")))


def test_nodes_without_the_same_versions_are_reported(inputs, task, monkeypatch):
    unknown = ClipTask("stub_stages:extract", _CannotBeLoaded(), None)
    with pytest.raises(MissingRequirement, match="No worker can start on the Ray cluster .*Install the same versions"):
        list(on_ray(unknown, inputs("a")))


class _CannotBeLoaded:
    def __reduce__(self):
        return (__import__, ("a_missing_module",))


def test_a_working_folder_that_the_nodes_lack_is_reported(inputs, task, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path / "only here"))
    with pytest.raises(UsageError, match="cannot enter .*only here.*a folder that all nodes have"):
        list(on_ray(task(), inputs("a")))


def test_inputs_can_be_endless_and_few_are_read_ahead(inputs, task):
    (video,) = inputs("a")
    counter = itertools.count()
    reports = on_ray(task(), (video for _ in counter))
    for _ in range(5):
        assert next(reports).status == "done"
    reports.close()
    assert next(counter) <= 5 + 3 * 2


def test_results_do_not_wait_for_a_slow_producer_of_inputs(inputs, task):
    produced = threading.Event()

    def producer():
        yield from inputs("a", "b")
        assert produced.wait(60)
        yield from inputs("c")

    reports = on_ray(task(), producer(), jobs=3)
    assert set(by_stem([next(reports), next(reports)])) == {"a", "b"}
    produced.set()
    assert set(by_stem(reports)) == {"c"}


def test_closing_the_iterator_lets_the_workers_clean_up(inputs, task, leftovers, tmp_path):
    reports = on_ray(task(a="after b", b="read forever"), inputs("a", "b"))
    assert next(reports).status == "done"
    started = time.perf_counter()
    reports.close()
    assert time.perf_counter() - started < 8
    assert leftovers(tmp_path / "out") == []


def test_steps_report_the_progress_of_an_input(make_face_video, task, tmp_path):
    video = str(make_face_video(tmp_path / "long.mp4", 200))

    class Reported(Exception):
        pass

    def check(step):
        assert step.source == video and 0 < step.read <= step.frames
        raise Reported

    with pytest.raises(Reported):
        list(on_ray(task(long="read forever"), [video], on_step=check))


@pytest.mark.parametrize(
    ("nodes", "workers", "threads"),
    [([8], 2, 4), ([8], 8, 1), ([8], 20, 1), ([8, 8], 3, 4), ([0, 4, 4], 2, 4), ([2, 16], 2, 8), ([], 1, 1)],
)
def test_the_number_of_threads_of_each_worker(nodes, workers, threads):
    assert ray_pool.threads_per_worker(nodes, workers) == threads
