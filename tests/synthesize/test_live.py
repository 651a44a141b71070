"""A live driver: for each image of a stream or camera, a frame is written or shown in a window before the next image is read."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageGrab, features
from skimage.data import astronaut

from fsv2v_cli.main import run
from stages.clip import Clip, Producer, create_clip, open_clip, probe, read_frames
from stages.clip.camera import Camera
from stages.clip.y4m import Y4mReader, Y4mWriter
from stages.errors import InputError, UsageError
from stages.models import load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.networks.pix2pixhd.config import Pix2PixHDConfig
from stages.networks.pix2pixhd.generator import Pix2PixHD
from stages.synthesize import SynthesizeOptions, synthesize
from stages.synthesize.live import LiveRendering
from stages.tracking.tracker import Subject, box_of_points

OPTIONS = SynthesizeOptions(device="cpu", precision="fp32", size="model", crop="none")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, FewShotGenerator(PRESETS["tiny"]).state_dict(), PRESETS["tiny"], {"step": 0})
    return path


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "person.clip", 0, num_frames=2))


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=6))


def known_faces(clip: Clip, missing: tuple[int, ...] = ()):
    """A detector that must be called with the frames of a clip in order, and returns its landmarks; no face in the frames `missing`."""
    points = iter(clip.layer("landmarks").arrays()["points"][:, 0])
    index = iter(range(clip.num_frames))

    def detect(image: np.ndarray) -> list[Subject]:
        face = next(points)
        return [] if next(index) in missing else [Subject(box_of_points(face), face)]

    return detect


def test_each_image_gives_a_frame_before_the_next_is_read(model_file, person, driver):
    read = []

    def images() -> Iterator[np.ndarray]:
        for index, image in enumerate(driver.frames()):
            read.append(index)
            yield image

    live = LiveRendering([person], load_model(model_file), OPTIONS)
    for number, frame in enumerate(live.frames(images(), known_faces(driver))):
        assert read == [*range(number + 1)]
        assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8
    assert number == 5


def test_a_live_driver_moves_the_example_as_its_clip_does(model_file, person, driver, tmp_path):
    """They differ a little, because smoothing and the driver's proportions are computed from all frames of a clip."""
    model = load_model(model_file)
    live = list(LiveRendering([person], model, OPTIONS).frames(driver.frames(), known_faces(driver)))
    synthesize([person], driver, model, tmp_path / "out.clip", replace(OPTIONS, normalize="on"))
    whole = list(open_clip(tmp_path / "out.clip").frames())
    motion = np.abs(whole[0].astype(float) - whole[5]).mean()
    assert np.abs(live[5].astype(float) - whole[5]).mean() < 0.3 * motion


def test_images_without_a_face_repeat_the_last_face_or_at_first_the_example(model_file, person, driver):
    live = LiveRendering([person], load_model(model_file), OPTIONS)
    assert len(list(live.frames(driver.frames(), known_faces(driver, missing=(0, 3))))) == 6
    assert live.driving.held == 2  # number of images without a face


def test_a_live_result_is_pasted_into_its_photograph(model_file, driver, make_painted_clip, tmp_path):
    head = open_clip(make_painted_clip(tmp_path / "head.clip", 0, num_frames=1, size=128))
    image = np.full((200, 300, 3), 90, np.uint8)
    image[40:168, 60:188] = head.frame(0)
    photograph = create_clip(tmp_path / "photograph.clip", iter([image]), storage="png")
    with photograph.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(points=head.layer("landmarks").arrays()["points"] + np.array([60, 40, 0], np.float32))
    live = LiveRendering([photograph], load_model(model_file), SynthesizeOptions(device="cpu"))
    frames = list(live.frames(driver.frames(), known_faces(driver)))
    assert live.pasted and frames[0].shape == (200, 300, 3)
    assert (frames[5][:, -40:] == image[:, -40:]).all() and (frames[5] != frames[0]).any()


def test_models_without_examples_cannot_be_live(person, tmp_path):
    config = Pix2PixHDConfig(size=(64, 64), filters=4, downs=2, blocks=1)
    save_model(tmp_path / "m.safetensors", Pix2PixHD(config).state_dict(), config, {"step": 0})
    with pytest.raises(UsageError, match="cannot be driven live"):
        LiveRendering([person], load_model(tmp_path / "m.safetensors"), OPTIONS)


