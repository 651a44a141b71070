"""Baselines of the papers' tables that the package does not contain. Importing this package registers them as families.

Few-shot vid2vid, table 1: posewarp and monkeynet, driven by joints (`joints.JOINTS`). no-flow-warping is an ablation of few-shot vid2vid.
vid2vid: covst (table 1), driven by label maps and flow (`labels_and_flow`); prednet and mcnet (table 3), which need no driving input.
They are trained, saved, loaded and used for synthesis like any other family (stages/networks/families.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stages.conditions import kinds
from stages.networks.common.family import Family
from stages.networks.families import register
from stages.networks.fewshot.config import FewShotConfig

from .covst import Covst, CovstConfig, covst_losses
from .joints import JOINTS
from .labels_and_flow import LABELS_AND_FLOW
from .mcnet import MCNet, MCNetConfig, mcnet_losses
from .monkeynet import MonkeyNet
from .posewarp import PoseWarp
from .prednet import PredNet, PredNetConfig, prednet_losses
from .unwarped import Unwarped


@dataclass(frozen=True)
class PoseWarpConfig(FewShotConfig):
    family: ClassVar[str] = "posewarp"


@dataclass(frozen=True)
class MonkeyNetConfig(FewShotConfig):
    family: ClassVar[str] = "monkeynet"


@dataclass(frozen=True)
class UnwarpedConfig(FewShotConfig):
    family: ClassVar[str] = "no-flow-warping"


for _kind in (JOINTS, LABELS_AND_FLOW):
    kinds.register(_kind)
for _family in (
    Family(PoseWarpConfig, PoseWarp),
    Family(MonkeyNetConfig, MonkeyNet),
    Family(UnwarpedConfig, Unwarped),
    Family(CovstConfig, Covst, objective=covst_losses),
    Family(PredNetConfig, PredNet, objective=prednet_losses),
    Family(MCNetConfig, MCNet, objective=mcnet_losses),
):
    register(_family)
