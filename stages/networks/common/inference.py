"""Fast inference: a `Renderer` makes the same frames as a generator with fewer operations, and in half precision where that is safe.

    renderer = Renderer(generator, InferenceOptions(precision="auto"))
    code = renderer.encode_examples(examples)                   # once per clip
    frame, past = renderer.step(code, driving, past)            # once per frame

`code` holds everything that does not depend on the driving frame (see generator.py). The weights are prepared once: spectral norms are
folded into them, and upsampling and the convolution after it become one transposed convolution.
"""

from __future__ import annotations

import copy
import threading
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
"""If more than this share of the values of h_t is saturated, half precision is considered to have failed."""


@dataclass(frozen=True)
class InferenceOptions:
    """How a generator is run. The options change the speed; frames stay the same up to rounding errors.

    precision: auto is bf16 on CPUs with instructions for it and on GPUs that support it, fp16 on other GPUs, fp32 elsewhere.
    channels_last: the memory format. compile: use torch.compile, which takes about a minute at the first frame. cuda_graphs: with
    `compile` on CUDA, replay recorded kernels instead of launching each.
    """

    precision: Precision = "auto"
    channels_last: bool = True
    compile: bool = False
    cuda_graphs: bool = False


class Renderer:
    """A generator prepared for inference, with the same interface.

    generator: on its device, in evaluation mode; it is not changed. `fallbacks` counts the frames for which half precision failed (values
    that are not finite, or saturated) and that were made again in fp32. Several threads may use a renderer at once.
    """

    def __init__(self, generator: Generator, options: InferenceOptions | None = None) -> None:
        options = options or InferenceOptions()
        self.device = next(generator.parameters()).device
        self.precision = _resolve(options.precision, self.device)
        self.fallbacks = 0
        self._source, self._options = generator, options
        self._fast = prepare(generator, _DTYPES[self.precision], channels_last=options.channels_last)
        self._synthesize: Any = self._synthesize_parts
        if options.compile:
            self._synthesize = torch.compile(self._synthesize_parts, mode="reduce-overhead" if options.cuda_graphs else None)
        self._fp32_lock = threading.Lock()
        self._last_fp32_code: tuple[Any, Any] | None = None
        """The last code for which fp32 was needed, and its examples encoded in fp32."""

    @torch.inference_mode()
    def encode_examples(self, examples: Frame | None) -> Any:
        """As `Generator.encode_examples`, in the precision of this renderer."""
        return self._fast.encode_examples(None if examples is None else self._in_precision(examples))

    @torch.inference_mode()
    def select_examples(self, code: Any, indices: Sequence[int]) -> Any:
        """As `Generator.select_examples`."""
        return self._fast.select_examples(code, indices)

    @torch.inference_mode()
    def step(self, code: Any, driving: Frame, past: Frame | None = None) -> tuple[Tensor, Frame]:
        """As `Generator.step`: the next frame [B, 3, H, W] in float32, and the past for the next step."""
        if self._source.config.makes_labels:  # its past also depends on the flow, which `_synthesize_parts` leaves out
            labels = self.synthesize(code, driving, past)
            return labels.frame, self.remember(driving, labels, past)
        synthesis = Synthesis(**self._synthesize(code, self._in_precision(driving), None if past is None else self._in_precision(past)))
        if self.precision != "fp32" and degenerate(synthesis.frame, synthesis.raw):
            synthesis = self._synthesize_in_fp32(code, driving, past)
        coarser, state = (tuple(tensor.clone() for tensor in tensors) for tensors in (synthesis.coarser, synthesis.state))
        copied = replace(synthesis, frame=synthesis.frame.clone(), coarser=coarser, state=state)
        return synthesis.frame, self.remember(driving, copied, past)

    def remember(self, driving: Frame, synthesis: Synthesis, past: Frame | None) -> Frame:
        """As `Generator.remember`."""
        return self._source.remember(driving, synthesis, past)

    def propagate_instances(self, numbers: Tensor, synthesis: Synthesis, past: Frame) -> Tensor:
        """As `Generator.propagate_instances`."""
        return self._source.propagate_instances(numbers, synthesis, past)

    @torch.inference_mode()
    def synthesize(self, code: Any, driving: Frame, past: Frame | None = None) -> Synthesis:
        """As `Generator.synthesize`: the next frame with all its parts. It is never compiled."""
        synthesis = self._fast.synthesize(code, self._in_precision(driving), None if past is None else self._in_precision(past))
        if self.precision != "fp32" and degenerate(synthesis.frame, synthesis.raw):
            synthesis = self._synthesize_in_fp32(code, driving, past)
        return synthesis

    def _in_precision(self, frame: Frame) -> Frame:
        return frame.cast(_DTYPES[self.precision])

    def _synthesize_parts(self, code: Any, driving: Frame, past: Frame | None) -> dict[str, Any]:
        """The parts of a synthesis that `step` needs; they can be compiled, and the others are left out."""
        synthesis = self._fast.synthesize(code, driving, past)
        return {"frame": synthesis.frame, "raw": synthesis.raw, "coarser": synthesis.coarser, "state": synthesis.state}

    def _synthesize_in_fp32(self, code: Any, driving: Frame, past: Frame | None) -> Synthesis:
        with self._fp32_lock:
            self.fallbacks += 1
            return self._fp32.synthesize(self._fp32_code(code), driving, None if past is None else past.cast(torch.float32))

    def _fp32_code(self, code: Any) -> Any:
        """The examples of `code` encoded in fp32."""
        if self._last_fp32_code is None or self._last_fp32_code[0] is not code:
            examples = None if code.examples is None else code.examples.cast(torch.float32)
            self._last_fp32_code = code, self._fp32.encode_examples(examples)
        return self._last_fp32_code[1]

    @cached_property
    def _fp32(self) -> Generator:
        return prepare(self._source, torch.float32, channels_last=self._options.channels_last)


def prepare(generator: Generator, dtype: torch.dtype, *, channels_last: bool) -> Generator:
    """A copy of `generator` in `dtype` for inference, with spectral norms and layers folded. It cannot be trained or saved."""
    fast = copy.deepcopy(generator)
    for module in fast.modules():
        if parametrize.is_parametrized(module, "weight"):
            _fold_norm(module)
    fast.eval().requires_grad_(False)
    for module in fast.modules():  # a module comes before its submodules, and may fold these itself
        if callable(fold := getattr(module, "fold", None)):
            fold()
        for weight in module.parameters(recurse=False):  # one by one, because all folded weights in fp32 may need too much memory
            weight.data = weight.data.to(dtype)
    fast.to(dtype)
    return fast.to(memory_format=torch.channels_last) if channels_last else fast  # type: ignore[call-overload]


def _fold_norm(module: nn.Module) -> None:
    """Replace a parametrized weight by its value. `remove_parametrizations` would also change the class of the original module."""
    assert isinstance(module.weight, Tensor)
    weight = module.weight.detach().clone()
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    module.weight = nn.Parameter(weight)


def degenerate(frame: Tensor, raw: Tensor) -> bool:
    """Whether a frame [B, 3, H, W] has values that are not finite, or h_t (`raw`) has more than `SATURATED_SHARE` saturated values."""
    return not bool(torch.isfinite(frame).all()) or bool((raw.abs() > 0.999).float().mean() > SATURATED_SHARE)


def _resolve(precision: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # without them, bf16 is slower than fp32
    return "bf16" if device.type == "cpu" and has_instructions() else "fp32"
