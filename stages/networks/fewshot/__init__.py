"""Few-shot vid2vid (Wang et al. 2019), with the variants of its public code and adaptive compact attention (2020)."""

from stages.networks.common.family import Family
from stages.networks.fewshot.config import PRESETS, FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator

FAMILY = Family(FewShotConfig, FewShotGenerator, PRESETS)
