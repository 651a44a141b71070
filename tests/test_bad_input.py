"""Bad input: the command prints an error message, returns the right exit code, and leaves no partial output.

The tests in tests/clip cover media and clips in more detail.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from stages.clip import Producer, create_clip, open_clip
from stages.errors import InputError
from stages.models import load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator

TINY = PRESETS["tiny"]
Maker = Callable[[Path], Path]


def write(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path


def not_a_video(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("not a video, " * 100)
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def absent_file(folder: Path) -> Path:
    return folder / "absent.mp4"


def folder_without_images(folder: Path) -> Path:
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").touch()
    return folder / "texts"


def no_face(folder: Path) -> Path:
    return write(folder / "wall.png", np.full((200, 200, 3), 180, np.uint8))


def one_pixel(folder: Path) -> Path:
    return write(folder / "pixel.png", np.zeros((1, 1, 3), np.uint8))


def newer_clip(folder: Path) -> Path:
    path = create_clip(folder / "future.clip", iter(np.zeros((2, 64, 64, 3), np.uint8))).path
    meta = json.loads((path / "clip.json").read_text())
    (path / "clip.json").write_text(json.dumps({**meta, "schema": "fsv2v.clip/2"}))
    return path


BAD_INPUTS = [
    # maker, exit code, part of the message
    (not_a_video, 3, "notes.mp4"),
    (empty_file, 3, "empty"),
    (absent_file, 3, "does not exist"),
    (folder_without_images, 3, "texts"),
    (no_face, 3, "face"),
    (one_pixel, 3, "face"),
    (newer_clip, 5, "fsv2v.clip/2"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, FewShotGenerator(TINY).state_dict(), TINY, {"step": 0})
    return path


@pytest.fixture(scope="module")
def driving(tmp_path_factory, make_painted_clip) -> Path:
    return make_painted_clip(tmp_path_factory.mktemp("driving") / "driving.clip", 1, num_frames=6)


@pytest.fixture(scope="module")
def short_driving(tmp_path_factory, make_painted_clip) -> Path:
    """A driving clip of two frames, for large examples, which make each frame slow."""
    return make_painted_clip(tmp_path_factory.mktemp("driving") / "short.clip", 1, num_frames=2)


@pytest.mark.parametrize(("maker", "exit_code", "message"), BAD_INPUTS, ids=[maker.__name__ for maker, *_ in BAD_INPUTS])
def test_extract_sketch_refuses_bad_input(maker: Maker, exit_code: int, message: str, fsv2v, tmp_path, leftovers):
    source = maker(tmp_path)
    done = fsv2v("extract-sketch", source, "-o", tmp_path / "out", "--backend", "dlib")
    assert done.exit_code == exit_code and done.stdout == ""
    assert "fsv2v: error: " in done.stderr and message in done.stderr and "Traceback" not in done.stderr
    assert leftovers(tmp_path) == [] and [*tmp_path.glob("out/*")] == []


@pytest.mark.parametrize(("maker", "exit_code", "message"), BAD_INPUTS, ids=[maker.__name__ for maker, *_ in BAD_INPUTS])
def test_synthesize_refuses_bad_examples(maker: Maker, exit_code: int, message: str, fsv2v, tmp_path, model, driving, leftovers):
    source = maker(tmp_path)
    out = tmp_path / "out.mp4"
    done = fsv2v("synthesize", "--examples", source, "--driving", driving, "--model", model, "-o", out, "--backend", "dlib")
    assert done.exit_code == exit_code and done.stdout == ""
    assert "fsv2v: error: " in done.stderr and message in done.stderr and "Traceback" not in done.stderr
    assert leftovers(tmp_path) == [] and not out.exists()


def test_a_truncated_video_is_reported_and_the_others_continue(fsv2v, face_video, tmp_path, visible_layers):
    data = face_video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    done = fsv2v("extract-sketch", tmp_path / "cut.mp4", face_video, "-o", tmp_path / "out", "--backend", "dlib", "--background", "none")
    assert done.exit_code == 3 and "cut.mp4" in done.stderr
    assert done.lines == [str(tmp_path / "out" / "face.clip")]
    assert "sketch" in visible_layers(tmp_path / "out" / "face.clip")


IMAGES = {
    "16-bit": lambda path: cv2.imwrite(str(path), (astronaut()[..., ::-1].astype(np.uint16) * 257)),
    "CMYK": lambda path: Image.fromarray(astronaut()).convert("CMYK").save(path),
    "palette": lambda path: Image.fromarray(astronaut()).quantize(255).save(path),
    "alpha": lambda path: Image.fromarray(astronaut()).convert("RGBA").save(path),
    "12,000 pixels": lambda path: Image.fromarray(astronaut()).convert("L").resize((12000, 12000)).save(path),
}


@pytest.mark.parametrize("kind", [name if name != "12,000 pixels" else pytest.param(name, marks=pytest.mark.slow) for name in IMAGES])
def test_images_of_unusual_formats_can_be_examples(kind, fsv2v, tmp_path, model, short_driving):
    image = tmp_path / ("face.jpg" if kind in ("CMYK", "12,000 pixels") else "face.png")
    IMAGES[kind](image)
    done = fsv2v(
        "synthesize", "--examples", image, "--driving", short_driving, "--model", model, "-o", tmp_path / "o.mp4", "--backend", "dlib"
    )
    assert done.exit_code == 0, done.stderr
    assert done.lines == [str(tmp_path / "o.mp4")]


@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted"', "-dash", "früh 早", "100% [a:b]"])
def test_names_can_have_special_characters(name, fsv2v, tmp_path, model, driving):
    write(tmp_path / f"{name}.png", astronaut())
    examples = f"./{name}.png" if name.startswith("-") else f"{name}.png"
    out = f"./{name} out.mp4"
    done = fsv2v(
        "synthesize", f"--examples={examples}", "--driving", driving, "--model", model, f"--out={out}", "--backend", "dlib", cwd=tmp_path
    )
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / out).is_file()


def test_the_largest_of_several_faces_is_used(fsv2v, tmp_path):
    face = astronaut()[:256, 96:352]
    image = np.full((256, 400, 3), 255, np.uint8)
    image[:, 144:] = face
    image[:128, :128] = cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA)
    write(tmp_path / "two.png", image)
    assert fsv2v("extract-sketch", tmp_path / "two.png", "-o", tmp_path, "--backend", "dlib").exit_code == 0
    points = open_clip(tmp_path / "two.clip").layer("landmarks").arrays()["points"][0, 0]
    assert points[:, 0].min() > 144


def test_a_head_cut_by_the_border_causes_a_warning(fsv2v, tmp_path, model, driving):
    write(tmp_path / "tight.png", astronaut()[20:190, 150:300])
    out = tmp_path / "o.mp4"
    done = fsv2v("synthesize", "--examples", tmp_path / "tight.png", "--driving", driving, "--model", model, "-o", out, "--backend", "dlib")
    assert done.exit_code == 0
    assert "results will be worse" in done.stderr


def test_squeezing_an_image_of_another_aspect_ratio_causes_a_warning(fsv2v, tmp_path, model, driving):
    """By default the head is cropped to a square, and nothing is squeezed."""
    Image.fromarray(astronaut()[:, 100:400]).save(tmp_path / "tall.png")
    command = ("synthesize", "--examples", tmp_path / "tall.png", "--driving", driving, "--model", model, "--backend", "dlib", "-o")
    whole, head = (fsv2v(*command, tmp_path / f"{crop}.mp4", "--crop", crop) for crop in ("none", "auto"))
    assert whole.exit_code == head.exit_code == 0
    assert "tall has 300x512 pixels and is squeezed to 64x64" in whole.stderr and "squeezed" not in head.stderr


def test_a_layer_with_a_wrong_frame_count_is_refused(fsv2v, tmp_path, model, make_painted_clip, driving):
    clip = make_painted_clip(tmp_path / "short.clip", 0, num_frames=5)
    points = np.zeros((3, 1, 68, 3), np.float32)
    np.savez(clip / "landmarks" / "data.npz", points=points)
    done = fsv2v("synthesize", "--examples", clip, "--driving", driving, "--model", model, "-o", tmp_path / "o.mp4")
    assert done.exit_code == 5 and "landmarks" in done.stderr
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_coordinates_that_are_not_finite_are_refused(wrong, fsv2v, tmp_path, model, make_painted_clip, driving):
    clip = make_painted_clip(tmp_path / "nan.clip", 0, num_frames=5)
    points = open_clip(clip).layer("landmarks").arrays()["points"]
    points[2, 0, 5, 0] = wrong
    np.savez(clip / "landmarks" / "data.npz", points=points)
    done = fsv2v("synthesize", "--examples", clip, "--driving", driving, "--model", model, "-o", tmp_path / "o.mp4")
    assert done.exit_code == 5 and "landmarks" in done.stderr
    assert not (tmp_path / "o.mp4").exists()


def test_a_driving_face_may_leave_the_frame(fsv2v, tmp_path, model, driving):
    points = open_clip(driving).layer("landmarks").arrays()["points"]
    points[..., :2] -= 40
    clip = create_clip(tmp_path / "left.clip", width=64, height=64, num_frames=len(points))
    with clip.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=points)
    done = fsv2v("synthesize", "--examples", driving, "--driving", clip.path, "--model", model, "-o", tmp_path / "o.mp4")
    assert done.exit_code == 0, done.stderr


def test_files_that_are_not_models_are_refused(fsv2v, tmp_path, driving, model):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, tmp_path / "other.safetensors")
    command = ["synthesize", "--examples", driving, "--driving", driving, "-o", tmp_path / "o.mp4", "--model"]
    other = fsv2v(*command, tmp_path / "other.safetensors")
    assert other.exit_code == 3 and "not of an fsv2v model" in other.stderr
    missing = fsv2v(*command, tmp_path / "missing.safetensors")
    assert missing.exit_code == 4 and "is not there" in missing.stderr
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_with_values_that_are_not_finite_is_refused(value, tmp_path):
    """Its videos would be black."""
    state = FewShotGenerator(TINY).state_dict()
    name = next(name for name in state if name.startswith("attention"))
    state[name] = torch.full_like(state[name], value)
    save_model(tmp_path / "exploded.safetensors", state, TINY, {"step": 0})
    with pytest.raises(InputError, match=f"cannot make images: 1 of its {len(state)} tensors .* {re.escape(name)}"):
        load_model(tmp_path / "exploded.safetensors")


def test_a_model_that_overflows_is_an_error_and_leaves_no_video(fsv2v, tmp_path, driving):
    """Its weights are finite, but its images are not."""
    state = {name: torch.full_like(value, 6e4) if "flow" in name else value for name, value in FewShotGenerator(TINY).state_dict().items()}
    save_model(tmp_path / "huge.safetensors", state, TINY, {"step": 0})
    done = fsv2v(
        "synthesize", "--examples", driving, "--driving", driving, "--model", tmp_path / "huge.safetensors", "-o", tmp_path / "o.mp4"
    )
    assert done.exit_code == 3 and "the model makes no image of frame 0: its values are not finite" in done.stderr
    assert not (tmp_path / "o.mp4").exists()


def test_an_output_folder_that_cannot_be_written_is_an_error(fsv2v, unwritable, driving, model, make_painted_clip, tmp_path):
    clip = make_painted_clip(tmp_path / "p.clip", 0)
    tune = ["finetune", "--examples", driving, "--model", model, "--steps", 1, "--perceptual", "none"]
    commands = [
        ["synthesize", "--examples", driving, "--driving", driving, "--model", model, "-o", unwritable / "x" / "o.mp4"],
        [*tune, "-o", unwritable / "x" / "o.safetensors"],
        ["build-dataset", clip, "-o", unwritable / "x"],
        ["train", "--data", tmp_path, "-o", unwritable / "x"],
    ]
    for command in commands:
        done = fsv2v(*command)
        assert done.exit_code in (1, 3) and "fsv2v: error: " in done.stderr and "Traceback" not in done.stderr, command


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a small file system can be mounted by root on Linux only")
def test_a_full_disk_is_an_error_and_leaves_no_output(fsv2v, tmp_path, driving, model, leftovers):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting is not allowed")
    try:
        for command in (
            ["synthesize", "--examples", driving, "--driving", driving, "--model", model, "-o", small / "o.clip"],
            ["finetune", "--examples", driving, "--model", model, "--steps", 1, "--perceptual", "none", "-o", small / "o.safetensors"],
        ):
            done = fsv2v(*command)
            assert done.exit_code in (1, 3) and "fsv2v: error: " in done.stderr and "Traceback" not in done.stderr, done.stderr
            assert leftovers(small) == [] and list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_ctrl_c_gives_exit_code_130_and_leaves_no_output(fsv2v, tmp_path, model, make_painted_clip, leftovers):
    long = make_painted_clip(tmp_path / "long.clip", 0, num_frames=1500)
    (tmp_path / "out").mkdir()
    command = ["synthesize", "--examples", long, "--driving", long, "--num-examples", 1, "--crop", "none", "--model", model]
    process = fsv2v.start(*command, "-o", tmp_path / "out" / "o.mp4")
    deadline = time.monotonic() + 60
    while not leftovers(tmp_path / "out") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in stderr
    assert leftovers(tmp_path / "out") == [] and not (tmp_path / "out" / "o.mp4").exists()
