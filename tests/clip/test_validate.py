"""Validation reads everything and names what is wrong."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from numbered_frames import numbered

from stages.clip import Clip, Producer, as_clip, create_clip, open_clip
from stages.clip.images import encode
from stages.clip.layers import npz_bytes
from stages.clip.validate import require_valid, validate
from stages.errors import InputError, InvalidClip

MADE = Producer("test")


@pytest.fixture
def full_clip(small_clip: Clip) -> Clip:
    """Six frames with landmarks and a sketch."""
    points = np.full((6, 1, 68, 3), 20, np.float32)
    points[..., 2] = 1
    with small_clip.writing("landmarks", MADE, {"frames": small_clip.frames_digest()}) as layer:
        layer.arrays(points=points)
    with small_clip.writing("sketch", MADE, {"landmarks": small_clip.layer("landmarks").digest}) as layer:
        for value in range(6):
            layer.image(np.full((48, 64), value, np.uint8))
    return small_clip


def rewrite(clip: Clip, name: str, data: bytes) -> None:
    """Change a file and make its digest fit, as a faulty tool would."""
    import hashlib

    from stages.clip.layers import combined_digest

    path = clip.path / name
    path.write_bytes(data)
    files = [file for file in sorted(path.parent.iterdir()) if file.name != "layer.json"]
    entries = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size) for file in files]
    about = path.parent / "layer.json"
    fitting = {"digest": combined_digest(entries), "bytes": sum(size for _, _, size in entries)}
    about.write_text(json.dumps({**json.loads(about.read_text()), **fitting}))


def test_a_whole_clip_is_valid(full_clip):
    findings = require_valid(full_clip.path)

    assert findings.valid
    assert findings.warnings == []


def test_a_clip_by_reference_is_valid(clip):
    assert validate(clip.path).errors == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: (path / "sketch" / "000003.png").unlink(), "should have 6 data files and has 5"),
        (lambda path: shutil.copy(path / "sketch" / "000003.png", path / "sketch" / "000006.png"), "has 7"),
        (lambda path: (path / "sketch" / "000003.png").write_bytes(b"x"), "digest differs"),
        (lambda path: (path / "landmarks" / "data.npz").write_bytes(b"x"), "digest differs"),
        (lambda path: (path / "sketch" / "layer.json").unlink(), "not a finished layer"),
        (lambda path: (path / "sketch" / "layer.json").write_text("{"), "not strict JSON"),
    ],
)
def test_damage_is_named(damage, sentence, full_clip):
    damage(full_clip.path)

    with pytest.raises(InvalidClip, match=sentence):
        require_valid(full_clip.path)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("landmarks/data.npz", npz_bytes({"points": np.full((6, 1, 68, 3), np.nan, np.float32)}), "NaN"),
        ("landmarks/data.npz", npz_bytes({"points": np.zeros((5, 1, 68, 3), np.float32)}), "6 frames"),
        ("landmarks/data.npz", npz_bytes({"other": np.zeros((6, 1), np.float32)}), "lacks points"),
        ("sketch/000002.png", encode(np.zeros((9, 9), np.uint8), "png"), r"000002\.png"),
        ("frames/000002.png", encode(np.zeros((9, 9, 3), np.uint8), "png"), r"000002\.png"),
    ],
)
def test_wrong_content_is_named_even_if_the_digest_fits(name, data, sentence, full_clip):
    rewrite(full_clip, name, data)

    with pytest.raises(InvalidClip, match=sentence):
        require_valid(full_clip.path)


def test_points_outside_the_picture_and_missing_faces_are_only_warnings(small_clip):
    points = np.zeros((6, 1, 68, 3), np.float32)
    points[1:3] = [-5, 10, 1]
    with small_clip.writing("landmarks", MADE, {}) as layer:
        layer.arrays(points=points)

    findings = require_valid(small_clip.path)

    assert findings.warnings == [
        "landmarks: 136 points in 2 frames lie outside the image",
        "landmarks: 4 of 6 frames have no detection",
    ]


def test_a_layer_made_from_one_that_was_replaced_is_a_warning(full_clip):
    with full_clip.writing("landmarks", MADE, {}) as layer:
        layer.arrays(points=np.ones((6, 1, 68, 3), np.float32))

    assert validate(full_clip.path).warnings == ["sketch was made from a layer landmarks that has been replaced since"]


def test_leftovers_are_a_warning(full_clip):
    (full_clip.path / ".mask.1234.partial").mkdir()

    assert ".mask.1234.partial" in validate(full_clip.path).warnings[0]


def test_a_source_with_the_same_size_but_another_content_is_noticed(video, tmp_path):
    shutil.copy(video, tmp_path / "a.mp4")
    clip = as_clip(tmp_path / "a.mp4")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[-1] ^= 255
    (tmp_path / "a.mp4").write_bytes(data)

    with pytest.raises(InvalidClip, match="its sha256 differs"):
        require_valid(clip.path)


def test_nothing_and_no_clip_are_refused(tmp_path):
    with pytest.raises(InputError):
        validate(tmp_path / "none.clip")
    with pytest.raises(InvalidClip):
        validate(tmp_path)


def test_validation_changes_nothing(full_clip):
    before = {path: os.stat(path).st_mtime_ns for path in full_clip.path.rglob("*")}
    validate(full_clip.path)

    assert {path: os.stat(path).st_mtime_ns for path in full_clip.path.rglob("*")} == before


def test_a_large_clip_is_read_one_picture_at_a_time(tmp_path):
    clip = create_clip(tmp_path / "x.clip", (numbered(index % 256) for index in range(300)))

    assert validate(clip.path).errors == []


@pytest.mark.parametrize("key", ["pix_fmt", "matrix", "primaries", "transfer", "range", "decoder", "rotation", "start"])
@pytest.mark.parametrize("odd", ["bt709,movie=secret.png", "\0", ["bt709"], 1e300])
def test_what_is_told_to_ffmpeg_about_a_video_can_mean_nothing_else(key, odd, clip):
    file = clip.path / "frames" / "layer.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({**meta, "video": {**meta["video"], key: odd}}))
    with pytest.raises(InvalidClip, match=f'"{key}" must be'):
        next(open_clip(clip.path).frames())


@pytest.mark.parametrize("name", ["points", "iris"])
def test_a_point_far_from_any_picture_is_refused(name, small_clip):
    arrays = {"points": np.ones((6, 1, 68, 3), np.float32), "iris": np.ones((6, 1, 10, 3), np.float32)}
    arrays[name][0, 0, 0, 0] = 1e30
    with (
        pytest.raises(InputError, match="1e[+]30, which is not a position"),
        small_clip.writing("landmarks", MADE, {}) as layer,
    ):
        layer.arrays(arrays)


def test_half_precision_is_refused_by_its_type_without_a_warning_of_its_range(recwarn, small_clip):
    with pytest.raises(InputError, match="float16 of shape"), small_clip.writing("landmarks", MADE, {}) as layer:
        layer.arrays({"points": np.ones((6, 1, 68, 3), np.float16)})
    assert not recwarn.list


def maps(clip: Clip, kind: str, values: list[int], **meta: object) -> Clip:
    """`clip` with a layer of six maps; each value fills a row of the last one, everything else is 0."""
    with clip.writing(kind, MADE, {}, meta) as layer:
        for index in range(6):
            image = np.zeros((48, 64), np.uint8)
            if index == 5:
                image[: len(values)] = np.array(values)[:, None]
            layer.image(image)
    return open_clip(clip.path)


STREET = {"names": ["road", "car"], "palette": [[0, 0, 0], [9, 9, 9]]}


@pytest.mark.parametrize(
    ("kind", "about", "good", "bad"),
    [
        ("segment", STREET, [0, 1, 255], [0, 1, 2]),
        ("instances", {"ids": [0, 26001]}, [0, 1], [0, 2]),
        ("instances", {"ids": [0, 26001]}, [0, 1], [255]),
    ],
)
def test_an_id_outside_the_table_of_its_layer_is_an_error(small_clip, kind, about, good, bad):
    assert validate(maps(small_clip, kind, good, **about).path).errors == []
    with pytest.raises(InvalidClip, match=rf"{kind}: 000005.png has the id {bad[-1]}, but its table ends at 1"):
        require_valid(maps(small_clip, kind, bad, **about).path)


def test_instances_without_a_table_may_have_any_number(small_clip):
    assert validate(maps(small_clip, "instances", [3, 255]).path).errors == []
