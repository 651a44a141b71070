"""Methods that few-shot vid2vid's table 1 compares with, and that no option of the package is: importing this makes them known as families.

posewarp, monkeynet: see the files of that name. no-flow-warping: the ablation of vid2vid's table 2. They are trained, saved, loaded and
synthesized with as any other generator (stages/networks/families.py); the first two are driven by joints (`joints.KIND`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stages.conditions import tracks
from stages.networks.common.family import Family
from stages.networks.families import register
from stages.networks.fewshot.config import FewShotConfig

from .joints import KIND, open_joints
from .monkeynet import MonkeyNet
from .posewarp import PoseWarp
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


tracks.register(KIND, open_joints)
for _family in (Family(PoseWarpConfig, PoseWarp), Family(MonkeyNetConfig, MonkeyNet), Family(UnwarpedConfig, Unwarped)):
    register(_family)
