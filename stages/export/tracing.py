"""A generator as functions of named tensors, in operations that ONNX has.

A tensor's name is its path in the object that holds it, such as `code.appearance.bottleneck`.
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

SHAPE, TRANSPOSED = (vars(torch._C.TensorBase)[name].__get__ for name in ("shape", "mT"))


class Encoder(nn.Module):
    """semantic, keypoints and image of the examples -> the tensors `names` of their code."""

    def __init__(self, generator: Generator, names: Sequence[str]) -> None:
        super().__init__()
        self.generator, self.names = generator, tuple(names)

    def forward(self, *examples: Tensor) -> tuple[Tensor, ...]:
        with OnnxOperations(), torch.enable_grad():
            made = tensors_of(self.generator.encode_examples(Frame(*examples)), "code")
        return tuple(made[name] for name in self.names)


class Step(nn.Module):
    """The tensors `names` of a code, a driving frame and perhaps a past -> the next frame."""

    def __init__(self, generator: Generator, code: Code, names: Sequence[str]) -> None:
        super().__init__()
        self.generator, self.code, self.names = generator, code, tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.names, tensors, strict=True))
        driving = Frame(given["frame.semantic"], given["frame.keypoints"])
        past = Frame(given["past.semantic"], given["past.keypoints"], given["past.image"]) if "past.image" in given else None
        with OnnxOperations(), torch.enable_grad():
            return self.generator.synthesize(with_tensors(self.code, "code", given), driving, past).frame


class OnnxOperations(TorchFunctionMode):
    """Within, functions that ONNX lacks are replaced by others that compute the same."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linalg.solve_ex:
            return solved(*args), None
        if func is F.batch_norm and args[1] is None:  # of one sample, by its own statistics
            return F.instance_norm(args[0])
        if func == SHAPE:  # as numbers, for all sizes are fixed
            return torch.Size(map(int, args[0].size()))
        if func == TRANSPOSED:
            return args[0].transpose(-1, -2)
        if func is Tensor.movedim:  # ONNX gets negative numbers of dimensions as they are
            return args[0].movedim(*(number % args[0].dim() for number in args[1:]))
        return func(*args, **(kwargs or {}))


def solved(system: Tensor, right: Tensor) -> Tensor:
    """X of system X = right, [*, n, n] and [*, n, m], by Gauss-Jordan elimination with partial pivoting."""
    size = system.shape[-1]
    rows = torch.cat([system, right], -1)
    unused, order = torch.ones_like(rows[..., 0]), []
    for column in range(size):
        values = rows[..., column]
        pivot = F.one_hot((values.abs() * unused + unused).argmax(-1), size).to(rows.dtype)
        row = pivot[..., None, :] @ rows
        row = row / row[..., column : column + 1]
        rows = rows - (values - pivot)[..., None] * row
        unused = unused - pivot
        order.append(pivot)
    return torch.stack(order, -2) @ rows[..., size:]


def tensors_of(value: Any, name: str) -> dict[str, Tensor]:
    """All tensors in dataclasses, tuples and lists, by their paths, which begin with `name`."""
    return dict(_tensors(value, name))


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    for part, inner in _parts(value):
        yield from _tensors(inner, f"{name}.{part}")


def _parts(value: Any) -> list[tuple[str, Any]]:
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, tuple | list):
        return [(str(index), inner) for index, inner in enumerate(value)]
    return []


def with_tensors(value: Any, name: str, given: Mapping[str, Tensor]) -> Any:
    """`value` with those of its tensors that are given, by their paths."""
    if isinstance(value, Tensor):
        return given.get(name, value)
    changed = {part: with_tensors(inner, f"{name}.{part}", given) for part, inner in _parts(value)}
    if not changed:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **changed)
    return type(value)(*changed.values()) if hasattr(value, "_fields") else type(value)(changed.values())
