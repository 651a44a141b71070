"""Random input for a model and for its exported networks, whose frames are then compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator
from stages.networks.fewshot.generator import FewShotGenerator

NUM_FRAMES = 3
COARSE_SIZE = 8
"""Random images are smooth: they are enlarged from this size."""
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class SampleInput:
    """Examples [1, K, ...] and driving frames. The frames have images, too: one of them serves as the past when a step is traced."""

    examples: Frame
    frames: tuple[Frame, ...]

    @classmethod
    def create(cls, generator: Generator, num_examples: int) -> SampleInput:
        """Input that depends only on the shapes. Keypoints move by a few pixels from frame to frame, and the first one is unknown."""
        assert isinstance(generator, FewShotGenerator)
        random = torch.Generator().manual_seed(0)
        height, width = generator.config.size
        candidates = generator.flow.candidates
        count = 0 if candidates is None else candidates.points
        positions = (0.2 + 0.6 * torch.rand(count, 2, generator=random)) * torch.tensor([width, height])

        def frame() -> Frame:
            semantic = (_smooth_image(random, generator.config.semantic_channels, height, width) > 0.6).float()
            moved = positions + torch.randn(count, 2, generator=random) * 0.02 * height
            keypoints = torch.cat([moved, torch.ones(count, 1)], 1)
            keypoints[:1, 2] = 0
            return Frame(semantic[None], keypoints[None], _smooth_image(random, 3, height, width)[None] * 2 - 1)

        examples = [frame() for _ in range(num_examples)]
        semantic, keypoints, image = zip(*((each.semantic, each.keypoints, each.required_image) for each in examples), strict=True)
        stacked = Frame(torch.stack(semantic, 1), torch.stack(keypoints, 1), torch.stack(image, 1))
        return cls(stacked, tuple(frame() for _ in range(NUM_FRAMES)))

    @torch.no_grad()
    def run_model(self, generator: Generator) -> Iterator[Tensor]:
        """The frames [1, 3, H, W] that the model makes."""
        code, past = generator.encode_examples(self.examples), None
        for driving in self.frames:
            image, past = generator.step(code, replace(driving, image=None), past)
            yield image

    def run_networks(self, folder: Path) -> Iterator[Tensor]:
        """The frames that the exported networks make in onnxruntime."""
        encoder, first, following = (_open(folder / f"{name}.onnx") for name in ("encoder", "first", "next"))
        code, past = run_network(encoder, frame_arrays(self.examples, "examples")), Arrays()
        for driving in self.frames:
            image = run_network(following if past else first, {**code, **frame_arrays(driving, "frame"), **past})["image"]
            past = frame_arrays(replace(driving, image=torch.from_numpy(image)), "past")
            yield torch.from_numpy(image)


def psnr(image: Tensor, reference: Tensor) -> float:
    """In dB, of images in [-1, 1]."""
    return float(10 * torch.log10(4 / (image - reference).square().mean().clamp(min=1e-20)))


def frame_arrays(frame: Frame, name: str) -> Arrays:
    """The tensors of a frame with its image, by their names in a network. name: the part before the dot."""
    return {f"{name}.{part}": getattr(frame, part).numpy() for part in ("semantic", "keypoints", "image")}


def run_network(session: Any, arrays: Arrays) -> Arrays:
    """The outputs of a network, by name. session: an `InferenceSession`. arrays: its inputs; others are ignored."""
    outputs = session.run(None, select_inputs(session, arrays))
    return dict(zip([tensor.name for tensor in session.get_outputs()], outputs, strict=True))


def select_inputs(session: Any, arrays: Arrays) -> Arrays:
    """Those of the arrays that are inputs of a network."""
    return {tensor.name: arrays[tensor.name] for tensor in session.get_inputs()}


def _smooth_image(random: torch.Generator, channels: int, height: int, width: int) -> Tensor:
    """[channels, height, width] in [0, 1]."""
    small = torch.rand(1, channels, COARSE_SIZE, COARSE_SIZE, generator=random)
    return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[0]


def _open(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
