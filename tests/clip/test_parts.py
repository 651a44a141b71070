"""A part of a clip has the same frames, layers and sound as the whole clip in that span."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sound import sound_onset

from stages.clip import VideoWriter, as_clip, open_clip
from stages.clip.parts import exact_span, frames_within, part_of, thinned
from stages.errors import InputError, UsageError


@pytest.fixture(scope="module")
def talk(shared, tmp_path_factory):
    """The clip of a real video of 383 frames at 30 frames per second, with sound."""
    video = shared / "data" / "faces" / "1zlab_face.mp4"
    if not video.exists():
        pytest.skip("the real videos are not there")
    return as_clip(video, tmp_path_factory.mktemp("talk"))


def test_a_span_is_the_frames_whose_time_lies_in_it(talk):
    assert frames_within(talk, exact_span((2, 3))) == range(60, 90)
    assert frames_within(talk, exact_span((None, 0.1))) == range(3)  # the frame at 0.1 s is the first that is not in it
    assert frames_within(talk, exact_span((12.01, None))) == range(361, 383)
    assert frames_within(talk, exact_span((12, 100))) == range(360, 383)


@pytest.mark.parametrize(("span", "reason"), [((13, 14), "lasts 12.767 s, and the span begins at 13 s"), ((1.01, 1.02), "no frame of .*")])
def test_a_span_without_a_frame_is_refused(talk, span, reason):
    with pytest.raises(InputError, match=reason):
        frames_within(talk, exact_span(span))


@pytest.mark.parametrize("span", [(3, 2), (2, 2), (-1, 2)])
def test_a_span_that_ends_before_it_begins_is_refused(span):
    with pytest.raises(UsageError, match="is empty"):
        exact_span(span)


def test_a_part_of_a_video_has_its_frames_and_stores_none(talk, tmp_path):
    part = part_of(talk, range(60, 90), tmp_path / "part.clip", ())
    whole = [*talk.frames()][60:90]
    assert all(np.array_equal(actual, expected) for actual, expected in zip(part.frames(), whole, strict=True))
    assert np.array_equal(part.frame(29), whole[29]) and len([*part.frames(3, 5)]) == 2
    assert not [*(tmp_path / "part.clip" / "frames").glob("*.png")]  # nothing is stored
    smaller = part_of(part, range(5, 10), tmp_path / "smaller.clip", ())
    assert np.array_equal(smaller.frame(1), whole[6])


def test_a_part_of_a_variable_rate_has_the_times_of_its_frames(face_video, ffmpeg, tmp_path):
    """Frames 0 to 6 come 0.04 s apart, the others 0.2 s."""
    ffmpeg("-i", face_video, "-vf", "setpts='(N+4*max(0,N-6))/(25*TB)'", "-fps_mode", "passthrough", tmp_path / "talk.mp4")
    clip = as_clip(tmp_path / "talk.mp4", tmp_path)
    assert clip.timestamps is not None
    frames = frames_within(clip, exact_span((0.2, 0.5)))
    assert frames == range(5, 8)
    part = part_of(clip, frames, tmp_path / "part.clip", ())
    assert part.timestamps is not None
    assert [float(part.timestamps.seconds(index)) for index in range(3)] == pytest.approx([0, 0.04, 0.24], abs=1e-3)
    assert all(np.array_equal(actual, expected) for actual, expected in zip(part.frames(), [*clip.frames()][5:8], strict=True))


def test_layers_and_stored_frames_are_cut_alike(make_painted_clip, make_drift_clip, tmp_path):
    face, drift = open_clip(make_painted_clip(tmp_path / "face.clip", 0)), open_clip(make_drift_clip(tmp_path / "drift.clip", 0))
    part = part_of(face, range(4, 9), tmp_path / "part" / "face.clip", {"landmarks"})
    assert np.array_equal(part.layer("landmarks").arrays()["points"], face.layer("landmarks").arrays()["points"][4:9])
    assert np.array_equal(part.frame(0), face.frame(4)) and part.num_frames == 5
    labels = part_of(drift, range(4, 9), tmp_path / "part" / "drift.clip", {"segment"})
    assert labels.layers() == ["frames", "segment"] and labels.layer("segment").meta["names"] == ["ground", "square", "disc"]
    assert np.array_equal(labels.layer("segment").image(2), drift.layer("segment").image(6))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_the_sound_is_cut_with_the_frames(suffix, ffmpeg, tmp_path):
    """A click at 2 s; a part from 1.2 s on has it at 0.8 s."""
    click = ["-f", "lavfi", "-i", "aevalsrc=if(gt(t\\,2)\\,0.8*sin(3000*t)\\,0):d=3"]
    ffmpeg("-f", "lavfi", "-i", "color=c=gray:s=32x32:r=25:d=3", *click, "-c:v", "libx264", "-c:a", "aac", tmp_path / "talk.mp4")
    clip = as_clip(tmp_path / "talk.mp4", tmp_path)
    part = part_of(clip, frames_within(clip, exact_span((1.2, None))), tmp_path / "part" / "talk.clip", ())
    write(tmp_path / f"out.{suffix}", part)
    assert sound_onset(tmp_path / f"out.{suffix}") == pytest.approx(0.8, abs=0.03)


def write(path: Path, clip) -> None:
    with VideoWriter(path, clip.width, clip.height, clip.fps, audio_from=clip) as video:
        for frame in clip.frames():
            video.write(frame)


def test_a_thinned_clip_has_frames_from_the_first_to_the_last_in_the_same_time(talk, tmp_path):
    thin = thinned(talk, 5, tmp_path / "thin.clip")
    assert thin.num_frames == 5 and 4 / thin.fps == pytest.approx(382 / 30)
    for index, original in enumerate((0, 96, 191, 286, 382)):
        assert np.abs(thin.frame(index).astype(int) - talk.frame(original)).mean() < 2  # JPEG
    assert thinned(talk, 400, tmp_path / "same.clip") is talk and thin.fps == Fraction(120, 382)
