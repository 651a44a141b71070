"""Splitting a clip into its shots, each a clip of its own, so that no temporal network sees a cut.

Cuts are those of PySceneDetect's adaptive detector and those of `stages.tracking.cuts` together. The adaptive detector looks two frames
ahead and also sees many jumps within a scene. Where a video repeats frames it may split a shot needlessly. `stages.tracking.cuts` sees the
cuts that it misses: those within two frames of either end.
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
from stages.clip.create import create_clip, kept_path
from stages.clip.images import Storage
from stages.clip.layers import Producer
from stages.clip.probe import Timestamps
from stages.errors import InputError, ParametersDiffer
from stages.io.files import alone
from stages.tracking.cuts import CutDetector

Shot = tuple[int, int]
"""The first frame, and one past the last."""
_WIDTH = 256
"""Width of the frames for PySceneDetect, which scales them to it itself when it reads a video."""


class Shots(NamedTuple):
    """The shots of a clip in their order: those that are long enough, and the others."""

    kept: list[Shot]
    dropped: list[Shot]


def find_shots(clip: Clip, min_seconds: float = 0.5) -> Shots:
    """Decode the clip once and look for cuts. Raises InputError when no shot lasts `min_seconds`."""
    bounds = [0, *sorted(cuts_of(clip.frames())), clip.num_frames]
    shots = list(zip(bounds, bounds[1:], strict=False))
    kept = [shot for shot in shots if _seconds(clip, shot) >= min_seconds]
    if not kept:
        raise InputError(f"No shot of {clip.path} lasts {min_seconds:g} s", code="no-shot")
    return Shots(kept, [shot for shot in shots if shot not in kept])


def cuts_of(frames: Iterable[np.ndarray]) -> set[int]:
    """The first frame of every shot but the first one. frames: uint8 RGB [H, W, 3], taken one at a time."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    adaptive, is_cut = AdaptiveDetector(min_scene_len=1), CutDetector()
    found: set[int] = set()
    for index, frame in enumerate(frames):
        at = FrameTimecode(index, fps=25.0)  # any rate: only frame numbers are used
        found.update(cut.frame_num for cut in adaptive.process_frame(at, _as_scenedetect_wants(frame)))
        if is_cut(frame):
            found.add(index)
    return found


def write_shots(
    clip: Clip, shots: list[Shot], out: Path, name: str, storage: Storage = "jpg", overwrite: bool = False
) -> Iterator[tuple[Clip, Literal["done", "skipped"]]]:
    """Make NAME-000.clip, NAME-001.clip and so on in the folder `out`, frames only, as JPEG or PNG; yield each when it is finished.

    One that was made from the same frames before is skipped. Raises ParametersDiffer when another clip has its name and `overwrite` is not
    set, or when there are more of that name, which would show some frames twice; InputError while another process writes the shots of that
    name.
    """
    with alone(out / name, refusal=InputError):
        _refuse_others(out, name, len(shots))
        for number, shot in enumerate(shots):
            yield _write(clip, shot, out / f"{name}-{number:03d}.clip", storage, overwrite)


def _write(clip: Clip, shot: Shot, target: Path, storage: Storage, overwrite: bool) -> tuple[Clip, Literal["done", "skipped"]]:
    first, end = shot
    producer = Producer("split", parameters={"storage": storage, "range": [first, end], "of": clip.frames_digest()})
    if target.exists() and not open_clip(target).needs("frames", producer, {}, overwrite):
        return open_clip(target), "skipped"
    fps, times = _rate(clip, shot)
    before = ((clip.source or {}).get("range") or [0])[0]
    place = clip.source_path()
    source = {**(clip.source or {}), "path": kept_path(place, target) if place else None, "range": [before + first, before + end]}
    frames = clip.frames(first, end)
    made = create_clip(target, frames, fps=fps, storage=storage, source=source, timestamps=times, producer=producer, overwrite=overwrite)
    return made, "done"


def _refuse_others(out: Path, name: str, count: int) -> None:
    pattern = re.compile(rf"{re.escape(name)}-(\d{{3,}})\.clip")
    found = [match for match in map(pattern.fullmatch, sorted(os.listdir(out)) if out.is_dir() else []) if match]
    if others := [match[0] for match in found if int(match[1]) >= count]:
        raise ParametersDiffer(f"{out} holds {len(others)} more shots of another split ({others[0]})", code="other-shots")


def _seconds(clip: Clip, shot: Shot) -> Fraction:
    """Duration of a shot. The last frame of a clip of variable rate lasts as long as its mean frame."""
    first, end = shot
    if clip.timestamps is None:
        return (end - first) / clip.fps
    last = clip.timestamps.seconds(end) if end < clip.num_frames else clip.timestamps.seconds(end - 1) + 1 / clip.fps
    return last - clip.timestamps.seconds(first)


def _rate(clip: Clip, shot: Shot) -> tuple[Fraction, Timestamps | None]:
    """Frames per second of a shot, and the times of its frames when they are not evenly spaced."""
    if clip.timestamps is None:
        return clip.fps, None
    ticks = clip.timestamps.ticks[shot[0] : shot[1]]
    times = Timestamps(clip.timestamps.time_base, tuple(tick - ticks[0] for tick in ticks))
    return ((len(ticks) - 1) / times.seconds(-1)).limit_denominator(100_000) if len(ticks) > 1 else clip.fps, times


def _as_scenedetect_wants(frame: np.ndarray) -> np.ndarray:
    import cv2

    height, width = frame.shape[:2]
    if width > _WIDTH:
        frame = cv2.resize(frame, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
