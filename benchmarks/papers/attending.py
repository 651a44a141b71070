"""Pictures of attention (figure 7c of few-shot vid2vid): which pixel of which example each pixel of the frame attends to."""

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

from stages.conditions.framing import examples_of, tensors
from stages.conditions.tracks import open_track
from stages.conditions.view import View
from stages.models import load_model
from stages.networks.generator import ExampleCode, FewShotGenerator

CLIPS = 3


def attended(generator: FewShotGenerator, code: ExampleCode, semantic: Tensor) -> Tensor:
    """How much each place of the frame takes from each place of each example: [h, w, K, h, w], a distribution over the last three.

    code: of one set of K > 1 examples under pixel-wise attention; semantic [1, S, H, W].
    """
    assert code.memory is not None and generator.config.attention == "pixel"
    weights = (generator.attention.query(semantic) @ code.memory.keys.mT).softmax(-1)[0]
    count, (height, width) = code.values.shape[1], code.values.shape[-2:]
    return weights.unflatten(1, (count, height, width)).unflatten(0, (height, width))


def read_through(attention: Tensor, pictures: Tensor) -> Tensor:
    """What is seen of pictures [K, C, h, w] through an attention of `attended`: their mean under it, [C, h, w]."""
    return torch.einsum("yxkvu,kcvu->cyx", attention, pictures)


def place_colours(count: int, height: int, width: int) -> Tensor:
    """A colour for each place of each example: a hue of its own for each example, brighter from top to bottom; [K, 3, h, w] in [0, 1]."""
    hues = np.broadcast_to(np.arange(count)[:, None, None] * (180 / count), (count, height, width))
    across = np.broadcast_to(np.linspace(80, 255, width), hues.shape)
    down = np.broadcast_to(np.linspace(90, 255, height)[:, None], hues.shape)
    hsv = np.stack([hues, across, down], -1).astype(np.uint8)
    return torch.from_numpy(np.stack([cv2.cvtColor(picture, cv2.COLOR_HSV2RGB) for picture in hsv])).movedim(-1, 1).float() / 255


@torch.no_grad()
def pictures(experiment: Experiment, variant: Variant, path: Path) -> None:
    """Of a few held-out clips: the examples, what drives, the frame; below them each example's share of the attention, the colours of its
    places, and those that each pixel of the frame attends to, with the examples' own pixels read the same way. PNG."""
    generator = load_model(trained(experiment, variant, 0)).generator
    rows = [_row(experiment, generator, clip, variant.asked["num_examples"]) for clip in range(min(CLIPS, len(experiment.held_out)))]
    columns = len(rows[0][0])
    figure, panels = pyplot.subplots(2 * len(rows), columns, figsize=(1.1 * columns, 4.2 * len(rows)), squeeze=False)
    for line, cells in zip(panels, [line for row in rows for line in row], strict=True):
        for panel, (name, picture) in zip(line, cells, strict=True):
            panel.imshow(picture, cmap="gray", vmin=0, vmax=1)
            panel.set_title(name, fontsize=7)
            panel.axis("off")
    save(figure, path)


Cell = tuple[str, NDArray[np.float32]]


def _row(experiment: Experiment, generator: FewShotGenerator, clip: int, count: int) -> tuple[list[Cell], list[Cell]]:
    _, examples, judged = experiment.cuts()[clip]
    kind, size = generator.config.kind, generator.config.size
    shown, track, time = examples_of(examples, kind, size, "none", count), open_track(judged, kind), judged.num_frames // 2
    view = View.scaled(judged.height, judged.width, *size)
    images, semantics = tensors(shown, torch.device("cpu"))
    code, semantic = generator.encode_examples(images[None], semantics[None]), torch.from_numpy(track.semantic(time, view))[None]
    made, attention = generator.synthesize(code, semantic), attended(generator, code, semantic)
    small = attention.shape[:2]
    places = place_colours(len(shown), *small)
    pixels = F.interpolate(images, small, mode="area") / 2 + 0.5
    above = [(f"example {k + 1}", _picture(image / 2 + 0.5)) for k, image in enumerate(images)]
    above += [("driving", track.picture(time, view) / 255), ("frame", _picture(made.frame[0] / 2 + 0.5))]
    shares = attention.sum((3, 4))
    below = [(f"share {shares[..., k].mean():.2f}", shares[..., k].numpy()) for k in range(len(shown))]
    below += [("from where", _picture(read_through(attention, places))), ("what is there", _picture(read_through(attention, pixels)))]
    key = [(f"places {k + 1}", _picture(place)) for k, place in enumerate(places)]
    truth = ("truth", view.image(judged.frame(time)) / 255)
    return [*above, truth, *key], [*below, *[("", np.ones((*small, 3)))] * (1 + len(key))]


def _picture(channels: Tensor) -> NDArray[np.float32]:
    """[3, H, W] in [0, 1] -> [H, W, 3]."""
    return channels.clamp(0, 1).movedim(0, -1).numpy()
