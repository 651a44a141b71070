"""Writes the result of a synthesis: a video, with the key in the comment of its container, or a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.clip import Clip, Producer, VideoWriter, create_clip, open_clip
from stages.clip.comments import read_comment
from stages.clip.provenance import note_of
from stages.conditions.kinds import Kind, find_kind
from stages.errors import ParametersDiffer
from stages.io.differences import differences
from stages.io.reading import parse_object
from stages.synthesize.driving import Driving


def is_finished(out: Path, producer: Producer) -> bool:
    """Whether `out` exists and was made by the same producer. Raises ParametersDiffer when it was made by another."""
    if not out.exists():
        return False
    if out.suffix == ".clip":
        clip = open_clip(out)
        layer = _stored_layer(producer)
        return not clip.needs("frames", producer, {}) and (layer is None or clip.has(layer))
    existing, key = read_comment(out), producer.key()
    if existing == key:
        return True
    try:
        changed = "; ".join(differences(parse_object(existing or ""), parse_object(key)))
    except ValueError:  # no comment, or one that fsv2v did not write
        changed = "by another program"
    raise ParametersDiffer(f"{out} exists and was made with other parameters ({changed})", code="output-differs")


def write_output(out: Path, frames: Iterator[np.ndarray], driving: Driving, producer: Producer, keypoints: Iterator[np.ndarray]) -> None:
    """Write the frames of a synthesis as the video or clip `out`, with the frame rate of `driving` and the sound of its clip.

    keypoints: those of each frame, in its pixels; a clip stores them. A video of a photograph with an odd number of rows or columns
    lacks the last one, because H.264 with 4:2:0 colours needs even numbers.
    """
    sound = driving.clip if driving.clip.has("audio") else None
    if out.suffix == ".clip":
        clip = create_clip(
            out, frames, fps=driving.fps, timestamps=driving.timestamps, audio_from=sound, producer=producer, overwrite=out.exists()
        )
        if _stored_layer(producer) is not None:
            _store_driving_layer(clip, keypoints, find_kind(producer.backend), producer)
        return
    if producer.parameters.get("placement"):
        frames = map(even, frames)
    first, note = next(frames), note_of(producer.stage, producer.parameters)
    with VideoWriter(out, first.shape[1], first.shape[0], driving.fps, audio_from=sound, comment=producer.key(), note=note) as video:
        video.write(first)
        for frame in frames:
            video.write(frame)


def _stored_layer(producer: Producer) -> str | None:
    """The name of the driving layer if it is stored in the result, so that `evaluate` can compare with it, else None.

    It is not stored with `compare`, where the result is only a part of the image. The producer's backend is the driving kind.
    """
    kind = find_kind(producer.backend)
    return None if kind.result_arrays is None or producer.parameters["compare"] else kind.layer


def even(image: np.ndarray) -> np.ndarray:
    """The image [H, W, 3], without its last row if H is odd and without its last column if W is odd."""
    height, width = image.shape[:2]
    return image[: height - height % 2, : width - width % 2]


def _store_driving_layer(clip: Clip, keypoints: Iterator[np.ndarray], kind: Kind, producer: Producer) -> None:
    assert kind.result_arrays is not None
    with clip.writing(kind.layer, producer, {"frames": clip.frames_digest()}) as layer:
        layer.arrays(kind.result_arrays(np.stack(list(keypoints))[:, None]))
