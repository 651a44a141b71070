"""The stage: the optical flow from each frame to the next as the layer `flow`, and its confidence as the layer `flow_confidence`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip, Producer
from stages.compute.streaming import beside
from stages.flow.backends import Estimator
from stages.flow.consistency import trusted_flow
from stages.flow.teacher import choose_teacher
from stages.runner import Outcome
from stages.tracking.cuts import CutDetector

STAGE = "flow"
LAYERS = ("flow", "flow_confidence")


@dataclass(frozen=True)
class FlowOptions:
    """What shapes the flow; all but `device` enters the layers' keys, the network by its sha256.

    backend: dis, onnx, or auto: onnx if a network is given, else dis. model: the ONNX file of the network.
    """

    backend: str = "auto"
    model: str | None = None
    device: str = "auto"


def extract(clip: Clip, options: FlowOptions, overwrite: bool = False) -> Outcome:
    """Estimate the flow of `clip` from frame t to t + 1, in both directions, for the confidence.

    The last frame, and the last one of each shot, has flow 0 and confidence 0. Raises UsageError when backend and network do not
    fit, MissingRequirement when the network's file or a package is missing.
    """
    teacher = choose_teacher(options.backend, options.model)
    producer = Producer(STAGE, teacher.backend.name, {}, teacher.weights, device=options.device)
    inputs = {"frames": clip.frames_digest()}
    needed = [kind for kind in LAYERS if clip.needs(kind, producer, inputs, overwrite)]
    if not needed:
        return Outcome("flow", "skipped", clip.num_frames)
    cuts = 0
    with ExitStack() as stack:
        writers = {kind: stack.enter_context(clip.writing(kind, producer, inputs)) for kind in needed}
        for cut, flow, trusted in _flows(clip, teacher.open(options.device)):
            cuts += cut
            for kind, image in zip(LAYERS, (flow, trusted * np.uint8(255)), strict=True):
                if kind in writers:
                    writers[kind].image(image)
    return Outcome("flow", "done", clip.num_frames, {"cuts": cuts})


@dataclass(frozen=True)
class _Pair:
    """A frame, uint8 RGB [H, W, 3], and the next one, None after the last; cut: the next one begins another shot."""

    frame: NDArray[np.uint8]
    following: NDArray[np.uint8] | None
    cut: bool


def _pairs(clip: Clip) -> Iterator[_Pair]:
    is_cut = CutDetector()
    marked = ((frame, is_cut(frame)) for frame in clip.frames())
    for (frame, _), (following, cut) in itertools.pairwise(itertools.chain(marked, [(None, False)])):
        assert frame is not None
        yield _Pair(frame, following, cut)


def _flows(clip: Clip, estimate: Estimator) -> Iterator[tuple[bool, NDArray[np.float32], NDArray[np.bool_]]]:
    """(whether the next frame begins another shot, flow [H, W, 2], where it is consistent [H, W]) for each frame."""

    def flow_of(pair: _Pair) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if pair.following is None or pair.cut:
            height, width = pair.frame.shape[:2]
            return np.zeros((height, width, 2), np.float32), np.zeros((height, width), np.bool_)
        return trusted_flow(pair.frame, pair.following, estimate)

    for pair, (flow, trusted) in beside(flow_of, _pairs(clip)):
        yield pair.cut, flow, trusted
