"""Sample sheets: for a few windows the driving image, example, warp, mask, result and truth, as one picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from stages.files import write_atomically
from stages.networks.generator import FewShotGenerator
from stages.train.data import Batch

COLUMNS = ("driving", "example", "warped example", "mask", "raw", "result", "truth")


@torch.no_grad()
def write_sheet(path: Path, generator: FewShotGenerator, batch: Batch) -> None:
    """One row per clip of the batch (its first frame), one column per entry of `COLUMNS`; PNG."""
    code = generator.encode_examples(batch.example_images, batch.example_semantics)
    made = generator.synthesize(code, batch.semantics[:, 0])
    example = batch.example_images[:, 0]
    warped = example if made.example is None else made.example.image
    mask = torch.ones_like(example[:, :1]) if made.example_mask is None else made.example_mask
    columns = [
        _grey(batch.semantics[:, 0].mean(1, keepdim=True) * 2),
        example,
        warped,
        _grey(mask),
        made.raw,
        made.frame,
        batch.images[:, 0],
    ]
    rows = torch.cat([c.float().cpu() for c in columns], -1)
    sheet = torch.cat(list(rows), 1).add(1).mul(127.5).clamp(0, 255).byte().movedim(0, -1).numpy()
    titled = np.full((sheet.shape[0] + 18, sheet.shape[1], 3), 255, np.uint8)
    titled[18:] = sheet
    for index, name in enumerate(COLUMNS):
        x = 4 + index * sheet.shape[1] // len(COLUMNS)
        cv2.putText(titled, name, (x, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    write_atomically(path, cv2.imencode(".png", titled[..., ::-1])[1].tobytes())


def _grey(maps: Tensor) -> Tensor:
    return maps.clamp(0, 1).expand(-1, 3, -1, -1) * 2 - 1
