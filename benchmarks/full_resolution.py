"""Results at the example's resolution, compared with the model's enlarged output: perceptual distance, sharpness, warping error.

    python benchmarks/full_resolution.py CLIP... [--size 512] [--frames 96] [--model MODEL] [--enhancer MODEL]

Each CLIP has landmarks (or poses) and shows a person on whom the model was not trained, with a head (or body) of about SIZE pixels. Its
first frame is the example. Its first --frames frames are synthesized from their own landmarks, at the model's size and at SIZE. The
baseline is the result at the model's size, enlarged by Lanczos' filter. Perceptual distance and sharpness are measured in every sixth
frame. Sharpness is the variance of the Laplacian relative to that of the true frame, over the pixels where the mask m_e gives the warped
example more than half of the weight. The row "true" contains the warping error of the true frames. Figures are means over the frames of a
clip, then over the clips.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from measuring import report

from fsv2v.models import default_model
from stages.clip import Clip, open_clip
from stages.conditions.framing import views
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.evaluate.metrics.warping_error import WarpingError
from stages.models import Model, load_model
from stages.models.perceptual import open_distance
from stages.networks.common.images import image_tensor
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize import Rendering, SynthesizeOptions, choose_placement
from stages.synthesize.fitting import Fitting

MAX_DISTANCE, MIN_SHARPNESS, MAX_WARPING = 0.75, 0.85, 1.05
"""Goals: perceptual distance and warping error relative to the baseline, sharpness relative to the truth."""
MEASURED_EVERY = 6
"""Perceptual distance and sharpness are measured in every sixth frame."""


def render(clip: Clip, model: Model, options: SynthesizeOptions, frames: int) -> list[np.ndarray]:
    placement = choose_placement([clip], model, options)
    rendering = Rendering([clip], clip, model, options, Fitting("none", "the clip drives itself"), placement=placement)
    return list(islice(rendering.frames(), frames))


def laplacian(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F))


def measure(
    clip: Clip, model: Model, enhancer: Model | None, size: int, frames: int, distance: PerceptualDistance
) -> dict[str, dict[str, float]]:
    """Method ("enlarged", "full" at SIZE, "enhanced", "true") -> name of a figure -> value."""
    options = SynthesizeOptions(num_examples=1, normalize="off", size="model", paste=False, device="cpu")
    small = render(clip, model, options, frames)
    masks = render(clip, model, replace(options, show="mask"), frames)
    large = render(clip, model, replace(options, size=size), frames)
    height, width = large[0].shape[:2]
    enlarged = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_LANCZOS4) for frame in small]
    methods = {"enlarged": enlarged, "full": large}
    if enhancer is not None:
        methods["enhanced"] = render(clip, enhancer, replace(options, size=size), frames)
    crops = views(clip, open_track(clip, model.config.kind), model.config.size, "auto")
    larger = View.scaled(*model.config.size, height, width)
    truth = [view.then(larger).image(frame) for view, frame in zip(crops[:frames], clip.frames(), strict=False)]
    methods["true"] = truth
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    error = WarpingError()
    for index, (real, *made) in enumerate(zip(truth, *methods.values(), strict=True)):
        for name, value in zip(methods, error(real, made) or (), strict=False):
            values[name]["warping error"].append(value)
        if index % MEASURED_EVERY != MEASURED_EVERY - 1:
            continue
        is_warped = cv2.resize(masks[index][..., 0], (width, height)) < 128
        for name, image in zip(methods, made, strict=True):
            with torch.inference_mode():
                values[name]["perceptual"].append(float(distance(image_tensor(image[None]), image_tensor(real[None]))))
            values[name]["sharpness"].append(float(laplacian(image)[is_warped].var() / laplacian(real)[is_warped].var()))
    return {name: {figure: float(np.mean(series)) for figure, series in figures.items()} for name, figures in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--enhancer", type=Path)
    arguments = parser.parse_args()
    clips = [open_clip(path) for path in arguments.clips]
    model = load_model(arguments.model) if arguments.model else default_model(clips[0])
    enhancer = load_model(arguments.enhancer) if arguments.enhancer else None
    distance = open_distance("squeezenet", torch.device("cpu"))
    assert distance is not None
    rows: list[dict[str, float | str]] = []
    ratios = defaultdict(list)
    for clip in clips:
        scores = measure(clip, model, enhancer, arguments.size, arguments.frames, distance)
        rows += [{"clip": clip.id, "what": name, **figures} for name, figures in scores.items()]
        full, enlarged = scores["full" if enhancer is None else "enhanced"], scores["enlarged"]
        ratios["perceptual"].append(full["perceptual"] / enlarged["perceptual"])
        ratios["warping error"].append(full["warping error"] / enlarged["warping error"])
        ratios["sharpness"].append(full["sharpness"])
    perceptual, sharpness, warping = (float(np.mean(ratios[name])) for name in ("perceptual", "sharpness", "warping error"))
    goals = {
        "perceptual distance relative to enlarged images": (perceptual, MAX_DISTANCE, perceptual <= MAX_DISTANCE),
        "sharpness relative to true frames": (sharpness, MIN_SHARPNESS, sharpness >= MIN_SHARPNESS),
        "warping error relative to enlarged images": (warping, MAX_WARPING, warping <= MAX_WARPING),
    }
    report("full_resolution", rows, goals)


if __name__ == "__main__":
    main()