# cameras


def test_a_camera_gives_its_newest_frame(face_video):
    """A file is read in place of a camera. It gives its frames without waiting."""
    with Camera(str(face_video)) as camera:
        captured = list(camera.captured())
    assert 1 <= len(captured) <= 12 and len(captured) + camera.dropped == 11  # opening reads the first frame as a test
    times = [capture.time for capture in captured]
    assert times == sorted(times)
    last = list(read_frames(face_video))[-1]
    assert np.abs(captured[-1].image.astype(float) - last).mean() < 4


@pytest.mark.parametrize("source", ["97", "/dev/no-such-camera"])
def test_an_absent_camera_is_reported_in_a_sentence(source, capfd):
    with pytest.raises(InputError, match="gives no frames"):
        Camera(source)
    assert capfd.readouterr().err == ""


# the command


def y4m_of(*frames: np.ndarray) -> bytes:
    """A y4m stream of these frames at 20 frames per second."""
    stream = io.BytesIO()
    writer = Y4mWriter(stream, frames[0].shape[1], frames[0].shape[0], Fraction(20))
    for frame in frames:
        writer.write(frame)
    return stream.getvalue()


@pytest.fixture
def command(fsv2v, model_file, tmp_path):
    """command(...) runs `synthesize` with a portrait as the example and a small model, in tmp_path; command.start(...) only starts it."""
    Image.fromarray(astronaut()[:300, 80:380]).save(tmp_path / "portrait.png")
    options = ("synthesize", "--examples", "portrait.png", "--model", model_file, "--device", "cpu", "--backend", "dlib")

    def call(*arguments: object, **process_options):
        return fsv2v(*options, *arguments, cwd=tmp_path, **process_options)

    call.start = lambda *arguments, **process_options: fsv2v.start(*options, *arguments, cwd=tmp_path, **process_options)  # type: ignore[attr-defined]
    return call


@pytest.fixture(scope="module")
def stream(face_video) -> bytes:
    return y4m_of(*list(read_frames(face_video))[:5])


def test_y4m_becomes_a_video(command, stream, tmp_path):
    done = command("--driving", "-", "--format", "y4m", "-o", "out.mp4", stdin=stream)
    assert done.exit_code == 0, done.stderr
    assert done.lines == ["out.mp4"] and "latency" in done.stderr
    info = probe(tmp_path / "out.mp4")
    assert (info.num_frames, info.fps) == (5, 20)
    assert b"TrainedAlgorithmicMedia" in (tmp_path / "out.mp4").read_bytes()
    again = command("--driving", "-", "--format", "y4m", "-o", "out.mp4", stdin=stream)
    assert again.exit_code == 3 and "--overwrite" in again.stderr


def test_y4m_passes_through_a_pipe(command, stream):
    process = command.start("--driving", "-", "--format", "y4m", "-o", "-", "--quiet")
    out, err = process.communicate(stream, timeout=120)
    assert process.returncode == 0, err
    reader = Y4mReader(io.BytesIO(out))
    frames = list(reader)
    assert len(frames) == 5 and reader.fps == 20 and err == b""


def test_the_result_of_a_truncated_stream_is_kept(command, stream, tmp_path):
    done = command("--driving", "-", "--format", "y4m", "-o", "out.mp4", stdin=stream[:-1000])
    assert done.exit_code == 0 and "ends in the middle of a frame" in done.stderr
    assert probe(tmp_path / "out.mp4").num_frames == 4


def test_the_frames_before_the_damage_of_a_stream_are_kept_and_the_damage_is_reported(command, stream, tmp_path):
    done = command("--driving", "-", "--format", "y4m", "-o", "out.mp4", stdin=stream + b"rubbish\n")
    assert done.exit_code == 3 and "stdin is damaged" in done.stderr
    assert probe(tmp_path / "out.mp4").num_frames == 5


def test_the_frames_of_a_disconnected_camera_are_kept(command, face_video, tmp_path):
    done = command("--driving", f"camera:{face_video}", "-o", "out.mp4")
    assert done.exit_code == 0, done.stderr
    assert probe(tmp_path / "out.mp4").fps == 25 and probe(tmp_path / "out.mp4").num_frames >= 1


