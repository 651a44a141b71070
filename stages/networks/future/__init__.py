"""Future prediction (vid2vid, Wang et al. 2018, section 4): the label maps that follow a few observed ones. Nothing drives them."""

from stages.networks.common.family import Family
from stages.networks.future.config import PRESETS, FutureConfig
from stages.networks.future.generator import Future
from stages.networks.future.objective import label_losses

__all__ = ["FAMILY", "PRESETS", "Future", "FutureConfig", "label_losses"]

FAMILY = Family(FutureConfig, Future, PRESETS, label_losses)
"""Dimensions of the predictor of label maps, its presets and its objective."""
