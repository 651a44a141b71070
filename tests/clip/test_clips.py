"""Clips are made of videos and images once, found again, never mixed up, and never left incomplete."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
from fractions import Fraction

import numpy as np
import pytest
from numbered_frames import number_of, numbered_frame
from PIL import Image

from fsv2v.reporting import Reporter
from fsv2v.sources import example_clips, temporary_clips
from stages.clip import Clip, as_clip, create_clip, keeping_frames, open_clip, probe
from stages.errors import InputError, InvalidClip, ParametersDiffer, UsageError


def test_a_video_becomes_a_clip_that_refers_to_it(video, tmp_path):
    source = tmp_path / "dance.mp4"
    shutil.copy(video, source)

    clip = as_clip(source)

    assert clip.path == tmp_path / "dance.clip"
    assert (clip.width, clip.height, clip.num_frames, clip.fps) == (64, 48, 100, Fraction(30000, 1001))
    assert clip.layers() == ["audio", "frames"]
    assert clip.source == {"path": "dance.mp4", "sha256": clip.frames_digest(), "bytes": source.stat().st_size, "crop": None, "range": None}
    assert [number_of(frame) for frame in clip.frames()] == list(range(100))


def test_clip_json_has_the_keys_of_the_format(clip):
    meta = json.loads((clip.path / "clip.json").read_text())

    assert list(meta) == ["schema", "id", "width", "height", "num_frames", "fps", "timestamps", "source", "created", "tool"]
    assert (meta["schema"], meta["id"], meta["fps"], meta["timestamps"]) == ("fsv2v.clip/1", "numbered", "30000/1001", None)


@pytest.mark.parametrize("storage", ["reference", "png", "jpg"])
def test_frames_are_the_same_in_every_storage(storage, video, tmp_path):
    clip = as_clip(video, tmp_path, storage)

    assert clip.layer("frames").storage == storage
    assert [number_of(frame) for frame in clip.frames(90)] == list(range(90, 100))
    assert number_of(clip.frame(57)) == 57
    if storage == "png":
        assert all(np.array_equal(a, b) for a, b in zip(clip.frames(), as_clip(video, tmp_path / "other").frames(), strict=True))


def test_a_picture_that_is_needed_several_times_is_decoded_once(tmp_path, monkeypatch):
    create_clip(tmp_path / "a.clip", iter(np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8)), storage="png")
    clip, decoded, frames = open_clip(tmp_path / "a.clip"), [], Clip.frames
    monkeypatch.setattr(Clip, "frames", lambda self, start, stop: decoded.append(start) or frames(self, start, stop))

    with keeping_frames([clip]):
        first = clip.frame(0)
        assert clip.frame(0) is first and decoded == [0]
        with pytest.raises(ValueError, match="read-only"):
            first[:] = 0
        for index in range(1, 6):
            clip.frame(index)
        assert np.array_equal(clip.frame(0), first) and decoded == [0, 1, 2, 3, 4, 5, 0], "only a few frames are kept"
    clip.frame(0)[:] = 0
    assert decoded[-2:] == [0, 0]


def test_a_clip_and_its_video_can_be_moved_together(video, tmp_path):
    (tmp_path / "here").mkdir()
    shutil.copy(video, tmp_path / "here" / "a.mp4")
    as_clip(tmp_path / "here" / "a.mp4", tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")

    assert number_of(open_clip(tmp_path / "there" / "a.clip").frame(3)) == 3


def test_a_clip_whose_video_was_deleted_names_it(video, tmp_path):
    shutil.copy(video, tmp_path / "a.mp4")
    clip = as_clip(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").unlink()

    with pytest.raises(InputError, match=r"a\.mp4, which is not there"):
        clip.frame(0)


def test_a_clip_notices_that_its_video_was_replaced(video, tmp_path):
    shutil.copy(video, tmp_path / "a.mp4")
    clip = as_clip(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_bytes(b"another")

    with pytest.raises(InputError, match="its size has changed"):
        clip.frame(0)


def test_a_finished_clip_is_found_again(video, tmp_path):
    before = as_clip(video, tmp_path).meta["created"], os.stat(tmp_path / "numbered.clip").st_ino

    assert (as_clip(video, tmp_path).meta["created"], os.stat(tmp_path / "numbered.clip").st_ino) == before


def test_a_clip_of_another_source_is_refused(video, tmp_path, ffmpeg):
    as_clip(video, tmp_path / "x.clip")
    ffmpeg("-i", video, "-frames:v", "5", tmp_path / "other.mp4")

    with pytest.raises(ParametersDiffer, match="another source"):
        as_clip(tmp_path / "other.mp4", tmp_path / "x.clip")


def test_a_clip_with_another_storage_is_refused(video, tmp_path):
    as_clip(video, tmp_path, "reference")

    with pytest.raises(ParametersDiffer, match="reference -> png"):
        as_clip(video, tmp_path, "png")


def test_a_clip_as_source_is_opened_or_copied_if_the_output_is_elsewhere(clip, tmp_path):
    assert as_clip(clip.path).path == clip.path
    assert as_clip(clip.path, tmp_path).path == clip.path

    copy = as_clip(clip.path, tmp_path / "elsewhere")

    assert copy.path == tmp_path / "elsewhere" / "numbered.clip"
    assert number_of(copy.frame(50)) == 50
    assert as_clip(clip.path, tmp_path / "elsewhere").path == copy.path


def test_a_folder_of_images_becomes_a_clip_in_natural_order(images):
    clip = as_clip(images)

    assert clip.path == images.with_name("pictures.clip")
    assert [number_of(frame) for frame in clip.frames()] == list(range(1, 13))
    assert clip.fps == 25
    assert as_clip(images, fps=Fraction(25)).path == clip.path


def test_two_images_with_the_same_stem_are_two_examples_but_not_two_frames(images, tmp_path):
    first = sorted(images.iterdir())[0]
    Image.open(first).save(first.with_suffix(".bmp"))

    with pytest.raises(InputError, match=f"two files of one frame: {first.stem}.bmp and {first.name}"):
        as_clip(images, tmp_path / "out")
    with temporary_clips(Reporter()) as temporary:
        assert len(example_clips(str(images), temporary)) == len(list(images.iterdir()))


def test_a_changed_folder_of_images_is_noticed(images):
    as_clip(images)
    Image.fromarray(numbered_frame(99)).save(images / "frame13.png")

    with pytest.raises(ParametersDiffer, match="another source"):
        as_clip(images)


def test_an_image_becomes_a_clip_of_one_frame(tmp_path):
    Image.fromarray(numbered_frame(5)).save(tmp_path / "one.png")

    assert as_clip(tmp_path / "one.png").num_frames == 1


def test_an_image_of_another_size_than_the_others_is_named(images):
    Image.new("RGB", (10, 10)).save(images / "frame7.png")

    with pytest.raises(InputError, match=r"frame7\.png is 10 x 10"):
        as_clip(images)
    assert not images.with_suffix(".clip").exists()


@pytest.mark.parametrize("kind", ["missing", "empty file", "empty folder", "text", "truncated"])
def test_a_bad_source_is_named_and_leaves_no_output(kind, tmp_path, video):
    source = tmp_path / "in" / "source.mp4"
    source.parent.mkdir()
    if kind == "empty folder":
        source.mkdir()
    elif kind != "missing":
        whole = video.read_bytes()
        source.write_bytes({"empty file": b"", "text": b"words " * 99, "truncated": whole[: len(whole) // 2]}[kind])

    with pytest.raises(InputError, match=r"source\.mp4"):
        as_clip(source, tmp_path / "out")
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


def test_a_video_that_breaks_off_becomes_no_partial_clip(tmp_path, video, monkeypatch):
    """The file is cut after it was probed, so that only decoding can notice."""
    import stages.clip.create as create

    source = tmp_path / "source.mp4"
    shutil.copy(video, source)
    info = probe(source)
    source.write_bytes(video.read_bytes()[: info.num_frames * 40])
    monkeypatch.setattr(create, "probe", lambda path: info)

    with pytest.raises(InputError, match="ends (too early|after)"):
        as_clip(source, tmp_path / "out", "png")
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted"', "-dash", "Zoë 舞蹈", "100%d", "a:b,c"])
def test_special_characters_in_a_name_have_no_effect(name, video, tmp_path, monkeypatch):
    shutil.copy(video, tmp_path / f"{name}.mp4")
    monkeypatch.chdir(tmp_path)

    clip = as_clip(f"{name}.mp4")

    assert clip.path == tmp_path / f"{name}.clip"
    assert clip.layers() == ["audio", "frames"]
    assert number_of(open_clip(f"{name}.clip").frame(40)) == 40


def test_a_name_that_is_not_unicode_works(video, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(path, "wb") as file:
        file.write(video.read_bytes())

    clip = as_clip(os.fsdecode(path))

    assert number_of(open_clip(clip.path).frame(40)) == 40


def test_a_clip_keeps_the_times_of_a_variable_rate(tmp_path, video, ffmpeg):
    keep_times = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-video_track_timescale", "90000"]
    ffmpeg("-i", video, "-vf", "setpts='(N+gt(N,9)*(N-9))/(30*TB)'", *keep_times, "-an", tmp_path / "v.mp4")

    clip = open_clip(as_clip(tmp_path / "v.mp4").path)

    assert clip.timestamps is not None
    assert clip.timestamps.ticks[:12] == (*range(0, 30000, 3000), 33000, 39000)
    assert [number_of(frame) for frame in clip.frames(50, 53)] == [50, 51, 52]


def test_a_clip_can_be_made_from_an_iterator_of_frames(tmp_path):
    yielded = []

    def frames():
        for index in range(5):
            yielded.append(index)
            yield numbered_frame(index)

    clip = create_clip(tmp_path / "made.clip", frames(), fps=Fraction(24000, 1001), storage="jpg")

    assert (clip.num_frames, clip.fps, clip.layers()) == (5, Fraction(24000, 1001), ["frames"])
    assert [number_of(frame) for frame in clip.frames()] == yielded


def test_a_clip_without_frames_still_has_a_size(tmp_path):
    clip = create_clip(tmp_path / "driving.clip", width=256, height=200, num_frames=10, fps=Fraction(30))

    assert (clip.layers(), clip.width, clip.height, clip.num_frames) == ([], 256, 200, 10)
    with pytest.raises(InputError, match="has no layer frames"):
        next(clip.frames())


def test_a_clip_is_replaced_only_with_overwrite(small_clip):
    with pytest.raises(ParametersDiffer, match="exists already"):
        create_clip(small_clip.path, [numbered_frame(9)])

    assert number_of(create_clip(small_clip.path, [numbered_frame(9)], overwrite=True).frame(0)) == 9


def test_a_folder_that_is_not_a_clip_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_text("precious")

    with pytest.raises(ParametersDiffer, match="is not a clip, so it is not replaced"):
        create_clip(tmp_path / "photos", [numbered_frame(9)], overwrite=True)
    assert (tmp_path / "photos" / "mine.jpg").exists()


def put_frame_count(source, out, queue):
    """Import a video and put the number of its frames into a queue. Runs in another process."""
    queue.put(as_clip(source, out).num_frames)


def test_processes_that_import_the_same_video_at_once_share_one_clip(video, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=put_frame_count, args=(video, tmp_path, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [100] * 4
    for worker in workers:
        worker.join()

    assert os.listdir(tmp_path) == ["numbered.clip"]


def test_frames_of_different_sizes_and_empty_sizes_make_no_clip(tmp_path):
    with pytest.raises(InputError):
        create_clip(tmp_path / "bad.clip", [numbered_frame(0), numbered_frame(1, 32, 32)])
    with pytest.raises(UsageError):
        create_clip(tmp_path / "bad.clip", width=0, height=5, num_frames=2)

    assert os.listdir(tmp_path) == []


def test_an_open_clip_can_be_pickled(clip):
    assert number_of(pickle.loads(pickle.dumps(clip)).frame(9)) == 9


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": "fsv2v.clip/2"}, "newer format"),
        ({"schema": "other/1"}, "has the schema"),
        ({"width": 0}, '"width"'),
        ({"width": "64"}, '"width"'),
        ({"num_frames": True}, '"num_frames"'),
        ({"fps": "0/1"}, '"fps"'),
        ({"fps": 29.97}, '"fps"'),
        ({"timestamps": {"time_base": "1/90", "ticks": [0, 1]}}, "timestamps"),
        ({"source": "talk.mp4"}, '"source"'),
    ],
)
def test_errors_in_clip_json_name_the_file_and_the_key(change, sentence, small_clip):
    path = small_clip.path / "clip.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(InvalidClip, match=sentence) as caught:
        open_clip(small_clip.path)
    assert caught.value.exit_code == 5
    assert "clip.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": NaN}', '{"a": 1, "a": 2}', "\xff", "[" * 100_000])
def test_clip_json_must_be_strict_json(text, small_clip):
    (small_clip.path / "clip.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(InvalidClip):
        open_clip(small_clip.path)


def test_unknown_keys_and_newer_minor_versions_are_accepted(small_clip):
    path = small_clip.path / "clip.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": "fsv2v.clip/1.7", "mood": "good"}))

    assert open_clip(small_clip.path).num_frames == 6


def test_a_folder_that_is_not_a_clip_and_a_missing_one_give_different_errors(tmp_path):
    (tmp_path / "some.clip").mkdir()

    with pytest.raises(InvalidClip, match=r"has no clip\.json"):
        as_clip(tmp_path / "some.clip")
    with pytest.raises(InputError, match="does not exist"):
        open_clip(tmp_path / "none.clip")
