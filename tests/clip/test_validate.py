"""Validation reads the whole clip and names each error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from numbered_frames import numbered_frame

from stages.clip import Clip, Producer, as_clip, create_clip, open_clip
from stages.clip.images import encode
from stages.clip.layers import combined_digest, npz_bytes
from stages.clip.validate import require_valid, validate
from stages.errors import InputError, InvalidClip

PRODUCER = Producer("test")


@pytest.fixture
def full_clip(small_clip: Clip) -> Clip:
    """Six frames with landmarks and a sketch."""
    points = np.full((6, 1, 68, 3), 20, np.float32)
    points[..., 2] = 1
    with small_clip.writing("landmarks", PRODUCER, {"frames": small_clip.frames_digest()}) as layer:
        layer.arrays(points=points)
    with small_clip.writing("sketch", PRODUCER, {"landmarks": small_clip.layer("landmarks").digest}) as layer:
        for value in range(6):
            layer.image(np.full((48, 64), value, np.uint8))
    return small_clip


def rewrite_with_digest(clip: Clip, name: str, data: bytes) -> None:
    """Change a file of a layer and update the digest in layer.json, as a faulty tool would."""
    path = clip.path / name
    path.write_bytes(data)
    files = [file for file in sorted(path.parent.iterdir()) if file.name != "layer.json"]
    entries = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size) for file in files]
    layer_json = path.parent / "layer.json"
    updated = {"digest": combined_digest(entries), "bytes": sum(size for _, _, size in entries)}
    layer_json.write_text(json.dumps({**json.loads(layer_json.read_text()), **updated}))


def test_an_intact_clip_is_valid(full_clip):
    findings = require_valid(full_clip.path)

    assert findings.valid
    assert findings.warnings == []


def test_a_clip_that_refers_to_its_video_is_valid(clip):
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
def test_damaged_files_are_named(damage, sentence, full_clip):
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
def test_wrong_content_is_named_even_if_the_digest_is_right(name, data, sentence, full_clip):
    rewrite_with_digest(full_clip, name, data)

    with pytest.raises(InvalidClip, match=sentence):
        require_valid(full_clip.path)


def test_points_outside_the_image_and_missing_faces_are_only_warnings(small_clip):
    points = np.zeros((6, 1, 68, 3), np.float32)
    points[1:3] = [-5, 10, 1]
    with small_clip.writing("landmarks", PRODUCER, {}) as layer:
        layer.arrays(points=points)

    findings = require_valid(small_clip.path)

    assert findings.warnings == [
        "landmarks: 136 points in 2 frames lie outside the image",
        "landmarks: 4 of 6 frames have no detection",
    ]


def test_a_layer_whose_input_was_replaced_gives_a_warning(full_clip):
    with full_clip.writing("landmarks", PRODUCER, {}) as layer:
        layer.arrays(points=np.ones((6, 1, 68, 3), np.float32))

    assert validate(full_clip.path).warnings == ["sketch was made from a layer landmarks that has been replaced since"]


def test_leftovers_give_a_warning(full_clip):
    (full_clip.path / ".mask.1234.partial").mkdir()

    assert ".mask.1234.partial" in validate(full_clip.path).warnings[0]


def test_a_source_with_the_same_size_but_other_content_is_an_error(video, tmp_path):
    shutil.copy(video, tmp_path / "a.mp4")
    clip = as_clip(tmp_path / "a.mp4")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[-1] ^= 255
    (tmp_path / "a.mp4").write_bytes(data)

    with pytest.raises(InvalidClip, match="its sha256 differs"):
        require_valid(clip.path)


def test_a_missing_clip_and_a_folder_that_is_not_a_clip_are_refused(tmp_path):
    with pytest.raises(InputError):
        validate(tmp_path / "none.clip")
    with pytest.raises(InvalidClip):
        validate(tmp_path)


def test_validation_changes_nothing(full_clip):
    before = {path: os.stat(path).st_mtime_ns for path in full_clip.path.rglob("*")}
    validate(full_clip.path)

    assert {path: os.stat(path).st_mtime_ns for path in full_clip.path.rglob("*")} == before


def test_a_clip_of_300_frames_is_valid(tmp_path):
    clip = create_clip(tmp_path / "x.clip", (numbered_frame(index % 256) for index in range(300)))

    assert validate(clip.path).errors == []


@pytest.mark.parametrize("key", ["pix_fmt", "matrix", "primaries", "transfer", "range", "decoder", "rotation", "start"])
@pytest.mark.parametrize("value", ["bt709,movie=secret.png", "\0", ["bt709"], 1e300])
def test_metadata_that_is_passed_to_ffmpeg_is_checked(key, value, clip):
    file = clip.path / "frames" / "layer.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({**meta, "video": {**meta["video"], key: value}}))
    with pytest.raises(InvalidClip, match=f'"{key}" must be'):
        next(open_clip(clip.path).frames())


@pytest.mark.parametrize("name", ["points", "iris"])
def test_a_point_far_from_any_image_is_refused(name, small_clip):
    arrays = {"points": np.ones((6, 1, 68, 3), np.float32), "iris": np.ones((6, 1, 10, 3), np.float32)}
    arrays[name][0, 0, 0, 0] = 1e30
    with (
        pytest.raises(InputError, match="1e[+]30, which is not a position"),
        small_clip.writing("landmarks", PRODUCER, {}) as layer,
    ):
        layer.arrays(arrays)


def test_half_precision_is_refused_without_a_numpy_warning(recwarn, small_clip):
    with pytest.raises(InputError, match="float16 of shape"), small_clip.writing("landmarks", PRODUCER, {}) as layer:
        layer.arrays({"points": np.ones((6, 1, 68, 3), np.float16)})
    assert not recwarn.list


def add_maps(clip: Clip, kind: str, values: list[int], **meta: object) -> Clip:
    """Add a layer of six maps of zeros; in the last one, each value fills a row."""
    with clip.writing(kind, PRODUCER, {}, meta) as layer:
        for index in range(6):
            image = np.zeros((48, 64), np.uint8)
            if index == 5:
                image[: len(values)] = np.array(values)[:, None]
            layer.image(image)
    return open_clip(clip.path)


STREET = {"names": ["road", "car"], "palette": [[0, 0, 0], [9, 9, 9]]}


@pytest.mark.parametrize(
    ("kind", "meta", "good", "bad"),
    [
        ("segment", STREET, [0, 1, 255], [0, 1, 2]),
        ("instances", {"ids": [0, 26001]}, [0, 1], [0, 2]),
        ("instances", {"ids": [0, 26001]}, [0, 1], [255]),
    ],
)
def test_an_id_outside_the_table_of_its_layer_is_an_error(small_clip, kind, meta, good, bad):
    assert validate(add_maps(small_clip, kind, good, **meta).path).errors == []
    with pytest.raises(InvalidClip, match=rf"{kind}: 000005.png has the id {bad[-1]}, but its table ends at 1"):
        require_valid(add_maps(small_clip, kind, bad, **meta).path)


def test_instances_without_a_table_may_have_any_number(small_clip):
    assert validate(add_maps(small_clip, "instances", [3, 255]).path).errors == []
