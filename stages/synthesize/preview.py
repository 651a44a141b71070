"""The preview of a synthesis: some of its frames on one sheet, with their driving frames and the example."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.clip.preview import captioned_row, evenly_spaced, scale_to_height, time_text
from stages.clip.provenance import note_of
from stages.conditions.kinds import find_kind
from stages.conditions.view import View
from stages.errors import UsageError
from stages.io.files import require_marker, write_atomically
from stages.synthesize.options import Outcome
from stages.synthesize.rendering import Rendering
from stages.synthesize.scene import Scene

FRAMES, COLUMNS = 10, 5
"""Number of frames on a sheet, and in each of its rows."""
CELL = 360
"""Height of a picture on the sheet, in pixels."""
MARK = "fsv2v: preview of a synthesis"
Picture = NDArray[np.uint8]


def require_sheet(out: Path) -> None:
    """Raises UsageError for a name that does not end in .png, ParametersDiffer for an existing file that is not such a sheet."""
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out} cannot be a preview", hint="End its name in .png")
    require_marker(out, MARK.encode(), "preview of a synthesis")


def write_preview(scene: Scene, out: Path, started: float) -> Outcome:
    """Write a sheet of `FRAMES` frames that are spread evenly over the driving clip, each made without the frame before it.

    scene: opened without the option `compare`, because the sheet shows the driving frames in any case. started: when the work began, in
    seconds of `time.monotonic`. An older sheet is replaced. Raises the errors of `require_sheet`.
    """
    require_sheet(out)
    first, warnings, notes = scene.first, scene.warnings(), scene.notes()
    chosen = evenly_spaced(first.driving.num_frames, FRAMES)
    for rendering in scene.renderings:
        rendering.driving.use_only(chosen)
    frames = list(scene.frames())
    note = note_of("synthesize", {"note": first.options.note, "placement": {"pasted": first.pasted}, "compare": True})
    write_atomically(out, _png(_sheet(first, chosen, frames), "" if note is None else note.xmp))
    seconds = time.monotonic() - started
    return Outcome(out, "done", len(chosen), seconds, scene.fallbacks, scene.held, warnings, notes, scene.placement, scene.fitting)


def _sheet(rendering: Rendering, chosen: Sequence[int], made: Sequence[Picture]) -> Picture:
    """Rows of driving frames with the results below them. On the left are the driving layer of the example, drawn, and the example."""
    driving, count = rendering.driving, len(chosen)
    pictures = [scale_to_height(picture, CELL) for picture in (*_driving_pictures(rendering, chosen), *made, *_example(rendering))]
    width = max(picture.shape[1] for picture in pictures)
    cells = [_centred(picture, width) for picture in pictures]
    drivers, results, left = cells[:count], cells[count : 2 * count], cells[2 * count :]
    layer, example = left[:1], left[1:]
    names = [f"example, {find_kind(rendering.kind).layer}", "example"] if left else []
    empty, columns = np.zeros((CELL, width, 3), np.uint8), min(COLUMNS, count)
    rows = []
    for row in (slice(start, start + COLUMNS) for start in range(0, count, COLUMNS)):
        missing = [empty] * (columns - len(results[row]))
        times = [time_text(driving, frame) for frame in chosen[row]]
        rows.append(captioned_row([*layer, *drivers[row], *missing], [*names[:1], f"driving  {times[0]}", *times[1:]]))
        rows.append(captioned_row([*example, *results[row], *missing], [*names[1:], "result"]))
    return np.concatenate(rows)


def _driving_pictures(rendering: Rendering, chosen: Sequence[int]) -> list[Picture]:
    """The driving frames as the model sees them, or for a clip without frames the drawn layer."""
    driving = rendering.driving
    if driving.clip.has("frames"):
        return [driving.image(frame) for frame in chosen]
    return [driving.drawing(position) for position in range(len(chosen))]


def _example(rendering: Rendering) -> list[Picture]:
    """The driving layer of the first example, drawn, and its image, both cropped as the results are; nothing if there is no example."""
    if not rendering.examples:
        return []
    first = rendering.examples[0]
    clip = first.clip
    if not rendering.pasted:
        return [first.track.drawing(first.index, first.view), first.sample.required_image]
    small = View.scaled(clip.height, clip.width, CELL, max(1, round(clip.width * CELL / clip.height)))
    return [first.track.drawing(first.index, small), clip.frame(first.index)]


def _centred(image: Picture, width: int) -> Picture:
    """The image, centred on black of this width."""
    left = (width - image.shape[1]) // 2
    return np.pad(image, ((0, 0), (left, width - image.shape[1] - left), (0, 0)))


def _png(sheet: Picture, xmp: str) -> bytes:
    """The sheet as a PNG that says what it is, and that it is synthetic: `xmp`, unless it is empty."""
    about, data = PngInfo(), io.BytesIO()
    about.add_text("Software", MARK)
    if xmp:
        about.add_itxt("XML:com.adobe.xmp", xmp)
    Image.fromarray(sheet).save(data, "PNG", pnginfo=about)
    return data.getvalue()
