"""Images of attention (figure 7c of few-shot vid2vid): the pixel of an example that each pixel of the frame attends to most."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from experiment import Experiment, Variant, trained
from matplotlib import pyplot
from numpy.typing import NDArray
from report import save
from torch import Tensor
from torch.nn import functional as F

from stages.conditions.framing import examples_of, frame_of, sample_of
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.models import load_model
from stages.networks.fewshot.generator import ExampleCode, FewShotGenerator

CLIPS = 3


def attended(generator: FewShotGenerator, code: ExampleCode, semantic: Tensor) -> Tensor:
    """How much each place of the frame takes from each place of each example: [h, w, K, h, w], a distribution over the last three.

    code: of one set of K > 1 examples under pixel-wise attention; semantic [1, S, H, W].
    """
    assert code.memory is not None and generator.config.attention == "pixel"
    weights = (generator.attention.query(semantic) @ code.memory.keys.mT).softmax(-1)[0]
    count, (height, width) = code.values.shape[1], code.values.shape[-2:]
    return weights.unflatten(1, (count, height, width)).unflatten(0, (height, width))


def read_through(attention: Tensor, images: Tensor) -> Tensor:
    """What is seen of images [K, C, h, w] through an attention of `attended`: their mean under it, [C, h, w]."""
    return torch.einsum("yxkvu,kcvu->cyx", attention, images)


def place_colours(count: int, height: int, width: int) -> Tensor:
    """A colour for each place of each example: a hue of its own for each example, brighter from top to bottom; [K, 3, h, w] in [0, 1]."""
    hues = np.broadcast_to(np.arange(count)[:, None, None] * (180 / count), (count, height, width))
    across = np.broadcast_to(np.linspace(80, 255, width), hues.shape)
    down = np.broadcast_to(np.linspace(90, 255, height)[:, None], hues.shape)
    hsv = np.stack([hues, across, down], -1).astype(np.uint8)
    return torch.from_numpy(np.stack([cv2.cvtColor(image, cv2.COLOR_HSV2RGB) for image in hsv])).movedim(-1, 1).float() / 255


@torch.no_grad()
def images(experiment: Experiment, variant: Variant, path: Path) -> None:
    """Three lines for each of a few clips. The examples, what drives, the frame, the truth; a colour for each place of each example,
    and in these colours where each pixel of the frame looks, with what it sees there; each example's share of every pixel. PNG."""
    generator = load_model(trained(experiment, variant, 0)).generator
    assert isinstance(generator, FewShotGenerator)
    clips = range(min(CLIPS, len(experiment.held_out)))
    lines = [line for clip in clips for line in _lines(experiment, generator, clip, variant.asked["num_examples"])]
    columns = len(lines[0])
    figure, panels = pyplot.subplots(len(lines), columns, figsize=(1.2 * columns, 2.4 * len(lines)), squeeze=False)
    for panel in panels.flat:
        panel.axis("off")
    for row, cells in zip(panels, lines, strict=True):
        for panel, (name, image) in zip(row, cells, strict=False):
            panel.imshow(image, cmap="gray", vmin=0, vmax=1)
            panel.set_title(name, fontsize=7)
    save(figure, path)


Cell = tuple[str, NDArray[np.floating]]


def _lines(experiment: Experiment, generator: FewShotGenerator, clip: int, count: int) -> list[list[Cell]]:
    _, examples, judged = experiment.cuts()[clip]
    kind, size = generator.config.kind, generator.config.size
    shown, track, time = examples_of(examples, kind, size, "none", count), open_track(judged, kind), judged.num_frames // 2
    view = View.scaled(judged.height, judged.width, *size)
    cpu = torch.device("cpu")
    encoded, driving = frame_of([example.sample for example in shown], cpu), frame_of([sample_of(track, time, view)], cpu)
    code = generator.encode_examples(encoded.map(lambda x: x[None]))
    made, attention = generator.synthesize(code, driving), attended(generator, code, driving.semantic)
    small = attention.shape[:2]
    places = place_colours(len(shown), *small)
    pixels = F.interpolate(encoded.required_image, small, mode="area") / 2 + 0.5
    first: list[Cell] = [(f"example {k + 1}", _image(image / 2 + 0.5)) for k, image in enumerate(encoded.required_image)]
    first += [("driving", track.drawing(time, view) / 255), ("frame", _image(made.frame[0] / 2 + 0.5))]
    first += [("truth", view.image(judged.frame(time)) / 255)]
    second: list[Cell] = [(f"places of {k + 1}", _image(place)) for k, place in enumerate(places)]
    second += [("looks where", _image(read_through(attention, places))), ("sees what", _image(read_through(attention, pixels)))]
    shares = attention.sum((3, 4))
    return [first, second, [(f"share of {k + 1}: {shares[..., k].mean():.2f}", shares[..., k].numpy()) for k in range(len(shown))]]


def _image(channels: Tensor) -> NDArray[np.float32]:
    """[3, H, W] in [0, 1] -> [H, W, 3]."""
    return channels.clamp(0, 1).movedim(0, -1).numpy()
