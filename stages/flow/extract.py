"""The stage: the optical flow from each frame to the next as the layer `flow`, and where to trust it as the layer `flow_confidence`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Backends
from stages.clip import Clip, Producer
from stages.clip.create import file_sha256
from stages.cuts import CutDetector
from stages.errors import MissingRequirement, UsageProblem
from stages.flow.backends import Estimator
from stages.flow.trust import trusted_flow
from stages.runner import Outcome
from stages.streaming import beside

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
    """Estimate the flow of `clip` from frame t to t + 1, both ways, to tell where it can be trusted.

    The last frame, and the last one of each shot, has flow 0 and confidence 0. Raises UsageProblem when backend and network do not go
    together, MissingRequirement when the network's file or a package is not there.
    """
    backend = _backend(options)
    model = _model(options)
    weights = backend.weight_digests() if model is None else {model.name: file_sha256(model)}
    producer, inputs = Producer(STAGE, backend.name, {}, weights, device=options.device), {"frames": clip.frames_digest()}
    needed = [kind for kind in LAYERS if clip.needs(kind, producer, inputs, overwrite)]
    if not needed:
        return Outcome("flow", "skipped", clip.num_frames)
    cuts = 0
    with ExitStack() as stack:
        writers = {kind: stack.enter_context(clip.writing(kind, producer, inputs)) for kind in needed}
        for cut, flow, trusted in _flows(clip, backend.open(options.device)(model)):
            cuts += cut
            for kind, image in zip(LAYERS, (flow, trusted * np.uint8(255)), strict=True):
                if kind in writers:
                    writers[kind].image(image)
    return Outcome("flow", "done", clip.num_frames, {"cuts": cuts})


def _backend(options: FlowOptions) -> Backend:
    name = ("dis" if options.model is None else "onnx") if options.backend == "auto" else options.backend
    if name == "dis" and options.model is not None:
        raise UsageProblem("The flow backend dis has no network", hint="Leave out --model or --backend dis")
    return Backends("flow").require(name)


def _model(options: FlowOptions) -> Path | None:
    if options.model is not None and not Path(options.model).is_file():
        raise MissingRequirement(f"The flow network {options.model} is not there", hint="Name its ONNX file with --model")
    return None if options.model is None else Path(options.model)


@dataclass(frozen=True)
class _Pair:
    """A frame, uint8 RGB [H, W, 3], and the next one: None after the last; `cut` when that one begins another shot."""

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
    """(whether the next frame begins another shot, flow [H, W, 2], where it can be trusted [H, W]) for each frame."""

    def flow_of(pair: _Pair) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if pair.following is None or pair.cut:
            height, width = pair.frame.shape[:2]
            return np.zeros((height, width, 2), np.float32), np.zeros((height, width), np.bool_)
        return trusted_flow(pair.frame, pair.following, estimate)

    for pair, (flow, trusted) in beside(flow_of, _pairs(clip)):
        yield pair.cut, flow, trusted
