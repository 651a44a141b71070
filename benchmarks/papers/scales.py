"""The size of an experiment, which is the same for all methods of a table: network, training schedule, number of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stages.networks.common.config import GeneratorConfig
from stages.networks.fewshot.config import PRESETS, FewShotConfig
from stages.train.config import Phase, TrainConfig

SMALL = FewShotConfig(
    size=(128, 64), channels=(16, 32, 64, 128, 128), label_channels=(16, 32, 48, 64, 64), adaptive_levels=3, attention_level=2,
    flow_stride=2, flow_channels=(32, 64, 96, 128), flow_blocks=1, guided_levels=3, bases=64,
)  # fmt: skip
"""The shipped networks for images of half the width and height."""
TINY = replace(
    SMALL, size=(64, 32), channels=(8, 16, 32, 32), label_channels=(8, 16, 16, 16), hidden=16, weight_hidden=32, attention_channels=16,
    adaptive_levels=2, flow_stride=1, flow_channels=(16, 32, 48), guided_levels=2, bases=16,
)  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """One size of an experiment.

    subjects, held_out: number of subjects for training and for evaluation; None: all. frames: number of evaluated frames of each clip; 0:
    all after the examples. labeller_steps: training steps of the labelling network.
    """

    network: GeneratorConfig
    phases: tuple[Phase, ...]
    seeds: int = 3
    subjects: int | None = None
    held_out: int | None = None
    frames: int = 0
    labeller_steps: int = 3000

    def size_for(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The shape (height, width) of images, halved until it has at most 1.5 times the pixels of the network's size."""
        height, width = shape
        while height * width > 1.5 * self.network.size[0] * self.network.size[1]:
            height, width = height // 2, width // 2
        return height, width

    def config(
        self,
        kind: str,
        channels: int,
        size: tuple[int, int],
        network: Mapping[str, Any],
        training: Mapping[str, Any],
        seed: int,
        base: GeneratorConfig | None = None,
    ) -> TrainConfig:
        """The training configuration of a variant.

        kind, channels, size: of its semantic images. network, training: the settings in which it differs from others. base: the
        configuration of its network, if it is not that of the scale.
        """
        generator = replace(base or self.network, **{"kind": kind, "semantic_channels": channels, "size": size, **network})
        hue = 180.0 if kind.startswith("poses") else 0.0  # as in the recipes
        return replace(TrainConfig(generator, self.phases, max_examples=1, hue=hue, seed=seed), **training)


def _growing(half: int, single: int, pairs: int, fours: int) -> tuple[Phase, ...]:
    """Steps of single frames at half the size, then at full size, then of windows of two and of four frames."""
    return (
        Phase(half, batch=8, scale=0.5, adversarial=False),
        Phase(single, batch=8, adversarial=False),
        Phase(pairs, batch=4, frames=2),
        Phase(fours, batch=2, frames=4),
    )


SCALES = {
    "quick": Scale(
        TINY, (Phase(6, batch=4, adversarial=False), Phase(3, batch=2, frames=2)),
        seeds=2, subjects=6, held_out=2, frames=4, labeller_steps=10,
    ),
    "brief": Scale(SMALL, _growing(300, 300, 100, 30)),
    "small": Scale(SMALL, _growing(1000, 600, 200, 60)),
    "large": Scale(
        PRESETS["pose-256"],
        (Phase(12000, batch=8, adversarial=False), Phase(2000, batch=8, frames=2), Phase(600, batch=8, frames=4)),
    ),
}  # fmt: skip
"""quick: tries every row; its figures are meaningless. small: all tables in a night on two cores. brief: half the steps of `small` at full
size, and fewer at half size. large: 256x128, for a GPU."""
