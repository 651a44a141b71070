"""Whole bodies by rtmlib, with networks that have the real inputs and outputs but always detect the same person."""

from __future__ import annotations

import numpy as np
import pytest

from stages.backends import Backends
from stages.clip import as_clip
from stages.errors import MissingRequirement
from stages.extract_poses import PoseOptions, extract

onnx = pytest.importorskip("onnx")
pytest.importorskip("rtmlib")
rtmlib = pytest.importorskip("stages.extract_poses.backends.rtmlib")


def save_network(path, size: tuple[int, int], **outputs: np.ndarray) -> None:
    """Save a network with constant outputs."""
    nodes = [onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value)) for name, value in outputs.items()]
    image = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, *size])
    results = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape) for name, value in outputs.items()]
    graph = onnx.helper.make_graph(nodes, "constant", [image], results)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """A folder with a detector of one person and an estimator that places point n at (n, n) in its image of 192x256 pixels."""
    rtmlib._fetch_file.cache_clear()
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    boxes = np.array([[[160, 160, 480, 480, 0.9]]], np.float32)
    save_network(tmp_path / "yolox_m_8xb8-300e_humanart-c2c7a14a.onnx", (640, 640), boxes=boxes)
    across, down = np.zeros((1, 133, 384), np.float32), np.zeros((1, 133, 512), np.float32)
    for point in range(133):
        across[0, point, 2 * point], down[0, point, 2 * point] = 8.0, 8.0
    down[0, 16] = 0.1  # the right ankle is not detected
    across[0, 16] = 0.1
    save_network(tmp_path / "rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.onnx", (256, 192), x=across, y=down)
    yield tmp_path
    rtmlib._fetch_file.cache_clear()


def test_a_whole_body_has_body_25_hands_and_face(networks, make_tiny_video, tmp_path, capfd):
    clip = as_clip(make_tiny_video(tmp_path / "a.mp4"), tmp_path)
    assert extract(clip, PoseOptions(backend="rtmlib", smoothing=0)).status == "done"
    arrays = clip.layer("poses").arrays()
    assert {name: array.shape[2:] for name, array in arrays.items() if array.ndim == 4} == {
        "keypoints": (25, 3), "face": (70, 3), "hand_left": (21, 3), "hand_right": (21, 3),
    }  # fmt: skip
    body = arrays["keypoints"][0, 0]
    assert body[0, 2] == 1 and np.allclose(body[1, :2], (body[2, :2] + body[5, :2]) / 2), "the neck is between the shoulders"
    assert not body[11].any(), "the right ankle"
    steps = np.diff(arrays["face"][0, 0, :68, :2], axis=0)
    assert np.allclose(steps, steps[0], atol=1e-3), "the points of the face are in order"
    assert capfd.readouterr().out == "", "stdout carries data only"
    weights = clip.layer("poses").meta["producer"]["weights"]
    assert len(weights) == 2 and all(len(digest) == 64 for digest in weights.values())


def test_without_its_networks_the_error_says_where_to_put_them(tmp_path, monkeypatch):
    rtmlib._fetch_file.cache_clear()
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("rtmlib.tools.file.download_url_to_file", lambda *args, **options: (_ for _ in ()).throw(OSError("no network")))
    backend = Backends("poses").get("rtmlib")
    with pytest.raises(MissingRequirement, match="FSV2V_WEIGHTS_MIRROR"):
        backend.open("cpu")
    rtmlib._fetch_file.cache_clear()
