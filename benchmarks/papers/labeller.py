"""Labels the pixels of results to measure pixel accuracy and mean intersection over union, as in table 1 of few-shot vid2vid for streets.

The labelling network is trained here on real frames, either of the training subjects of the methods or, better, of other subjects. It sees
no results and no held-out subjects. Its score on the real frames of the held-out subjects is reported beside the results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from stages.clip import Clip
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.models.dense import load_dense, save_dense
from stages.networks.common.images import image_tensor
from stages.networks.dense import DenseConfig, DenseNet
from stages.networks.features.squeezenet import WEIGHTS
from stages.train.config import Phase, TrainConfig
from stages.train.data import Dataset
from weights import registry

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from dense_training import FitOptions, fit

Image = NDArray[np.uint8]
VOID = 255
ENLARGED = 2
"""Factor by which images are enlarged, because limbs are thin."""
BATCH = 8


def train(data: Path, config: TrainConfig, steps: int, out: Path) -> Path:
    """Train the labelling network on the dataset `data`, at the size and with the labels of `config`, unless the file `out` has it already.

    A stopped training is resumed. A file that was trained with other settings is replaced. Returns `out`.
    """
    wanted = {"clips": (data / "clips.ndjson").read_text(), "steps": steps, "size": list(config.generator.size)}
    if out.exists() and load_dense(out, "cpu")[1]["recipe"] == wanted:
        return out
    torch.manual_seed(0)
    network = DenseNet(DenseConfig(config.generator.semantic_channels, stride=2, width=96))
    network.initialise_from(load_file(registry.path(WEIGHTS)))
    dataset, plain = Dataset(data, "segment", "train"), replace(config, seed=0)
    state = out.with_suffix(".state")
    if not state.exists() or json.loads(out.with_suffix(".json").read_text()) != wanted:
        state.unlink(missing_ok=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_suffix(".json").write_text(json.dumps(wanted))

    def batch(step: int) -> tuple[Tensor, Tensor]:
        samples = dataset.batch(plain, step, Phase(1, batch=BATCH), examples=1)
        frame = samples.frame(0)
        return _enlarge(frame.required_image), label_ids(frame.semantic)

    def loss(outputs: Tensor, ids: Tensor) -> Tensor:
        sized = F.interpolate(outputs, size=ids.shape[-2:], mode="bilinear", align_corners=False)
        return F.cross_entropy(sized, ids, label_weights(ids, sized.shape[1]), ignore_index=VOID)

    save_dense(out, fit(network, batch, loss, FitOptions(steps, warm_up=min(100, steps // 4)), state), {"recipe": wanted})
    return out


def label_weights(ids: Tensor, labels: int) -> Tensor:
    """The weight of each label in the loss: the inverse square root of its number of pixels.

    Without weights, arms, legs and shoes, each with 1 % of the pixels, are not learned at all.
    """
    return torch.bincount(ids[ids != VOID], minlength=labels).clamp(min=1).rsqrt()


class Labeller:
    """frame, uint8 [H, W, 3] -> the label of each pixel, int64 [H, W]."""

    def __init__(self, weights: Path, device: str) -> None:
        self.network, _ = load_dense(weights, device)
        self.device = next(self.network.parameters()).device

    @torch.inference_mode()
    def __call__(self, frame: Image) -> NDArray[np.int64]:
        image = _enlarge(image_tensor(frame[None])).to(self.device)
        scores = F.interpolate(self.network(image), size=frame.shape[:2], mode="bilinear", align_corners=False)
        return np.asarray(scores[0].argmax(0).cpu().numpy())


def scores(labeller: Labeller, pairs: Sequence[tuple[Iterable[Image], Clip]]) -> dict[str, float]:
    """label-accuracy and label-miou in [0, 1] over the pixels of all frames. pairs: (frames, the clip with their true labels)."""
    confusion = sum(_confusion(labeller, frames, reference) for frames, reference in pairs)
    assert isinstance(confusion, np.ndarray)
    return accuracy_and_iou(confusion)


def _confusion(labeller: Labeller, frames: Iterable[Image], reference: Clip) -> NDArray[np.int64]:
    track = open_track(reference, "segment")
    confusion = np.zeros((track.channels, track.channels), np.int64)
    for index, frame in enumerate(frames):
        view = View.scaled(reference.height, reference.width, *frame.shape[:2])
        truth = label_ids(torch.from_numpy(track.semantic(index, view))[None])[0].numpy()
        confusion += confusion_of(truth, labeller(frame), track.channels)
    return confusion


def confusion_of(truth: NDArray[np.int64], predicted: NDArray[np.int64], labels: int) -> NDArray[np.int64]:
    """Number of pixels [labels, labels] by true label and predicted label, without those whose true label is VOID."""
    known = truth != VOID
    return np.bincount(truth[known] * labels + predicted[known], minlength=labels**2).reshape(labels, labels)


def accuracy_and_iou(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Share of correct pixels, and the mean intersection over union of the labels that occur in the truth."""
    correct = np.diag(confusion)
    present = confusion.sum(1) > 0
    union = confusion.sum(0) + confusion.sum(1) - correct
    return {"label-accuracy": float(correct.sum() / confusion.sum()), "label-miou": float((correct[present] / union[present]).mean())}


def label_ids(semantics: Tensor) -> Tensor:
    """One-hot [B, L, H, W] -> ids [B, H, W], VOID where no label is set."""
    return torch.where(semantics.amax(1) > 0.5, semantics.argmax(1), VOID)


def _enlarge(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=ENLARGED, mode="bilinear", align_corners=False)
