"""The few-shot vid2vid generator (Wang et al. 2019, section 3).

    code = generator.encode_examples(images, semantics)         # once per clip
    frame, state = generator.step(code, semantic, state)        # once per frame

E_F is `example_encoder`, E_A `attention`, E_P `weight_generator`, H the rest of the main branch, W and M `flow`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.config import GeneratorConfig
from stages.networks.flow import FlowNetwork, Warped
from stages.networks.layers import Encoder, LabelEmbedder, ModulationWeights, SpadeBlock, activate, conv, double, quiet

GeneratedWeights = list[tuple[ModulationWeights, ModulationWeights]]


@dataclass(frozen=True)
class Appearance:
    """What H needs of the examples: generated weights theta_H per adaptive level, the bottleneck, and the example to warp."""

    weights: GeneratedWeights
    bottleneck: Tensor
    image: Tensor
    semantic: Tensor
    shares: Tensor
    """[B, K]: the attention that each example received; 1 with a single example."""

    @property
    def best(self) -> Tensor:
        """[B]: the index of e_1, the example with the largest similarity to the frame."""
        return self.shares.argmax(1)


@dataclass(frozen=True)
class ExampleCode:
    """Everything about the examples that does not depend on the driving frame."""

    images: Tensor
    semantics: Tensor
    pooled: list[Tensor]
    """Average-pooled q^l, [B, K, C_l], for the levels before the attention."""
    values: Tensor
    """q at the attention's level, [B, K, C, h, w]."""
    keys: Tensor | None
    """E_A of the examples' semantic images, [B, K h w, A]; None with one example."""
    appearance: Appearance | None
    """Complete when there is one example, for then nothing of it depends on the driving frame."""


@dataclass(frozen=True)
class State:
    """The past that one step hands to the next."""

    frame: Tensor
    semantic: Tensor


@dataclass(frozen=True)
class Synthesis:
    """One frame and the parts it was made of, for losses and pictures."""

    frame: Tensor
    raw: Tensor
    """h_t: what H made, before matting."""
    example: Warped
    example_mask: Tensor
    """m_e in [0, 1]."""
    previous: Warped | None
    previous_mask: Tensor | None
    shares: Tensor
    best: Tensor
    """[B]: which example was warped."""


class Attention(nn.Module):
    """E_A: pixel-wise attention between the driving semantic image and those of K examples (section 3)."""

    def __init__(self, semantic: int, channels: int, level: int) -> None:
        super().__init__()
        widths = tuple(max(16, channels >> (level - i)) for i in range(level + 1))
        self.encoder = Encoder(semantic, widths)
        self.project = conv(widths[-1], channels, 1)

    def key(self, semantic: Tensor) -> Tensor:
        """[B, S, H, W] -> [B, hw, A]."""
        return self.project(self.encoder(semantic)[-1]).flatten(2).mT

    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """query [B, hw, A], keys [B, K hw, A], values [B, K, C, h, w] -> q [B, C, h, w] and each example's share [B, K].

        The share comes out of the same pass: K channels that tell from which example a value is are averaged along with it.
        """
        count, height, width = values.shape[1], *values.shape[-2:]
        origin = torch.eye(count, dtype=values.dtype, device=values.device).repeat_interleave(height * width, 0)
        flat = torch.cat([values.movedim(2, -1).flatten(1, 3), origin.expand(len(values), -1, -1)], -1)
        mixed = F.scaled_dot_product_attention(query, keys.to(query.dtype), flat.to(query.dtype), scale=1.0)
        q, shares = mixed[..., :-count], mixed[..., -count:]
        return q.mT.unflatten(2, (height, width)), shares.float().mean(1)


