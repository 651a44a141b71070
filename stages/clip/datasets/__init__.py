"""Layouts of data sets that can be imported as clips: a file for each, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping

from stages.clip.datasets import apolloscape, camvid, cityscapes, faceforensics, few_shot_vid2vid, imaginaire, youtube_dance
from stages.clip.datasets.recording import Layout, Recording, import_layout

LAYOUTS: Mapping[str, Layout] = {
    known.name: known
    for known in (
        imaginaire.LAYOUT,
        few_shot_vid2vid.LAYOUT,
        youtube_dance.LAYOUT,
        faceforensics.LAYOUT,
        cityscapes.LAYOUT,
        camvid.LAYOUT,
        apolloscape.LAYOUT,
    )
}

__all__ = ["LAYOUTS", "Layout", "Recording", "import_layout"]
