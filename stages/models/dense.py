"""Files of the small networks for dense prediction (`stages.networks.dense`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from stages.compute.devices import choose_device
from stages.errors import READ_ERRORS, InputError
from stages.io.files import write_atomically
from stages.io.reading import parse_object
from stages.networks.dense import DenseConfig, DenseNet

HEADER = "fsv2v.dense"
SCHEMA = "fsv2v.dense/1"


def save_dense(path: Path, network: DenseNet, info: Mapping[str, Any]) -> None:
    """Write the network atomically, as float16. info: the meaning of its outputs, and how it was trained."""
    floats = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    tensors = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in floats.items()}
    header = {**info, "schema": SCHEMA, "network": asdict(network.config)}
    write_atomically(path, save(tensors, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def load_dense(path: Path, device: str = "auto") -> tuple[DenseNet, dict[str, Any]]:
    """The network in evaluation mode on the device, and its info. Raises InputError when `save_dense` has not written the file."""
    try:
        with safe_open(path, framework="pt") as file:
            info = parse_object((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, *READ_ERRORS) as error:
        raise InputError(f"{path} is not the file of a small network of fsv2v", hint="Fetch or train it again") from error
    if info.get("schema") != SCHEMA:
        raise InputError(f"{path} has the format {info.get('schema')}, this version reads {SCHEMA}", hint="Update fsv2v")
    try:
        network = DenseNet(DenseConfig(**info["network"]))
        counters = {name: value for name, value in network.state_dict().items() if not value.is_floating_point()}  # not stored in the file
        network.load_state_dict(tensors | counters)
    except READ_ERRORS as error:
        raise InputError(f"{path} does not fit the network that it names", hint="Fetch or train it again") from error
    return channels_last(network.eval().requires_grad_(False).to(choose_device(device))), info


def channels_last(network: DenseNet) -> DenseNet:
    """The network with weights in the memory order in which convolutions are fastest on CPUs."""
    converted: DenseNet = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted
