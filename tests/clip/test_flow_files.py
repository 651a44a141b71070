"""Files of optical flow: a written file is read back, and errors say what is wrong with a file."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from stages.clip.flow_files import FlowField, flow_bytes, list_flow, read_flow
from stages.clip.layers import npz_bytes
from stages.errors import InputError


@pytest.fixture
def field() -> FlowField:
    """Random flow [5, 7, 2] of a few pixels; confidence 255, but 0 at one corner."""
    flow = np.random.default_rng(0).normal(0, 5, (5, 7, 2)).astype(np.float16)
    confidence = np.full((5, 7), 255, np.uint8)
    flow[0, 0], confidence[0, 0] = 0, 0
    return FlowField(flow, confidence)


@pytest.fixture
def write(tmp_path):
    """write(name, data): write a file and return its path."""

    def write_file(name: str, data: bytes):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write_file


def flo(width: int, height: int, values: np.ndarray) -> bytes:
    """A file in Middlebury's format."""
    return b"PIEH" + struct.pack("<ii", width, height) + values.astype("<f4").tobytes()


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def test_npz_keeps_everything(field, write):
    restored = read_flow(write("a.npz", flow_bytes(field, "npz")))
    assert np.array_equal(restored.flow, field.flow) and restored.flow.dtype == np.float16
    assert np.array_equal(restored.confidence, field.confidence)


def test_flo_keeps_the_flow(field, write):
    restored = read_flow(write("a.flo", flow_bytes(field, "flo")))
    assert np.array_equal(restored.flow, field.flow) and restored.confidence.all()


def test_kitti_png_rounds_to_a_64th_of_a_pixel_and_keeps_the_confidence(field, write):
    restored = read_flow(write("a.png", flow_bytes(field, "png")))
    assert np.abs(restored.flow - field.flow).max() <= 1 / 128
    assert np.array_equal(restored.confidence, field.confidence)


def test_values_are_laid_out_as_middlebury_and_kitti_define(write):
    """Middlebury: width, height, then the pairs dx, dy row by row. KITTI: red is 64 dx + 2^15, green 64 dy + 2^15, blue 0 where invalid."""
    values = np.arange(12.0).reshape(2, 3, 2)
    assert np.array_equal(read_flow(write("a.flo", flo(3, 2, values))).flow, values)
    bgr = np.zeros((2, 3, 3), np.uint16)
    bgr[1, 2] = (1, 32768 - 64, 32768 + 96)
    field = read_flow(write("a.png", png(bgr)))
    assert field.flow[1, 2].tolist() == [1.5, -1] and field.confidence.sum() == 255 and field.flow[0, 0].tolist() == [0, 0]


def test_pixels_that_middlebury_marks_as_unknown_get_zero_flow_and_confidence(write):
    values = np.ones((2, 3, 2))
    values[0, 1] = 1.6666666e9
    field = read_flow(write("a.flo", flo(3, 2, values)))
    assert field.flow[0, 1].tolist() == [0, 0] and field.confidence.tolist() == [[255, 0, 255], [255] * 3]


def test_the_array_of_an_npz_may_have_another_name_and_channels_first(write):
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert np.array_equal(read_flow(write("a.npz", npz_bytes({"arr_0": values}))).flow, values.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.flo", b"", "does not begin with PIEH"),
        ("a.flo", b"HEIP" + bytes(80), "does not begin with PIEH"),
        ("a.flo", b"PIEH" + bytes(4), "has 8 bytes; flow of 0 x 0 pixels"),
        ("a.flo", flo(3, 2, np.zeros(11)), "has 56 bytes; flow of 3 x 2 pixels takes 60. It may have been cut off"),
        ("a.flo", flo(3, 2, np.zeros(13)), "has 64 bytes"),
        ("a.flo", flo(-3, -2, np.zeros(12)), "flow of -3 x -2 pixels"),
        ("a.flo", flo(3, 2, np.full(12, np.nan)), "holds NaN, or motion of more than 65504 pixels"),
        ("a.flo", flo(3, 2, np.full(12, 1e6)), "holds NaN, or motion of more than 65504 pixels"),
        ("a.png", b"", "is not a PNG that can be read"),
        ("a.png", png(np.zeros((40, 40, 3), np.uint16))[:-20], "is not a PNG that can be read. It may have been cut off"),
        ("a.png", png(np.zeros((4, 4, 3), np.uint8)), "is not flow as KITTI stores it"),
        ("a.png", png(np.zeros((4, 4), np.uint16)), "is not flow as KITTI stores it"),
        ("a.npz", b"PK nothing", "is not an npz that can be read"),
        ("a.npz", npz_bytes({"flow": np.zeros((4, 4, 2))})[:-30], "is not an npz that can be read"),
        ("a.npz", npz_bytes({"flow": np.zeros((4, 4, 2), int)}), 'no array "flow" of floating-point numbers'),
        ("a.npz", npz_bytes({"flow": np.zeros((4, 4, 3))}), 'no array "flow" of floating-point numbers'),
        ("a.npz", npz_bytes({"u": np.zeros((4, 4)), "v": np.zeros((4, 4))}), 'no array "flow"'),
        ("a.npz", npz_bytes({"flow": np.full((4, 4, 2), np.inf)}), "holds NaN"),
        ("a.npz", npz_bytes({"flow": np.zeros((4, 4, 2)), "confidence": np.zeros((4, 3), np.uint8)}), r"must be uint8 \(4, 4\)"),
    ],
)
def test_the_error_names_the_file_and_says_what_is_wrong(name, data, sentence, write):
    with pytest.raises(InputError, match=sentence) as caught:
        read_flow(write(name, data))
    assert name in str(caught.value)


def test_pickles_in_an_npz_are_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", flow=np.array([{"a": 1}], object))
    with pytest.raises(InputError, match="is not an npz that can be read"):
        read_flow(tmp_path / "a.npz")


def test_motion_that_a_png_cannot_hold_is_refused():
    fast = FlowField(np.full((2, 2, 2), 600, np.float16), np.full((2, 2), 255, np.uint8))
    with pytest.raises(InputError, match="600 pixels does not fit into KITTI's PNG, which holds less than 512. Choose flo or npz"):
        flow_bytes(fast, "png")


def test_a_folder_is_listed_in_natural_order_and_must_hold_one_file_format(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        list_flow(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no files of optical flow"):
        list_flow(tmp_path)
    for name in ("flow10.flo", "flow9.flo", "notes.txt", ".hidden.flo"):
        (tmp_path / name).touch()
    assert [path.name for path in list_flow(tmp_path)] == ["flow9.flo", "flow10.flo"]
    (tmp_path / "flow9.FLO").touch()
    with pytest.raises(InputError, match=r"two files of one frame: flow9\.FLO and flow9\.flo"):
        list_flow(tmp_path)
    (tmp_path / "flow9.FLO").unlink()
    (tmp_path / "a.npz").touch()
    with pytest.raises(InputError, match=r"holds \.flo and \.npz files"):
        list_flow(tmp_path)
