"""A local enhancer on top of a frozen few-shot generator, as in the coarse-to-fine networks of vid2vid (2018): images of twice the size."""

from stages.networks.common.family import Family
from stages.networks.enhancer.config import PRESETS, EnhancerConfig
from stages.networks.enhancer.generator import Enhancer

FAMILY = Family(EnhancerConfig, Enhancer, PRESETS)