def test_ctrl_c_ends_a_live_result_and_keeps_it(command, stream, tmp_path):
    process = command.start("--driving", "-", "--format", "y4m", "-o", "out.mp4")
    process.stdin.write(stream)
    process.stdin.flush()
    lines = iter(process.stderr.readline, b"")
    next(line for line in lines if b"extracting" in line)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*out*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    process.stdin.close()
    assert process.wait(60) == 0
    assert probe(tmp_path / "out.mp4").num_frames >= 1


@pytest.mark.parametrize(
    ("options", "exit_code", "sentence"),
    [
        (["--driving", "camera:97", "-o", "out.mp4"], 3, "the camera 97 gives no frames"),
        (["--driving", "-", "--format", "y4m"], 2, "--view"),
        (["--driving", "-", "--format", "y4m", "-o", "out.mp4", "--report", "r.html"], 2, "--report applies to driving clips"),
        (
            ["--driving", "-", "--format", "y4m", "-o", "out.mp4", "--shard", "0/2"],
            2,
            "--shard, --engine or --failures applies to driving clips",
        ),
        (["--driving", "-", "--format", "y4m", "-o", "out.mp4", "--crop", "none"], 2, "crop applies to driving clips"),
        (["--driving", "-", "--format", "y4m", "-o", "out.mp4", "--retarget"], 2, "retarget applies to driving clips"),
        (["--driving", "camera:0", "--driving", "a.mp4", "-o", "out.mp4"], 2, "cannot be combined"),
        (["--driving", "-", "--format", "y4m", "-o", "out.mp4"], 3, "stdin is not a y4m"),
        (["--driving", "missing.y4m", "--format", "y4m", "-o", "out.mp4"], 3, "missing.y4m does not exist"),
        (["--driving", "a.mp4", "--view"], 2, "--view is for a live driver"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(model_file, options, exit_code, sentence, tmp_path, monkeypatch, capsys):
    Image.fromarray(astronaut()[:300, 80:380]).save(tmp_path / "portrait.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"RIFF")))
    assert run(["synthesize", "--examples", "portrait.png", "--model", str(model_file), "--device", "cpu", *options]) == exit_code
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.mp4").exists()


def test_without_a_display_the_window_is_refused(command, stream):
    done = command("--driving", "-", "--format", "y4m", "--view", stdin=stream, env={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
    assert done.exit_code == 4 and "no window can be opened" in done.stderr


@pytest.fixture
def display() -> Iterator[str]:
    """The name of a virtual display of 1280x800 pixels."""
    if shutil.which("Xvfb") is None or not features.check("xcb"):
        pytest.skip("no Xvfb was found, or Pillow was built without xcb")
    options = ["-screen", "0", "1280x800x24", "-displayfd", "1", "-nolisten", "tcp"]
    with subprocess.Popen(["Xvfb", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield f":{server.stdout.readline().strip()}"
        server.terminate()


@pytest.fixture
def started_window(command, stream, display) -> subprocess.Popen:
    """The process of a window that shows the first frame while its stream waits."""
    options = ("--driving", "-", "--format", "y4m", "--view", "-o", "-")
    process = command.start(*options, env={"DISPLAY": display, "WAYLAND_DISPLAY": ""})
    process.stdin.write(stream[: stream.index(b"FRAME", stream.index(b"FRAME") + 1)])
    process.stdin.flush()
    shown = next(iter(Y4mReader(process.stdout))).astype(int)
    deadline = time.monotonic() + 60
    difference = np.inf
    while difference > 4 and time.monotonic() < deadline:
        time.sleep(0.2)
        screen = np.asarray(ImageGrab.grab(xdisplay=display).convert("RGB"))
        difference = np.abs(screen[: shown.shape[0], : shown.shape[1]] - shown).mean()
    assert difference <= 4
    return process


def test_the_window_shows_the_frame_and_ends_with_the_stream(started_window):
    started_window.stdin.close()
    assert started_window.wait(60) == 0
    assert b"QFont" not in started_window.stderr.read()


def test_a_key_closes_the_window_while_the_stream_waits(started_window, display):
    if shutil.which("xdotool") is None:
        pytest.skip("no xdotool was found")
    subprocess.run(["xdotool", "mousemove", "50", "50", "click", "1", "key", "q"], env={**os.environ, "DISPLAY": display}, check=True)
    assert started_window.wait(60) == 0
    assert b"1 frames" in started_window.stderr.read()
