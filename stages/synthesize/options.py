"""The options of a synthesis, and the outcome that it returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from stages.conditions.framing import Crop
from stages.conditions.kinds import find_kind
from stages.conditions.motion import PARTS, Motion, Origin
from stages.errors import UsageError
from stages.networks.common.inference import Precision
from stages.synthesize.fitting import Fitting, Normalize
from stages.synthesize.placement import Placement, Size
from stages.synthesize.selection import DEFAULT_HYSTERESIS
from stages.synthesize.shown import Show

MIN_HEIGHT, MAX_HEIGHT = 32, 8192
"""Limits of `SynthesizeOptions.size` in pixels."""


@dataclass(frozen=True)
class SynthesizeOptions:
    """The options of a synthesis.

    The key of the output, by which a finished output is recognised, depends on all options except `compile` and `device`; on `note` only if
    it is False.
    """

    num_examples: int | None = None
    """Largest number of frames taken from each example clip or video. None: 4, or 32 if `select` chooses among them."""
    example_frames: tuple[int | None, int | None] = (None, None)
    """The frames [start, stop) of each example clip or video from which the examples are taken."""
    select: int | Literal["all", "delaunay"] = "all"
    """The examples from which a frame is made: all, or the N whose pose is most like the frame's. delaunay: the three at the corners of the
    Delaunay triangle that contains the frame's pose (see selection.py)."""
    hysteresis: float = DEFAULT_HYSTERESIS
    """By how much another selection must be better before it replaces the current one (see `DEFAULT_HYSTERESIS`); 0: the best one is always
    used."""
    crop: Crop = "auto"
    """The part of the frames that the model sees (see `framing.views`)."""
    normalize: Normalize = "auto"
    """Fit the driving face or body to the example's. auto: only its position if the example shows the driving person (see fitting.py)."""
    strength: str | float = ""
    """Factor of the driver's motion, from 0 to 2, for the whole face or for its parts; for the syntax see `Motion.parse`."""
    part: str = ""
    """The only parts of a face that follow the driver; the others stay as in the example. For the syntax see `Motion.parse`."""
    motion: Origin = "auto"
    """absolute: the face has the driver's expression and pose. relative: it starts from the example's and moves like the driver's. auto:
    absolute, but a head that is pasted into its photograph starts from its pose there (see `motion_of`)."""
    size: Size = "auto"
    """Height in pixels of the crop in the result. model: the height of the model's images. example: the height of the crop in the first
    example. auto: as example, at most 1024, if that is clearly larger than the model's images or the result is pasted; else as model. For
    a model without examples see own_size.py."""
    paste: bool | None = None
    """Put the result back into the photograph of the first example. None: if there is a single photograph, `size` is auto, and neither
    `compare` nor `show` is used."""
    retarget: bool = False
    """The example is a film: its person gets the driver's expressions, and keeps the head pose and position of the film (see film.py). This
    is not the fitting of bodies in `stages/conditions/retarget.py`."""
    show: Show = "result"
    """What is written: the result, or an intermediate image (see shown.py)."""
    compare: bool = False
    """Write driving frame, semantic image and result side by side."""
    appearance: str = ""
    """The appearance of each label's instances, for a model that has learnt it; empty: the mean of each label. For the syntax see
    `Choices.parse`."""
    note: bool = True
    """Say in the metadata of a video that it is synthetic."""
    finetune: int = 0
    """Number of steps for which the model is first finetuned on the examples."""
    seed: int = 0
    precision: Precision = "auto"
    """auto: bf16 if the device supports it, else fp32."""
    compile: bool = False
    """Use torch.compile: the first frame takes about a minute longer, further ones are faster; on CUDA they are replayed as graphs."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.size not in get_args(get_args(Size)[0]) and not (isinstance(self.size, int) and MIN_HEIGHT <= self.size <= MAX_HEIGHT):
            raise UsageError(f"{self.size!r} is not a size", hint=f"Use auto, model, example or a number from {MIN_HEIGHT} to {MAX_HEIGHT}")
        if self.paste and (self.compare or self.show != "result"):
            raise UsageError("only the result itself can be pasted into a photograph", code="paste-of-parts")
        if self.retarget:
            self._require_retargetable()
        if self.select not in ("all", "delaunay") and not (isinstance(self.select, int) and self.select > 0):
            raise UsageError(f"{self.select!r} is not a selection of examples", hint="Use all, delaunay or a number from 1")
        if self.motion not in get_args(Origin):
            raise UsageError(f"{self.motion!r} is not a kind of motion", hint="Use auto, absolute or relative")
        _ = self.parsed_motion

    def _require_retargetable(self) -> None:
        """Raises UsageError if an option contradicts `retarget`."""
        if self.paste is False or self.compare or self.show != "result":
            raise UsageError("with a film, only the whole result can be written", code="retarget-shows-film")
        if "pose" in f"{self.strength},{self.part}":
            raise UsageError("the head pose is that of the film, and does not follow the driver", code="retarget-keeps-pose")

    @cached_property
    def parsed_motion(self) -> Motion:
        """The motion that `strength`, `part` and `motion` describe, with auto as absolute. Raises UsageError if they are invalid."""
        return Motion.parse(self.strength, self.part, self.motion)

    def motion_of(self, kind: str, placement: Placement | None, fitting: Fitting) -> Motion:
        """The motion of a result. auto: in a film, all parts are relative. If a head with fitted keypoints is pasted into its photograph,
        only the pose is relative. Otherwise all parts are absolute."""
        if self.retarget and self.motion == "auto":
            return replace(self.parsed_motion, relative=frozenset(PARTS))
        in_photograph = placement is not None and placement.pasted and fitting.method != "none"
        relative_pose = self.motion == "auto" and in_photograph and find_kind(kind).expressive
        return self.parsed_motion.with_relative_pose() if relative_pose else self.parsed_motion


@dataclass(frozen=True)
class Outcome:
    """The finished output, and facts about it."""

    path: Path
    status: Literal["done", "skipped"]
    frames: int
    """Number of frames of the output."""
    seconds: float = 0.0
    """Wall time; 0 if the output was already finished."""
    fallbacks: int = 0
    """Number of frames that failed in half precision and were made again in full precision."""
    held_frames: int = 0
    """Number of driving frames without a detection, which repeat the last detection."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about how the clips were used, if that is not obvious."""
    placement: Placement | None = None
    """The size of the result; None if it is the model's."""
    fitting: Fitting = Fitting("none", "nothing was made")
    """Whether and how the driving face or body was fitted to the example."""
