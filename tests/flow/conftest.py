"""A clip with known motion, and tiny ONNX networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from camera import camera_view, texture

from stages.clip import Clip, create_clip


@pytest.fixture
def moving_clip(tmp_path: Path) -> Clip:
    """Three frames with motion (-3, +1) in pixels, a cut, and two frames with motion (+2, 0)."""
    first, other = texture(0), 255 - texture(1) // 2
    frames = [camera_view(first, 30 + 3 * t, 40 - t) for t in range(3)] + [camera_view(other, 60 - 2 * t, 20) for t in range(2)]
    return create_clip(tmp_path / "moving.clip", frames)


@pytest.fixture
def make_onnx(tmp_path: Path) -> Callable[..., Path]:
    """make_onnx(flow=(3, -1), slope=0, inputs=2, channels=2, sides=("h", "w"), outputs=1): a network in a new file.

    Its last output is `flow` everywhere, plus `slope` times the difference in red between the last image and the first. With two outputs,
    the first is that product alone, without `flow`.
    """
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT

    def make(flow=(3.0, -1.0), slope: float = 0.0, inputs: int = 2, channels: int = 2, sides: tuple = ("h", "w"), outputs: int = 1) -> Path:
        names = [f"image{i}" for i in range(inputs)]
        constants = [
            helper.make_tensor("flow", floats, [1, channels, 1, 1], (list(flow) * channels)[:channels]),
            helper.make_tensor("slope", floats, [1], [slope]),
            helper.make_tensor("red", onnx.TensorProto.INT64, [1], [0]),
        ]
        nodes = [
            helper.make_node("Sub", [names[-1], names[0]], ["brighter"]),
            helper.make_node("Gather", ["brighter", "red"], ["redder"], axis=1),
            helper.make_node("Mul", ["redder", "slope"], ["term"]),
            helper.make_node("Add", ["term", "flow"], ["result"]),
        ]
        values = [helper.make_tensor_value_info(name, floats, [1, 3, *sides]) for name in names]
        results = [helper.make_tensor_value_info(name, floats, None) for name in ("term", "result")[2 - outputs :]]
        graph = helper.make_graph(nodes, "flow", values, results, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / f"network{len(list(tmp_path.glob('*.onnx')))}.onnx"
        onnx.save(model, path)
        return path

    return make
