"""One photograph and many driving videos: each gives a result, and what the results share is computed once."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import fsv2v
from stages.clip import Producer, create_clip, open_clip, probe
from stages.errors import SharedInputError
from stages.models import save_model
from stages.networks.common.inference import Renderer
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def material(tmp_path_factory, make_painted_clip) -> Path:
    """A folder with a model, an example and three driving clips of 5 frames each."""
    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(0)
    save_model(folder / "tiny.safetensors", FewShotGenerator(TINY).state_dict(), TINY, {"step": 0})
    make_painted_clip(folder / "anna.clip", 0, num_frames=2)
    (folder / "drivers").mkdir()
    for number, name in enumerate(("a", "b", "c"), 1):
        make_painted_clip(folder / "drivers" / f"{name}.clip", number, num_frames=5)
    return folder


@pytest.fixture
def run_many(material):
    """run_many(drivers, out, ...): the reports of synthesize_many for the driving videos."""

    def run(drivers, out, **options):
        chosen = {"model": material / "tiny.safetensors", "device": "cpu", "normalize": "off", **options}
        return [*fsv2v.synthesize_many(material / "anna.clip", drivers, out, **chosen)]

    return run


@pytest.fixture
def drivers(material) -> list[Path]:
    """The three driving clips."""
    return sorted((material / "drivers").iterdir())


@pytest.fixture
def command(material, fsv2v, tmp_path):
    """command(...): `synthesize` with the example and the model, in an empty folder; `start` may be another function that runs it."""
    chosen = ("synthesize", "--examples", material / "anna.clip", "--model", material / "tiny.safetensors", "--device", "cpu")

    def run(*more: object, start=fsv2v, **process_options):
        normalize = () if "--normalize" in more else ("--normalize", "off")
        return start(*chosen, *normalize, *more, cwd=tmp_path, **process_options)

    return run


def statuses(reports) -> list[str]:
    return [report.status for report in reports]


def test_each_result_equals_that_of_a_single_synthesis_and_the_examples_are_encoded_once(
    run_many, drivers, material, tmp_path, monkeypatch
):
    encoded = []
    encode = Renderer.encode_examples
    monkeypatch.setattr(Renderer, "encode_examples", lambda self, examples: encoded.append(1) or encode(self, examples))

    reports = run_many(drivers, tmp_path / "outs")
    assert [(report.clip, report.status, report.frames) for report in reports] == [
        (str(tmp_path / "outs" / f"{name}.mp4"), "done", 5) for name in "abc"
    ]
    assert encoded == [1]

    alone = tmp_path / "alone.mp4"
    fsv2v.synthesize(material / "anna.clip", drivers[2], alone, model=material / "tiny.safetensors", device="cpu", normalize="off")
    assert alone.read_bytes() == (tmp_path / "outs" / "c.mp4").read_bytes()


def test_finished_results_are_skipped_and_other_parameters_are_refused_with_the_difference(run_many, drivers, tmp_path):
    run_many(drivers[:2], tmp_path)
    assert statuses(run_many(drivers, tmp_path)) == ["skipped", "skipped", "done"]
    refused = run_many(drivers, tmp_path, seed=1)
    assert statuses(refused) == ["failed"] * 3 and "seed: 0 -> 1" in refused[0].reason
    assert statuses(run_many(drivers, tmp_path, seed=1, overwrite=True)) == ["done"] * 3


def test_a_missing_file_does_not_stop_the_others(run_many, drivers, tmp_path):
    reports = run_many([drivers[0], "absent.mp4", drivers[1]], tmp_path)
    assert statuses(reports) == ["done", "failed", "done"]
    assert reports[1].exit_code == 3 and reports[1].reason == "absent.mp4 does not exist"
    assert statuses(run_many(["absent.mp4", drivers[0]], tmp_path, keep_going=False)) == ["failed"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_second_of_two_drivers_with_one_name_is_refused(run_many, drivers, make_painted_clip, tmp_path, overwrite):
    other = make_painted_clip(tmp_path / "other" / "a.clip", 2, num_frames=5)
    run_many([drivers[0]], tmp_path / "outs")
    first = (tmp_path / "outs" / "a.mp4").read_bytes()
    reports = run_many([drivers[0], other, drivers[1]], tmp_path / "outs", overwrite=overwrite)
    assert sorted(statuses(reports)) == sorted(["done" if overwrite else "skipped", "failed", "done"])
    (refused,) = [report for report in reports if report.status == "failed"]
    assert refused.source == str(other) and f"{other} would have the same result path as {drivers[0]}" in refused.reason
    assert (tmp_path / "outs" / "a.mp4").read_bytes() == first


def test_shards_divide_the_list_and_each_reports_its_own_duplicate_names(run_many, drivers, tmp_path):
    listed = [*drivers, drivers[0]]
    parts = [run_many(listed, tmp_path, shard=(index, 2)) for index in range(2)]
    assert [[Path(report.source).stem for report in part] for part in parts] == [["a", "c"], ["b", "a"]]
    assert [statuses(part) for part in parts] == [["done", "done"], ["done", "failed"]]


def test_only_the_result_that_another_process_makes_fails(run_many, drivers, tmp_path):
    from stages.io.files import exclusive_lock

    with exclusive_lock(tmp_path / "a.mp4"):
        reports = run_many(drivers[:2], tmp_path)
    assert statuses(reports) == ["failed", "done"] and "is being made by another process" in reports[0].reason


def test_only_a_result_that_would_replace_its_driver_fails(material, run_many, drivers, tmp_path):
    driver = tmp_path / "d.mp4"
    fsv2v.synthesize(material / "anna.clip", drivers[0], driver, model=material / "tiny.safetensors", device="cpu", normalize="off")
    clip = fsv2v.open_clip(driver, tmp_path)
    with clip.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(open_clip(drivers[0]).layer("landmarks").arrays())
    before = driver.read_bytes()
    reports = run_many([clip.path, drivers[0]], tmp_path, overwrite=True)
    assert statuses(reports) == ["failed", "done"] and "is its own source" in reports[0].reason
    assert driver.read_bytes() == before


def test_an_example_without_a_face_ends_the_run_at_once(material, drivers, tmp_path):
    """The face is detected before the driving videos are read."""
    empty = create_clip(tmp_path / "empty.clip", iter(np.zeros((1, 64, 64, 3), np.uint8)))
    with empty.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(points=np.zeros((1, 1, 68, 3), np.float32))
    with pytest.raises(SharedInputError, match="nothing was detected in the example") as raised:
        next(fsv2v.synthesize_many(empty, drivers, tmp_path / "outs", model=material / "tiny.safetensors", device="cpu"))
    assert raised.value.exit_code == 3 and not (tmp_path / "outs").exists()


def test_only_a_driver_without_frames_and_layers_fails(run_many, drivers, tmp_path):
    bare = create_clip(tmp_path / "bare.clip", width=64, height=64, num_frames=2)
    assert statuses(run_many([bare.path, drivers[0]], tmp_path / "outs")) == ["failed", "done"]


def test_each_result_has_its_own_report(run_many, drivers, tmp_path):
    run_many(drivers[:2], tmp_path / "outs", report=tmp_path / "pages")
    pages = sorted((tmp_path / "pages").iterdir())
    assert [page.name for page in pages] == ["a.html", "b.html"]
    assert str(tmp_path / "outs" / "b.mp4") in pages[1].read_text() and str(tmp_path / "outs" / "a.mp4") not in pages[1].read_text()


def test_the_error_for_several_drivers_of_one_subject_names_synthesize_many(material, drivers, tmp_path):
    with pytest.raises(fsv2v.Error, match="2 driving videos for 1 subjects") as raised:
        fsv2v.synthesize(material / "anna.clip", drivers[:2], tmp_path / "out.mp4", model=material / "tiny.safetensors")
    assert raised.value.code == "driving-of-subjects" and "synthesize_many" in raised.value.hint


class TestCommand:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_folder_gives_a_path_for_each_result(self, command, material, tmp_path, jobs):
        done = command("--driving", material / "drivers", "-o", "outs", "--jobs", jobs)
        assert (done.exit_code, sorted(done.lines)) == (0, ["outs/a.mp4", "outs/b.mp4", "outs/c.mp4"])
        assert [probe(tmp_path / line).num_frames for line in done.lines] == [5, 5, 5]

    def test_paths_come_from_stdin_and_failures_go_to_a_list(self, command, drivers, tmp_path):
        listed = b"\0".join(map(os.fsencode, [drivers[0], "two\nlines.mp4", drivers[1]])) + b"\0"
        done = command("--driving", "-", "-0", "-o", "outs", "--json", "--failures", "failed", stdin=listed)
        records = [json.loads(line) for line in done.lines]
        assert done.exit_code == 3 and [record["status"] for record in records] == ["done", "failed", "done"]
        assert records[1]["clip"] == "two\nlines.mp4" and records[2]["clip"] == "outs/b.mp4"
        assert (tmp_path / "failed").read_bytes() == b"two\nlines.mp4\0"

    def test_a_quoted_pattern_is_expanded(self, command, material):
        done = command("--driving", material / "drivers" / "[ab].clip", "-o", "outs")
        assert (done.exit_code, done.lines) == (0, ["outs/a.mp4", "outs/b.mp4"])
        none = command("--driving", material / "drivers" / "*.avi", "-o", "outs")
        assert none.exit_code == 3 and f"no file matches {material / 'drivers' / '*.avi'}" in none.stderr

    def test_a_dry_run_expands_a_pattern_and_does_not_read_stdin(self, command, material):
        for driving in ("-", material / "drivers" / "*.clip"):
            dry_run = command("--driving", driving, "--normalize", "auto", "--dry-run")
            assert dry_run.exit_code == 0 and "# normalize: it is decided for each driving video" in dry_run.lines
        one = command("--driving", material / "drivers" / "a*", "--normalize", "auto", "--dry-run")
        assert one.exit_code == 0 and "# normalize: the driving keypoints are" in one.stdout

    def test_several_results_need_a_folder(self, command, material, drivers):
        both = ("--driving", drivers[0], "--driving", drivers[1])
        for out in (["-o", "out.mp4"], []):
            refused = command(*both, *out)
            assert refused.exit_code == 2 and "several driving videos need a folder. Name it with -o" in refused.stderr
        refused = command(*both, "-o", "outs", "--report", "page.html")
        assert refused.exit_code == 2 and "Name a folder with --report" in refused.stderr
        refused = command(*both, "-o", "outs", "--variants", 2)
        assert refused.exit_code == 2 and "Leave out --variants" in refused.stderr

    def test_one_result_is_written_into_an_existing_folder(self, command, drivers, tmp_path):
        (tmp_path / "outs").mkdir()
        done = command("--driving", drivers[0], "-o", "outs")
        assert (done.exit_code, done.lines) == (0, ["outs/a.mp4"])

    def test_the_option_time_shortens_all_drivers_and_is_recorded(self, command, drivers, tmp_path):
        arguments = ("--driving", drivers[0], "--driving", drivers[1], "-o", "outs")
        assert command(*arguments, "--time", "0.04-0:00.12").lines == ["outs/a.mp4", "outs/b.mp4"]
        assert [probe(tmp_path / "outs" / f"{name}.mp4").num_frames for name in "ab"] == [2, 2]
        refused = command(*arguments)
        assert refused.exit_code == 3 and "parameters.driving" in refused.stderr
        outside = command("--driving", drivers[0], "-o", "out.mp4", "--time", "5-")
        assert outside.exit_code == 3 and "lasts 0.2 s, and the span begins at 5 s. Name an earlier time with --time" in outside.stderr

    def test_a_folder_of_videos_and_images_is_refused(self, command, drivers, tmp_path):
        shutil.copytree(drivers[0], tmp_path / "mixed" / "a.clip")
        shutil.copy(next((drivers[0] / "frames").glob("*.png")), tmp_path / "mixed" / "b.png")
        refused = command("--driving", "mixed", "-o", "outs")
        assert refused.exit_code == 3 and "mixed contains both videos and images" in refused.stderr

    def test_a_folder_without_driving_videos_is_refused(self, command, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").write_text("nothing")
        refused = command("--driving", "empty", "-o", "outs")
        assert refused.exit_code == 3 and "empty contains no videos, clips or images" in refused.stderr and refused.stdout == ""

    def test_a_run_that_is_killed_between_two_results_continues_with_the_second(
        self, command, fsv2v, make_painted_clip, drivers, leftovers, tmp_path
    ):
        long = make_painted_clip(tmp_path / "long.clip", 1, num_frames=400)
        arguments = ("--driving", drivers[0], "--driving", long, "-o", "outs")
        process = command(*arguments, start=fsv2v.start)
        assert process.stdout.readline() == b"outs/a.mp4\n"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert [path.name for path in (tmp_path / "outs").iterdir() if not path.name.startswith(".")] == ["a.mp4"]

        again = command(*arguments, "--json")
        assert [json.loads(line)["status"] for line in again.lines] == ["skipped", "done"]
        assert probe(tmp_path / "outs" / "long.mp4").num_frames == open_clip(long).num_frames and leftovers(tmp_path / "outs") == []
