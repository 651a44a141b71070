"""A layer becomes visible only when it is complete."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numbered_frames import numbered_frame

from stages.clip import Producer, create_clip, open_clip
from stages.errors import InputError, InvalidClip, ParametersDiffer

REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCER = Producer("extract-sketch", "dlib", {"smoothing": 1.0, "face": "largest"}, {"face.dat": "abc"}, 0, "cpu")


def grey_image(value: int) -> np.ndarray:
    return np.full((48, 64), value, np.uint8)


def write_sketch(clip, values=range(6), producer=PRODUCER, inputs=None):
    """Write the layer `sketch` with one grey value per image."""
    with clip.writing("sketch", producer, inputs or {}) as layer:
        for value in values:
            layer.image(grey_image(value))


def random_landmarks(people=1, frames=6):
    """float32 [frames, people, 68, 3]."""
    return np.random.default_rng(0).uniform(0, 48, (frames, people, 68, 3)).astype(np.float32)


def test_images_are_read_as_they_were_written(small_clip):
    write_sketch(small_clip, [3, 1, 4, 1, 5, 9])

    layer = open_clip(small_clip.path).layer("sketch")
    assert [int(image[0, 0]) for image in layer.images()] == [3, 1, 4, 1, 5, 9]
    assert [int(image[0, 0]) for image in layer.images(2, 4)] == [4, 1]
    assert layer.image(5).shape == (48, 64)
    with pytest.raises(IndexError):
        layer.image(6)


def test_arrays_are_read_as_they_were_written(small_clip):
    landmarks = random_landmarks(2)
    with small_clip.writing("landmarks", PRODUCER, {"frames": small_clip.frames_digest()}) as layer:
        layer.arrays(points=landmarks, score=np.arange(6))

    arrays = small_clip.layer("landmarks").arrays()
    assert np.array_equal(arrays["points"], landmarks)
    assert np.array_equal(arrays["score"], np.arange(6))


def test_flow_is_stored_in_half_precision(small_clip):
    flow = np.random.default_rng(0).normal(0, 3, (48, 64, 2)).astype(np.float32)
    with small_clip.writing("flow", PRODUCER, {}) as layer:
        for _ in range(6):
            layer.image(flow)

    assert np.array_equal(small_clip.layer("flow").image(2), flow.astype(np.float16))


def test_a_layer_may_have_a_kind_that_the_format_does_not_define(small_clip):
    with small_clip.writing("depth_map", PRODUCER, {}) as layer:
        for index in range(6):
            layer.image(grey_image(index))
    with small_clip.writing("gaze", PRODUCER, {}) as layer:
        layer.arrays(angle=np.zeros((6, 2), np.float32))

    assert small_clip.layer("depth_map").image(4)[0, 0] == 4
    assert small_clip.layer("gaze").arrays()["angle"].shape == (6, 2)


def test_layer_json_has_the_keys_of_the_format(small_clip):
    write_sketch(small_clip, inputs={"landmarks": "123"})
    meta = json.loads((small_clip.path / "sketch" / "layer.json").read_text())

    assert (meta["schema"], meta["kind"], meta["num_frames"], meta["inputs"]) == ("fsv2v.layer/1", "sketch", 6, {"landmarks": "123"})
    assert list(meta["producer"]) == ["stage", "backend", "parameters", "weights", "seed", "device", "version", "seconds"]
    assert meta["bytes"] == sum(path.stat().st_size for path in (small_clip.path / "sketch").glob("*.png"))


def test_the_same_layers_have_the_same_bytes(tmp_path):
    contents = []
    for name in ("a", "b"):
        clip = create_clip(tmp_path / name / "x.clip", [numbered_frame(index) for index in range(6)])
        write_sketch(clip)
        with clip.writing("landmarks", PRODUCER, {}) as layer:
            layer.arrays(points=random_landmarks())
        files = sorted(path for path in clip.path.rglob("*") if path.is_file())
        contents.append({str(path.relative_to(clip.path)): without_times(path) for path in files})

    assert contents[0] == contents[1]


def without_times(path: Path) -> object:
    """A file's content without `seconds` and `created`, the only fields that may differ."""
    if path.suffix != ".json":
        return path.read_bytes()
    value = json.loads(path.read_text())
    value.pop("created", None)
    value.get("producer", {}).pop("seconds", None)
    return value


