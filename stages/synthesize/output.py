"""The file of a synthesis: a video with its key in the container's comment, or a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.clip import Clip, Producer, VideoWriter, create_clip, open_clip
from stages.clip.comments import read_comment
from stages.clip.provenance import note_of
from stages.conditions.kinds import Kind, find
from stages.errors import ParametersDiffer
from stages.io.differences import differences
from stages.io.reading import parse_object
from stages.synthesize.driving import Driving


def is_finished(out: Path, producer: Producer) -> bool:
    """Whether `out` was made in this very way. ParametersDiffer when it is there and was not."""
    if not out.exists():
        return False
    if out.suffix == ".clip":
        clip = open_clip(out)
        kept = _kept_layer(producer)
        return not clip.needs("frames", producer, {}) and (kept is None or clip.has(kept))
    made, wanted = read_comment(out), producer.key()
    if made == wanted:
        return True
    try:
        changed = "; ".join(differences(parse_object(made or ""), parse_object(wanted)))
    except ValueError:  # no comment, or not one of ours
        changed = "by something else"
    raise ParametersDiffer(f"{out} is there and was made with other parameters ({changed})", code="output-differs")


def write_output(out: Path, frames: Iterator[np.ndarray], driving: Driving, producer: Producer, keypoints: Iterator[np.ndarray]) -> None:
    """Write the frames of a synthesis as the video or clip `out`, with the rate of the driving and the sound of its clip.

    keypoints: of each frame, in its pixels; a clip keeps them. A video of a photograph with an odd number of rows or columns lacks the last
    one, because H.264 with 4:2:0 colours needs even numbers.
    """
    sound = driving.clip if driving.clip.has("audio") else None
    if out.suffix == ".clip":
        clip = create_clip(
            out, frames, fps=driving.fps, timestamps=driving.timestamps, audio_from=sound, producer=producer, overwrite=out.exists()
        )
        if _kept_layer(producer) is not None:
            _keep_driving(clip, keypoints, find(producer.backend), producer)
        return
    if producer.parameters.get("placement"):
        frames = map(even, frames)
    first, note = next(frames), note_of(producer.stage, producer.parameters)
    with VideoWriter(out, first.shape[1], first.shape[0], driving.fps, audio_from=sound, comment=producer.key(), note=note) as video:
        video.write(first)
        for frame in frames:
            video.write(frame)


def _kept_layer(producer: Producer) -> str | None:
    """The layer that drove a result, which it keeps: evaluate compares with it. None where it has another place, as beside other images.

    The producer's backend is the driving kind.
    """
    kind = find(producer.backend)
    return None if kind.result_arrays is None or producer.parameters["compare"] else kind.layer


def even(image: np.ndarray) -> np.ndarray:
    """The image [H, W, 3] without its last row and column where their numbers are odd."""
    height, width = image.shape[:2]
    return image[: height - height % 2, : width - width % 2]


def _keep_driving(clip: Clip, keypoints: Iterator[np.ndarray], kind: Kind, producer: Producer) -> None:
    assert kind.result_arrays is not None
    with clip.writing(kind.layer, producer, {"frames": clip.frames_digest()}) as layer:
        layer.arrays(kind.result_arrays(np.stack(list(keypoints))[:, None]))
