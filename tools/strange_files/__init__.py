"""Unusual but valid videos and images: functions that make them, and the ground truth of each.

Frames are computed by numpy and encoded as losslessly as each format allows.
"""

from importlib import import_module

from strange_files.encoding import Coding, write
from strange_files.frames import INVERSE, ORIENTATIONS, number_of, patches_of
from strange_files.registry import STRANGE_FILES, Setup, StrangeFile, Truth

__all__ = ["INVERSE", "ORIENTATIONS", "STRANGE_FILES", "Coding", "Setup", "StrangeFile", "Truth", "number_of", "patches_of", "write"]

for _topic in ("orientation", "timing", "colours", "streams", "codecs", "images"):  # in the order of the table
    import_module(f"{__name__}.{_topic}")  # each registers its files
