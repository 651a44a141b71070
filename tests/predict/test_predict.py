"""fsv2v predict: the label maps that follow those of a clip, its table and instances, skipping, and bad input."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fsv2v as library
from fsv2v_cli.main import run
from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.pack import pack
from stages.clip.validate import validate
from stages.models import save_model
from stages.networks.future import PRESETS, Future
from stages.networks.vid2vid import PRESETS as VID2VID
from stages.networks.vid2vid import Vid2Vid

NAMES = ("ground", "square", "disc")
TRAINED = {"training": {"phases": [{"frames": 2, "rollout": 0}, {"frames": 4, "rollout": 3}]}}
TABLE = {"table": "drift", "names": list(NAMES), "palette": [[0, 0, 0], [255, 0, 0], [0, 0, 255]]}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A network of 32x32, trained on futures of seven frames. It moves all labels to the right by two pixels per frame."""
    path = tmp_path_factory.mktemp("model") / "future.safetensors"
    torch.manual_seed(0)
    config = PRESETS["tiny-future"].for_labels(NAMES)
    network: Any = Future(config)
    with torch.no_grad():
        network.to_flow.weight.zero_()
        network.to_flow.bias.copy_(torch.tensor([-2 / (20 / 256 * 32), 0]))
        network.to_mask.weight.zero_()
        network.to_mask.bias.fill_(-40)
    save_model(path, network.state_dict(), config, {"step": 1, **TRAINED})
    return path


def label_clip(path: Path, maps: list[np.ndarray], table: dict[str, Any] | None = None, numbers: list[np.ndarray] | None = None) -> Path:
    """Write a clip with the label maps `maps` and, unless it is None, the instance numbers `numbers`, uint8 [H, W] each."""
    height, width = maps[0].shape
    clip = create_clip(path, width=width, height=height, num_frames=len(maps))
    with clip.writing("segment", Producer("drawn"), {}, table or TABLE) as layer:
        for ids in maps:
            layer.image(ids)
    if numbers is not None:
        with clip.writing("instances", Producer("drawn"), {}, {"ids": [7, 26001, 24002]}) as layer:
            for image in numbers:
                layer.image(image)
    return path


