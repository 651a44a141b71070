"""The size at which a model without examples makes its frames, and the padding to sides that its network can halve without a remainder.

Networks of these families are fully convolutional. If the driving clip is nearly as large as the training images, it is therefore not
resized: the inputs are continued by reflection at the right and lower border, up to the next multiple, and the frames are cropped back. The
convolutions continue their inputs in the same way. A clip of a clearly different size shows objects at a scale that the network has not
seen, and is scaled to the size of the training images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stages.clip import Clip
from stages.conditions.framing import shows_whole
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.errors import Sentence
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame
from stages.synthesize.options import SynthesizeOptions

NEAR = 0.1
"""A clip is nearly as large as the training images if neither its height nor its width differs from theirs by more than this share."""


def size_of_frames(driving: Clip, config: GeneratorConfig, options: SynthesizeOptions) -> tuple[int, int]:
    """Height and width in pixels of the frames that a clip drives: those of the clip or those of the training images.

    They are those of the clip if the model uses no examples, the clip is nearly as large as the training images (`NEAR`), its subject is
    not cropped, and the size `model` is not asked for.
    """
    own, trained = (driving.height, driving.width), (config.size[0], config.size[1])
    if config.few_shot or options.size == "model" or own == trained:
        return trained
    if any(abs(side - wanted) > NEAR * wanted for side, wanted in zip(own, trained, strict=True)):
        return trained
    return own if shows_whole(driving, open_track(driving, config.kind), trained, options.crop) else trained


def multiple_of(config: GeneratorConfig) -> int:
    """The sides of what the network sees are multiples of this number; 1 for a few-shot model, whose frames always have the right size."""
    return 1 if config.few_shot else int(2**config.halvings)


def padded(frame: Frame, multiple: int) -> Frame:
    """The frame, continued by reflection at the right and lower border until its height and width are multiples of `multiple`.

    Keypoints do not change.
    """
    height, width = frame.semantic.shape[-2:]
    if height % multiple == width % multiple == 0:
        return frame
    rows, columns = (_reflected(side, -(-side // multiple) * multiple, frame.semantic.device) for side in (height, width))
    maps = {name: getattr(frame, name) for name in ("semantic", "image", "regions", "appearance")}
    return replace(frame, **{name: x[..., rows[:, None], columns] for name, x in maps.items() if x is not None})


def _reflected(length: int, target: int, device: torch.device) -> Tensor:
    """The positions 0, 1, ... `length` - 1, `length` - 2, ... of `target` pixels in a line of `length` pixels."""
    period = max(2 * (length - 1), 1)
    positions = torch.arange(target, device=device) % period
    return torch.where(positions < length, positions, period - positions)


def size_notes(clip: Clip, view: View, size: tuple[int, int], images: str) -> list[str]:
    """A sentence if the whole of a clip is scaled to the size of `images`, or is not scaled although its size differs; else nothing.

    view: of a frame of the clip. There is no sentence about a crop, nor about a change of shape for which there is a warning.
    images: what the sentence calls the images of this size. size: their height and width.
    """
    own, wanted = f"{clip.width}x{clip.height}", f"{size[1]}x{size[0]}"
    whole = np.array_equal(view.matrix, View.scaled(clip.height, clip.width, view.height, view.width).matrix)
    if not whole or view.squeezes or own == wanted:
        return []
    if (view.height, view.width) == (clip.height, clip.width):
        return [Sentence(f"{clip.id} has {own} pixels, and so have its frames; {images} have {wanted}", code="own-size")]
    return [f"{clip.id} has {own} pixels and is scaled to {wanted}, the size of {images}"]
