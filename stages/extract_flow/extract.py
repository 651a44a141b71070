"""The stage: the optical flow from each frame to the next as the layer `flow`, and its confidence as the layer `flow_confidence`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip, Producer
from stages.compute.streaming import map_in_thread
from stages.flow.backends import Estimator
from stages.flow.consistency import consistent_flow
from stages.flow.teacher import choose_teacher
from stages.runner import Outcome
from stages.tracking.cuts import CutDetector

STAGE = "flow"
LAYERS = ("flow", "flow_confidence")


@dataclass(frozen=True)
class FlowOptions:
    """Options of the optical flow. All but `device` are part of the layers' keys, the network by its sha256.

    backend: dis, onnx, or auto: onnx if a network is given, else dis. model: the ONNX file of the network.
    """

    backend: str = "auto"
    model: str | None = None
    device: str = "auto"


def extract(clip: Clip, options: FlowOptions, overwrite: bool = False) -> Outcome:
    """Write the layers `flow` of `clip`, from frame t to t + 1, and `flow_confidence`: 255 where the flow is consistent, else 0.

    Flow and confidence are 0 in the last frame, and in the last frame of each shot. Raises UsageError when backend and network do not
    fit, MissingRequirement when the network's file or a package is missing.
    """
    teacher = choose_teacher(options.backend, options.model)
    producer = Producer(STAGE, teacher.backend.name, {}, teacher.weights, device=options.device)
    inputs = {"frames": clip.frames_digest()}
    missing_kinds = [kind for kind in LAYERS if clip.needs(kind, producer, inputs, overwrite)]
    if not missing_kinds:
        return Outcome("flow", "skipped", clip.num_frames)
    cuts = 0
    with ExitStack() as stack:
        writers = {kind: stack.enter_context(clip.writing(kind, producer, inputs)) for kind in missing_kinds}
        for cut, flow, trusted in _flows(clip, teacher.open(options.device)):
            cuts += cut
            for kind, image in zip(LAYERS, (flow, trusted * np.uint8(255)), strict=True):
                if kind in writers:
                    writers[kind].image(image)
    return Outcome("flow", "done", clip.num_frames, {"cuts": cuts})


@dataclass(frozen=True)
class _Pair:
    """A frame, uint8 RGB [H, W, 3], and the next one, None after the last frame. cut: the next frame begins another shot."""

    frame: NDArray[np.uint8]
    following: NDArray[np.uint8] | None
    cut: bool


def _pairs(clip: Clip) -> Iterator[_Pair]:
    is_cut = CutDetector()
    frames_and_cuts = ((frame, is_cut(frame)) for frame in clip.frames())
    for (frame, _), (following, cut) in itertools.pairwise(itertools.chain(frames_and_cuts, [(None, False)])):
        assert frame is not None
        yield _Pair(frame, following, cut)


def _flows(clip: Clip, estimate: Estimator) -> Iterator[tuple[bool, NDArray[np.float32], NDArray[np.bool_]]]:
    """(whether the next frame begins another shot, flow [H, W, 2], where it is consistent [H, W]) for each frame."""

    def flow_of(pair: _Pair) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if pair.following is None or pair.cut:
            height, width = pair.frame.shape[:2]
            return np.zeros((height, width, 2), np.float32), np.zeros((height, width), np.bool_)
        return consistent_flow(pair.frame, pair.following, estimate)

    for pair, (flow, trusted) in map_in_thread(flow_of, _pairs(clip)):
        yield pair.cut, flow, trusted
