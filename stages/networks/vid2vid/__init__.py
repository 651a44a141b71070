"""vid2vid (Wang et al. 2018): videos from semantic images, coarse to fine, without examples."""

from stages.networks.common.family import Family
from stages.networks.vid2vid.config import PRESETS, Vid2VidConfig
from stages.networks.vid2vid.generator import Vid2Vid

__all__ = ["FAMILY", "PRESETS", "Vid2Vid", "Vid2VidConfig"]

FAMILY = Family(Vid2VidConfig, Vid2Vid, PRESETS)
