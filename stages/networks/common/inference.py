"""The inference form of a generator: the same frames with less work, and in half precision where that is safe.

    renderer = Renderer(generator, Speed(precision="auto"))
    code = renderer.encode_examples(examples)                   # once per clip
    frame, past = renderer.step(code, driving, past)            # once per frame

What does not depend on the driving frame is in the code (see generator.py). Here the weights themselves are prepared once: spectral
norms are folded in, convolutions of doubled images become transposed ones, all in the memory format that the device likes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SATURATED_SHARE = 0.75
"""A frame with more than this share of its values at black or white is taken for a failure of half precision."""


@dataclass(frozen=True)
class Speed:
    """How a generator is run; `channels_last` changes nothing but the time, the others nothing that can be seen.

    precision: auto is bf16 where the device computes in it, else fp32. compile: torch.compile, which costs a minute at the first frame.
    cuda_graphs: with `compile`, on CUDA: replay instead of launch.
    """

    precision: Precision = "auto"
    channels_last: bool = True
    compile: bool = False
    cuda_graphs: bool = False


class Renderer:
    """A generator prepared for making frames, under the interface of `Generator`.

    generator: on its device, in evaluation mode; it is left as it is. `fallbacks` counts the frames that half precision spoilt (not
    finite, or saturated) and that were made again in fp32.
    """

    def __init__(self, generator: Generator, speed: Speed | None = None) -> None:
        speed = speed or Speed()
        self.device = next(generator.parameters()).device
        self.precision = _resolve(speed.precision, self.device)
        self.fallbacks = 0
        self._source, self._speed = generator, speed
        self._fast = prepared(generator, _DTYPES[self.precision], channels_last=speed.channels_last)
        self._make: Any = self._images
        if speed.compile:
            self._make = torch.compile(self._images, mode="reduce-overhead" if speed.cuda_graphs else None)
        self._exact_code: tuple[Any, Any] | None = None

    @torch.inference_mode()
    def encode_examples(self, examples: Frame | None) -> Any:
        """As the generator's, in this renderer's precision."""
        return self._fast.encode_examples(None if examples is None else self._in_precision(examples))

    @torch.inference_mode()
    def choose(self, code: Any, indices: Sequence[int]) -> Any:
        """As the generator's."""
        return self._fast.choose(code, indices)

    @torch.inference_mode()
    def step(self, code: Any, driving: Frame, past: Frame | None = None) -> tuple[Tensor, Frame]:
        """As the generator's: the next frame [B, 3, H, W], float32, and the past for the step after it."""
        if self._source.config.makes_labels:  # its past depends on the flow, too
            labels = self.synthesize(code, driving, past)
            return labels.frame, self.remember(driving, labels, past)
        made = Synthesis(**self._make(code, self._in_precision(driving), None if past is None else self._in_precision(past)))
        if self.precision != "fp32" and degenerate(made.frame, made.raw):
            self.fallbacks += 1
            made = self._made_exactly(code, driving, past)
        coarser, state = (tuple(tensor.clone() for tensor in tensors) for tensors in (made.coarser, made.state))
        kept = replace(made, frame=made.frame.clone(), coarser=coarser, state=state)
        return made.frame, self.remember(driving if self._source.config.appearance else driving.packed(), kept, past)

    def remember(self, driving: Frame, made: Synthesis, past: Frame | None) -> Frame:
        """As the generator's."""
        return self._source.remember(driving, made, past)

    def follow(self, numbers: Tensor, made: Synthesis, past: Frame) -> Tensor:
        """As the generator's."""
        return self._source.follow(numbers, made, past)

    @torch.inference_mode()
    def synthesize(self, code: Any, driving: Frame, past: Frame | None = None) -> Synthesis:
        """As the generator's: the next frame with every part of it, to look at. Never compiled."""
        made = self._fast.synthesize(code, self._in_precision(driving), None if past is None else self._in_precision(past))
        if self.precision != "fp32" and degenerate(made.frame, made.raw):
            self.fallbacks += 1
            made = self._made_exactly(code, driving, past)
        return made

    def _in_precision(self, frame: Frame) -> Frame:
        return frame.cast(_DTYPES[self.precision])

    def _images(self, code: Any, driving: Frame, past: Frame | None) -> dict[str, Any]:
        made = self._fast.synthesize(code, driving, past)
        return {"frame": made.frame, "raw": made.raw, "coarser": made.coarser, "state": made.state}

    def _made_exactly(self, code: Any, driving: Frame, past: Frame | None) -> Synthesis:
        return self._exact.synthesize(self._exact_code_of(code), driving, None if past is None else past.cast(torch.float32))

    def _exact_code_of(self, code: Any) -> Any:
        """The same examples encoded in fp32; the last one is kept."""
        if self._exact_code is None or self._exact_code[0] is not code:
            examples = None if code.examples is None else code.examples.cast(torch.float32)
            self._exact_code = code, self._exact.encode_examples(examples)
        return self._exact_code[1]

    @cached_property
    def _exact(self) -> Generator:
        return prepared(self._source, torch.float32, channels_last=self._speed.channels_last)


def prepared(generator: Generator, dtype: torch.dtype, *, channels_last: bool) -> Generator:
    """A copy of `generator` for inference: norms folded, doublings folded, in `dtype`. It cannot be trained or saved."""
    fast = copy.deepcopy(generator)
    for module in fast.modules():
        if parametrize.is_parametrized(module, "weight"):
            _fold_norm(module)
    fast.eval().requires_grad_(False)
    for module in fast.modules():  # a module comes before its own layers, and may fold them in its own way
        if callable(fold := getattr(module, "fold", None)):
            fold()
        for weight in module.parameters(recurse=False):  # one by one: folded weights are larger, and all of them in fp32 may not fit
            weight.data = weight.data.to(dtype)
    fast.to(dtype)
    return fast.to(memory_format=torch.channels_last) if channels_last else fast  # type: ignore[call-overload]


def _fold_norm(module: nn.Module) -> None:
    """The weight as its parametrization makes it. `remove_parametrizations` would change the class, which a copy shares."""
    assert isinstance(module.weight, Tensor)
    weight = module.weight.detach().clone()
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    module.weight = nn.Parameter(weight)


def degenerate(frame: Tensor, raw: Tensor) -> bool:
    """Whether a frame [B, 3, H, W] is not finite, or what H made of it is saturated nearly everywhere."""
    return not bool(torch.isfinite(frame).all()) or bool((raw.abs() > 0.999).float().mean() > SATURATED_SHARE)


def _resolve(precision: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # without them bf16 would be slower than fp32
    return "bf16" if device.type == "cpu" and has_instructions() else "fp32"
