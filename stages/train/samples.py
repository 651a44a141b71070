"""Sample sheets: images that show the parts of a synthesis for a few windows, beside the truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.conditions.kinds import find_kind
from stages.conditions.kinds.kind import grey
from stages.io.files import write_atomically
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.images import image_array
from stages.train.batch import Batch


@torch.no_grad()
def write_sheet(path: Path, generator: Generator, batch: Batch) -> None:
    """Write a PNG with a row for each window of the batch, and a column for each part of the synthesis that the family makes.

    The synthesis is that of the first frame of each window. The column "example" shows e_1, and "attention" its share at each position.
    For models that predict label maps, the columns are the last observed map, the last predicted map, the truth, and the mask.
    """
    if generator.config.makes_labels:
        _write(path, _predicted_columns(generator, batch))
        return
    first = batch.frame(0)
    synthesis = generator.synthesize(generator.encode_examples(batch.examples), first)
    columns = {"driving": find_kind(generator.config.kind).draw(first.semantic)}
    if synthesis.chosen_example is not None and synthesis.attention is not None:
        chosen = torch.arange(len(batch), device=synthesis.chosen_example.device), synthesis.chosen_example
        example = batch.examples.required_image[chosen]
        columns["example"] = example
        columns["warped example"] = example if synthesis.example is None else synthesis.example.image
        columns["mask"] = grey(torch.ones_like(example[:, :1]) if synthesis.example_mask is None else synthesis.example_mask)
        columns["attention"] = grey(F.interpolate(synthesis.attention[chosen][:, None].float(), example.shape[-2:]))
        columns["raw"] = synthesis.raw
    _write(path, columns | {"result": synthesis.frame, "truth": first.required_image})


def _predicted_columns(generator: Generator, batch: Batch) -> dict[str, Tensor]:
    """The columns for a model that predicts label maps: title -> images [B, 3, H, W]."""
    past: Frame | None = None
    code = generator.encode_examples(batch.examples)
    for t in range(batch.num_frames):
        frame = batch.frame(t)
        observed = t < batch.real_frames
        synthesis = Synthesis(frame.semantic, frame.semantic) if observed else generator.synthesize(code, frame, past)
        past = generator.remember(frame, synthesis, past)
    assert past is not None
    draw = find_kind(generator.config.kind).draw
    mask = torch.zeros_like(frame.semantic[:, :1]) if synthesis.previous_mask is None else synthesis.previous_mask
    maps = {"last observed": batch.frame(batch.real_frames - 1).semantic, "predicted": past.semantic, "truth": frame.semantic}
    return {**{name: draw(labels) for name, labels in maps.items()}, "mask": grey(mask)}


def _write(path: Path, columns: dict[str, Tensor]) -> None:
    """Write the columns, title -> images [B, 3, H, W], side by side below their titles."""
    rows = torch.cat([images.float().cpu() for images in columns.values()], -1)
    sheet = image_array(torch.cat(list(rows), 1))
    titled = np.full((sheet.shape[0] + 18, sheet.shape[1], 3), 255, np.uint8)
    titled[18:] = sheet
    for index, name in enumerate(columns):
        x = 4 + index * sheet.shape[1] // len(columns)
        cv2.putText(titled, name, (x, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    write_atomically(path, cv2.imencode(".png", titled[..., ::-1])[1].tobytes())
