"""pix2pixHD (Wang et al. 2018): single frames from semantic images, without examples or previous frames."""

from stages.networks.common.family import Family
from stages.networks.pix2pixhd.config import PRESETS, Pix2PixHDConfig
from stages.networks.pix2pixhd.generator import Pix2PixHD

FAMILY = Family(Pix2PixHDConfig, Pix2PixHD, PRESETS)
