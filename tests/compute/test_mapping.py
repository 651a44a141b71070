"""Weights on the disk: the network computes the same, and they take no memory until they are used."""

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
def test_a_network_whose_weights_are_on_the_disk_computes_the_same(network):
    image, before = torch.rand(1, 3, 9, 9), copy.deepcopy(network.state_dict())
    made = network(image)
    assert move_to_disk(network)
    assert torch.equal(network(image), made) and torch.equal(copy.deepcopy(network)(image), made)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network[0].weight.add_(1)
    assert not torch.equal(network(image), made), "it may be changed, as any other"


def test_small_networks_stay_in_memory():
    network = nn.Linear(3, 3)
    place = network.weight.data_ptr()
    assert not move_to_disk(network) and network.weight.data_ptr() == place


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_weights_take_no_memory():
    """Eight layers of 16 MiB are 128 MiB."""
    made = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["True", "True"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_weights_for_which_the_disk_has_no_room_stay_in_memory():
    limited = PROGRAM.replace("import torch\n", "import torch, resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n", 1)
    made = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["False", "False"]
