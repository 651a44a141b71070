"""How much a result changes from frame to frame beyond what moves (Lai et al. 2018, section 5).

The flow is that of the real frames. The result's frame t - 1 is warped along it and compared with frame t, where a forward-backward check
finds both frames to show the same point. A frozen picture also scores well here, so the figure means little without the others; the
floor is what the real video scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.metric import Image, Metric, Scorer, Setting

Flow = NDArray[np.float32]


class WarpingError:
    """Mean absolute difference in grey levels over the visible pixels; the first frame only starts the comparison."""

    def __init__(self) -> None:
        import cv2

        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._grey: Image | None = None
        self._candidates: list[Image] = []

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float] | None:
        import cv2

        grey = np.asarray(cv2.cvtColor(reference, cv2.COLOR_RGB2GRAY), np.uint8)
        before, self._grey = self._grey, grey
        previous, self._candidates = self._candidates, list(candidates)
        if before is None:
            return None
        flow, visible = self._match(grey, before)
        if not visible.any():
            return None
        return [float(np.abs(now - warp(then, flow))[visible].mean()) for then, now in zip(previous, candidates, strict=True)]

    def _match(self, grey: Image, before: Image) -> tuple[Flow, NDArray[np.bool_]]:
        """(flow [H, W, 2] from this frame to the one before, where it can be trusted [H, W])."""
        backward, forward = self._flow(grey, before), self._flow(before, grey)
        return backward, consistent(backward, forward)

    def _flow(self, image: Image, other: Image) -> Flow:
        return np.asarray(self._dis.calc(image, other, np.zeros((*image.shape, 2), np.float32)), np.float32)


def consistent(backward: Flow, forward: Flow) -> NDArray[np.bool_]:
    """Pixels [H, W] that the flow leads out and nearly back again, and inside the frame (Sundaram et al. 2010, eq. 5)."""
    returned = warp(forward, backward)
    gap = np.square(backward + returned).sum(-1)
    allowed = 0.01 * (np.square(backward).sum(-1) + np.square(returned).sum(-1)) + 0.5
    height, width = gap.shape
    x, y = np.moveaxis(_targets(backward), -1, 0)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return (gap <= allowed) & inside


def warp(image: NDArray[np.uint8] | Flow, flow: Flow) -> NDArray[np.float32]:
    """out(x) = image(x + flow(x)), float32; image [H, W, C], flow [H, W, 2] in pixels."""
    import cv2

    targets = _targets(flow)
    return np.asarray(
        cv2.remap(image.astype(np.float32), targets[..., 0], targets[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _targets(flow: Flow) -> Flow:
    height, width = flow.shape[:2]
    return flow + np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)


def _open(setting: Setting) -> Scorer:
    return WarpingError()


METRIC = Metric(
    name="warping-error",
    summary="change from frame to frame beyond the motion of the reference",
    unit="grey levels",
    better="lower",
    open=_open,
    least_frames=2,
    least_side=16,
    floor=True,
)
