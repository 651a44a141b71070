"""The on-disk clip format, and reading and writing of videos and images. See docs/clip-format.md."""

from stages.clip.clip import Clip, keeping_frames, open_clip
from stages.clip.create import as_clip, create_clip
from stages.clip.images import list_images, read_image
from stages.clip.layers import Layer, LayerWriter, Producer
from stages.clip.probe import Timestamps, VideoInfo, probe
from stages.clip.reader import read_frames
from stages.clip.writer import VideoWriter, sound_sync_warnings

__all__ = [
    "Clip",
    "Layer",
    "LayerWriter",
    "Producer",
    "Timestamps",
    "VideoInfo",
    "VideoWriter",
    "as_clip",
    "create_clip",
    "keeping_frames",
    "list_images",
    "open_clip",
    "probe",
    "read_frames",
    "read_image",
    "sound_sync_warnings",
]
