"""Flow between two images, and where it is consistent."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from camera import camera_view, texture

from stages.backends import Backends
from stages.errors import InputError, MissingRequirement, UsageError
from stages.flow.backends.dis import dis_flow
from stages.flow.backends.onnx import OnnxFlow
from stages.flow.consistency import colour_consistent, consistent_flow, forward_backward_consistent

INNER = (slice(8, -8), slice(8, -8))


def test_dis_finds_a_shift_of_three_pixels_with_an_error_of_less_than_a_third():
    one, other = camera_view(texture(), 50, 50), camera_view(texture(), 53, 50)
    flow = dis_flow(one, other)
    assert flow.shape == (96, 128, 2) and flow.dtype == np.float32
    assert np.abs(flow[INNER] - (-3, 0)).max() < 0.3


def test_the_flow_of_a_uniform_motion_is_consistent():
    flow, consistent = consistent_flow(camera_view(texture(), 50, 50), camera_view(texture(), 53, 52), dis_flow)
    assert np.abs(np.median(flow[consistent], 0) - (-3, -2)).max() < 0.3
    assert consistent[INNER].mean() > 0.95


def test_pixels_that_are_hidden_in_the_other_image_are_not_consistent():
    one, other = camera_view(texture(), 50, 50), camera_view(texture(), 50, 50)
    one[20:76, 30:86] = other[20:76, 36:92] = texture(7)[:56, :56]  # a square that moves 6 pixels to the right
    _, consistent = consistent_flow(one, other, dis_flow)
    assert consistent[24:72, 86:92].mean() < 0.25, "the square will cover these pixels"
    assert consistent[28:68, 38:78].mean() > 0.9, "the square"
    assert consistent[:, :20].mean() > 0.9, "the background far from the square"


def test_pixels_that_leave_the_image_are_not_consistent():
    left = np.full((20, 30, 2), (-5, 0), np.float32)
    consistent = forward_backward_consistent(left, -left)
    assert not consistent[:, :5].any() and consistent[:, 5:].all()


def test_the_tolerance_of_the_consistency_grows_with_the_length_of_the_flow():
    def is_consistent(miss: float, length: float) -> bool:
        flow = np.zeros((3, 99, 2), np.float32)
        flow[..., 0] = length
        return bool(forward_backward_consistent(flow, -flow + np.array([0, miss], np.float32))[1, 1])

    assert is_consistent(0.7, 0) and not is_consistent(0.75, 0)  # 0.7^2 < 0.5 + 0.01 (0.7^2)
    assert is_consistent(3, 25) and not is_consistent(4, 25)  # 0.01 (2 * 25^2) + 0.5 = 13


def test_colours_agree_within_two_hundredths_of_their_range():
    grey = np.full((8, 8, 3), 100, np.uint8)
    still = np.zeros((8, 8, 2), np.float32)
    assert colour_consistent(grey, grey + np.uint8(10), still).all()  # 3 * (10 / 127.5)^2 = 0.018
    assert not colour_consistent(grey, grey + np.uint8(11), still).any()  # 0.022


@pytest.mark.parametrize("size", [(1, 1), (11, 40), (15, 100), (16, 300), (300, 16), (33, 47)])
def test_images_of_any_size_have_flow(size):
    """OpenCV reads past the end of wide, low images, which may kill the process. The test therefore starts another process."""
    script = (
        "import sys, numpy as np; from stages.flow.backends.dis import dis_flow\n"
        "image = np.random.default_rng(0).integers(0, 255, (*map(int, sys.argv[1:]), 3), np.uint8)\n"
        "assert dis_flow(image, image).shape == (*image.shape[:2], 2) and np.abs(dis_flow(image, image)).max() < 0.1"
    )
    subprocess.run([sys.executable, "-c", script, *map(str, size)], check=True, cwd=Path(__file__).parents[2])


def test_auto_is_dis():
    assert Backends("flow").require("auto").name == "dis"
    assert Backends("flow").names() == ["dis", "onnx"]


def test_the_flow_of_a_network_has_the_size_of_the_image_even_if_it_is_not_a_multiple_of_8(make_onnx):
    estimate = OnnxFlow(make_onnx(flow=(3, -1)), "cpu")
    flow = estimate(camera_view(texture(), 0, 0, 37, 21), camera_view(texture(), 3, 0, 37, 21))
    assert flow.shape == (21, 37, 2) and flow.dtype == np.float32
    assert (flow == (3, -1)).all()


def test_the_inputs_of_a_network_are_both_images_as_rgb_from_0_to_255(make_onnx):
    one, other = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), (200, 90, 0), np.uint8)
    estimate = OnnxFlow(make_onnx(flow=(0, 1), slope=1), "cpu")
    assert (estimate(one, other) == (200, 201)).all() and (estimate(other, one) == (-200, -199)).all()


def test_the_flow_is_the_last_of_several_outputs(make_onnx):
    assert (OnnxFlow(make_onnx(outputs=2), "cpu")(texture(), texture()) == (3, -1)).all()


def test_images_are_scaled_for_a_network_of_fixed_size(make_onnx):
    flow = OnnxFlow(make_onnx(flow=(3, -1), sides=(48, 64)), "cpu")(camera_view(texture(), 0, 0), camera_view(texture(), 3, 0))
    assert np.allclose(flow, (6, -2))  # the images are twice as wide and high
    assert flow.shape == (96, 128, 2)


def test_a_network_that_does_not_estimate_flow_is_refused(make_onnx, tmp_path):
    with pytest.raises(UsageError, match=r"takes tensor\(float\)\[1, 3, 'h', 'w'\], not two float images"):
        OnnxFlow(make_onnx(inputs=1), "cpu")
    with pytest.raises(UsageError, match=r"gives \[1, 3, 240, 240\] for \[1, 3, 240, 240\], which is no flow"):
        OnnxFlow(make_onnx(channels=3), "cpu")(texture(), texture())
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(UsageError, match=r"text\.onnx is no network that onnxruntime can load"):
        OnnxFlow(tmp_path / "text.onnx", "cpu")


def test_the_error_of_a_failing_network_has_the_size_of_the_images(make_onnx):
    with pytest.raises(InputError, match="fails on images of 64 x 48"):
        OnnxFlow(make_onnx(sides=("h", 32)), "cpu")(camera_view(texture(), 0, 0, 64, 48), camera_view(texture(), 0, 0, 64, 48))


def test_cuda_is_refused_if_onnxruntime_lacks_it(make_onnx):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime can use CUDA")
    with pytest.raises(MissingRequirement, match="cannot use CUDA"):
        OnnxFlow(make_onnx(), "cuda")


def test_without_onnxruntime_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingRequirement, match=r"the package onnxruntime is not installed: pip install 'fsv2v\[onnx\]'"):
        Backends("flow").require("onnx")
