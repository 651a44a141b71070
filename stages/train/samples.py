"""Sample sheets: for a few windows the driving image, example, warp, mask, result and truth, as one image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.conditions.kinds import find
from stages.conditions.kinds.kind import grey
from stages.io.files import write_atomically
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.images import image_array
from stages.train.batch import Batch


@torch.no_grad()
def write_sheet(path: Path, generator: Generator, batch: Batch) -> None:
    """One row per clip of the batch (its first frame), one column for each part of the synthesis that the family makes; PNG.

    example: the one that was warped, of the batch's K; attention: how much of each place came from it. Of label maps the last observed
    one, the last predicted one with its mask, and the truth.
    """
    if generator.config.makes_labels:
        _write(path, _futures(generator, batch))
        return
    first = batch.frame(0)
    made = generator.synthesize(generator.encode_examples(batch.examples), first)
    columns = {"driving": find(generator.config.kind).draw(first.semantic)}
    if made.best is not None and made.attention is not None:
        chosen = torch.arange(len(batch), device=made.best.device), made.best
        example = batch.examples.required_image[chosen]
        columns["example"] = example
        columns["warped example"] = example if made.example is None else made.example.image
        columns["mask"] = grey(torch.ones_like(example[:, :1]) if made.example_mask is None else made.example_mask)
        columns["attention"] = grey(F.interpolate(made.attention[chosen][:, None].float(), example.shape[-2:]))
        columns["raw"] = made.raw
    _write(path, columns | {"result": made.frame, "truth": first.required_image})


def _futures(generator: Generator, batch: Batch) -> dict[str, Tensor]:
    past: Frame | None = None
    code = generator.encode_examples(batch.examples)
    for t in range(batch.num_frames):
        frame = batch.frame(t)
        observed = t < batch.given
        made = Synthesis(frame.semantic, frame.semantic) if observed else generator.synthesize(code, frame, past)
        past = generator.remember(frame, made, past)
    assert past is not None
    draw = find(generator.config.kind).draw
    mask = torch.zeros_like(frame.semantic[:, :1]) if made.previous_mask is None else made.previous_mask
    maps = {"last observed": batch.frame(batch.given - 1).semantic, "predicted": past.semantic, "truth": frame.semantic}
    return {**{name: draw(labels) for name, labels in maps.items()}, "mask": grey(mask)}


def _write(path: Path, columns: dict[str, Tensor]) -> None:
    beside = torch.cat([c.float().cpu() for c in columns.values()], -1)
    sheet = image_array(torch.cat(list(beside), 1))
    titled = np.full((sheet.shape[0] + 18, sheet.shape[1], 3), 255, np.uint8)
    titled[18:] = sheet
    for index, name in enumerate(columns):
        x = 4 + index * sheet.shape[1] // len(columns)
        cv2.putText(titled, name, (x, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    write_atomically(path, cv2.imencode(".png", titled[..., ::-1])[1].tobytes())
