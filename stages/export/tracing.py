"""A generator as functions of named tensors, in operations that ONNX has.

The name of a tensor is its path in the object that contains it, such as `code.appearance.bottleneck`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from stages.networks.common.frame import Frame
from stages.networks.common.generator import Code, Generator

# what `tensor.shape` and `tensor.mT` call, as `__torch_function__` sees it
GET_SHAPE, GET_TRANSPOSED = (vars(torch._C.TensorBase)[name].__get__ for name in ("shape", "mT"))


class Encoder(nn.Module):
    """semantic, keypoints and image of the examples -> the tensors of their code that have the names `names`."""

    def __init__(self, generator: Generator, names: Sequence[str]) -> None:
        super().__init__()
        self.generator, self.names = generator, names

    def forward(self, *examples: Tensor) -> tuple[Tensor, ...]:
        with TraceableOperations(), torch.enable_grad():
            code = named_tensors(self.generator.encode_examples(Frame(*examples)), "code")
        return tuple(code[name] for name in self.names)


class Step(nn.Module):
    """The tensors of a code, a driving frame and perhaps a past, which have the names `names` -> the frame."""

    def __init__(self, generator: Generator, code: Code, names: Sequence[str]) -> None:
        super().__init__()
        self.generator, self.code, self.names = generator, code, names

    def forward(self, *tensors: Tensor) -> Tensor:
        named = dict(zip(self.names, tensors, strict=True))
        driving = Frame(named["frame.semantic"], named["frame.keypoints"])
        past = Frame(named["past.semantic"], named["past.keypoints"], named["past.image"]) if "past.image" in named else None
        with TraceableOperations(), torch.enable_grad():
            return self.generator.synthesize(replace_tensors(self.code, "code", named), driving, past).frame


class TraceableOperations(TorchFunctionMode):
    """In the block, functions that ONNX lacks are replaced by others with the same result.

    Used with gradients enabled, because attention is then one operation instead of a loop over pieces of the map.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linalg.solve_ex:
            return solve(*args), None
        if func is F.batch_norm and args[1] is None:  # without running statistics, of one sample
            return F.instance_norm(args[0])
        if func == GET_SHAPE:  # as constants, since all sizes are fixed
            return torch.Size(map(int, args[0].size()))
        if func == GET_TRANSPOSED:
            return args[0].transpose(-1, -2)
        if func is Tensor.movedim:  # the exporter does not support negative dimensions
            return args[0].movedim(*(dimension % args[0].dim() for dimension in args[1:]))
        return func(*args, **(kwargs or {}))


def solve(system: Tensor, right: Tensor) -> Tensor:
    """X of system X = right, [*, n, n] and [*, n, m], by Gauss-Jordan elimination with partial pivoting."""
    size = system.shape[-1]
    rows = torch.cat([system, right], -1)
    unused, pivots = torch.ones_like(rows[..., 0], dtype=torch.bool), []
    for column in range(size):
        values = rows[..., column]
        pivot = F.one_hot(torch.where(unused, values.abs(), -1).argmax(-1), size).to(rows.dtype)
        row = pivot[..., None, :] @ rows
        row = row / row[..., column : column + 1]
        rows = rows - (values - pivot)[..., None] * row
        unused = unused & (pivot == 0)
        pivots.append(pivot)
    return torch.stack(pivots, -2) @ rows[..., size:]


def named_tensors(value: Any, name: str) -> dict[str, Tensor]:
    """All tensors in dataclasses, tuples and lists, by their paths, which begin with `name`."""
    return dict(_named_tensors(value, name))


def _named_tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    for part, inner in _parts(value):
        yield from _named_tensors(inner, f"{name}.{part}")


def _parts(value: Any) -> list[tuple[str, Any]]:
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, tuple | list):
        return [(str(index), inner) for index, inner in enumerate(value)]
    return []


def replace_tensors(value: Any, name: str, tensors: Mapping[str, Tensor]) -> Any:
    """A copy of `value` in which tensors are replaced by those with the same path in `tensors`, if there are any."""
    if isinstance(value, Tensor):
        return tensors.get(name, value)
    changed = {part: replace_tensors(inner, f"{name}.{part}", tensors) for part, inner in _parts(value)}
    if not changed:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **changed)
    return type(value)(*changed.values()) if hasattr(value, "_fields") else type(value)(changed.values())
