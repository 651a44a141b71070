"""One photograph, many driving videos: a result for each, and everything that they share is made once."""

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
    (folder / "talks").mkdir()
    for number, name in enumerate(("a", "b", "c"), 1):
        make_painted_clip(folder / "talks" / f"{name}.clip", number, num_frames=5)
    return folder


@pytest.fixture
def many(material):
    """many(drivings, out, ...): the reports of a run."""

    def run(drivings, out, **options):
        chosen = {"model": material / "tiny.safetensors", "device": "cpu", "normalize": "off", **options}
        return [*fsv2v.synthesize_many(material / "anna.clip", drivings, out, **chosen)]

    return run


@pytest.fixture
def talks(material) -> list[Path]:
    return sorted((material / "talks").iterdir())


@pytest.fixture
def command(material, fsv2v, tmp_path):
    """command(...): `synthesize` with the example and the model, in an empty folder; it may be started by another function."""
    chosen = ("synthesize", "--examples", material / "anna.clip", "--model", material / "tiny.safetensors", "--device", "cpu")

    def run(*more: object, start=fsv2v, **how):
        normalize = () if "--normalize" in more else ("--normalize", "off")
        return start(*chosen, *normalize, *more, cwd=tmp_path, **how)

    return run


def statuses(reports) -> list[str]:
    return [report.status for report in reports]


def test_each_result_is_as_if_it_were_made_alone_but_the_examples_are_encoded_once(many, talks, material, tmp_path, monkeypatch):
    encoded = []
    encode = Renderer.encode_examples
    monkeypatch.setattr(Renderer, "encode_examples", lambda self, examples: encoded.append(1) or encode(self, examples))

    reports = many(talks, tmp_path / "outs")
    assert [(report.clip, report.status, report.frames) for report in reports] == [
        (str(tmp_path / "outs" / f"{name}.mp4"), "done", 5) for name in "abc"
    ]
    assert encoded == [1]

    alone = tmp_path / "alone.mp4"
    fsv2v.synthesize(material / "anna.clip", talks[2], alone, model=material / "tiny.safetensors", device="cpu", normalize="off")
    assert alone.read_bytes() == (tmp_path / "outs" / "c.mp4").read_bytes()


def test_finished_results_are_skipped_and_other_parameters_are_refused_with_the_difference(many, talks, tmp_path):
    many(talks[:2], tmp_path)
    assert statuses(many(talks, tmp_path)) == ["skipped", "skipped", "done"]
    refused = many(talks, tmp_path, seed=1)
    assert statuses(refused) == ["failed"] * 3 and "seed: 0 -> 1" in refused[0].reason
    assert statuses(many(talks, tmp_path, seed=1, overwrite=True)) == ["done"] * 3


