"""`evaluate study`: a site that does not reveal the methods, and a key that does."""

from __future__ import annotations

import configparser
import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from studies import small_key

from fsv2v_cli.main import run
from stages.clip import VideoWriter, as_clip, probe, read_frames
from stages.clip.comments import read_comment
from stages.clip.ffmpeg import executable
from stages.errors import UsageError
from stages.evaluate.study import StudyOptions, make_study
from stages.evaluate.study.key import read_key

ROOT = Path(__file__).resolve().parents[2]
FPS = Fraction(30000, 1001)


def frames(blur: float, count: int = 5, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames of a portrait that moves to the left, blurred with a standard deviation of `blur` pixels."""
    image = cv2.resize(skimage.data.astronaut(), (2 * width, 2 * height), interpolation=cv2.INTER_AREA)
    moving = [np.ascontiguousarray(image[:height, 4 * index : 4 * index + width]) for index in range(count)]
    return [cv2.GaussianBlur(frame, (0, 0), blur) for frame in moving] if blur else moving


def write(path: Path, images: list[np.ndarray], fps: Fraction = FPS) -> Path:
    height, width, _ = images[0].shape
    with VideoWriter(path, width, height, fps, comment="a comment") as video:
        for image in images:
            video.write(image)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The videos "ann" and "ben" of two methods; those of the second are blurred."""
    for method, blur in (("sharp-method", 0), ("blurred-method", 2)):
        for name in ("ann", "ben"):
            write(tmp_path / method / f"{name}.mp4", frames(blur))
    return tmp_path / "sharp-method", tmp_path / "blurred-method"


@pytest.fixture
def study(folders: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """study(options...) -> (exit code, stdout, stderr) of `evaluate study` into site/."""

    def study(*options: object, methods: tuple[Path, Path] = folders) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(["evaluate", "study", *map(str, methods), "-o", str(tmp_path / "site"), *map(str, options)])
        output = capfd.readouterr()
        return code, output.out, output.err

    return study


def contents_of(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def difference(one: list[np.ndarray], another: list[np.ndarray]) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.mean(np.abs(np.array(one, float) - np.array(another, float))))


def unordered_difference(copy: list[np.ndarray], original: list[np.ndarray]) -> float:
    """Mean difference between each frame of a copy and the most similar original frame, in any order."""
    return float(np.mean([min(difference([frame], [other]) for other in original) for frame in copy]))


def data_of(site: Path) -> dict:
    text = (site / "index.html").read_text(encoding="utf-8")
    return json.loads(text.partition('type="application/json">')[2].partition("</script>")[0])


# What is in a site


def test_a_study_is_a_page_with_videos_and_a_key_beside_it(study, tmp_path):
    code, out, err = study("--catch", 2)
    assert (code, out) == (0, f"{tmp_path / 'site'}\n") and "site.key.json" in err
    key = read_key(tmp_path / "site.key.json")
    assert key.methods == ("sharp-method", "blurred-method")
    assert sorted(question.clip for question in key.questions if question.kind == "pair") == ["ann", "ben"]
    names = {f"{name}.mp4" for question in key.questions for name in question.videos}
    assert {path.name for path in (tmp_path / "site" / "videos").iterdir()} == names and len(names) == 8
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["index.html", "videos"]


def test_the_key_records_the_method_of_each_video(study, tmp_path):
    study("--catch", 4)
    site, videos = tmp_path / "site" / "videos", {0: frames(0), 1: frames(2)}
    for question in read_key(tmp_path / "site.key.json").questions:
        first, second = (list(read_frames(site / f"{name}.mp4")) for name in question.videos)
        assert difference(first, videos[question.of]) < difference(first, videos[1 - question.of]) / 2
        if question.kind == "pair":
            assert difference(second, videos[1]) < difference(second, videos[0]) / 2
        else:
            assert len(second) == len(first)
            assert unordered_difference(second, first) > 4, "the copy is obviously broken"


def test_the_frames_of_a_broken_copy_are_shuffled(tmp_path):
    """In a ramp from black to white, brightness gives the order of frames."""
    ramp = [np.full((32, 32, 3), 6 * index, np.uint8) for index in range(40)]
    for method in ("a", "b"):
        write(tmp_path / method / "ramp.mp4", ramp)
    make_study((str(tmp_path / "a"), str(tmp_path / "b")), "", tmp_path / "site", StudyOptions(catch=1))
    (catch,) = (question for question in read_key(tmp_path / "site.key.json").questions if question.kind == "catch")
    intact, broken = ([frame.mean() for frame in read_frames(tmp_path / "site" / "videos" / f"{name}.mp4")] for name in catch.videos)
    assert intact == sorted(intact) and broken != sorted(broken)
    assert sorted(broken) == pytest.approx(intact, abs=2)


def test_nothing_in_the_site_reveals_the_methods(study, tmp_path):
    study("--catch", 1)
    site, key = tmp_path / "site", read_key(tmp_path / "site.key.json")
    page = (site / "index.html").read_text(encoding="utf-8")
    revealing = ("sharp-method", "blurred-method", "ann", "ben", "catch", "site.key")
    assert not [word for word in revealing if f'"{word}' in page or f"/{word}" in page]
    data = data_of(site)
    assert list(data["questions"]) == sorted(data["questions"]) and all(block == sorted(block) for block in data["blocks"])
    assert all(question["videos"] == sorted(question["videos"]) for question in data["questions"].values())
    assert {len(question) for question in data["questions"].values()} == {4}, "catch questions have the same fields as the others"
    ordered = sorted((site / "videos").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert ordered == sorted(ordered), "files are written in the order of their random names"
    for path in ordered:
        assert read_comment(path) is None
        output = subprocess.run([executable(), "-i", str(path)], capture_output=True, text=True).stderr
        assert "method" not in output.partition("Metadata")[2]
    assert key.study in page


def test_names_of_videos_are_random_in_each_study():
    assert not {name for question in small_key().questions for name in question.videos} & {
        name for question in small_key().questions for name in question.videos
    }


def test_videos_can_be_played_by_every_browser(folders, study, tmp_path):
    for folder in folders:
        write(folder / "odd.mp4", frames(0, width=63, height=47))
    study("--catch", 0)
    for path in (tmp_path / "site" / "videos").iterdir():
        output = subprocess.run([executable(), "-i", str(path)], capture_output=True, text=True).stderr
        assert "h264" in output and "yuv420p" in output and "Audio" not in output
        info = probe(path)
        assert (info.width, info.height, info.num_frames, info.fps) == (64, 48, 5, FPS)


def test_clips_and_image_folders_can_be_compared_like_videos(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    as_clip(write(first / "ann.mp4", frames(0)), first)  # a clip beside its video counts as the same result
    (first / "notes.txt").write_text("not a video")
    (second / "ann").mkdir(parents=True)
    for index, frame in enumerate(frames(2)):
        cv2.imwrite(str(second / "ann" / f"{index}.png"), frame[..., ::-1])
    outcome = make_study((str(first), str(second)), "", tmp_path / "site", StudyOptions(catch=0))
    assert outcome.pairs == 1 and {probe(path).fps for path in (tmp_path / "site" / "videos").iterdir()} == {FPS}


def test_almost_equal_frame_rates_are_accepted(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    write(first / "ann.mp4", frames(0), Fraction(30000, 1001)), write(second / "ann.mp4", frames(2), Fraction(2997, 100))
    assert make_study((str(first), str(second)), "", tmp_path / "site", StudyOptions(catch=0)).status == "done"


def test_a_second_process_that_writes_the_same_study_is_refused(folders, tmp_path):
    def start_second(event):
        with pytest.raises(UsageError, match="site is being made by another process"):
            make_study((str(folders[1]), str(folders[0])), "", tmp_path / "site", StudyOptions(catch=0))

    make_study((str(folders[0]), str(folders[1])), "", tmp_path / "site", StudyOptions(catch=0), on_event=start_second)
    assert data_of(tmp_path / "site")["study"] == read_key(tmp_path / "site.key.json").study


def test_every_question_shows_the_reference(study, folders, tmp_path):
    assert study("--reference", folders[0], "--catch", 1)[0] == 0
    questions = data_of(tmp_path / "site")["questions"].values()
    assert len({question["reference"] for question in questions}) == 3
    assert all((tmp_path / "site" / "videos" / f"{question['reference']}.mp4").exists() for question in questions)


def test_the_text_of_a_question_is_escaped_in_the_page(study, tmp_path):
    question = "</script><script>alert(1)</script> /* style */ ä"
    study("--question", question, "--catch", 0)
    assert data_of(tmp_path / "site")["ask"] == question
    assert "alert(1)</script>" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_methods_in_folders_of_the_same_name_are_named_by_their_paths(folders, tmp_path):
    paths = []
    for number, folder in enumerate(folders):
        (tmp_path / str(number)).mkdir()
        paths.append(str(folder.rename(tmp_path / str(number) / "out")))
    make_study((paths[0], paths[1]), "", tmp_path / "site", StudyOptions(catch=0))
    assert read_key(tmp_path / "site.key.json").methods == tuple(paths)


@pytest.mark.parametrize(("clips", "per_worker", "sizes"), [(10, 0, [10]), (10, 4, [3, 3, 4]), (10, 10, [10]), (3, 1, [1, 1, 1])])
def test_each_clip_is_in_one_block_and_each_catch_question_in_all(clips: int, per_worker: int, sizes: list[int]):
    key = small_key(clips, 2, per_worker)
    catches = {question.id for question in key.questions if question.kind == "catch"}
    assert all(catches <= set(block) for block in key.blocks)
    assert sorted(len(block) - 2 for block in key.blocks) == sizes
    assigned = [name for block in key.blocks for name in block if name not in catches]
    assert sorted(assigned) == sorted(question.id for question in key.questions if question.kind == "pair")


def test_more_catch_questions_than_videos_use_videos_several_times():
    catches = [question for question in small_key(clips=1, catch=5).questions if question.kind == "catch"]
    assert len({video for question in catches for video in question.videos}) == 10 and {question.of for question in catches} == {0, 1}


def test_an_installed_package_contains_the_page():
    """setup.cfg must list all files of the package that are not modules."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options.package_data"]["stages.evaluate.study"].split(", ")
    files = (path for path in (ROOT / "stages" / "evaluate" / "study").iterdir() if path.is_file() and path.suffix != ".py")
    assert sorted(listed) == sorted(path.name for path in files)


# The same command again


def test_a_finished_study_is_skipped(study, tmp_path):
    study()
    before = contents_of(tmp_path / "site")
    code, out, _ = study("--json")
    record = json.loads(out)
    assert (code, record["status"], record["pairs"], record["catch"]) == (0, "skipped", 2, 3)
    assert contents_of(tmp_path / "site") == before


def test_json_describes_the_study(study, tmp_path):
    record = json.loads(study("--json", "--catch", 1, "--per-worker", 1)[1])
    assert record.pop("seconds") > 0
    assert record == {
        "clip": str(tmp_path / "site"), "layer": "study", "status": "done", "frames": 30, "key": str(tmp_path / "site.key.json"),
        "pairs": 2, "catch": 1, "blocks": 2, "reason": "",
    }  # fmt: skip


def test_a_different_study_is_refused_without_overwrite_and_the_differences_are_reported(study, folders, tmp_path):
    study()
    before = contents_of(tmp_path)
    code, out, err = study("--catch", 1)
    assert (code, out) == (3, "") and "(catch differ)" in err and "--overwrite" in err
    write(folders[0] / "ann.mp4", frames(1))
    before = {**before, "sharp-method/ann.mp4": (folders[0] / "ann.mp4").read_bytes()}
    assert "(videos differ)" in study()[2] and contents_of(tmp_path) == before
    assert study("--overwrite")[0] == 0
    assert read_key(tmp_path / "site.key.json").study == data_of(tmp_path / "site")["study"]
    assert not set(before) & {name for name in contents_of(tmp_path) if name.startswith("site/videos")}


def test_a_site_that_was_moved_away_is_made_again_under_the_same_names(study, tmp_path):
    """The key is written first, so an interrupted study continues like this, too."""
    study("--catch", 0)
    (tmp_path / "site").rename(tmp_path / "published")
    assert study("--catch", 0)[0] == 0
    assert contents_of(tmp_path / "site") == contents_of(tmp_path / "published")


def test_a_site_without_its_key_is_refused(study, tmp_path):
    study()
    (tmp_path / "site.key.json").unlink()
    assert study()[0] == 3
    assert study("--overwrite")[0] == 0


def test_a_folder_that_is_not_a_study_is_never_replaced(study, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("a home page")
    code, _, err = study("--overwrite")
    assert code == 3 and "is not a study" in err
    assert contents_of(tmp_path / "site") == {"index.html": b"a home page"} and not (tmp_path / "site.key.json").exists()


def test_an_interrupted_study_leaves_no_site_and_the_next_run_makes_it(folders, tmp_path, leftovers):
    def stop(event):
        if event["done"] == 3:
            raise KeyboardInterrupt

    arguments = (str(folders[0]), str(folders[1])), "", tmp_path / "site", StudyOptions()
    with pytest.raises(KeyboardInterrupt):
        make_study(*arguments, on_event=stop)
    assert not (tmp_path / "site").exists() and leftovers(tmp_path) == []
    assert make_study(*arguments).status == "done" and make_study(*arguments).status == "skipped"


def test_an_interrupted_replacement_leaves_the_old_site(folders, tmp_path):
    arguments = (str(folders[0]), str(folders[1])), "", tmp_path / "site", StudyOptions(catch=0)
    make_study(*arguments)
    before = contents_of(tmp_path / "site")

    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_study(*arguments, overwrite=True, on_event=stop)
    assert contents_of(tmp_path / "site") == before
    assert make_study(*arguments).status == "skipped", "the key of the old site is restored"
    assert make_study(*arguments, overwrite=True).status == "done"
    assert [path.name for path in tmp_path.glob("*.key.json")] == ["site.key.json"]


# Refused input


def test_the_key_must_be_outside_the_site(study, tmp_path):
    code, _, err = study("--key", tmp_path / "site" / "key.json")
    assert code == 2 and "outside" in err and not (tmp_path / "site").exists()
    assert study("--key", tmp_path / "elsewhere" / "key.json", "-q") == (0, f"{tmp_path / 'site'}\n", "")
    assert read_key(tmp_path / "elsewhere" / "key.json").study == data_of(tmp_path / "site")["study"]


def test_a_site_inside_a_folder_of_videos_and_a_long_code_are_refused(study, folders, tmp_path):
    code, _, err = study("-o", folders[0] / "site")
    assert code == 2 and "would count as one of the videos" in err and not (folders[0] / "site").exists()
    code, _, err = study("--code", "x" * 101)
    assert code == 2 and "at most 100 characters" in err and not (tmp_path / "site").exists()


def test_a_file_that_is_not_a_key_is_not_replaced(study, tmp_path):
    notes = tmp_path / "notes.json"
    notes.write_text('{"other": 1}')
    code, _, err = study("--key", notes, "--overwrite")
    assert code == 3 and "is not the key of a study" in err and notes.read_text() == '{"other": 1}'


def test_an_address_without_a_scheme_is_refused(study, tmp_path):
    code, _, err = study("--post", "example.org/answers")
    assert code == 2 and "https://" in err and not (tmp_path / "site").exists()


def test_the_working_folder_is_refused_as_a_site(folders, tmp_path, monkeypatch, capfd):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(["evaluate", "study", *map(str, folders), "-o", "."]) == 2
    assert "outside" in capfd.readouterr().err and not list(Path().iterdir())


def test_videos_that_only_one_folder_has_are_refused(study, folders):
    for name in "cdef":
        write(folders[0] / f"{name}.mp4", frames(0))
    code, _, err = study()
    assert code == 3 and "blurred-method lacks c, d, e and 1 more, which" in err and "sharp-method has" in err


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (lambda: (frames(0, count=4), FPS), "not of equal length"),
        (lambda: (frames(0), Fraction(25)), "not of equal length"),
        (lambda: (frames(0, width=48), FPS), "differ in shape"),
    ],
    ids=["shorter", "slower", "narrower"],
)
def test_videos_of_different_length_or_aspect_ratio_are_refused(study, folders, tmp_path, other, sentence):
    write(folders[1] / "ben.mp4", *other())
    code, out, err = study()
    assert (code, out) == (3, "") and sentence in err and "ben" in err
    assert not (tmp_path / "site").exists() and not (tmp_path / "site.key.json").exists()


def test_videos_of_different_size_and_equal_aspect_ratio_are_accepted(study, folders, tmp_path):
    write(folders[1] / "ben.mp4", frames(0, width=128, height=96))
    assert study()[0] == 0
    assert {question["width"] for question in data_of(tmp_path / "site")["questions"].values()} >= {128, 64}


@pytest.mark.parametrize("name", ["nowhere", "empty", "ann.mp4"])
def test_a_path_that_is_not_a_folder_of_videos_is_refused(study, folders, tmp_path, name):
    (tmp_path / "empty").mkdir()
    code, _, err = study(methods=(folders[0], folders[1] / name if name == "ann.mp4" else tmp_path / name))
    assert code == 3 and name in err and err.startswith("fsv2v: error: ")


def test_two_videos_of_one_name_are_refused(study, folders):
    write(folders[0] / "ann.mkv", frames(0))
    assert "two videos named ann" in study()[2]


def test_a_folder_that_cannot_be_written_is_reported_in_a_sentence(folders, unwritable, capfd):
    assert run(["evaluate", "study", *map(str, folders), "-o", str(unwritable / "site")]) == 3
    assert capfd.readouterr().err.startswith("fsv2v: error: ")


# `evaluate` and its two subcommands


def test_a_result_named_study_can_be_evaluated_by_its_path(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "score.mp4", frames(0)).rename(tmp_path / "study")
    for arguments in (["./study", "-r", "study"], ["-r", "study", "study"]):
        assert run(["evaluate", *arguments, "--metric", "psnr", "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["value"] == 100


def test_subcommands_read_their_own_tables_and_variables(tmp_path, monkeypatch, capfd):
    tables = '[evaluate]\nlandmarks = "dlib"\n[evaluate.study]\ncatch = 7\n[evaluate.score]\nmax-failed = 0.5\n'
    (tmp_path / "all.toml").write_text(tables)
    monkeypatch.setenv("FSV2V_EVALUATE_STUDY_CODE", "ABC")
    assert run(["evaluate", "study", "a", "b", "-o", "x", "--config", str(tmp_path / "all.toml"), "--dry-run", "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert record["command"] == "evaluate study" and (record["values"]["catch"], record["values"]["code"]) == (7, "ABC")
    assert run(["evaluate", "x", "-r", "y", "--config", str(tmp_path / "all.toml"), "--dry-run", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["values"]["landmarks"] == "dlib"
    (tmp_path / "wrong.toml").write_text("[evaluate.study]\ncatches = 7\n")
    assert run(["evaluate", "study", "a", "b", "-o", "x", "--config", str(tmp_path / "wrong.toml"), "--dry-run"]) == 2


def test_a_key_can_be_written_and_read(tmp_path):
    key = small_key(clips=2, catch=1)
    key.write(tmp_path / "k.json")
    assert read_key(tmp_path / "k.json") == key
