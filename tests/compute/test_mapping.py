"""Weights on disk: outputs of the network are the same, and weights take no memory until they are used."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from stages.compute import mapping
from stages.compute.mapping import move_to_disk

PROGRAM = """
import torch
from torch import nn
from stages.compute import mapping

def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024

mapping.MIN_BYTES = 1
network = nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(8)))
before = resident()
print(mapping.move_to_disk(network), before - resident() > 100)
"""


@pytest.fixture
def network(monkeypatch) -> nn.Sequential:
    monkeypatch.setattr(mapping, "MIN_BYTES", 1)
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 2, 3), nn.PReLU()).eval()


@torch.no_grad()
def test_a_network_with_weights_on_disk_has_the_same_output(network):
    image, before = torch.rand(1, 3, 9, 9), copy.deepcopy(network.state_dict())
    expected = network(image)
    assert move_to_disk(network)
    assert torch.equal(network(image), expected) and torch.equal(copy.deepcopy(network)(image), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network[0].weight.add_(1)
    assert not torch.equal(network(image), expected), "the weights can be changed"


def test_small_networks_stay_in_memory():
    network = nn.Linear(3, 3)
    address = network.weight.data_ptr()
    assert not move_to_disk(network) and network.weight.data_ptr() == address


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_on_disk_take_no_memory():
    """Eight layers of 16 MiB are 128 MiB."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_weights_stay_in_memory_if_the_disk_is_full():
    limited = PROGRAM.replace("import torch\n", "import torch, resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n", 1)
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