class TestNeeds:
    """`needs` says whether a layer must be made."""

    def test_a_layer_that_is_absent_is_needed(self, small_clip):
        assert small_clip.needs("sketch", PRODUCER, {})

    def test_a_layer_with_the_same_producer_and_inputs_is_not_needed(self, small_clip):
        write_sketch(small_clip, inputs={"frames": "1"})

        assert not small_clip.needs("sketch", PRODUCER, {"frames": "1"})

    def test_another_device_does_not_make_it_needed(self, small_clip):
        write_sketch(small_clip)

        assert not small_clip.needs("sketch", Producer(**{**PRODUCER.__dict__, "device": "cuda:1"}), {})

    def test_tuples_and_lists_are_equal_parameters(self, small_clip):
        write_sketch(small_clip, producer=Producer("s", parameters={"size": (1, 2)}))

        assert not small_clip.needs("sketch", Producer("s", parameters={"size": [1, 2]}), {})

    def test_each_difference_is_named(self, small_clip):
        write_sketch(small_clip, inputs={"frames": "1"})
        other = Producer("extract-sketch", "mediapipe", {"smoothing": 2.0, "face": "largest"}, {}, 0)

        with pytest.raises(ParametersDiffer) as caught:
            small_clip.needs("sketch", other, {"frames": "2"})
        for difference in (
            'backend: "dlib" -> "mediapipe"',
            "parameters.smoothing: 1.0 -> 2.0",
            'inputs.frames: "1" -> "2"',
        ):
            assert difference in str(caught.value)
        assert "face:" not in str(caught.value)

    def test_overwrite_makes_it_needed(self, small_clip):
        write_sketch(small_clip)

        assert small_clip.needs("sketch", PRODUCER, {}, overwrite=True)


@pytest.mark.parametrize("count", [0, 5, 7])
def test_a_wrong_number_of_frames_is_refused_and_leaves_no_file(count, small_clip):
    with pytest.raises(InputError, match="sketch"):
        write_sketch(small_clip, range(count))
    assert sorted(os.listdir(small_clip.path)) == ["clip.json", "frames"]


@pytest.mark.parametrize(
    ("kind", "arrays", "sentence"),
    [
        ("landmarks", {"points": random_landmarks(frames=5)}, "has 6 frames"),
        ("landmarks", {"points": random_landmarks().astype(np.float64)}, "must be float32"),
        ("landmarks", {"points": random_landmarks()[:, :, :67]}, "T x P x 68 x 3"),
        ("landmarks", {"points": random_landmarks()[:, 0]}, "T x P x 68 x 3"),
        ("landmarks", {"points": np.full((6, 1, 68, 3), np.nan, np.float32)}, "NaN"),
        ("landmarks", {"points": np.full((6, 1, 68, 3), np.inf, np.float32)}, "NaN or infinite"),
        ("landmarks", {"points": -random_landmarks()}, "negative confidence"),
        ("landmarks", {}, "lacks points"),
        ("landmarks", {"points": random_landmarks(), "names": np.array(["x"] * 6)}, "not a number"),
        ("poses", {"keypoints": np.zeros((6, 1, 25, 3), np.float32)}, "lacks boxes, track_id"),
        (
            "poses",
            {
                "keypoints": np.zeros((6, 2, 25, 3), np.float32),
                "boxes": np.zeros((6, 1, 4), np.float32),
                "track_id": np.zeros((6, 2), np.int32),
            },
            "different numbers of people",
        ),
    ],
)
def test_wrong_arrays_are_refused_and_leave_no_file(kind, arrays, sentence, small_clip):
    with pytest.raises(InputError, match=sentence), small_clip.writing(kind, PRODUCER, {}) as layer:
        layer.arrays(arrays)
    assert not small_clip.has(kind)
    assert sorted(os.listdir(small_clip.path)) == ["clip.json", "frames"]


