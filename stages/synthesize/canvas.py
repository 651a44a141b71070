"""Frames at the resolution of the example, from the flow, mask and frame that the network generates at its own size.

The flow is enlarged and warps the example at full size. The warp is shown where the mask of the network trusts it (equation 11) and it also
agrees with the network's frame at the model's size; elsewhere the enlarged frame is shown. Gradual changes of colour over the image, such
as light and shadow, are those of the frame, so that there are no seams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from stages.conditions.view import View
from stages.networks.common.generator import Synthesis
from stages.networks.common.matting import LIGHT_SIGMA, TOLERANCE

Image = NDArray[np.uint8]
"""RGB [H, W, 3]."""
Map = NDArray[np.float32]

MIN_SHARE = 0.02
"""An example whose share is smaller everywhere is not warped."""


@dataclass(frozen=True)
class FullSizeExample:
    """An example at full size. view: maps its pixels to the model's."""

    image: Image
    view: View

    @property
    def inverse(self) -> NDArray[np.float64]:
        """The matrix [2, 3] that maps the model's pixels to those of `image`."""
        return self.view.inverse(*self.image.shape[:2]).matrix


class Canvas:
    """Makes frames of the size of the first of `examples`."""

    def __init__(self, examples: Sequence[FullSizeExample]) -> None:
        self.examples = examples
        self.height, self.width = examples[0].image.shape[:2]
        self._to_model = examples[0].view.matrix.astype(np.float64)
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        grid = np.stack([x, y], -1)
        self._at_rest = [grid, *(_transform(example.inverse @ _with_last_row(self._to_model), grid) for example in examples[1:])]
        """For each example, the position from which each pixel of the canvas comes if nothing moves."""

    def frame(self, synthesis: Synthesis, chosen: Sequence[int], motion_weights: Map | None = None) -> Image:
        """The frame, uint8 [H, W, 3].

        synthesis: the output of the network.
        chosen: indices of the examples from which it was made.
        motion_weights: float32 [h, w] in [0, 1] at the model's size, factors of the flows and of the change of light. Where they are
        0, the examples are not moved and keep their light. None stands for 1 everywhere.
        """
        assert synthesis.example is not None
        frame, warped = _grey_levels(synthesis.frame), _grey_levels(synthesis.example.image)
        trust, light = self._trust(frame, warped, synthesis)
        flows = self._flows(synthesis, chosen)
        if motion_weights is not None:
            light = light * motion_weights[..., None]
            flows = {index: (flow * motion_weights[..., None], share) for index, (flow, share) in flows.items()}
        painted = self._enlarge(frame, cv2.INTER_CUBIC)
        shown = self._warp(flows) + self._enlarge(light)
        shown = painted + (shown - painted) * self._enlarge(trust)[..., None]
        result: Image = np.clip(shown + 0.5, 0, 255).astype(np.uint8)
        return result

    def _trust(self, frame: Map, warped: Map, synthesis: Synthesis) -> tuple[Map, Map]:
        """(opacity of the warp, [h, w] in [0, 1]; change of light from the warp to the frame, [h, w, 3])."""
        sigma = LIGHT_SIGMA * len(frame)
        light = cv2.GaussianBlur(frame - warped, (0, 0), sigma)
        error = cv2.GaussianBlur(np.abs(frame - warped - light).mean(-1), (0, 0), max(sigma / 3, 0.5))
        trust = np.exp(-np.square(error / TOLERANCE))
        if synthesis.example_mask is not None:
            trust = trust * (1 - synthesis.example_mask[0, 0].float().cpu().numpy())
        return np.asarray(trust, np.float32), np.asarray(light, np.float32)

    def _flows(self, synthesis: Synthesis, chosen: Sequence[int]) -> dict[int, tuple[Map, Map | None]]:
        """Index of an example -> (its flow [h, w, 2] in the model's pixels, its share [h, w], or None for a share of 1)."""
        warped = synthesis.example
        assert warped is not None
        if warped.flows is None or warped.shares is None:
            e_1 = 0 if synthesis.chosen_example is None or len(chosen) == 1 else int(synthesis.chosen_example[0])
            return {chosen[e_1]: (_channels_last(warped.flow[0].float().cpu().numpy()), None)}
        shares = warped.shares[0].float().cpu().numpy()
        flows = warped.flows[0].float().cpu().numpy()
        used = [k for k in range(len(chosen)) if shares[k].max() > MIN_SHARE]
        total = shares[used].sum(0)
        return {chosen[k]: (_channels_last(flows[k]), shares[k] / total) for k in used}

    def _warp(self, flows: dict[int, tuple[Map, Map | None]]) -> Map:
        shown: Map | float = 0.0
        for index, (flow, share) in flows.items():
            example = self.examples[index]
            moved = flow @ example.inverse[:, :2].T.astype(np.float32)
            position = self._at_rest[index] + self._enlarge(moved)
            image = cv2.remap(example.image, position[..., 0], position[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            shown = shown + (image if share is None else image * self._enlarge(share)[..., None])
        return np.asarray(shown, np.float32)

    def _enlarge(self, values: Map, interpolation: int = cv2.INTER_LINEAR) -> Map:
        """A map at the model's size, enlarged to the size of the canvas."""
        size = self.width, self.height
        flags = interpolation | cv2.WARP_INVERSE_MAP
        enlarged = cv2.warpAffine(np.ascontiguousarray(values), self._to_model, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(enlarged, np.float32)


def _grey_levels(image: torch.Tensor) -> Map:
    """[1, 3, h, w] in [-1, 1] -> float32 [h, w, 3] in [0, 255]."""
    return _channels_last(((image[0].float() + 1) * 127.5).cpu().numpy())


def _channels_last(values: Map) -> Map:
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def _transform(matrix: NDArray[np.float64], points: Map) -> Map:
    """Points [..., 2] transformed by an affine matrix [2, 3]."""
    moved: Map = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return moved


def _with_last_row(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """An affine matrix [2, 3] as [3, 3]."""
    return np.vstack([matrix, [0, 0, 1]])
