"""SegFormer (Xie et al. 2021) in the package transformers: checkpoints for Cityscapes, ADE20k and others, by name or from a folder."""

from __future__ import annotations

import colorsys
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.conditions.labels import CITYSCAPES_TRAIN_IDS, VOID, LabelTable
from stages.errors import MissingRequirement, UsageError
from stages.segment.backends import DEFAULT_MODELS, LabellerOpener

SHORT_SIDE = 512
"""Pixels; images are scaled so that their shorter side has the size with which the checkpoints were trained."""
_MULTIPLE = 32
"""The sides of the network's input are multiples of this number of pixels."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GOLDEN_RATIO = 0.618034


class SegformerLabels:
    """A `Labeller` with the labels of the checkpoint."""

    def __init__(self, model: str, device: str) -> None:
        import torch

        from stages.compute.devices import choose_device

        location = _locate(model)
        self._network = _load(location, model).eval().to(choose_device(device))
        self._mean, self._deviation = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _DEVIATION))
        self.table = table_of(self._network.config.id2label, Path(model).name)
        self.weights: Mapping[str, str] = {
            model: _digest(location) or str(getattr(self._network.config, "_commit_hash", None) or "unknown")
        }

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        height, width = frame.shape[:2]
        scale = SHORT_SIDE / min(height, width)
        sides = [max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (width, height)]
        small = cv2.resize(frame, (sides[0], sides[1]), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        image = (torch.from_numpy(np.asarray(small)).permute(2, 0, 1) / 255 - self._mean) / self._deviation
        with torch.inference_mode():
            scores = self._network(pixel_values=image[None].to(self._network.device)).logits
        return np.asarray(scores[0].float().softmax(0).cpu().numpy())


def table_of(names: Mapping[int, str], model: str) -> LabelTable:
    """The table of a checkpoint's labels: that of Cityscapes if it has the same labels, else one with colours from around the colour
    circle."""
    ordered = tuple(str(names[index]) for index in sorted(names, key=int))
    if len(ordered) > VOID:
        raise UsageError(f"{model} has {len(ordered)} labels, but a label map can hold at most {VOID}")
    if ordered == CITYSCAPES_TRAIN_IDS.names:
        return CITYSCAPES_TRAIN_IDS
    return LabelTable(model, ordered, tuple(_colour(index) for index in range(len(ordered))))


def _colour(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_RATIO % 1, 0.5 + 0.5 * (index % 3) / 2, 1 - 0.25 * (index // 3 % 3))
    return round(255 * red), round(255 * green), round(255 * blue)


def _locate(model: str) -> str:
    """The folder of the model, if `model` is its path or its name in the weights mirror; else `model`, a name on the hub."""
    mirror = os.environ.get("FSV2V_WEIGHTS_MIRROR")
    for folder in (Path(model), *([Path(mirror) / model] if mirror else [])):
        if (folder / "config.json").is_file():
            return str(folder)
    return model


def _load(location: str, model: str) -> Any:
    from transformers import AutoModelForSemanticSegmentation

    try:
        with _quiet():
            return AutoModelForSemanticSegmentation.from_pretrained(location, use_safetensors=True)
    except (OSError, ValueError) as error:
        if Path(location).is_dir():
            raise UsageError(f"{location} is not a SegFormer that can be read: {str(error).splitlines()[0]}") from error
        raise MissingRequirement(
            f"The model {model} is not on this machine and cannot be fetched",
            code="segformer-missing",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars, hints and retries of transformers and its hub."""
    import huggingface_hub.utils
    import transformers.utils

    library: Any = transformers.utils.logging  # without types
    hub: Any = huggingface_hub.utils.logging
    verbosity, hub_verbosity = library.get_verbosity(), hub.get_verbosity()
    library.set_verbosity_error()
    hub.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        hub.set_verbosity(hub_verbosity)
        library.enable_progress_bar()


def _digest(location: str) -> str:
    """sha256 over the weights in a folder; "" for a model of the hub."""
    files = sorted(Path(location).glob("*.safetensors")) if Path(location).is_dir() else []
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest() if files else ""


def _open(device: str) -> LabellerOpener:
    return lambda model: SegformerLabels(model or DEFAULT_MODELS["segformer"], device)


BACKEND = Backend(
    name="segformer",
    produces="the labels of a SegFormer checkpoint, by default Cityscapes' 19; fetches it on first use",
    open=_open,
    packages=(Package("transformers", "'fsv2v[segformer]'"),),
)
