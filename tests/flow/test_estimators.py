"""What an estimator sees in two pictures, and where it can be trusted."""

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


def test_dis_sees_a_shift_of_three_pixels_to_within_a_third():
    one, other = camera_view(texture(), 50, 50), camera_view(texture(), 53, 50)
    flow = dis_flow(one, other)
    assert flow.shape == (96, 128, 2) and flow.dtype == np.float32
    assert np.abs(flow[INNER] - (-3, 0)).max() < 0.3


def test_nearly_everything_that_moves_as_one_can_be_trusted():
    flow, trusted = consistent_flow(camera_view(texture(), 50, 50), camera_view(texture(), 53, 52), dis_flow)
    assert np.abs(np.median(flow[trusted], 0) - (-3, -2)).max() < 0.3
    assert trusted[INNER].mean() > 0.95


def test_what_is_hidden_in_the_other_picture_is_not_trusted():
    one, other = camera_view(texture(), 50, 50), camera_view(texture(), 50, 50)
    one[20:76, 30:86] = other[20:76, 36:92] = texture(7)[:56, :56]  # a plate that moves 6 pixels to the right
    _, trusted = consistent_flow(one, other, dis_flow)
    assert trusted[24:72, 86:92].mean() < 0.25, "the plate will cover this"
    assert trusted[28:68, 38:78].mean() > 0.9, "the plate itself"
    assert trusted[:, :20].mean() > 0.9, "the ground far from it"


def test_what_leaves_the_picture_is_not_trusted():
    left = np.full((20, 30, 2), (-5, 0), np.float32)
    home = forward_backward_consistent(left, -left)
    assert not home[:, :5].any() and home[:, 5:].all()


def test_the_way_back_may_miss_by_a_little_more_the_longer_it_is():
    def ends(miss: float, length: float) -> bool:
        flow = np.zeros((3, 99, 2), np.float32)
        flow[..., 0] = length
        return bool(forward_backward_consistent(flow, -flow + np.array([0, miss], np.float32))[1, 1])

    assert ends(0.7, 0) and not ends(0.75, 0)  # 0.7^2 < 0.5, but for 0.01 of its own square
    assert ends(3, 25) and not ends(4, 25)  # 0.01 (2 * 25^2) + 0.5 = 13


def test_colours_agree_within_two_hundredths_of_their_range():
    grey = np.full((8, 8, 3), 100, np.uint8)
    still = np.zeros((8, 8, 2), np.float32)
    assert colour_consistent(grey, grey + np.uint8(10), still).all()  # 3 * (10 / 127.5)^2 = 0.018
    assert not colour_consistent(grey, grey + np.uint8(11), still).any()  # 0.022


@pytest.mark.parametrize("size", [(1, 1), (11, 40), (15, 100), (16, 300), (300, 16), (33, 47)])
def test_pictures_of_any_size_have_flow(size):
    """OpenCV itself reads past the end of pictures that are wide and low, which may kill the process: hence a process of its own."""
    script = (
        "import sys, numpy as np; from stages.flow.backends.dis import dis_flow\n"
        "image = np.random.default_rng(0).integers(0, 255, (*map(int, sys.argv[1:]), 3), np.uint8)\n"
        "assert dis_flow(image, image).shape == (*image.shape[:2], 2) and np.abs(dis_flow(image, image)).max() < 0.1"
    )
    subprocess.run([sys.executable, "-c", script, *map(str, size)], check=True, cwd=Path(__file__).parents[2])


def test_auto_is_dis_and_needs_nothing():
    assert Backends("flow").require("auto").name == "dis"
    assert Backends("flow").names() == ["dis", "onnx"]


def test_a_network_is_run_on_sides_of_a_multiple_of_8_and_gives_the_size_of_the_picture(make_onnx):
    estimate = OnnxFlow(make_onnx(flow=(3, -1)), "cpu")
    flow = estimate(camera_view(texture(), 0, 0, 37, 21), camera_view(texture(), 3, 0, 37, 21))
    assert flow.shape == (21, 37, 2) and flow.dtype == np.float32
    assert (flow == (3, -1)).all()


def test_a_network_sees_both_pictures_in_order_as_rgb_from_0_to_255(make_onnx):
    one, other = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), (200, 90, 0), np.uint8)
    estimate = OnnxFlow(make_onnx(flow=(0, 1), slope=1), "cpu")
    assert (estimate(one, other) == (200, 201)).all() and (estimate(other, one) == (-200, -199)).all()


def test_of_several_outputs_the_last_counts(make_onnx):
    assert (OnnxFlow(make_onnx(outputs=2), "cpu")(texture(), texture()) == (3, -1)).all()


def test_a_network_of_fixed_size_sees_scaled_pictures(make_onnx):
    flow = OnnxFlow(make_onnx(flow=(3, -1), sides=(48, 64)), "cpu")(camera_view(texture(), 0, 0), camera_view(texture(), 3, 0))
    assert np.allclose(flow, (6, -2))  # the images are twice as wide and high
    assert flow.shape == (96, 128, 2)


def test_a_network_that_is_no_flow_network_is_refused(make_onnx, tmp_path):
    with pytest.raises(UsageError, match=r"takes tensor\(float\)\[1, 3, 'h', 'w'\], not two float images"):
        OnnxFlow(make_onnx(inputs=1), "cpu")
    with pytest.raises(UsageError, match=r"gives \[1, 3, 240, 240\] for \[1, 3, 240, 240\], which is no flow"):
        OnnxFlow(make_onnx(channels=3), "cpu")(texture(), texture())
    (tmp_path / "letter.onnx").write_text("dear network")
    with pytest.raises(UsageError, match=r"letter\.onnx is no network that onnxruntime can load"):
        OnnxFlow(tmp_path / "letter.onnx", "cpu")


def test_a_network_that_fails_says_on_what(make_onnx):
    with pytest.raises(InputError, match="fails on images of 64 x 48"):
        OnnxFlow(make_onnx(sides=("h", 32)), "cpu")(camera_view(texture(), 0, 0, 64, 48), camera_view(texture(), 0, 0, 64, 48))


def test_cuda_without_cuda_says_so(make_onnx):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is here")
    with pytest.raises(MissingRequirement, match="cannot use CUDA"):
        OnnxFlow(make_onnx(), "cuda")


def test_without_onnxruntime_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingRequirement, match=r"the package onnxruntime is not installed: pip install 'fsv2v\[onnx\]'"):
        Backends("flow").require("onnx")
