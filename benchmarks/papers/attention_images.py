"""Images of attention (figure 7c of few-shot vid2vid): where in the examples each pixel of the frame attends, and what it sees there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from experiment import Experiment, Variant, train_variant
from matplotlib import pyplot
from numpy.typing import NDArray
from report import save_figure
from torch import Tensor
from torch.nn import functional as F

from stages.conditions.framing import examples_of, frame_of, sample_of
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.models import load_model
from stages.networks.fewshot.generator import ExampleCode, FewShotGenerator

CLIPS = 3
"""Maximum number of held-out clips that are shown."""


def attention_weights(generator: FewShotGenerator, code: ExampleCode, semantic: Tensor) -> Tensor:
    """Attention from each position of the frame to each position of K examples: [h, w, K, h, w]; sums to 1 over the last three axes.

    code: of one set of K > 1 examples, with pixel-wise attention. semantic: s_t, [1, S, H, W].
    """
    assert code.memory is not None and generator.config.attention == "pixel"
    weights = (generator.attention.query(semantic) @ code.memory.keys.mT).softmax(-1)[0]
    count, (height, width) = code.values.shape[1], code.values.shape[-2:]
    return weights.unflatten(1, (count, height, width)).unflatten(0, (height, width))


def apply_attention(attention: Tensor, images: Tensor) -> Tensor:
    """The mean of images [K, C, h, w] for each position of the frame, weighted by the result of `attention_weights`: [C, h, w]."""
    return torch.einsum("yxkvu,kcvu->cyx", attention, images)


def position_colours(count: int, height: int, width: int) -> Tensor:
    """A colour for each position, [K, 3, h, w] in [0, 1]: a hue for each example, more saturated to the right, brighter downwards."""
    hues = np.broadcast_to(np.arange(count)[:, None, None] * (180 / count), (count, height, width))
    saturation = np.broadcast_to(np.linspace(80, 255, width), hues.shape)
    brightness = np.broadcast_to(np.linspace(90, 255, height)[:, None], hues.shape)
    hsv = np.stack([hues, saturation, brightness], -1).astype(np.uint8)
    return torch.from_numpy(np.stack([cv2.cvtColor(image, cv2.COLOR_HSV2RGB) for image in hsv])).movedim(-1, 1).float() / 255


@torch.no_grad()
def write_images(experiment: Experiment, variant: Variant, path: Path) -> None:
    """Write a PNG with three lines for each of a few clips.

    Line 1: examples, driving image, result, truth. Line 2: the colours of the examples' positions, these colours under the attention (where
    each pixel looks), and the examples under the attention (what it sees). Line 3: each example's share of the attention at every pixel.
    """
    generator = load_model(train_variant(experiment, variant, 0)).generator
    assert isinstance(generator, FewShotGenerator)
    clips = range(min(CLIPS, len(experiment.held_out)))
    lines = [line for clip in clips for line in _lines(experiment, generator, clip, variant.synthesis["num_examples"])]
    columns = len(lines[0])
    figure, panels = pyplot.subplots(len(lines), columns, figsize=(1.2 * columns, 2.4 * len(lines)), squeeze=False)
    for panel in panels.flat:
        panel.axis("off")
    for row, cells in zip(panels, lines, strict=True):
        for panel, (name, image) in zip(row, cells, strict=False):
            panel.imshow(image, cmap="gray", vmin=0, vmax=1)
            panel.set_title(name, fontsize=7)
    save_figure(figure, path)


Cell = tuple[str, NDArray[np.floating]]


def _lines(experiment: Experiment, generator: FewShotGenerator, clip: int, count: int) -> list[list[Cell]]:
    _, examples, reference = experiment.test_clips()[clip]
    kind, size = generator.config.kind, generator.config.size
    shown, track, time = examples_of(examples, kind, size, "none", count), open_track(reference, kind), reference.num_frames // 2
    view = View.scaled(reference.height, reference.width, *size)
    cpu = torch.device("cpu")
    encoded, driving = frame_of([example.sample for example in shown], cpu), frame_of([sample_of(track, time, view)], cpu)
    code = generator.encode_examples(encoded.map(lambda x: x[None]))
    synthesis, attention = generator.synthesize(code, driving), attention_weights(generator, code, driving.semantic)
    small = attention.shape[:2]
    places = position_colours(len(shown), *small)
    pixels = F.interpolate(encoded.required_image, small, mode="area") / 2 + 0.5
    first: list[Cell] = [(f"example {k + 1}", _image(image / 2 + 0.5)) for k, image in enumerate(encoded.required_image)]
    first += [("driving", track.drawing(time, view) / 255), ("frame", _image(synthesis.frame[0] / 2 + 0.5))]
    first += [("truth", view.image(reference.frame(time)) / 255)]
    second: list[Cell] = [(f"places of {k + 1}", _image(place)) for k, place in enumerate(places)]
    second += [("looks where", _image(apply_attention(attention, places))), ("sees what", _image(apply_attention(attention, pixels)))]
    shares = attention.sum((3, 4))
    return [first, second, [(f"share of {k + 1}: {shares[..., k].mean():.2f}", shares[..., k].numpy()) for k in range(len(shown))]]


def _image(channels: Tensor) -> NDArray[np.float32]:
    """[3, H, W] in [0, 1] -> [H, W, 3]."""
    return channels.clamp(0, 1).movedim(0, -1).numpy()
