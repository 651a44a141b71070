"""Splitting a clip into its shots, each a clip of its own, so that no temporal network sees a cut.

Cuts are those that PySceneDetect's adaptive detector finds, and those that `stages.tracking.cuts` finds. The adaptive detector looks two
frames ahead and also finds many jumps within a scene. If a video repeats frames, it may split a shot needlessly. `stages.tracking.cuts`
also finds cuts within two frames of either end of the video, which the adaptive detector misses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from stages.clip.clip import Clip, open_clip
from stages.clip.create import create_clip, stored_path
from stages.clip.images import Storage
from stages.clip.layers import Producer
from stages.clip.parts import rate_within, seconds_at
from stages.errors import InputError, ParametersDiffer
from stages.io.files import exclusive_lock
from stages.tracking.cuts import CutDetector

Shot = tuple[int, int]
"""The first frame, and one past the last."""
_WIDTH = 256
"""Width to which frames are scaled for PySceneDetect, which uses this width itself when it reads a video."""


class Shots(NamedTuple):
    """The shots of a clip, in order: those that are long enough, and the others."""

    kept: list[Shot]
    dropped: list[Shot]


def find_shots(clip: Clip, min_seconds: float = 0.5) -> Shots:
    """Find the shots of a clip; it is decoded once. Raises InputError when no shot lasts `min_seconds`."""
    bounds = [0, *sorted(find_cuts(clip.frames())), clip.num_frames]
    shots = list(zip(bounds, bounds[1:], strict=False))
    kept = [shot for shot in shots if _duration(clip, shot) >= min_seconds]
    if not kept:
        raise InputError(f"No shot of {clip.path} lasts {min_seconds:g} s", code="no-shot")
    return Shots(kept, [shot for shot in shots if shot not in kept])


def find_cuts(frames: Iterable[np.ndarray]) -> set[int]:
    """The indices of the first frames of all shots but the first. frames: uint8 RGB [H, W, 3], read one at a time."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    adaptive, is_cut = AdaptiveDetector(min_scene_len=1), CutDetector()
    cuts: set[int] = set()
    for index, frame in enumerate(frames):
        timecode = FrameTimecode(index, fps=25.0)  # the rate has no effect: only frame numbers are used
        cuts.update(cut.frame_num for cut in adaptive.process_frame(timecode, _prepare_for_scenedetect(frame)))
        if is_cut(frame):
            cuts.add(index)
    return cuts


def write_shots(
    clip: Clip, shots: list[Shot], out: Path, name: str, storage: Storage = "jpg", overwrite: bool = False
) -> Iterator[tuple[Clip, Literal["done", "skipped"]]]:
    """Write the shots as NAME-000.clip, NAME-001.clip and so on in the folder `out`, and yield each when it is finished.

    They have frames only, as JPEG or PNG. A clip that was made from the same frames is skipped. Raises ParametersDiffer when another clip
    has the name of a shot and `overwrite` is not set, or when `out` has more shots of this name, from another split. Raises InputError
    while another process writes the shots of this name.
    """
    with exclusive_lock(out / name, error_type=InputError):
        _refuse_other_shots(out, name, len(shots))
        for number, shot in enumerate(shots):
            yield _write_shot(clip, shot, out / f"{name}-{number:03d}.clip", storage, overwrite)


def _write_shot(clip: Clip, shot: Shot, target: Path, storage: Storage, overwrite: bool) -> tuple[Clip, Literal["done", "skipped"]]:
    first, end = shot
    producer = Producer("split", parameters={"storage": storage, "range": [first, end], "of": clip.frames_digest()})
    if target.exists() and not open_clip(target).needs("frames", producer, {}, overwrite):
        return open_clip(target), "skipped"
    fps, times = rate_within(clip, range(*shot))
    offset = ((clip.source or {}).get("range") or [0])[0]
    source_path = clip.source_path()
    source = {
        **(clip.source or {}),
        "path": stored_path(source_path, target) if source_path else None,
        "range": [offset + first, offset + end],
    }
    frames = clip.frames(first, end)
    new_clip = create_clip(
        target, frames, fps=fps, storage=storage, source=source, timestamps=times, producer=producer, overwrite=overwrite
    )
    return new_clip, "done"


def _refuse_other_shots(out: Path, name: str, count: int) -> None:
    pattern = re.compile(rf"{re.escape(name)}-(\d{{3,}})\.clip")
    matches = [match for match in map(pattern.fullmatch, sorted(os.listdir(out)) if out.is_dir() else []) if match]
    if extra := [match[0] for match in matches if int(match[1]) >= count]:
        raise ParametersDiffer(f"{out} holds {len(extra)} more shots of another split ({extra[0]})", code="other-shots")


def _duration(clip: Clip, shot: Shot) -> Fraction:
    """The duration of a shot in seconds."""
    return seconds_at(clip, shot[1]) - seconds_at(clip, shot[0])


def _prepare_for_scenedetect(frame: np.ndarray) -> np.ndarray:
    import cv2

    height, width = frame.shape[:2]
    if width > _WIDTH:
        frame = cv2.resize(frame, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
