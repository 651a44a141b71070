"""Methods that few-shot vid2vid's table 1 compares with, and that no option of the package is: importing this makes them known by name.

posewarp, monkeynet: see the files of that name. no-flow-warping: the ablation of vid2vid's table 2. They are trained, saved, loaded and
synthesized with as any other generator (stages/networks/methods.py); the first two are driven by joints (`joints.KIND`).
"""

from __future__ import annotations

from stages.conditions import tracks
from stages.networks import methods

from .joints import KIND, open_joints
from .monkeynet import MonkeyNet
from .posewarp import PoseWarp
from .unwarped import Unwarped

tracks.register(KIND, open_joints)
methods.register("posewarp", PoseWarp)
methods.register("monkeynet", MonkeyNet)
methods.register("no-flow-warping", Unwarped)
