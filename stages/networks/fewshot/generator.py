"""The few-shot vid2vid generator (Wang et al. 2019, section 3).

    code = generator.encode_examples(examples)                  # once per clip
    frame, past = generator.step(code, driving, past)           # once per frame

E_F is `example_encoder`, E_A `attention`, E_P `weight_generator`. W and M are `flow`. H, the main branch, is `blocks` and `to_image`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor, nn

from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Code, Generator, Synthesis
from stages.networks.common.layers import Encoder, UNet, activate, conv, initialise_small, upsample
from stages.networks.fewshot.attention import Attention, CompactAttention, Memory
from stages.networks.fewshot.baselines import SemanticStart, StyleCode, StyleLayers
from stages.networks.fewshot.config import FewShotConfig, Method
from stages.networks.fewshot.examples import AveragedExamples, OuterExamples, average
from stages.networks.fewshot.flow import FlowNetwork
from stages.networks.fewshot.spade import LabelEmbedder, LevelWeights, SpadeBlock
from stages.networks.fewshot.weight_generator import AverageWeights, RowWeights


@dataclass(frozen=True)
class Appearance:
    """The part of a synthesis that comes from the examples: generated weights, the bottleneck, and the example to warp."""

    weights: list[LevelWeights]
    """theta_H of each adaptive level."""
    bottleneck: Tensor
    """[B, C, h, w], the input of H."""
    example: Frame
    """e_1."""
    attention: Tensor
    """[B, K, h, w]: the share of each example in the features of each position; 1 with a single example."""

    @property
    def shares(self) -> Tensor:
        """[B, K]: the mean of `attention` over positions."""
        return self.attention.mean((2, 3))

    @property
    def chosen_example(self) -> Tensor:
        """[B]: the index of e_1, the example with the largest share."""
        return self.shares.argmax(1)


@dataclass(frozen=True)
class ExampleCode(Code):
    """The encoded examples."""

    examples: Frame
    pooled: list[Tensor]
    """Averages of the features of the levels before the attention, [B, K, C_l]."""
    values: Tensor
    """q, the features of each example at the attention's level, [B, K, C, h, w]."""
    keys: Tensor | None
    """Keys of the examples from E_A, [B, K, h w, A]; None without attention: with one example, or with the method spade."""
    memory: Memory | None
    """The memory of the attention; None without attention."""
    appearance: Appearance | None
    """Without attention, the appearance for all frames; else None."""