def square_at(x: int, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    """A label map of `size` (height, width) with a rectangle of label 1, whose left column is `x`."""
    ids = np.zeros(size, np.uint8)
    ids[10:18, x : x + 6] = 1
    return ids


@pytest.fixture
def drive(tmp_path) -> Path:
    """A clip of three label maps and instances: a square that moves to the right by two pixels per frame."""
    return label_clip(tmp_path / "drive.clip", [square_at(x) for x in (2, 4, 6)], numbers=[square_at(x) for x in (2, 4, 6)])


def maps_of(clip: Clip, layer: str = "segment") -> list[np.ndarray]:
    return list(clip.layer(layer).images())


def test_the_prediction_continues_the_clip(drive, model, tmp_path, capsys):
    out = tmp_path / "future.clip"
    assert run(["predict", str(drive), "--frames", "4", "--model", str(model), "-o", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out)]
    clip = open_clip(out)
    assert (clip.num_frames, clip.width, clip.height, clip.fps, clip.id) == (4, 32, 32, 25, "future")
    assert clip.layers() == ["instances", "segment"] and validate(out).errors == []
    for ids, x in zip(maps_of(clip), (8, 10, 12, 14), strict=True):
        assert np.array_equal(ids, square_at(x))
    meta = clip.layer("segment").meta
    assert {name: meta[name] for name in TABLE} == TABLE
    assert meta["producer"]["stage"] == "predict" and meta["producer"]["backend"] == "future"
    assert meta["inputs"] == {layer: open_clip(drive).layer(layer).digest for layer in ("segment", "instances")}


def test_instances_are_predicted_with_their_labels(drive, model, tmp_path):
    library.predict(drive, tmp_path / "future.clip", frames=3, model=model)
    clip = open_clip(tmp_path / "future.clip")
    for numbers, ids in zip(maps_of(clip, "instances"), maps_of(clip), strict=True):
        assert np.array_equal(numbers == 1, ids == 1), "the instance keeps its number"
    assert clip.layer("instances").meta["ids"] == [7, 26001, 24002, 0]


def test_too_many_instance_numbers_are_refused(model, tmp_path, capsys):
    """The layer has 8 bits and 256 ids without 0, so no number is left for pixels that come into view."""
    clip = open_clip(label_clip(tmp_path / "a.clip", [square_at(2)] * 2))
    with clip.writing("instances", Producer("drawn"), {}, {"ids": list(range(1000, 1256))}) as layer:
        for _ in range(2):
            layer.image(square_at(2))
    assert run(["predict", str(clip.path), "--frames", "2", "--model", str(model), "-o", str(tmp_path / "b.clip")]) == 3
    assert "leave no number for pixels of no instance" in " ".join(capsys.readouterr().err.split()) and not (tmp_path / "b.clip").exists()


def test_only_a_part_of_the_clip_can_be_observed(drive, model, tmp_path):
    """Frames 0 and 1 are observed, and the prediction begins at frame 2."""
    library.predict(drive, tmp_path / "future.clip", frames=2, model=model, observed=(None, -1))
    assert np.array_equal(maps_of(open_clip(tmp_path / "future.clip"))[0], square_at(6))
    parameters = open_clip(tmp_path / "future.clip").layer("segment").meta["producer"]["parameters"]
    assert parameters == {"frames": 2, "observed": [0, 2]}


@pytest.mark.parametrize("size", [(31, 45), (64, 96)])
def test_maps_keep_the_size_of_the_clip(size, model, tmp_path):
    """Two of the 32 pixels of the network are a sixteenth of the width of a map of any size. Odd sizes lose no pixel."""
    height, width = size
    observed = [square_at(x, size) for x in (2, 4, 6)]
    library.predict(label_clip(tmp_path / "a.clip", observed), tmp_path / "b.clip", frames=8, model=model)
    future = open_clip(tmp_path / "b.clip")
    assert (future.height, future.width) == size
    for frame, ids in enumerate(maps_of(future), 1):
        left = np.nonzero(ids == 1)[1].min()
        assert abs(left - (6 + frame * width / 16)) <= 0.5001 and (ids == 1).sum() == 48


def test_void_is_never_predicted(model, tmp_path):
    table = {**TABLE, "names": ["ground", "void", "square", "disc"], "palette": [*TABLE["palette"], [9, 9, 9]]}
    ids = square_at(6) * 2
    ids[:4] = 255
    ids[4:6] = 1
    library.predict(label_clip(tmp_path / "a.clip", [ids, ids], table), tmp_path / "b.clip", frames=1, model=model)
    (predicted,) = maps_of(open_clip(tmp_path / "b.clip"))
    assert set(np.unique(predicted)) <= {0, 2, 3} and np.array_equal(predicted[10:18] == 2, square_at(8)[10:18] == 1)


def test_a_packed_clip_can_be_observed(drive, model, tmp_path):
    pack(drive, tmp_path / "drive.zip")
    library.predict(tmp_path / "drive.zip", tmp_path / "future.clip", frames=1, model=model)
    assert np.array_equal(maps_of(open_clip(tmp_path / "future.clip"))[0], square_at(8))


def test_a_second_run_is_skipped_and_other_parameters_are_refused(drive, model, tmp_path, capsys):
    command = ["predict", str(drive), "--model", str(model), "-o", str(tmp_path / "future.clip"), "--json"]
    records = []
    for options in (["--frames", "2"], ["--frames", "2"], ["--frames", "3", "--overwrite"]):
        assert run([*command, *options]) == 0
        records.append(json.loads(capsys.readouterr().out))
    assert [row["status"] for row in records] == ["done", "skipped", "done"] and [row["frames"] for row in records] == [2, 2, 3]
    assert records[0].keys() == {"clip", "layer", "status", "frames", "seconds", "reason"}
    for options, changed in ((["--frames", "2"], "frames: 3 -> 2"), (["--frames", "3", "--observed", ":-1"], "observed")):
        assert run([*command, *options]) == 3
        assert changed in (stderr := capsys.readouterr().err) and "--overwrite" in stderr
    assert open_clip(tmp_path / "future.clip").num_frames == 3


def test_unfamiliar_lengths_and_sizes_cause_warnings(model, tmp_path, capsys):
    clip = label_clip(tmp_path / "a.clip", [square_at(x, (32, 64)) for x in (2, 4, 6)])
    assert run(["predict", str(clip), "--frames", "8", "--model", str(model), "-o", str(tmp_path / "b.clip")]) == 0
    stderr = " ".join(capsys.readouterr().err.split())
    assert "8 frames are predicted, but the model was trained to predict at most 7" in stderr
    assert "64x32 pixels, but the model was trained on the shape 32x32" in stderr
    assert run(["predict", str(clip), "--frames", "7", "--model", str(model), "-o", str(tmp_path / "c.clip")]) == 0
    assert "futures" not in capsys.readouterr().err


def test_fewer_observed_maps_than_in_training_cause_a_warning(tmp_path, model, capsys):
    config = replace(PRESETS["tiny-future"], past_frames=4)
    save_model(tmp_path / "four.safetensors", Future(config).state_dict(), config, {})
    clip = label_clip(tmp_path / "a.clip", [square_at(2), square_at(4)])
    assert run(["predict", str(clip), "--frames", "1", "--model", str(tmp_path / "four.safetensors"), "-o", str(tmp_path / "b.clip")]) == 0
    assert "2 frames are observed, but the model was trained on 4" in " ".join(capsys.readouterr().err.split())


# bad input


def without_labels(folder: Path) -> Path:
    return create_clip(folder / "plain.clip", width=32, height=32, num_frames=3).path


def one_frame(folder: Path) -> Path:
    return label_clip(folder / "one.clip", [square_at(2)])


def other_labels(folder: Path) -> Path:
    return label_clip(folder / "other.clip", [square_at(2)] * 2, {**TABLE, "names": ["square", "ground", "disc"]})


def fewer_labels(folder: Path) -> Path:
    return label_clip(folder / "fewer.clip", [square_at(2)] * 2, {**TABLE, "names": ["ground", "square"], "palette": TABLE["palette"][:2]})


def unknown_id(folder: Path) -> Path:
    return label_clip(folder / "unknown.clip", [square_at(2), square_at(2) * 77])


def absent(folder: Path) -> Path:
    return folder / "absent.clip"


@pytest.mark.parametrize(
    ("make", "code", "sentence"),
    [
        (without_labels, 3, "has no layer 'segment'. Make it with `fsv2v segment"),
        (one_frame, 3, "1 frame is observed, and a prediction needs at least 2"),
        (other_labels, 3, "has the labels square, ground, disc, and the model was trained on ground, square, disc"),
        (fewer_labels, 3, "has the labels ground, square, and the model was trained on"),
        (unknown_id, 5, "frame 1 of the segment layer has the label id 77, but its table ends at 2"),
        (absent, 3, "does not exist"),
    ],
)
def test_a_clip_that_cannot_be_observed_is_refused_in_a_sentence(make, code, sentence, model, tmp_path, leftovers, capsys):
    out = tmp_path / "out" / "future.clip"
    assert run(["predict", str(make(tmp_path)), "--frames", "2", "--model", str(model), "-o", str(out)]) == code
    error = " ".join(capsys.readouterr().err.split())
    assert sentence in error and "Traceback" not in error
    assert not out.exists() and leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--frames", "0"], 2, "--frames"),
        (["--frames", "2", "--observed", "2:2"], 3, "0 frames are observed, and a prediction needs at least 2"),
        (["--frames", "2", "--observed", "-1:"], 3, "1 frame is observed"),
        (["--frames", "2", "--observed", "two"], 2, "'two' is not a range of frames"),
        (["--frames", "2", "-o", "future.mp4"], 2, "future.mp4 is not the name of a clip"),
        (["--frames", "2", "--model", "none.safetensors"], 4, "is not there"),
    ],
)
def test_invalid_options_are_refused(arguments, code, sentence, drive, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    defaults = [*(["--model", str(model)] if "--model" not in arguments else []), *(["-o", "future.clip"] if "-o" not in arguments else [])]
    assert run(["predict", str(drive), *defaults, *arguments]) == code
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.clip"]


def test_the_clip_itself_and_other_folders_are_not_replaced(drive, model, tmp_path, capsys):
    command = ["predict", str(drive), "--frames", "2", "--model", str(model), "--overwrite", "-o"]
    assert run([*command, str(drive)]) == 2
    (tmp_path / "other.clip").mkdir()
    (tmp_path / "other.clip" / "notes.txt").touch()
    assert run([*command, str(tmp_path / "other.clip")]) == 3
    assert "is not a clip, so it is not replaced" in capsys.readouterr().err
    assert (tmp_path / "other.clip" / "notes.txt").exists() and open_clip(drive).num_frames == 3


def test_models_of_images_and_models_of_label_maps_are_not_interchangeable(drive, model, tmp_path, capsys):
    config = VID2VID["tiny-vid2vid"]
    save_model(tmp_path / "images.safetensors", Vid2Vid(config).state_dict(), config, {})
    out = ["-o", str(tmp_path / "future.clip")]
    assert run(["predict", str(drive), "--frames", "2", "--model", str(tmp_path / "images.safetensors"), *out]) == 2
    assert "makes images and predicts no label maps" in " ".join(capsys.readouterr().err.split())
    assert run(["synthesize", "--driving", str(drive), "--model", str(model), *out]) == 2
    assert "predicts label maps and makes no images. `fsv2v predict`" in " ".join(capsys.readouterr().err.split())
    shutil.copytree(drive, tmp_path / "example.clip")
    assert (
        run(["finetune", "--examples", str(tmp_path / "example.clip"), "--model", str(model), "-o", str(tmp_path / "x.safetensors")]) == 2
    )
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".clip", ".clip", ".safetensors"]
