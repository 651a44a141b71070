"""Networks and training schedules of the methods in vid2vid's tables, by scale.

The methods do not see the same number of images in training: PredNet and MCNet need longer windows and see more. At the scale small,
vid2vid and pix2pixHD learn from 5,500 images, the mask network of COVST from 2,000 more, PredNet from 13,200, MCNet from 7,200, and the
network that predicts label maps from 2,550. vid2vid and pix2pixHD have the losses and discriminators of the recipe street-small, the
network that predicts label maps has those of future-street-small, and COVST, PredNet and MCNet have those of their papers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from baselines import MCNetConfig, PredNetConfig
from scales import Scale

from stages.networks.common.objective import DiscriminatorConfig, LossWeights
from stages.networks.future import PRESETS, FutureConfig
from stages.networks.pix2pixhd.config import Pix2PixHDConfig
from stages.networks.vid2vid import Vid2VidConfig
from stages.train import read_recipe
from stages.train.config import Phase

RECIPE, FUTURE = read_recipe("street-small"), read_recipe("future-street-small")
FOREGROUND = ("car", "pedestrian")
BETA = 0.02
"""MCNet's weight of the adversarial term, as in its experiments on KTH."""


@dataclass(frozen=True)
class ScaleSetup:
    """Networks and training schedules of one scale. `scale` has those of vid2vid."""

    scale: Scale
    pix2pixhd: Pix2PixHDConfig
    pix2pixhd_phases: tuple[Phase, ...]
    covst_phases: tuple[Phase, ...]
    """Phases of COVST's mask network, after the training of pix2pixHD."""
    prednet: PredNetConfig
    prednet_phases: tuple[Phase, ...]
    mcnet: MCNetConfig
    mcnet_phases: tuple[Phase, ...]
    future: FutureConfig
    future_phases: tuple[Phase, ...]
    """The network that predicts the label maps that drive vid2vid in table 3, and its phases."""
    last: int
    """Table 3 is also made for the last frames alone; this is their number."""
    perceptual: str = "squeezenet"

    @property
    def observed(self) -> int:
        """Number of real frames before the predicted ones in table 3."""
        return self.prednet.past_frames

    def own_training(self, **changes: Any) -> dict[str, Any]:
        """The training settings of vid2vid and pix2pixHD."""
        names = ("learning_rate", "discriminator_rate", "losses", "discriminators", "real_past")
        return {**{name: getattr(RECIPE, name) for name in names}, "perceptual": self.perceptual, **changes}

    def baseline_training(self, phases: tuple[Phase, ...], **changes: Any) -> dict[str, Any]:
        """The training settings of COVST, PredNet and MCNet, whose gradients pass through all frames of a window."""
        plain = {"perceptual": "none", "losses": LossWeights(video_gan=0), "discriminators": DiscriminatorConfig(filters=8, video_rates=0)}
        return {**plain, "phases": phases, "backprop_frames": max(phase.frames for phase in phases), **changes}

    def label_training(self) -> dict[str, Any]:
        """The training settings of the network that predicts label maps."""
        names = ("learning_rate", "losses", "discriminators", "real_past", "perceptual")
        return {**{name: getattr(FUTURE, name) for name in names}, "phases": self.future_phases}

    def mcnet_adversary(self) -> dict[str, Any]:
        """The training settings of MCNet's adversarial term."""
        return {"losses": LossWeights(video_gan=BETA), "discriminators": DiscriminatorConfig(gan="lsgan", filters=16, video_frames=3)}


def _without_video(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """Phases with the same number of images, as single frames."""
    return tuple(replace(phase, batch=phase.batch * phase.frames, frames=1, rollout=0) for phase in phases)


_SMALL = Vid2VidConfig(
    kind="segment", semantic_channels=11, size=(64, 128), filters=24, downs=2, blocks=6, foreground=FOREGROUND, foreground_filters=16
)
_SMALL_PHASES = (
    Phase(300, batch=8, scale=0.5, adversarial=False),
    Phase(200, batch=8, adversarial=False),
    Phase(150, batch=2, frames=3),
    Phase(100, batch=2, frames=3, rollout=8),
)
_TINY = replace(_SMALL, size=(32, 64), filters=4, blocks=2, foreground_filters=4)
_TINY_PHASES = (Phase(2, batch=2, adversarial=False), Phase(2, batch=1, frames=2, rollout=1))
_HD = Pix2PixHDConfig(kind="segment", semantic_channels=11, size=(64, 128), filters=24, downs=2, blocks=6)

SETUPS: Mapping[str, ScaleSetup] = {
    "tiny": ScaleSetup(
        Scale(_TINY, _TINY_PHASES, seeds=2, frames=4),
        replace(_HD, filters=4, blocks=1),
        _without_video(_TINY_PHASES),
        (Phase(2, batch=1, frames=2, adversarial=False),),
        PredNetConfig(layer_channels=(3, 4, 8), past_frames=2),
        (Phase(1, batch=1, frames=3, adversarial=False), Phase(1, batch=1, frames=4, adversarial=False)),
        MCNetConfig(filters=4, past_frames=2),
        (Phase(1, batch=1, frames=2, adversarial=False), Phase(1, batch=1, frames=2)),
        PRESETS["tiny-future"],
        (Phase(1, batch=1, frames=2, adversarial=False),),
        last=2,
        perceptual="none",
    ),
    "small": ScaleSetup(
        Scale(_SMALL, _SMALL_PHASES),
        _HD,
        _without_video(_SMALL_PHASES),
        (Phase(300, batch=2, frames=2, adversarial=False), Phase(100, batch=2, frames=4, adversarial=False)),
        PredNetConfig(layer_channels=(3, 24, 48, 96), past_frames=5),
        (Phase(300, batch=4, frames=6, adversarial=False), Phase(150, batch=4, frames=10, adversarial=False)),
        MCNetConfig(filters=24, past_frames=5),
        (Phase(300, batch=4, frames=3, adversarial=False), Phase(150, batch=4, frames=6)),
        PRESETS["future-street-small"],
        tuple(replace(phase, steps=phase.steps // 2) for phase in FUTURE.phases),
        last=5,
    ),
}
"""tiny: tries every row; its figures are meaningless. small: 64x128."""
SCALES = {name: setup.scale for name, setup in SETUPS.items()}
