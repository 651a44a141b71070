"""A few frames that the exported networks and the model make, to be compared."""

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

FRAMES = 3
COARSE = 8
"""The drawn images are smooth: enlarged from this number of pixels."""


@dataclass(frozen=True)
class Trial:
    """Drawn examples [1, K, ...] and driving frames, with images in [-1, 1] for the past of a step that is traced."""

    examples: Frame
    frames: tuple[Frame, ...]

    @classmethod
    def of(cls, generator: Generator, num_examples: int) -> Trial:
        """The same for the same shapes. Keypoints move by a few pixels from frame to frame, and one of them is unknown."""
        draw = torch.Generator().manual_seed(0)
        config = generator.config
        height, width = config.size
        candidates = generator.flow.candidates if isinstance(generator, FewShotGenerator) else None
        count = 0 if candidates is None else candidates.points
        places = (0.2 + 0.6 * torch.rand(count, 2, generator=draw)) * torch.tensor([width, height])

        def frame() -> Frame:
            semantic = (_smooth(draw, config.semantic_channels, height, width) > 0.6).float()
            moved = places + torch.randn(count, 2, generator=draw) * 0.02 * height
            keypoints = torch.cat([moved, torch.ones(count, 1)], 1)
            keypoints[:1, 2] = 0
            return Frame(semantic[None], keypoints[None], _smooth(draw, 3, height, width)[None] * 2 - 1)

        shown = [frame() for _ in range(num_examples)]
        semantic, keypoints, image = zip(*((frame.semantic, frame.keypoints, frame.required_image) for frame in shown), strict=True)
        examples = Frame(torch.stack(semantic, 1), torch.stack(keypoints, 1), torch.stack(image, 1))
        return cls(examples, tuple(frame() for _ in range(FRAMES)))

    @torch.no_grad()
    def expected(self, generator: Generator) -> Iterator[Tensor]:
        """The frames [1, 3, H, W] as the model makes them."""
        code, past = generator.encode_examples(self.examples), None
        for driving in self.frames:
            image, past = generator.step(code, replace(driving, image=None), past)
            yield image

    def run(self, folder: Path) -> Iterator[Tensor]:
        """The frames as the exported networks make them, in onnxruntime."""
        encoder, first, following = (_open(folder / f"{name}.onnx") for name in ("encoder", "first", "next"))
        names = [output.name for output in encoder.get_outputs()]
        code = dict(zip(names, encoder.run(None, fed(encoder, arrays(self.examples, "examples"))), strict=True))
        past: dict[str, NDArray[np.float32]] = {}
        for driving in self.frames:
            step = following if past else first
            (image,) = step.run(None, fed(step, {**code, **arrays(driving, "frame"), **past}))
            past = arrays(replace(driving, image=torch.from_numpy(image)), "past")
            yield torch.from_numpy(image)


def psnr(made: Tensor, wanted: Tensor) -> float:
    """In dB, of images in [-1, 1]."""
    return float(10 * torch.log10(4 / (made - wanted).square().mean().clamp(min=1e-20)))


def arrays(frame: Frame, name: str) -> dict[str, NDArray[np.float32]]:
    """The tensors of a frame with its image, by their names in a network."""
    return {f"{name}.{part}": getattr(frame, part).numpy() for part in ("semantic", "keypoints", "image")}


def fed(network: Any, arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Those of the arrays that a network (an `InferenceSession`) takes."""
    return {tensor.name: arrays[tensor.name] for tensor in network.get_inputs()}


def _smooth(draw: torch.Generator, channels: int, height: int, width: int) -> Tensor:
    """[channels, height, width] in [0, 1]."""
    small = torch.rand(1, channels, COARSE, COARSE, generator=draw)
    return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[0]


def _open(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
