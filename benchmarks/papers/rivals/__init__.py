"""Methods that few-shot vid2vid's table 1 compares with, and that no option of the package is: importing this makes them known as families.

posewarp, monkeynet: see the files of that name. no-flow-warping: the ablation of vid2vid's table 2. They are trained, saved, loaded and
synthesized with as any other generator (stages/networks/families.py); the first two are driven by joints (`joints.JOINTS`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stages.conditions import kinds
from stages.networks.common.family import Family
from stages.networks.families import register
from stages.networks.fewshot.config import FewShotConfig

from .joints import JOINTS
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


kinds.register(JOINTS)
for _family in (Family(PoseWarpConfig, PoseWarp), Family(MonkeyNetConfig, MonkeyNet), Family(UnwarpedConfig, Unwarped)):
    register(_family)
