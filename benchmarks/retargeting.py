"""The cost of a film as the example (`synthesize --retarget`), compared with a photograph: processor time per frame, of all threads.

    python benchmarks/retargeting.py [--example PICTURE] [--frames 24]

The same face moves once in a photograph of 1920x1080 pixels, the baseline of the ratio, and once in a film that shows this photograph in
each frame. The time for encoding a frame as the example is printed, too. Processor time hardly depends on the load of the machine.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
from measuring import report
from PIL import Image
from synthesize_speed import EXAMPLES, widen

from fsv2v.models import default_model
from stages.clip import Clip, Producer, create_clip, open_clip
from stages.conditions.framing import frame_of
from stages.extract_sketch import extract_missing
from stages.synthesize import FilmRendering, Rendering, SynthesizeOptions, choose_placement
from stages.synthesize.fitting import Fitting

FITTING = Fitting("proportions", "the example shows another person")


def film_of(photograph: Clip, count: int, path: Path) -> Clip:
    """A clip that shows a photograph with landmarks in each frame."""
    film = create_clip(path, itertools.repeat(photograph.frame(0), count), storage="jpg", fps=photograph.fps)
    with film.writing("landmarks", Producer("benchmark"), {"frames": film.frames_digest()}) as layer:
        layer.arrays(**{name: array.repeat(count, 0) for name, array in photograph.layer("landmarks").arrays().items()})
    return open_clip(path)


def milliseconds(action: Callable[[], object], count: int) -> float:
    """Mean processor time of `count` calls, after a first one that does not count."""
    action()
    start = time.process_time()
    for _ in range(count):
        action()
    return 1000 * (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    arguments = parser.parse_args()
    image = np.array(Image.open(arguments.example).convert("RGB")) if arguments.example else skimage.data.astronaut()
    driving = open_clip(EXAMPLES / "driving.clip")
    model = default_model(driving)
    with tempfile.TemporaryDirectory() as folder:
        photograph = create_clip(Path(folder, "photograph.clip"), iter([widen(image)]))
        extract_missing(photograph, "auto", "cpu")
        photograph = open_clip(photograph.path)
        film = film_of(photograph, arguments.frames + 1, Path(folder, "film.clip"))
        times = {}
        for name, clip, kind in (("photograph", photograph, Rendering), ("film", film, FilmRendering)):
            options = SynthesizeOptions(device="cpu", retarget=kind is FilmRendering)
            rendering = kind([clip], driving, model, options, FITTING, placement=choose_placement([clip], model, options))
            times[name] = milliseconds(partial(next, rendering.frames()), arguments.frames)
        example = frame_of([rendering.examples[0].sample], rendering.renderer.device).map(lambda x: x[None])
        encoding = milliseconds(lambda: rendering.renderer.encode_examples(example), arguments.frames)
    rows: list[dict[str, float | str]] = [
        {"what": "a photograph of 1920x1080", "ms/frame": times["photograph"], "ratio": 1.0},
        {"what": "a film of 1920x1080", "ms/frame": times["film"], "ratio": times["film"] / times["photograph"]},
        {"what": "of it: encoding the frame as example", "ms/frame": encoding, "ratio": encoding / times["photograph"]},
    ]
    report("retargeting", rows, {})


if __name__ == "__main__":
    main()
