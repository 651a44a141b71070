"""A learned flow, such as RAFT (Teed and Deng 2020), from an ONNX file that the user names.

The network takes two images, float32 [1, 3, H, W], RGB from 0 to 255 as the official RAFT does, and returns the flow from the first to the
second in pixels, [1, 2, H, W]; of several outputs the last one is used, as RAFT refines its flow from one to the next. torchvision's RAFT
wants [-1, 1]: export it together with that scaling, `lambda one, other: raft(one / 127.5 - 1, other / 127.5 - 1)[-1]`.
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
"""RAFT works at an eighth of the size: sides are padded to a multiple of this by repeating the edge."""
_EXPORT = "Export a network with two inputs [1, 3, H, W] and the flow [1, 2, H, W] as its last output"


class OnnxFlow:
    """An estimator (see stages.flow.backends). For a network with a fixed input size, images are scaled to it.

    Raises UsageError when the file holds no such network, MissingRequirement when CUDA is chosen but not available.
    """

    def __init__(self, model: Path, device: str) -> None:
        self._model = model
        self._session = _session(model, device)
        inputs = self._session.get_inputs()
        if len(inputs) != 2 or any(tensor.type != "tensor(float)" or len(tensor.shape) != 4 for tensor in inputs):
            takes = ", ".join(f"{tensor.type}{tensor.shape}" for tensor in inputs)
            raise UsageError(f"{model} takes {takes or 'nothing'}, not two float images [1, 3, H, W]", hint=_EXPORT)
        self._names = [tensor.name for tensor in inputs]
        sides = inputs[0].shape[2:]
        self._fixed: tuple[int, int] | None = (sides[0], sides[1]) if all(isinstance(side, int) for side in sides) else None

    def __call__(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB [H, W, 3] twice -> flow from `one` to `other`, float32 [H, W, 2] in pixels."""
        if self._fixed is None:
            height, width = one.shape[:2]
            return np.ascontiguousarray(self._run(_filled(one), _filled(other))[:height, :width])
        return self._scaled(one, other, self._fixed)

    def _scaled(self, one: NDArray[np.uint8], other: NDArray[np.uint8], sides: tuple[int, int]) -> NDArray[np.float32]:
        import cv2

        height, width = one.shape[:2]
        small = [np.asarray(cv2.resize(image, sides[::-1], interpolation=cv2.INTER_AREA), np.uint8) for image in (one, other)]
        flow = cv2.resize(self._run(*small), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(flow, np.float32) * np.array([width / sides[1], height / sides[0]], np.float32)

    def _run(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = [image.transpose(2, 0, 1)[None].astype(np.float32) for image in (one, other)]
        with _explained(f"{self._model} fails on images of {one.shape[1]} x {one.shape[0]}", InputError):
            flow = self._session.run(None, dict(zip(self._names, images, strict=True)))[-1]
        if flow.shape != (1, 2, *one.shape[:2]):
            raise UsageError(f"{self._model} gives {list(flow.shape)} for {list(images[0].shape)}, which is no flow", hint=_EXPORT)
        return np.asarray(flow[0].transpose(1, 2, 0), np.float32)


def _filled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    below, right = (-side % MULTIPLE for side in image.shape[:2])
    return np.pad(image, ((0, below), (0, right), (0, 0)), "edge")


def _session(model: Path, device: str) -> Any:
    import onnxruntime

    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device.startswith("cuda") and not cuda:
        raise MissingRequirement("onnxruntime cannot use CUDA here", hint="Run: pip install onnxruntime-gpu, or choose the device cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0] or 0)  # 0: every core
    options.log_severity_level = 4  # errors are raised
    number = int(device.partition(":")[2] or 0)
    providers: list[Any] = [("CUDAExecutionProvider", {"device_id": number})] if cuda and device != "cpu" else []
    with _explained(f"{model} is no network that onnxruntime can load", UsageError):
        return onnxruntime.InferenceSession(str(model), options, providers=[*providers, "CPUExecutionProvider"])


@contextmanager
def _explained(what: str, kind: type[UsageError] | type[InputError]) -> Iterator[None]:
    """Convert onnxruntime's exceptions, which have no common base but Exception, with the first line of their text."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise kind(f"{what}: {reason.splitlines()[0]}") from error


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
