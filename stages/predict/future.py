"""Predicts label maps one after another, from the last observed ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from stages.conditions.framing import frame_of, sample_of
from stages.conditions.kinds.streets import LabelTrack
from stages.conditions.view import View
from stages.errors import InputError
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.inference import Renderer

UNKNOWN = -1
"""Instance number of pixels that belong to no observed instance."""


class FutureMaps:
    """Predicts label maps and instance numbers.

    observed: indices of successive frames of the track; the predicted frames follow the last one. Maps have the size of the clip, height x
    width.
    """

    def __init__(self, renderer: Renderer, track: LabelTrack, observed: range, height: int, width: int) -> None:
        self._renderer, self._track = renderer, track
        self._code = renderer.encode_examples(None)
        whole = View.scaled(height, width, height, width)
        self._past: Frame | None = None
        for index in observed:
            self._last = frame_of([sample_of(track, index, whole)], renderer.device)
            self._past = renderer.remember(self._last, Synthesis(self._last.semantic, self._last.semantic), self._past)
        self._numbers: torch.Tensor | None = None
        if track.instances is not None:
            numbers = torch.from_numpy(track.instances.image(observed[-1]).astype(np.int64))
            self._numbers = numbers[None, None].to(renderer.device)

    @torch.inference_mode()
    def maps(self, frames: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64] | None]]:
        """For each of the next `frames` frames the label ids, uint8 [H, W], and the instance numbers [H, W].

        A number may be UNKNOWN. The numbers are None if the track has no instances. Raises InputError if a prediction is not finite.
        A second call continues after the last predicted frame.
        """
        for index in range(frames):
            assert self._past is not None
            synthesis = self._renderer.synthesize(self._code, self._last, self._past)
            if not synthesis.frame.isfinite().all():
                raise InputError(f"the model cannot predict frame {index}: its values are not finite", hint="Use another model")
            if self._numbers is not None:  # `propagate_instances` returns 0 for unknown, but 0 is a valid number, hence + 1 and - 1
                self._numbers = self._renderer.propagate_instances(self._numbers + 1, synthesis, self._past) - 1
            self._past = self._renderer.remember(self._last, synthesis, self._past)
            ids = self._track.ids[synthesis.frame[0].argmax(0).cpu().numpy()]
            yield ids, None if self._numbers is None else self._numbers[0, 0].cpu().numpy()
