"""Future prediction (vid2vid, Wang et al. 2018, section 4): from a few observed label maps to those that follow, without a driver."""

from stages.networks.common.family import Family
from stages.networks.future.config import PRESETS, FutureConfig
from stages.networks.future.generator import Future
from stages.networks.future.objective import label_losses

__all__ = ["FAMILY", "PRESETS", "Future", "FutureConfig", "label_losses"]

FAMILY = Family(FutureConfig, Future, PRESETS, label_losses)