class FewShotGenerator(Generator):
    """F of eq. 6: frames from semantic images and K example images of a person or scene that was not in the training data."""

    config: FewShotConfig
    tuned = ("weight_generator.", "blocks.", "to_image.")
    """E_P, and the blocks and the last layer of H, as in the public code.

    The paper names all of E and H. Here E_F, E_A, the label embedder and the layer that refines masks are not finetuned.
    """

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        if config.method not in get_args(Method):
            raise TypeError(f"no few-shot generator has the method {config.method!r}")
        self.config = c = config
        num_guides = 0 if c.combine == "matting" else 1 + c.warp_example
        if c.method != "spade":
            self.example_encoder = AveragedExamples(c) if c.pooling == "average" else OuterExamples(c)
            self.attention = _build_attention(c)
        generated = c.adaptive_levels if c.method == "weights" and c.label_embedding == "generated" else 0
        style_input = StyleCode.CHANNELS if c.method == "concat" else 0
        self.label_embedder = LabelEmbedder(c.semantic_channels + style_input, c.label_channels, generated=generated, spectral=c.spectral)
        self.guidance = _build_guidance(c, num_guides)
        self.flow = FlowNetwork(c)
        self.example_flow = FlowNetwork(c) if c.warp_example and not c.flow_shared else None
        adaptive = c.adaptive_levels if c.method == "weights" else 0
        weights = AverageWeights if c.pooling == "average" else RowWeights
        self.weight_generator = nn.ModuleList(weights(c, level) for level in range(adaptive))
        self.style_code = StyleCode(c) if c.method == "concat" else None
        self.style_layers = StyleLayers(c) if c.method == "adain" else None
        self.start = SemanticStart(c) if c.method in ("concat", "adain", "spade") else None
        channels = [*c.channels, c.channels[-1]]
        self.blocks = nn.ModuleList(
            SpadeBlock(
                channels[level + 1], channels[level], c.label_channels[level], c.hidden, c.channels[level],
                num_guides if level < c.guided_levels else 0, adaptive=level < adaptive, spectral=c.spectral, norm=c.norm,
                spade_shortcut=c.spade_shortcut,
            )
            for level in range(len(c.channels))
        )  # fmt: skip
        self.to_image = initialise_small(conv(c.channels[0], 3))
        self.refine_mask = initialise_small(conv(c.channels[0], 2)) if c.refine_mask else None

    def encode_examples(self, examples: Frame | None) -> ExampleCode:
        """examples [B, K, ...] with their images, K >= 1 -> their code."""
        assert examples is not None
        batch, count = examples.required_image.shape[:2]
        if self.config.method == "spade":
            no_features = examples.required_image.new_zeros(batch, count, 0, 1, 1)
            return self._with_appearance(ExampleCode(examples, [], no_features, None, None, None))
        images, labels = examples.required_image.flatten(0, 1), examples.semantic.flatten(0, 1)
        values, pooled = self.example_encoder.before_attention(images.to(labels.dtype), labels)
        values, pooled = values.unflatten(0, (batch, count)), [p.unflatten(0, (batch, count)) for p in pooled]
        code = ExampleCode(examples, pooled, values, None, None, None)
        if count == 1:
            return self._with_appearance(code)
        keys = self.attention.key(labels).unflatten(0, (batch, count))
        return replace(code, keys=keys, memory=self.attention.memorise(keys, values))

    def select_examples(self, code: ExampleCode, indices: Sequence[int]) -> ExampleCode:
        """As `Generator.select_examples`. No example is encoded again; only compact bases are extracted again."""
        chosen = list(indices)
        part = replace(
            code, examples=code.examples.map(lambda x: x[:, chosen]), pooled=[p[:, chosen] for p in code.pooled],
            values=code.values[:, chosen], keys=None, memory=None, appearance=None,
        )  # fmt: skip
        if code.keys is None or len(chosen) == 1:  # without keys there is no attention
            return self._with_appearance(part)
        keys = code.keys[:, chosen]
        return replace(part, keys=keys, memory=self.attention.memorise(keys, part.values))

    def _with_appearance(self, code: ExampleCode) -> ExampleCode:
        """The code with its `appearance`, which is that of the first example for all frames."""
        ones = torch.ones(*code.values.shape[:2], *code.values.shape[-2:], device=code.examples.required_image.device)
        return replace(code, appearance=self._appearance(code, code.values[:, 0], ones[:, :1]))

    def synthesize(self, code: ExampleCode, driving: Frame, past: Frame | None = None) -> Synthesis:
        """As `Generator.synthesize`."""
        appearance = code.appearance or self._attend(code, driving.semantic)
        example, previous = self._warp(code, appearance, driving, past)
        features = self._main_branch(appearance, driving.semantic, [example, previous])
        frame = raw = torch.tanh(self.to_image(features).float())
        example_mask, previous_mask = self._masks(features, example, previous)
        if self.config.combine != "spade":
            if example is not None and example_mask is not None:
                frame = torch.lerp(example.image, frame, example_mask)  # eq. 11
            if previous is not None and previous_mask is not None:
                frame = torch.lerp(previous.image, frame, previous_mask)  # eq. 2
        return Synthesis(
            frame, raw, example, example_mask, previous, previous_mask, appearance.attention, appearance.shares, appearance.chosen_example
        )

    def warp_examples(self, examples: Frame, driving: Frame) -> Synthesis:
        """As `Generator.warp_examples`: the frame and h_t are the warped example, or the blend of all. K is 1 unless `warp_all` is on."""
        network = self.flow if self.example_flow is None else self.example_flow
        sources, count = network(driving, examples), examples.required_image.shape[1]
        warped = sources.select(0) if count == 1 else sources.blend(count)
        shares = torch.ones(len(warped.image), 1, device=warped.image.device)
        chosen_example = torch.zeros(len(warped.image), dtype=torch.long, device=warped.image.device)
        return Synthesis(
            warped.image, warped.image, warped, torch.sigmoid(warped.mask), None, None, shares[..., None, None], shares, chosen_example
        )

    def initial_window_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """If the previous frame has its own flow network, it starts with the weights of the example's flow network."""
        if self.example_flow is None:
            return state
        return {name: state[f"example_{name}"] if name.startswith("flow.") else value for name, value in state.items()}

    def _masks(self, features: Tensor, example: Warped | None, previous: Warped | None) -> list[Tensor | None]:
        """m_e and m_t in [0, 1]; None without a warped image."""
        changes: Sequence[Tensor | float] = (0.0, 0.0) if self.refine_mask is None else self.refine_mask(features).float().split(1, 1)
        sources = zip((example, previous), changes, strict=True)
        return [None if warped is None else torch.sigmoid(warped.mask + change) for warped, change in sources]

    def _attend(self, code: ExampleCode, semantic: Tensor) -> Appearance:
        """The appearance for a driving semantic image [B, S, H, W]."""
        assert code.memory is not None
        size, count = (code.values.shape[-2], code.values.shape[-1]), code.values.shape[1]
        q, attention = self.attention.recall(self.attention.query(semantic), code.memory, size, count)
        return self._appearance(code, q, attention)

    def _appearance(self, code: ExampleCode, q: Tensor, attention: Tensor) -> Appearance:
        """The appearance from q, the attended features [B, C, h, w], and the attention [B, K, h, w]."""
        shares = attention.mean((2, 3))
        rows, chosen_example = torch.arange(len(shares), device=shares.device), shares.argmax(1)
        example = code.examples.map(lambda x: x[rows, chosen_example])
        if self.config.method == "spade":
            return Appearance([], q, example, attention)
        bottleneck, after = self.example_encoder.after_attention(q)
        features = [torch.einsum("bkc,bk->bc", p, shares.to(p.dtype)) for p in code.pooled] + after
        weights = [generate(features[level]) for level, generate in enumerate(self.weight_generator)]
        return Appearance(weights, bottleneck, example, attention)

    def _warp(self, code: ExampleCode, appearance: Appearance, driving: Frame, past: Frame | None) -> tuple[Warped | None, Warped | None]:
        """The warped example (with `warp_all` the blend of all) and the warped previous frame; None for those that are not warped.

        A network that serves both is called once.
        """
        before = None if past is None else past.map(lambda x: x[:, None])
        if not self.config.warp_example:
            return None, None if before is None else self.flow(driving, before).select(0)
        several = self.config.warp_all and code.examples.required_image.shape[1] > 1
        examples = code.examples if several else appearance.example.map(lambda x: x[:, None])
        count = examples.required_image.shape[1]
        if self.example_flow is None:
            warped = self.flow(driving, examples if before is None else _concatenate(examples, before))
            previous = None if before is None else warped.select(count)
        else:
            warped = self.example_flow(driving, examples)
            previous = None if before is None else self.flow(driving, before).select(0)
        return warped.blend(count) if several else warped.select(0), previous

    def _main_branch(self, appearance: Appearance, semantic: Tensor, warped: list[Warped | None]) -> Tensor:
        """The features of H before its last layer, [B, C, H, W]. warped: the example and the previous frame."""
        c = self.config
        style = average(appearance.bottleneck)
        label_input = semantic if self.style_code is None else self.style_code(semantic, style)
        styles = [None] * len(self.blocks) if self.style_layers is None else self.style_layers(style)
        labels = self.label_embedder(label_input, appearance.weights)
        guidance = self._guidance_features(warped, semantic.dtype)
        x = appearance.bottleneck if self.start is None else self.start(semantic)
        if c.method == "encoder":
            x = style[..., None, None].expand_as(x)
        for level in reversed(range(len(self.blocks))):
            weights = appearance.weights[level] if level < len(appearance.weights) else None
            guides = [g if g is None else g[level] for g in guidance] if level < c.guided_levels else []
            x = self.blocks[level](x, labels[level], guides, weights, styles[level])
            if level:
                x = upsample(x)
        return activate(x)

    def _guidance_features(self, warped: list[Warped | None], dtype: torch.dtype) -> list[list[Tensor] | None]:
        """For each guide of the SPADE layers the features of its warped image at each level; None without a warped image."""
        if self.guidance is None:
            return []
        if not self.config.warp_example:
            warped = warped[1:]
        networks = list(self.guidance) if isinstance(self.guidance, nn.ModuleList) else [self.guidance] * len(warped)
        return [
            None if w is None else network(torch.cat([w.image, torch.sigmoid(w.mask)], 1).to(dtype))
            for w, network in zip(warped, networks, strict=True)
        ]


def _build_attention(c: FewShotConfig) -> Attention:
    if c.attention == "pixel":
        return Attention(c.semantic_channels, c.attention_channels, c.attention_level, shared=c.attention_shared)
    return CompactAttention(
        c.semantic_channels, c.attention_channels, c.attention_level, shared=c.attention_shared,
        bases=c.bases, iterations=c.basis_iterations, momentum=c.basis_momentum, norm=c.basis_norm,
    )  # fmt: skip


def _concatenate(sources: Frame, others: Frame) -> Frame:
    """Sources [B, S, ...] and [B, S', ...] with their images -> [B, S + S', ...]."""
    image = torch.cat([sources.required_image, others.required_image], 1)
    return Frame(torch.cat([sources.semantic, others.semantic], 1), torch.cat([sources.keypoints, others.keypoints], 1), image)


def _build_guidance(c: FewShotConfig, num_guides: int) -> nn.Module | None:
    if not num_guides:
        return None
    if c.guidance == "unet":
        return nn.ModuleList(UNet(4, c.channels, spectral=c.spectral) for _ in range(num_guides))
    return Encoder(4, c.channels[: c.guided_levels], spectral=c.spectral)