def test_coordinates_outside_the_image_are_kept(small_clip):
    """A face that the border cuts has landmarks beyond it."""
    outside = random_landmarks()
    outside[..., 0] -= 100
    with small_clip.writing("landmarks", PRODUCER, {}) as layer:
        layer.arrays(points=outside)

    assert small_clip.layer("landmarks").arrays()["points"].min() < -50


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("sketch", np.zeros((48, 64, 3), np.uint8)),
        ("sketch", np.zeros((64, 48), np.uint8)),
        ("sketch", np.zeros((48, 64), np.float32)),
        ("mask", grey_image(128)),
        ("densepose", grey_image(0)),
        ("flow", np.full((48, 64, 2), np.nan, np.float32)),
    ],
)
def test_wrong_images_are_refused(kind, image, small_clip):
    with pytest.raises(InputError, match=kind), small_clip.writing(kind, PRODUCER, {}) as layer:
        layer.image(image)
    assert not small_clip.has(kind)


@pytest.mark.parametrize("name", ["", "../out", "Sketch", ".hidden", "a/b", "x" * 60])
def test_a_layer_must_have_a_simple_lower_case_name(name, small_clip):
    with pytest.raises(InputError, match="name of a layer"), small_clip.writing(name, PRODUCER, {}):
        pass


def test_a_layer_is_invisible_until_it_is_complete(small_clip):
    with small_clip.writing("sketch", PRODUCER, {}) as layer:
        for value in range(6):
            layer.image(grey_image(value))
            assert not small_clip.has("sketch")
            assert small_clip.layers() == ["frames"]
    assert small_clip.layers() == ["frames", "sketch"]


def test_the_old_layer_stays_until_the_new_one_replaces_it(small_clip):
    write_sketch(small_clip, [1] * 6)
    with small_clip.writing("sketch", PRODUCER, {}) as layer:
        for _ in range(6):
            layer.image(grey_image(2))
            assert small_clip.layer("sketch").image(0)[0, 0] == 1

    assert small_clip.layer("sketch").image(0)[0, 0] == 2
    assert sorted(os.listdir(small_clip.path)) == ["clip.json", "frames", "sketch"]


def test_the_old_layer_stays_when_its_replacement_fails(small_clip):
    write_sketch(small_clip, [1] * 6)
    with pytest.raises(RuntimeError), small_clip.writing("sketch", PRODUCER, {}) as layer:
        layer.image(grey_image(2))
        raise RuntimeError

    assert small_clip.layer("sketch").image(5)[0, 0] == 1


def test_two_stages_can_write_different_layers_at_once(small_clip):
    barrier = threading.Barrier(2)
    failures: list[Exception] = []

    def write(kind):
        try:
            with open_clip(small_clip.path).writing(kind, PRODUCER, {}) as layer:
                for _ in range(6):
                    barrier.wait(timeout=20)
                    layer.image(grey_image(255))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(kind,)) for kind in ("sketch", "mask")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert small_clip.layers() == ["frames", "mask", "sketch"]


def test_a_layer_that_is_being_written_is_refused_to_a_second_writer(small_clip):
    with small_clip.writing("sketch", PRODUCER, {}) as first:
        for _ in range(3):
            first.image(grey_image(1))
        with pytest.raises(InputError, match="small.clip/sketch is being made by another process"):
            write_sketch(open_clip(small_clip.path), [2] * 6)
        for _ in range(3):
            first.image(grey_image(1))

    assert small_clip.layer("sketch").image(0)[0, 0] == 1


