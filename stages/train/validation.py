"""Validation: figures of a model on a few windows of held-out subjects, which are the same throughout a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.images import image_array
from stages.networks.common.objective import PerceptualDistance
from stages.train.batch import Batch
from stages.train.config import Phase, TrainConfig
from stages.train.data import Dataset

WINDOWS, SCORED_FRAMES = 12, 2
"""Number of windows, and number of frames at the end of each window that are compared with the truth."""


class Validation:
    """Computes the figures of a generator.

    The windows are drawn once, with a fixed seed and without augmentation, so that figures of runs on a dataset can be compared if the
    lengths and sizes of their windows are equal. The frames are made from one example, after a rollout if the recipe has one. Label maps
    are predicted from observed ones, as far ahead as the longest window of the recipe.
    """

    def __init__(
        self, data: Dataset, config: TrainConfig, device: torch.device, perceptual: PerceptualDistance | None, scale: float = 1.0
    ) -> None:
        """scale: the size of the frames relative to that of the generator, as in `Phase`."""
        self.labels = config.generator.makes_labels
        frames = max(config.max_generated_frames, SCORED_FRAMES) if self.labels else config.max_rollout + SCORED_FRAMES
        plain = replace(config, jitter=0.0, far_examples=0.0, max_examples=1, seed=0, max_stride=1, real_past=float(self.labels))
        self.windows = data.batch(plain, 0, Phase(1, frames=frames, batch=WINDOWS, scale=scale)).parts(WINDOWS)
        self.device, self.perceptual = device, perceptual

    @torch.no_grad()
    def __call__(self, generator: Generator, bfloat16: bool) -> dict[str, float]:
        """Name -> mean over all frames: psnr (dB), ssim, and perceptual if there is such a distance. For label maps: accuracy and miou
        (mean intersection over union).

        "repeat_..." are the figures of repeating the example, or the last observed label map, instead of generating frames.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            frames = torch.cat([_generate(generator, window.to(self.device))[-SCORED_FRAMES:].cpu() for window in self.windows])
        truth = torch.cat([window.frames.required_image[0, -SCORED_FRAMES:] for window in self.windows])
        if self.labels:
            last_observed = [window.frame(window.real_frames - 1).semantic for window in self.windows]
            observed = torch.cat([maps.expand(SCORED_FRAMES, -1, -1, -1) for maps in last_observed])
            return _with_baseline(_label_figures(frames, truth), _label_figures(observed, truth))
        repeated = torch.cat([window.examples.required_image[0].expand(SCORED_FRAMES, -1, -1, -1) for window in self.windows])
        return _with_baseline(self._figures(frames, truth), self._figures(repeated, truth))

    def _figures(self, frames: Tensor, truth: Tensor) -> dict[str, float]:
        """The figures of images [N, 3, H, W]."""
        pairs = list(zip(image_array(frames), image_array(truth), strict=True))
        errors = [np.square(frame.astype(np.float64) - true).mean() for frame, true in pairs]
        figures = {
            "psnr": float(np.mean([10 * np.log10(255**2 / max(error, 1e-9)) for error in errors])),
            "ssim": float(np.mean([structural_similarity(frame, true, channel_axis=-1) for frame, true in pairs])),
        }
        if self.perceptual is not None:
            tensors = zip(frames.split(1), truth.split(1), strict=True)
            distances = [self.perceptual(frame.to(self.device), true.to(self.device)).item() for frame, true in tensors]
            figures["perceptual"] = float(np.mean(distances))
        return {name: round(value, 5) for name, value in figures.items()}


def _with_baseline(figures: dict[str, float], repeated: dict[str, float]) -> dict[str, float]:
    return {**figures, **{f"repeat_{name}": value for name, value in repeated.items()}}


def _label_figures(maps: Tensor, truth: Tensor) -> dict[str, float]:
    """The figures of label maps [N, S, H, W]; the truth is one-hot. Void pixels are ignored, and so are labels that occur in neither."""
    labels = truth.shape[1]
    known = truth.any(1).flatten()
    pairs = truth.argmax(1).flatten()[known] * labels + maps.argmax(1).flatten()[known]
    confusion = torch.bincount(pairs, minlength=labels**2).reshape(labels, labels).double()
    intersection, union = confusion.diag(), confusion.sum(0) + confusion.sum(1) - confusion.diag()
    figures = {"accuracy": intersection.sum() / confusion.sum().clamp(min=1), "miou": (intersection / union)[union > 0].mean()}
    return {name: round(float(value), 5) for name, value in figures.items()}


def _generate(generator: Generator, window: Batch) -> Tensor:
    """The frames generated for a batch of one window, [T, 3, H, W], or label maps [T, S, H, W]; T does not count the real frames."""
    code = generator.encode_examples(window.examples)
    past: Frame | None = None
    frames = []
    for t in range(window.real_frames):
        image = window.frame(t).required_image
        past = generator.remember(window.frame(t), Synthesis(image, image), past)
    for t in range(window.real_frames, window.num_frames):
        frame, past = generator.step(code, window.frame(t), past)
        frames.append(frame[0].float())
    return torch.stack(frames)
