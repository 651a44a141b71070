"""Speed of the fast form of vid2vid at each scale, with the dimensions of the paper, on drawn label maps.

    python benchmarks/vid2vid_speed.py [--preset vid2vid-street-2048 ...] [--labels 18] [--frames 3]

The baseline is a straightforward evaluation in the same run: the network as it is trained, in the same precision (bf16). The fast form
joins the convolutions that see the same input, leaves out empty label maps, computes wide convolutions by Winograd's method, and keeps
freed memory. With --exact, the first frame is also computed in fp32. `difference` is the root mean square error of the fast form's first
frame relative to it, for images in [-1, 1], and `rounding` that of the baseline's. Goal: 1.8 times as many frames per second at 2048x1024.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from measuring import report
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stages.compute.allocator import keep_freed_memory
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.vid2vid import PRESETS, Vid2Vid, Vid2VidConfig

GOAL = 1.8
FOREGROUND = (0, 1, 2)
"""Any three labels; the cost is the same."""


def main() -> None:
    options = _options()
    networks = {name: _network(name) for name in options.preset}
    driving = {name: _draw_labels(network.config, options.labels) for name, network in networks.items()}
    plain = {name: measure(network.bfloat16(), driving[name].cast(torch.bfloat16), options.frames) for name, network in networks.items()}
    keep_freed_memory()
    rows, goals = [], {}
    for name, network in networks.items():
        fast = measure(Renderer(network.float(), InferenceOptions("bf16")), driving[name], options.frames)
        row: dict[str, float | str] = {
            "preset": name,
            "millions": sum(p.numel() for p in network.parameters()) / 1e6,
            "GMAC": _gmac(network.config),
        }
        row |= {"plain s": plain[name][0], "fast s": fast[0], "ratio": plain[name][0] / fast[0]}
        if options.exact:
            with torch.inference_mode():
                exact = network.step(network.encode_examples(None), driving[name])[0]
            row |= {"difference": _rms_error(fast[1], exact), "rounding": _rms_error(plain[name][1], exact)}
        rows.append(row)
        if name == "vid2vid-street-2048":
            ratio = plain[name][0] / fast[0]
            goals["fast form at 2048x1024"] = (ratio, GOAL, ratio >= GOAL)
    report("vid2vid_speed", rows, goals)


@torch.inference_mode()
def measure(network: Generator | Renderer, driving: Frame, frames: int) -> tuple[float, Tensor]:
    """Median seconds of a frame with a full past, and the first frame."""
    code = network.encode_examples(None)
    first, past = network.step(code, driving)
    _, past = network.step(code, driving, past)
    seconds = []
    for _ in range(frames):
        start = time.perf_counter()
        _, past = network.step(code, driving, past)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), first.float()


def _network(name: str) -> Vid2Vid:
    torch.manual_seed(0)
    config = PRESETS[name]
    return Vid2Vid(replace(config, foreground=FOREGROUND)).eval().requires_grad_(False)


def _draw_labels(config: Vid2VidConfig, labels: int) -> Frame:
    """A label map of squares with this number of labels."""
    height, width = config.size
    rng = torch.Generator().manual_seed(0)
    cells = torch.randint(labels, (1, height // 32, width // 32), generator=rng)
    ids = cells.repeat_interleave(32, 1).repeat_interleave(32, 2)
    semantic = torch.stack([(ids == label).float() for label in range(config.semantic_channels)], 1)
    return Frame(semantic, torch.zeros(1, 0, 3))


def _gmac(config: Vid2VidConfig) -> float:
    with torch.device("meta"):
        network = Vid2Vid(replace(config, foreground=FOREGROUND)).eval()
        height, width = config.size
        driving = Frame(torch.empty(1, config.semantic_channels, height, width), torch.empty(1, 0, 3))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.synthesize(network.encode_examples(None), driving, replace(driving, image=torch.empty(1, 3, height, width)))
    return counter.get_total_flops() / 2e9


def _rms_error(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [f"vid2vid-street-{width}" for width in (512, 1024, 2048)]
    parser.add_argument("--preset", nargs="+", choices=sizes, default=sizes)
    parser.add_argument("--labels", type=int, default=18, help="number of labels in the maps, of 35")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--exact", action="store_true", help="also compare with fp32; takes another minute")
    return parser.parse_args()


if __name__ == "__main__":
    main()
