"""E_A: attention of the driving semantic image to the examples.

Pixel-wise (few-shot vid2vid, section 3) or adaptive compact (Adaptive compact attention, 2020, eq. 1 to 6). Both are a memory of keys and
values, made once per clip, from which each frame recalls; only what is remembered differs: every pixel, or a few bases.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.layers import Encoder, conv

_SEED = 2020
_MAX_ENTRIES = 2**22
"""Of a piece of the attention map, per sample: 16 MB in fp32."""


class Memory(NamedTuple):
    """Keys [B, M, A] and values [B, M, C + K]: the features, then from which of the K examples they come (one-hot, or shares)."""

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Keys from semantic images, a memory from keys and values, features for each frame from the memory."""

    start: Tensor

    def __init__(self, semantic: int, channels: int, level: int, *, shared: bool = True) -> None:
        super().__init__()
        widths = tuple(max(16, channels >> (level - i)) for i in range(level + 1))
        self.encoder = Encoder(semantic, widths)
        self.project = conv(widths[-1], channels, 1)
        self.query_encoder = None if shared else Encoder(semantic, widths)
        self.query_project = None if shared else conv(widths[-1], channels, 1)

    def key(self, semantic: Tensor) -> Tensor:
        """Of an example: [B, S, H, W] -> [B, hw, A]."""
        keys: Tensor = self.project(self.encoder(semantic)[-1]).flatten(2).mT
        return keys

    def query(self, semantic: Tensor) -> Tensor:
        """Of the driving frame: [B, S, H, W] -> [B, hw, A]."""
        if self.query_encoder is None or self.query_project is None:
            return self.key(semantic)
        queries: Tensor = self.query_project(self.query_encoder(semantic)[-1]).flatten(2).mT
        return queries

    def memorise(self, keys: Tensor, values: Tensor) -> Memory:
        """keys [B, K, hw, A], values [B, K, C, h, w] of K examples: every pixel is remembered."""
        return _centred(Memory(keys.flatten(1, 2), _with_origin(values)))

    def recall(self, query: Tensor, memory: Memory, size: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
        """query [B, hw, A] -> the features q [B, C, h, w] and how much of each came from which example, [B, K, h, w], float32.

        softmax(query keys^T) values, with no scale. The origin comes out of the same pass, being averaged along with the features.
        """
        keys, values = (part.to(query.dtype) for part in memory)
        fused = query.is_cuda or torch.is_grad_enabled()
        mixed = (_fused if fused else _in_turns)(query, keys, values).mT.unflatten(2, size)
        return mixed[:, :-count], mixed[:, -count:].float()


class CompactAttention(Attention):
    """Adaptive compact attention: the examples are summed up by bases, so that a frame's cost does not depend on their number."""

    def __init__(
        self, semantic: int, channels: int, level: int, *, shared: bool = True,
        bases: int = 128, iterations: int = 3, momentum: float = 0.9, norm: Literal["mean", "unit"] = "mean",
    ) -> None:  # fmt: skip
        super().__init__(semantic, channels, level, shared=shared)
        self.iterations, self.momentum, self.norm = iterations, momentum, norm
        start = torch.randn(bases, channels, generator=torch.Generator().manual_seed(_SEED))
        self.register_buffer("start", start, persistent=False)

    def memorise(self, keys: Tensor, values: Tensor) -> Memory:
        """keys [B, K, hw, A], values [B, K, C, h, w] of K examples -> p bases of both.

        The random start lies in the keys' own range (their mean and deviation), which depends neither on the examples' order nor on
        repetitions.
        """
        flat = keys.flatten(1, 2)
        start = flat.mean(1, keepdim=True) + self.start.to(flat.dtype) * flat.std(1, keepdim=True, correction=0)
        return _centred(extract_bases(flat, _with_origin(values), start, self.iterations, self.momentum, self.norm, values.shape[1]))


def extract_bases(
    keys: Tensor, values: Tensor, start: Tensor, iterations: int, momentum: float, norm: Literal["mean", "unit"], origins: int = 0
) -> Memory:
    """Eq. 1 to 4: label bases of keys [B, N, A] from start [B, p, A], and appearance bases of values [B, N, C] by the same map.

    The last `origins` channels of the values are no features but say where these come from: of them the norm is always the mean.
    """
    bases, attention = start, keys.new_zeros(())
    for _ in range(iterations):
        attention = (keys @ bases.mT).softmax(-1)  # eq. 1
        bases = (1 - momentum) * bases + momentum * _normed(attention, keys, norm)  # eq. 2 and 3
    features, origin = values.to(attention.dtype).split([values.shape[-1] - origins, origins], -1)
    return Memory(bases, torch.cat([_normed(attention, features, norm), _normed(attention, origin, "mean")], -1))  # eq. 4


def _normed(attention: Tensor, features: Tensor, norm: Literal["mean", "unit"]) -> Tensor:
    """norm(A^T X): attention [B, N, p], features [B, N, C] -> [B, p, C], each row a weighted mean or of length 1."""
    summed = attention.mT @ features
    if norm == "unit":
        return F.normalize(summed, dim=-1)
    return summed / attention.sum(1).clamp(min=1e-6)[..., None]


def _centred(memory: Memory) -> Memory:
    """The same memory to every query: a softmax does not see a constant, and half precision keeps more of smaller products."""
    return memory._replace(keys=memory.keys - memory.keys.mean(1, keepdim=True))


def _with_origin(values: Tensor) -> Tensor:
    """[B, K, C, h, w] -> [B, K hw, C + K], the last K channels one-hot."""
    count, height, width = values.shape[1], *values.shape[-2:]
    origin = torch.eye(count, dtype=values.dtype, device=values.device).repeat_interleave(height * width, 0)
    return torch.cat([values.movedim(2, -1).flatten(1, 3), origin.expand(len(values), -1, -1)], -1)


def _fused(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(Q K^T) V without ever holding a map of all queries and keys, not even for the gradients."""
    width = -(-max(query.shape[-1], values.shape[-1]) // 8) * 8  # the fused kernels want one width for all three
    q, k, v = (F.pad(x, (0, width - x.shape[-1]))[:, None] for x in (query, keys, values))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0, :, : values.shape[-1]]


def _in_turns(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The same, some queries at a time: on a CPU, where nothing has to be kept for gradients, up to three times as fast as fused."""
    mixed = query.new_empty(*query.shape[:2], values.shape[-1])  # one place for all: results between the pieces would keep them from reuse
    rows, turned = max(1, _MAX_ENTRIES // keys.shape[1]), keys.mT.contiguous()
    for into, part in zip(mixed.split(rows, 1), query.split(rows, 1), strict=True):
        into.copy_((part @ turned).softmax(-1) @ values)
    return mixed
