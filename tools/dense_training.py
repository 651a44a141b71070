"""The training loop of the small dense networks (see `stages.networks.dense`), and the colour jitter of their images."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.compute.streaming import map_in_thread
from stages.models.dense import channels_last
from stages.networks.dense import DenseNet

log = logging.getLogger(__name__)


def color_jitter(image: NDArray[Any], random: np.random.Generator) -> NDArray[np.uint8]:
    """Random contrast, brightness, saturation and tint."""
    values = image.astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * random.uniform(0.5, 1.5)
    values = (values - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-30, 30) + random.uniform(-10, 10, 3)
    return np.asarray(np.clip(values, 0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    steps: number of steps; rate: largest learning rate; encoder_rate: that of the pretrained encoder, as a factor of `rate`; decay: weight
    decay; warm_up: steps in which the rate rises; average: decay of the moving average of the weights; save_seconds: seconds between two
    saved states.
    """

    steps: int
    rate: float = 1e-3
    encoder_rate: float = 0.2
    decay: float = 1e-4
    warm_up: int = 100
    average: float = 0.998
    save_seconds: float = 180.0


def fit(
    network: DenseNet,
    batch: Callable[[int], tuple[Tensor, ...]],
    loss: Callable[..., Tensor],
    options: FitOptions,
    state_file: Path,
) -> DenseNet:
    """Train a network and return the exponential moving average of its weights.

    batch: step -> (images, further arguments of `loss` after the outputs). The state is saved every few minutes; the same call resumes
    from it.
    """
    encoder = list(network.features.parameters())
    rest = [parameter for name, parameter in network.named_parameters() if not name.startswith("features.")]
    groups = [{"params": encoder, "lr": options.rate * options.encoder_rate}, {"params": rest, "lr": options.rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=options.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, options))
    average = copy.deepcopy(network).requires_grad_(False)
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    channels_last(network.train())
    saved, total_loss = time.monotonic(), 0.0
    for step, (images, *targets) in map_in_thread(batch, range(first, options.steps)):
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(images.contiguous(memory_format=torch.channels_last))
        value = loss(outputs.float(), *targets)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        _update_average(average, network, min(options.average, (1 + step) / (10 + step)))
        total_loss += float(value.detach())
        if (step + 1) % 50 == 0:
            log.info("step %d loss %.4f", step + 1, total_loss / 50)
            total_loss = 0.0
        if time.monotonic() - saved > options.save_seconds or step + 1 == options.steps:
            state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            partial = state_file.with_suffix(".partial")
            torch.save({**state, "schedule": schedule.state_dict(), "step": step + 1}, partial)
            partial.replace(state_file)
            saved = time.monotonic()
    return average.eval()


def _rate(step: int, options: FitOptions) -> float:
    """The learning rate of a step, as a factor of the largest: a linear warm-up, then a cosine."""
    if step < options.warm_up:
        return (step + 1) / options.warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / options.steps)))


def _update_average(average: DenseNet, network: DenseNet, decay: float) -> None:
    with torch.no_grad():
        for mean, current in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(current, 1 - decay)
            else:
                mean.copy_(current)
