"""E_A: attention from the driving semantic image to the examples.

It is pixel-wise (few-shot vid2vid, section 3) or adaptive compact (Adaptive compact attention, 2020, eq. 1 to 6). Both compute keys
and values once per clip: the memory, to which each frame attends. It contains every pixel of the examples, or a few bases.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.layers import Encoder, conv

_SEED = 2020
"""Seed of the random initial bases, which are the same for all models."""
_MAX_ENTRIES = 2**22
"""Largest number of entries of an attention map that are computed at once, per sample: 16 MB in fp32."""


class Memory(NamedTuple):
    """Keys [B, M, A] and values [B, M, C + K]. A value consists of C features and the share of each of the K examples in them."""

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Pixel-wise attention: the memory contains every pixel of the examples.

    semantic: channels of s_t. channels: channels of the keys. level: keys and values have 1 / 2^level of the size of the image.
    shared: whether one encoder makes the keys of examples and the queries of driving frames.
    """

    def __init__(self, semantic: int, channels: int, level: int, *, shared: bool = True) -> None:
        super().__init__()
        widths = tuple(max(16, channels >> (level - i)) for i in range(level + 1))
        self.encoder = Encoder(semantic, widths)
        self.project = conv(widths[-1], channels, 1)
        self.query_encoder = None if shared else Encoder(semantic, widths)
        self.query_project = None if shared else conv(widths[-1], channels, 1)

    def key(self, semantic: Tensor) -> Tensor:
        """Keys of examples: [B, S, H, W] -> [B, hw, A]."""
        keys: Tensor = self.project(self.encoder(semantic)[-1]).flatten(2).mT
        return keys

    def query(self, semantic: Tensor) -> Tensor:
        """Queries of the driving frame: [B, S, H, W] -> [B, hw, A]."""
        if self.query_encoder is None or self.query_project is None:
            return self.key(semantic)
        queries: Tensor = self.query_project(self.query_encoder(semantic)[-1]).flatten(2).mT
        return queries

    def memorise(self, keys: Tensor, values: Tensor) -> Memory:
        """The memory of K examples with keys [B, K, hw, A] and values [B, K, C, h, w]."""
        return _centre_keys(Memory(keys.flatten(1, 2), _values_with_origin(values)))

    def recall(self, query: Tensor, memory: Memory, size: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
        """query [B, hw, A] -> the features q [B, C, h, w] and the share of each example in them [B, K, h, w], float32.

        Computes softmax(query keys^T) values, without a scale. size: (h, w). count: K.
        """
        keys, values = (part.to(query.dtype) for part in memory)
        fused = query.is_cuda or torch.is_grad_enabled()
        recalled = (_attend_fused if fused else _attend_in_pieces)(query, keys, values).mT.unflatten(2, size)
        return recalled[:, :-count], recalled[:, -count:].float()


class CompactAttention(Attention):
    """Adaptive compact attention: the memory contains p bases, so that the cost of a frame does not depend on the number of examples."""

    start: Tensor

    def __init__(
        self, semantic: int, channels: int, level: int, *, shared: bool = True,
        bases: int = 128, iterations: int = 3, momentum: float = 0.9, norm: Literal["mean", "unit"] = "mean",
    ) -> None:  # fmt: skip
        super().__init__(semantic, channels, level, shared=shared)
        self.iterations, self.momentum, self.norm = iterations, momentum, norm
        start = torch.randn(bases, channels, generator=torch.Generator().manual_seed(_SEED))
        self.register_buffer("start", start, persistent=False)

    def memorise(self, keys: Tensor, values: Tensor) -> Memory:
        """The bases of K examples with keys [B, K, hw, A] and values [B, K, C, h, w].

        The initial bases are random with the mean and standard deviation of the keys, so that they depend neither on the order of
        the examples nor on repetitions.
        """
        flat = keys.flatten(1, 2)
        start = flat.mean(1, keepdim=True) + self.start.to(flat.dtype) * flat.std(1, keepdim=True, correction=0)
        bases = extract_bases(flat, _values_with_origin(values), start, self.iterations, self.momentum, self.norm, values.shape[1])
        return _centre_keys(bases)


def extract_bases(
    keys: Tensor, values: Tensor, start: Tensor, iterations: int, momentum: float, norm: Literal["mean", "unit"], origins: int = 0
) -> Memory:
    """Eq. 1 to 4: label bases of keys [B, N, A], from the initial bases `start` [B, p, A], and appearance bases of values [B, N, C].

    The last `origins` channels of the values are shares of examples; for them the norm is always "mean".
    """
    bases, attention = start, keys.new_zeros(())
    for _ in range(iterations):
        attention = (keys @ bases.mT).softmax(-1)  # eq. 1
        bases = (1 - momentum) * bases + momentum * _pool_features(attention, keys, norm)  # eq. 2 and 3
    features, origin = values.to(attention.dtype).split([values.shape[-1] - origins, origins], -1)
    return Memory(bases, torch.cat([_pool_features(attention, features, norm), _pool_features(attention, origin, "mean")], -1))  # eq. 4


def _pool_features(attention: Tensor, features: Tensor, norm: Literal["mean", "unit"]) -> Tensor:
    """norm(A^T X): attention [B, N, p], features [B, N, C] -> [B, p, C]. Each row is a weighted mean, or scaled to length 1."""
    summed = attention.mT @ features
    if norm == "unit":
        return F.normalize(summed, dim=-1)
    return summed / attention.sum(1).clamp(min=1e-6)[..., None]


def _centre_keys(memory: Memory) -> Memory:
    """The memory with keys of mean 0. The softmax stays the same, and smaller products are more exact in half precision."""
    return memory._replace(keys=memory.keys - memory.keys.mean(1, keepdim=True))


def _values_with_origin(values: Tensor) -> Tensor:
    """[B, K, C, h, w] -> [B, K hw, C + K]; the last K channels are the one-hot index of the example."""
    count, height, width = values.shape[1], *values.shape[-2:]
    origin = torch.eye(count, dtype=values.dtype, device=values.device).repeat_interleave(height * width, 0)
    return torch.cat([values.movedim(2, -1).flatten(1, 3), origin.expand(len(values), -1, -1)], -1)


def _attend_fused(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(Q K^T) V by a fused kernel, which never stores the attention map, not even for the gradients."""
    width = -(-max(query.shape[-1], values.shape[-1]) // 8) * 8  # the fused kernels need the same width for all three
    q, k, v = (F.pad(x, (0, width - x.shape[-1]))[:, None] for x in (query, keys, values))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0, :, : values.shape[-1]]


def _attend_in_pieces(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(Q K^T) V for some queries at a time. On a CPU without gradients this is up to three times as fast as the fused kernel."""
    result = query.new_empty(*query.shape[:2], values.shape[-1])  # allocated first, so that the memory of the pieces can be reused
    rows, transposed = max(1, _MAX_ENTRIES // keys.shape[1]), keys.mT.contiguous()
    for piece, queries in zip(result.split(rows, 1), query.split(rows, 1), strict=True):
        piece.copy_((queries @ transposed).softmax(-1) @ values)
    return result