def test_a_missing_file_does_not_stop_the_others(many, talks, tmp_path):
    reports = many([talks[0], "absent.mp4", talks[1]], tmp_path)
    assert statuses(reports) == ["done", "failed", "done"]
    assert reports[1].exit_code == 3 and reports[1].reason == "absent.mp4 does not exist"
    assert statuses(many(["absent.mp4", talks[0]], tmp_path, keep_going=False)) == ["failed"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_drivers_with_one_name_the_second_is_refused(many, talks, make_painted_clip, tmp_path, overwrite):
    other = make_painted_clip(tmp_path / "other" / "a.clip", 2, num_frames=5)
    many([talks[0]], tmp_path / "outs")
    first = (tmp_path / "outs" / "a.mp4").read_bytes()
    reports = many([talks[0], other, talks[1]], tmp_path / "outs", overwrite=overwrite)
    assert sorted(statuses(reports)) == sorted(["done" if overwrite else "skipped", "failed", "done"])
    (refused,) = [report for report in reports if report.status == "failed"]
    assert refused.source == str(other) and f"{other} would have the same result as {talks[0]}" in refused.reason
    assert (tmp_path / "outs" / "a.mp4").read_bytes() == first


def test_shards_divide_the_list_and_each_reports_its_own_clashes(many, talks, tmp_path):
    drivings = [*talks, talks[0]]
    parts = [many(drivings, tmp_path, shard=(index, 2)) for index in range(2)]
    assert [[Path(report.source).stem for report in part] for part in parts] == [["a", "c"], ["b", "a"]]
    assert [statuses(part) for part in parts] == [["done", "done"], ["done", "failed"]]


def test_a_result_that_another_process_makes_fails_alone(many, talks, tmp_path):
    from stages.io.files import exclusive_lock

    with exclusive_lock(tmp_path / "a.mp4"):
        reports = many(talks[:2], tmp_path)
    assert statuses(reports) == ["failed", "done"] and "is being made by another process" in reports[0].reason


def test_a_result_that_would_replace_its_driver_fails_alone(material, many, talks, tmp_path):
    driver = tmp_path / "d.mp4"
    fsv2v.synthesize(material / "anna.clip", talks[0], driver, model=material / "tiny.safetensors", device="cpu", normalize="off")
    clip = fsv2v.open_clip(driver, tmp_path)
    with clip.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(open_clip(talks[0]).layer("landmarks").arrays())
    before = driver.read_bytes()
    reports = many([clip.path, talks[0]], tmp_path, overwrite=True)
    assert statuses(reports) == ["failed", "done"] and "is its own source" in reports[0].reason
    assert driver.read_bytes() == before


def test_an_example_without_a_face_ends_the_run_at_once(material, talks, tmp_path):
    """It is looked for before the driving videos are."""
    empty = create_clip(tmp_path / "empty.clip", iter(np.zeros((1, 64, 64, 3), np.uint8)))
    with empty.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(points=np.zeros((1, 1, 68, 3), np.float32))
    with pytest.raises(SharedInputError, match="nothing was detected in the example") as raised:
        next(fsv2v.synthesize_many(empty, talks, tmp_path / "outs", model=material / "tiny.safetensors", device="cpu"))
    assert raised.value.exit_code == 3 and not (tmp_path / "outs").exists()


def test_a_driver_without_frames_and_layers_fails_alone(many, talks, tmp_path):
    bare = create_clip(tmp_path / "bare.clip", width=64, height=64, num_frames=2)
    assert statuses(many([bare.path, talks[0]], tmp_path / "outs")) == ["failed", "done"]


def test_each_result_has_a_page_of_its_own(many, talks, tmp_path):
    many(talks[:2], tmp_path / "outs", report=tmp_path / "pages")
    pages = sorted((tmp_path / "pages").iterdir())
    assert [page.name for page in pages] == ["a.html", "b.html"]
    assert str(tmp_path / "outs" / "b.mp4") in pages[1].read_text() and str(tmp_path / "outs" / "a.mp4") not in pages[1].read_text()


def test_a_list_of_drivers_of_one_result_says_how_to_make_many(material, talks, tmp_path):
    with pytest.raises(fsv2v.Error, match="2 driving videos for 1 subjects") as raised:
        fsv2v.synthesize(material / "anna.clip", talks[:2], tmp_path / "out.mp4", model=material / "tiny.safetensors")
    assert raised.value.code == "driving-of-subjects" and "synthesize_many" in raised.value.hint


class TestCommand:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_folder_gives_a_path_for_each_result(self, command, material, tmp_path, jobs):
        done = command("--driving", material / "talks", "-o", "outs", "--jobs", jobs)
        assert (done.exit_code, sorted(done.lines)) == (0, ["outs/a.mp4", "outs/b.mp4", "outs/c.mp4"])
        assert [probe(tmp_path / line).num_frames for line in done.lines] == [5, 5, 5]

    def test_paths_come_from_stdin_and_failures_go_to_a_list(self, command, talks, tmp_path):
        listed = b"\0".join(map(os.fsencode, [talks[0], "two\nlines.mp4", talks[1]])) + b"\0"
        done = command("--driving", "-", "-0", "-o", "outs", "--json", "--failures", "failed", stdin=listed)
        records = [json.loads(line) for line in done.lines]
        assert done.exit_code == 3 and [record["status"] for record in records] == ["done", "failed", "done"]
        assert records[1]["clip"] == "two\nlines.mp4" and records[2]["clip"] == "outs/b.mp4"
        assert (tmp_path / "failed").read_bytes() == b"two\nlines.mp4\0"

    def test_a_pattern_in_quotes_stands_for_what_matches(self, command, material):
        done = command("--driving", material / "talks" / "[ab].clip", "-o", "outs")
        assert (done.exit_code, done.lines) == (0, ["outs/a.mp4", "outs/b.mp4"])
        none = command("--driving", material / "talks" / "*.avi", "-o", "outs")
        assert none.exit_code == 3 and f"no file matches {material / 'talks' / '*.avi'}" in none.stderr

    def test_a_dry_run_looks_at_a_pattern_and_reads_no_list(self, command, material):
        for driving in ("-", material / "talks" / "*.clip"):
            told = command("--driving", driving, "--normalize", "auto", "--dry-run")
            assert told.exit_code == 0 and "# normalize: it is decided for each driving video" in told.lines
        one = command("--driving", material / "talks" / "a*", "--normalize", "auto", "--dry-run")
        assert one.exit_code == 0 and "# normalize: the driving keypoints are" in one.stdout

    def test_a_file_is_no_place_for_several_results(self, command, material, talks):
        twice = ("--driving", talks[0], "--driving", talks[1])
        for place in (["-o", "out.mp4"], []):
            refused = command(*twice, *place)
            assert refused.exit_code == 2 and "several driving videos need a folder. Name it with -o" in refused.stderr
        refused = command(*twice, "-o", "outs", "--report", "page.html")
        assert refused.exit_code == 2 and "Name a folder with --report" in refused.stderr
        refused = command(*twice, "-o", "outs", "--variants", 2)
        assert refused.exit_code == 2 and "Leave out --variants" in refused.stderr

    def test_one_video_goes_into_a_folder_that_is_there(self, command, talks, tmp_path):
        (tmp_path / "outs").mkdir()
        done = command("--driving", talks[0], "-o", "outs")
        assert (done.exit_code, done.lines) == (0, ["outs/a.mp4"])

    def test_a_part_in_seconds_shortens_all_of_them_and_is_recorded(self, command, talks, tmp_path):
        given = ("--driving", talks[0], "--driving", talks[1], "-o", "outs")
        assert command(*given, "--time", "0.04-0:00.12").lines == ["outs/a.mp4", "outs/b.mp4"]
        assert [probe(tmp_path / "outs" / f"{name}.mp4").num_frames for name in "ab"] == [2, 2]
        refused = command(*given)
        assert refused.exit_code == 3 and "parameters.driving" in refused.stderr
        outside = command("--driving", talks[0], "-o", "out.mp4", "--time", "5-")
        assert outside.exit_code == 3 and "lasts 0.2 s, and the span begins at 5 s. Name an earlier time with --time" in outside.stderr

    def test_a_folder_of_videos_and_images_is_refused(self, command, talks, tmp_path):
        shutil.copytree(talks[0], tmp_path / "mixed" / "a.clip")
        shutil.copy(next((talks[0] / "frames").glob("*.png")), tmp_path / "mixed" / "b.png")
        refused = command("--driving", "mixed", "-o", "outs")
        assert refused.exit_code == 3 and "mixed contains both videos and images" in refused.stderr

    def test_a_folder_without_anything_that_drives_is_refused(self, command, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").write_text("nothing")
        refused = command("--driving", "empty", "-o", "outs")
        assert refused.exit_code == 3 and "empty contains no videos, clips or images" in refused.stderr and refused.stdout == ""

    def test_killed_between_two_results_it_goes_on_where_it_was(self, command, fsv2v, make_painted_clip, talks, leftovers, tmp_path):
        long = make_painted_clip(tmp_path / "long.clip", 1, num_frames=400)
        given = ("--driving", talks[0], "--driving", long, "-o", "outs")
        process = command(*given, start=fsv2v.start)
        assert process.stdout.readline() == b"outs/a.mp4\n"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert [path.name for path in (tmp_path / "outs").iterdir() if not path.name.startswith(".")] == ["a.mp4"]

        again = command(*given, "--json")
        assert [json.loads(line)["status"] for line in again.lines] == ["skipped", "done"]
        assert probe(tmp_path / "outs" / "long.mp4").num_frames == open_clip(long).num_frames and leftovers(tmp_path / "outs") == []
