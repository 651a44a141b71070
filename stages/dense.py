"""Files of the small dense networks, and the loop that trains one. See `stages.networks.dense`."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.devices import choose_device
from stages.errors import DAMAGED, InputError
from stages.files import write_atomically
from stages.networks.dense import DenseConfig, DenseNet
from stages.reading import parse_object
from stages.streaming import beside

HEADER = "fsv2v.dense"
SCHEMA = "fsv2v.dense/1"

log = logging.getLogger(__name__)


def save_dense(path: Path, network: DenseNet, info: Mapping[str, Any]) -> None:
    """Write the network atomically, as float16. info: what its outputs mean, and how it was trained."""
    floats = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    tensors = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in floats.items()}
    header = {**info, "schema": SCHEMA, "network": asdict(network.config)}
    write_atomically(path, save(tensors, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def load_dense(path: Path, device: str = "auto") -> tuple[DenseNet, dict[str, Any]]:
    """The network in evaluation mode on the device, and its info. InputError when the file is not one of `save_dense`'s."""
    try:
        with safe_open(path, framework="pt") as file:
            info = parse_object((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, *DAMAGED) as error:
        raise InputError(f"{path} is not the file of a small network of fsv2v", hint="fetch or train it again") from error
    if info.get("schema") != SCHEMA:
        raise InputError(f"{path} has the format {info.get('schema')}, this version reads {SCHEMA}", hint="update fsv2v")
    try:
        network = DenseNet(DenseConfig(**info["network"]))
        counters = {name: value for name, value in network.state_dict().items() if not value.is_floating_point()}  # are not in the file
        network.load_state_dict(tensors | counters)
    except DAMAGED as error:
        raise InputError(f"{path} does not fit the network that it names", hint="fetch or train it again") from error
    return _channels_last(network.eval().requires_grad_(False).to(choose_device(device))), info


def _channels_last(network: DenseNet) -> DenseNet:
    moved: DenseNet = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def relit(image: NDArray[Any], random: np.random.Generator) -> NDArray[np.uint8]:
    """Another light: contrast, brightness, saturation and tint."""
    value = image.astype(np.float32)
    grey = value.mean(axis=2, keepdims=True)
    value = grey + (value - grey) * random.uniform(0.5, 1.5)
    value = (value - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-30, 30) + random.uniform(-10, 10, 3)
    return np.asarray(np.clip(value, 0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class Fit:
    """How a small network is trained. encoder_rate: the learning rate of the pretrained part, as a share of `rate`."""

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
    recipe: Fit,
    state_file: Path,
) -> DenseNet:
    """Train on `batch(step)` = (images, what `loss(outputs, ...)` wants besides) and return the average of the weights over time.

    The state is saved every few minutes; the same call again goes on from there.
    """
    encoder = list(network.features.parameters())
    rest = [parameter for name, parameter in network.named_parameters() if not name.startswith("features.")]
    groups = [{"params": encoder, "lr": recipe.rate * recipe.encoder_rate}, {"params": rest, "lr": recipe.rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
    average = copy.deepcopy(network).requires_grad_(False)
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    _channels_last(network.train())
    saved, seen = time.monotonic(), 0.0
    for step, (images, *targets) in beside(batch, range(first, recipe.steps)):
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(images.contiguous(memory_format=torch.channels_last))
        value = loss(outputs.float(), *targets)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        _follow(average, network, min(recipe.average, (1 + step) / (10 + step)))
        seen += float(value.detach())
        if (step + 1) % 50 == 0:
            log.info("step %d loss %.4f", step + 1, seen / 50)
            seen = 0.0
        if time.monotonic() - saved > recipe.save_seconds or step + 1 == recipe.steps:
            state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            partial = state_file.with_suffix(".partial")
            torch.save({**state, "schedule": schedule.state_dict(), "step": step + 1}, partial)
            partial.replace(state_file)
            saved = time.monotonic()
    return average.eval()


def _rate(step: int, recipe: Fit) -> float:
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))


def _follow(average: DenseNet, network: DenseNet, keep: float) -> None:
    with torch.no_grad():
        for ours, theirs in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 1 - keep)
            else:
                ours.copy_(theirs)
