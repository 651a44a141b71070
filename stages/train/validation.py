"""How good a run is: the same few windows of held-out people, judged again and again."""

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

WINDOWS, JUDGED = 12, 2
"""Number of windows, and of frames judged at the end of each; these are made from one example, after a rollout if the recipe has one. Label
maps are predicted from observed ones, as far ahead as the recipe's longest window."""


class Validation:
    """The windows are drawn once, with a seed of their own and without augmentation: figures of all runs on a data set can be compared."""

    def __init__(self, data: Dataset, config: TrainConfig, device: torch.device, perceptual: PerceptualDistance | None) -> None:
        self.labels = config.generator.makes_labels
        frames = max(config.longest, JUDGED) if self.labels else config.rollout + JUDGED
        plain = replace(config, jitter=0.0, far_examples=0.0, max_examples=1, seed=0, most_stride=1, given=float(self.labels))
        self.windows = data.batch(plain, 0, Phase(1, frames=frames, batch=WINDOWS)).parts(WINDOWS)
        self.device, self.perceptual = device, perceptual

    @torch.no_grad()
    def __call__(self, generator: Generator, bfloat16: bool) -> dict[str, float]:
        """Means over all frames: psnr (dB), ssim, and perceptual where there is a feature network; each again as "repeat_...", the
        figure of showing the example in place of every frame.

        Of label maps: accuracy and miou (mean intersection over union); "repeat_..." is then the last observed map.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            made = [_frames(generator, window.to(self.device))[-JUDGED:].cpu() for window in self.windows]
        truth = torch.cat([window.frames.required_image[0, -JUDGED:] for window in self.windows])
        if self.labels:
            observed = torch.cat([window.frames.semantic[0, [window.given - 1] * JUDGED] for window in self.windows])
            return _named(_label_figures(torch.cat(made), truth), _label_figures(observed, truth))
        repeated = torch.cat([window.examples.required_image[0].expand(JUDGED, -1, -1, -1) for window in self.windows])
        return _named(self._figures(torch.cat(made), truth), self._figures(repeated, truth))

    def _figures(self, made: Tensor, truth: Tensor) -> dict[str, float]:
        pairs = list(zip(image_array(made), image_array(truth), strict=True))
        errors = [np.square(ours.astype(np.float64) - theirs).mean() for ours, theirs in pairs]
        figures = {
            "psnr": float(np.mean([10 * np.log10(255**2 / max(error, 1e-9)) for error in errors])),
            "ssim": float(np.mean([structural_similarity(ours, theirs, channel_axis=-1) for ours, theirs in pairs])),
        }
        if self.perceptual is not None:
            both = zip(made.split(1), truth.split(1), strict=True)
            distances = [self.perceptual(ours.to(self.device), theirs.to(self.device)).item() for ours, theirs in both]
            figures["perceptual"] = float(np.mean(distances))
        return {name: round(value, 5) for name, value in figures.items()}


def _named(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, float]:
    return {**ours, **{f"repeat_{name}": value for name, value in theirs.items()}}


def _label_figures(made: Tensor, truth: Tensor) -> dict[str, float]:
    """Of label maps [N, S, H, W], the truth one-hot. Void pixels count for nothing; labels that neither has are left out of the mean."""
    labels = truth.shape[1]
    known = truth.any(1).flatten()
    pairs = truth.argmax(1).flatten()[known] * labels + made.argmax(1).flatten()[known]
    confusion = torch.bincount(pairs, minlength=labels**2).reshape(labels, labels).double()
    right, either = confusion.diag(), confusion.sum(0) + confusion.sum(1) - confusion.diag()
    figures = {"accuracy": right.sum() / confusion.sum().clamp(min=1), "miou": (right / either)[either > 0].mean()}
    return {name: round(float(value), 5) for name, value in figures.items()}


def _frames(generator: Generator, window: Batch) -> Tensor:
    """The frames that the generator makes for a batch of one window, [T, 3, H, W], or label maps [T, S, H, W]; without given ones."""
    code = generator.encode_examples(window.examples)
    past: Frame | None = None
    frames = []
    for t in range(window.given):
        image = window.frame(t).required_image
        past = generator.remember(window.frame(t), Synthesis(image, image), past)
    for t in range(window.given, window.num_frames):
        frame, past = generator.step(code, window.frame(t), past)
        frames.append(frame[0].float())
    return torch.stack(frames)