class WeightGenerator(nn.Module):
    """E_P: one MLP per adaptive level turns pooled example features into theta_S, theta_gamma and theta_beta of its two SPADE layers."""

    def __init__(self, features: int, hidden_width: int, label: int, hidden: int, modulated: tuple[int, int]) -> None:
        super().__init__()
        self.label, self.hidden, self.modulated = label, hidden, modulated
        self.sizes = [hidden * (label + 1), 2 * modulated[0] * (hidden + 1), hidden * (label + 1), 2 * modulated[1] * (hidden + 1)]
        self.layers = nn.Sequential(
            nn.Linear(features, hidden_width), nn.LeakyReLU(0.2), nn.Linear(hidden_width, hidden_width), nn.LeakyReLU(0.2),
            nn.Linear(hidden_width, sum(self.sizes)),
        )  # fmt: skip
        self._start()

    def forward(self, pooled: Tensor) -> tuple[ModulationWeights, ModulationWeights]:
        """pooled [B, C] -> the weights of the level's two SPADE layers."""
        s0, m0, s1, m1 = self.layers(pooled).split(self.sizes, 1)
        first = ModulationWeights(s0.unflatten(1, (self.hidden, -1)), m0.unflatten(1, (2 * self.modulated[0], -1)))
        second = ModulationWeights(s1.unflatten(1, (self.hidden, -1)), m1.unflatten(1, (2 * self.modulated[1], -1)))
        return first, second

    @torch.no_grad()
    def _start(self) -> None:
        """The bias of the last layer starts as an ordinary initialisation of the generated layers, its weights as a small change of it."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(0.1)
        parts = []
        for index, size in enumerate(self.sizes):
            fan_in, gain = (self.label, 1.4) if index % 2 == 0 else (self.hidden, 0.14)
            part = torch.randn(size // (fan_in + 1), fan_in + 1) * (gain / fan_in**0.5)
            part[:, -1] = 0
            parts.append(part.flatten())
        last.bias.copy_(torch.cat(parts))


class FewShotGenerator(nn.Module):
    """F of eq. 6: frames from a semantic video and K example images of someone never seen in training."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = c = config
        levels = len(c.channels) - 1
        guides = 0 if c.combine == "matting" else 2
        self.example_encoder = Encoder(3 + c.semantic_channels, c.channels, spectral=c.spectral)
        self.attention = Attention(c.semantic_channels, c.attention_channels, c.attention_level)
        self.label_embedder = LabelEmbedder(c.semantic_channels, c.label_channels)
        self.guidance = Encoder(4, c.channels[: c.guided_levels]) if guides else None
        self.flow = FlowNetwork(c.semantic_channels, c.flow_channels, c.flow_blocks, c.flow_stride)
        wide = [*c.channels, c.channels[-1]]
        self.weight_generator = nn.ModuleList(
            WeightGenerator(c.channels[level + 1], c.weight_hidden, c.label_channels[level], c.hidden, (wide[level + 1], wide[level]))
            for level in range(c.adaptive_levels)
        )
        self.blocks = nn.ModuleList(
            SpadeBlock(
                wide[level + 1], wide[level], c.label_channels[level], c.hidden, c.channels[level],
                guides if level < c.guided_levels else 0, adaptive=level < c.adaptive_levels, spectral=c.spectral,
            )
            for level in range(levels + 1)
        )  # fmt: skip
        self.to_image = quiet(conv(c.channels[0], 3))
        self.refine_mask = quiet(conv(c.channels[0], 2))

    def encode_examples(self, images: Tensor, semantics: Tensor) -> ExampleCode:
        """images [B, K, 3, H, W] in [-1, 1], semantics [B, K, S, H, W] -> the code of the examples, for any K >= 1."""
        batch, count = images.shape[:2]
        pictures, labels = images.flatten(0, 1), semantics.flatten(0, 1)
        x = activate(self.example_encoder.first(torch.cat([pictures, labels], 1)))
        pooled = []
        for layer in self.example_encoder.down[: self.config.attention_level]:
            x = activate(layer(x))
            pooled.append(_pool(x).unflatten(0, (batch, count)))
        values = x.unflatten(0, (batch, count))
        keys = self.attention.key(labels).unflatten(0, (batch, count)).flatten(1, 2) if count > 1 else None
        code = ExampleCode(images, semantics, pooled, values, keys, None)
        if count > 1:
            return code
        shares = torch.ones(batch, 1, device=images.device)
        return replace(code, appearance=self._appearance(code, values[:, 0], shares))

    def step(self, code: ExampleCode, semantic: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """semantic [B, S, H, W] -> the next frame [B, 3, H, W] in [-1, 1], and the state for the step after it."""
        frame = self.synthesize(code, semantic, state).frame
        return frame, State(frame, semantic)

    def synthesize(self, code: ExampleCode, semantic: Tensor, state: State | None = None) -> Synthesis:
        """As `step`, but with every part of the frame."""
        appearance = code.appearance or self._attend(code, semantic)
        example, previous = self._warp(appearance, semantic, state)
        features = self._main_branch(appearance, semantic, [example, previous])
        raw = torch.tanh(self.to_image(features).float())
        masks = self.refine_mask(features).float()
        example_mask = torch.sigmoid(example.mask + masks[:, :1])
        if self.config.combine == "spade":
            return Synthesis(raw, raw, example, example_mask, previous, None, appearance.shares, appearance.best)
        frame = torch.lerp(example.image, raw, example_mask)  # eq. 11
        previous_mask = None
        if previous is not None:
            previous_mask = torch.sigmoid(previous.mask + masks[:, 1:])
            frame = torch.lerp(previous.image, frame, previous_mask)  # eq. 2
        return Synthesis(frame, raw, example, example_mask, previous, previous_mask, appearance.shares, appearance.best)

    def _attend(self, code: ExampleCode, semantic: Tensor) -> Appearance:
        assert code.keys is not None
        q, shares = self.attention(self.attention.key(semantic), code.keys, code.values)
        return self._appearance(code, q, shares)

    def _appearance(self, code: ExampleCode, q: Tensor, shares: Tensor) -> Appearance:
        """q: (aggregated) example features at the attention's level [B, C, h, w]."""
        pooled = [torch.einsum("bkc,bk->bc", p, shares.to(p.dtype)) for p in code.pooled[:-1]] + [_pool(q)]
        x = q
        for layer in self.example_encoder.down[self.config.attention_level :]:
            x = activate(layer(x))
            pooled.append(_pool(x))
        weights = [generate(pooled[level]) for level, generate in enumerate(self.weight_generator)]
        best, rows = shares.argmax(1), torch.arange(len(shares), device=shares.device)
        return Appearance(weights, x, code.images[rows, best], code.semantics[rows, best], shares)

    def _warp(self, appearance: Appearance, semantic: Tensor, state: State | None) -> tuple[Warped, Warped | None]:
        """W and M for the example and the previous frame, in one batched call."""
        if state is None:
            return self.flow(semantic, appearance.image, appearance.semantic), None
        both = self.flow(
            torch.cat([semantic, semantic]),
            torch.cat([appearance.image, state.frame]),
            torch.cat([appearance.semantic, state.semantic]),
        )
        halves = [part.chunk(2) for part in both]
        return Warped(*(h[0] for h in halves)), Warped(*(h[1] for h in halves))

    def _main_branch(self, appearance: Appearance, semantic: Tensor, warped: list[Warped | None]) -> Tensor:
        labels = self.label_embedder(semantic)
        guidance = self._guidance(warped)
        x = appearance.bottleneck
        for level in reversed(range(len(self.blocks))):
            weights = appearance.weights[level] if level < len(appearance.weights) else None
            guides = [g if g is None else g[level] for g in guidance] if level < self.config.guided_levels else []
            x = self.blocks[level](x, labels[level], guides, weights)
            if level:
                x = double(x)
        return activate(x)

    def _guidance(self, warped: list[Warped | None]) -> list[list[Tensor] | None]:
        if self.guidance is None:
            return []
        return [w if w is None else self.guidance(torch.cat([w.image, torch.sigmoid(w.mask)], 1)) for w in warped]


def _pool(x: Tensor) -> Tensor:
    return x.mean((-2, -1))