def test_a_layer_that_another_process_finished_after_the_check_is_not_replaced(small_clip):
    assert small_clip.needs("sketch", PRODUCER, {})
    write_sketch(open_clip(small_clip.path), [2] * 6)

    with pytest.raises(InputError, match="small.clip/sketch was finished by another process meanwhile"):
        write_sketch(small_clip, [1] * 6)
    assert small_clip.layer("sketch").image(0)[0, 0] == 2


WRITER_THAT_IS_KILLED = """
import os, signal, sys
import numpy as np
from stages.clip import Producer, open_clip
clip, after = open_clip(sys.argv[1]), int(sys.argv[2])
with clip.writing("sketch", Producer("test"), {}) as layer:
    for index in range(6):
        if index == after:
            os.kill(os.getpid(), signal.SIGKILL)
        layer.image(np.full((48, 64), index, np.uint8))
"""


@pytest.mark.parametrize("after", [0, 3, 5])
def test_a_killed_writer_leaves_no_visible_layer_and_the_next_one_removes_its_files(after, small_clip):
    result = subprocess.run([sys.executable, "-c", WRITER_THAT_IS_KILLED, str(small_clip.path), str(after)], cwd=REPOSITORY, check=False)
    assert result.returncode == -signal.SIGKILL
    assert open_clip(small_clip.path).layers() == ["frames"]

    write_sketch(small_clip)

    assert sorted(os.listdir(small_clip.path)) == ["clip.json", "frames", "sketch"]
    assert sorted(os.listdir(small_clip.path / "sketch")) == [*(f"{index:06d}.png" for index in range(6)), "layer.json"]


def test_a_killed_import_leaves_no_clip_and_the_next_one_removes_its_files(tmp_path):
    code = f"""
import os, signal
import numpy as np
from stages.clip import create_clip
def frames():
    yield np.zeros((8, 8, 3), np.uint8)
    os.kill(os.getpid(), signal.SIGKILL)
create_clip({str(tmp_path / "x.clip")!r}, frames())
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "x.clip").exists()

    create_clip(tmp_path / "x.clip", [numbered_frame(0)])

    assert os.listdir(tmp_path) == ["x.clip"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": "fsv2v.layer/2"}, "newer format"),
        ({"num_frames": 5}, "has 5 frames, the clip has 6"),
        ({"kind": "mask"}, '"kind"'),
        ({"digest": None}, '"digest"'),
        ({"producer": []}, '"producer"'),
    ],
)
def test_errors_in_layer_json_name_the_file_and_the_key(change, sentence, small_clip):
    write_sketch(small_clip)
    path = small_clip.path / "sketch" / "layer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(InvalidClip, match=sentence) as caught:
        small_clip.layer("sketch")
    assert "layer.json" in str(caught.value)


def test_pickled_arrays_are_never_loaded(small_clip):
    with small_clip.writing("landmarks", PRODUCER, {}) as layer:
        layer.arrays(points=random_landmarks())
    np.savez(small_clip.path / "landmarks" / "data.npz", points=np.array([{"code": 1}], dtype=object))

    with pytest.raises(InvalidClip, match="not a readable npz"):
        small_clip.layer("landmarks").arrays()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half a zip"])
def test_a_damaged_npz_is_refused(content, small_clip):
    with small_clip.writing("landmarks", PRODUCER, {}) as layer:
        layer.arrays(points=random_landmarks())
    (small_clip.path / "landmarks" / "data.npz").write_bytes(content)

    with pytest.raises(InvalidClip, match=r"data\.npz is not a readable npz"):
        small_clip.layer("landmarks").arrays()


def test_a_damaged_frame_is_named(small_clip):
    (small_clip.path / "frames" / "000002.png").write_bytes(b"no image")

    with pytest.raises(InvalidClip, match=r"000002\.png"):
        list(small_clip.frames())
