"""Optical flow by a network, such as RAFT (Teed and Deng 2020), from an ONNX file that the user names.

The network takes two images, float32 [1, 3, H, W], RGB from 0 to 255 as the official RAFT does, and returns the flow from the first to the
second in pixels, [1, 2, H, W]. Of several outputs the last is used, since RAFT refines its flow from output to output. torchvision's RAFT
takes images from -1 to 1: export it with that scaling, `lambda first, second: raft(first / 127.5 - 1, second / 127.5 - 1)[-1]`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.errors import InputError, MissingRequirement, UsageError
from stages.flow.backends import Estimator, Opener

MULTIPLE = 8
"""RAFT works at an eighth of the size. Sides are padded to a multiple of this by repeating the edge."""
_EXPORT_HINT = "Export a network with two inputs [1, 3, H, W] and the flow [1, 2, H, W] as its last output"


class OnnxFlow:
    """An estimator (see stages.flow.backends). For a network with a fixed input size, images are scaled to it.

    Raises UsageError when the file holds no such network, MissingRequirement when CUDA is chosen but not available.
    """

    def __init__(self, model: Path, device: str) -> None:
        self._model = model
        self._session = _open_session(model, device)
        inputs = self._session.get_inputs()
        if len(inputs) != 2 or any(tensor.type != "tensor(float)" or len(tensor.shape) != 4 for tensor in inputs):
            signature = ", ".join(f"{tensor.type}{tensor.shape}" for tensor in inputs)
            raise UsageError(f"{model} takes {signature or 'nothing'}, not two float images [1, 3, H, W]", hint=_EXPORT_HINT)
        self._names = [tensor.name for tensor in inputs]
        size = inputs[0].shape[2:]
        self._fixed_size: tuple[int, int] | None = (size[0], size[1]) if all(isinstance(length, int) for length in size) else None
        """(height, width) of the input in pixels; None if it may have any size."""

    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Two images, uint8 RGB [H, W, 3] -> the flow from `first` to `second`, float32 [H, W, 2] in pixels."""
        if self._fixed_size is None:
            height, width = first.shape[:2]
            return np.ascontiguousarray(self._run(_pad_to_multiple(first), _pad_to_multiple(second))[:height, :width])
        return self._run_scaled(first, second, self._fixed_size)

    def _run_scaled(self, first: NDArray[np.uint8], second: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        import cv2

        height, width = first.shape[:2]
        small = [np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8) for image in (first, second)]
        flow = cv2.resize(self._run(*small), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(flow, np.float32) * np.array([width / size[1], height / size[0]], np.float32)

    def _run(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = [image.transpose(2, 0, 1)[None].astype(np.float32) for image in (first, second)]
        with _explain_errors(f"{self._model} fails on images of {first.shape[1]} x {first.shape[0]}", InputError):
            flow = self._session.run(None, dict(zip(self._names, images, strict=True)))[-1]
        if flow.shape != (1, 2, *first.shape[:2]):
            raise UsageError(f"{self._model} gives {list(flow.shape)} for {list(images[0].shape)}, which is no flow", hint=_EXPORT_HINT)
        return np.asarray(flow[0].transpose(1, 2, 0), np.float32)


def _pad_to_multiple(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    below, right = (-side % MULTIPLE for side in image.shape[:2])
    return np.pad(image, ((0, below), (0, right), (0, 0)), "edge")


def _open_session(model: Path, device: str) -> Any:
    import onnxruntime

    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device.startswith("cuda") and not cuda:
        raise MissingRequirement("onnxruntime cannot use CUDA here", hint="Run: pip install onnxruntime-gpu, or choose the device cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0] or 0)  # 0: every core
    options.log_severity_level = 4  # fatal errors only: others are raised as exceptions
    number = int(device.partition(":")[2] or 0)
    providers: list[Any] = [("CUDAExecutionProvider", {"device_id": number})] if cuda and device != "cpu" else []
    with _explain_errors(f"{model} is no network that onnxruntime can load", UsageError):
        return onnxruntime.InferenceSession(str(model), options, providers=[*providers, "CPUExecutionProvider"])


@contextmanager
def _explain_errors(problem: str, error_type: type[UsageError] | type[InputError]) -> Iterator[None]:
    """Convert any exception to an `error_type` with `problem` and the first line of its text. onnxruntime's errors have no common class."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise error_type(f"{problem}: {reason.splitlines()[0]}") from error


def _open(device: str) -> Opener:
    def load(model: Path | None) -> Estimator:
        assert model is not None, "stages.flow.teacher gives every network its file"
        return OnnxFlow(model, device)

    return load


BACKEND = Backend(
    name="onnx",
    produces="optical flow by a network of your own, a file .onnx",
    open=_open,
    packages=(Package("onnxruntime", "'fsv2v[onnx]'"),),
)
