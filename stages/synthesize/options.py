"""What shapes a synthesis, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from stages.conditions.framing import Crop
from stages.conditions.kinds import find
from stages.conditions.motion import PARTS, Motion, Origin
from stages.errors import UsageError
from stages.networks.common.inference import Precision
from stages.synthesize.fitting import Fitting, Normalize
from stages.synthesize.placement import Placement, Size
from stages.synthesize.selection import KEPT_OUTSIDE
from stages.synthesize.shown import Show

MIN_SIDE, LARGEST_SIDE = 32, 8192


@dataclass(frozen=True)
class SynthesizeOptions:
    """All but `compile` and `device` enters the key of the output; `note` only if it is False."""

    num_examples: int | None = None
    """Largest number of frames taken from each example clip or video; an image gives one. None: 4, or 32 to select from."""
    example_frames: tuple[int | None, int | None] = (None, None)
    """The part [start, stop) of each example clip or video from which they are taken."""
    select: int | Literal["all", "delaunay"] = "all"
    """Which of the examples a frame is made from: all, or those that show the subject as the frame does; delaunay means 3, a triangle."""
    hysteresis: float = KEPT_OUTSIDE
    """How long a selection is kept after a better one exists; 0 changes it at once."""
    crop: Crop = "auto"
    normalize: Normalize = "auto"
    """Fit the driving face or body to the example's. auto: its place alone when the example shows the driving person (see fitting.py)."""
    strength: str | float = ""
    """How much of the driver's motion a face makes, from 0 to 2, for all of it or by its parts, as `Motion.parse` reads it."""
    part: str = ""
    """The only parts of a face that follow the driver, as `Motion.parse` reads it; the others stay as in the example."""
    motion: Origin = "auto"
    """absolute: the face looks as the driver's does. relative: it moves from the example's expression and pose as the driver's does. auto:
    absolute, but in a photograph the head moves from the pose that it has there (`motion_of`)."""
    size: Size = "auto"
    """Height in pixels of the crop in the result: model, that of the model's images; example, that of the first example's pixels; auto:
    the example's, at most 1024, unless the model's is nearly as large."""
    paste: bool | None = None
    """Put the result back into the photograph of the first example. None: where a single photograph is shown and `size` is auto."""
    retarget: bool = False
    """The example is a film, whose person keeps the own head pose and place in it, and makes the driver's expressions (film.py)."""
    show: Show = "result"
    """What is written: the frames, or a part of what they were made of (see shown.py)."""
    compare: bool = False
    """Driving frame, semantic image and result side by side."""
    appearance: str = ""
    """What instances look like, for a model that has a choice, as `Choices.parse` reads it; empty: the mean of each label."""
    note: bool = True
    """Say in the metadata of a video that it is synthetic."""
    finetune: int = 0
    """Steps of finetuning on the examples beforehand."""
    seed: int = 0
    precision: Precision = "auto"
    """auto: bf16 where the device computes in it, else fp32."""
    compile: bool = False
    """torch.compile: about a minute before the first frame, and then faster ones; on CUDA replayed as graphs."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.size not in get_args(get_args(Size)[0]) and not (isinstance(self.size, int) and MIN_SIDE <= self.size <= LARGEST_SIDE):
            raise UsageError(f"{self.size!r} is not a size", hint=f"Use model, example or a number from {MIN_SIDE} to {LARGEST_SIDE}")
        if self.paste and (self.compare or self.show != "result"):
            raise UsageError("only results alone are pasted into a photograph", code="paste-of-parts")
        if self.retarget:
            self._require_retargetable()
        if self.select not in ("all", "delaunay") and not (isinstance(self.select, int) and self.select > 0):
            raise UsageError(f"{self.select!r} does not say which examples to select", hint="Use all, delaunay or a number from 1")
        if self.motion not in get_args(Origin):
            raise UsageError(f"{self.motion!r} is no kind of motion", hint=f"There are {' and '.join(get_args(Origin))}")
        _ = self.parsed_motion

    def _require_retargetable(self) -> None:
        if self.paste is False or self.compare or self.show != "result":
            raise UsageError("a film comes back whole, with results alone", code="retarget-shows-film")
        if "pose" in f"{self.strength},{self.part}":
            raise UsageError("the head pose is that of the film, and does not follow the driver", code="retarget-keeps-pose")

    @cached_property
    def parsed_motion(self) -> Motion:
        """What `strength`, `part` and `motion` say; `auto` as absolute. Raises UsageError if they say nothing that can be meant."""
        return Motion.parse(self.strength, self.part, self.motion)

    def motion_of(self, kind: str, placement: Placement | None, fitting: Fitting) -> Motion:
        """The motion of a result. `auto` is relative in a film, and keeps the head of a photograph on its body, unless keypoints are to be
        used as they are."""
        if self.retarget and self.motion == "auto":
            return replace(self.parsed_motion, relative=frozenset(PARTS))
        in_photograph = placement is not None and placement.pasted and fitting.how != "none"
        own_pose = self.motion == "auto" and in_photograph and find(kind).expressive
        return self.parsed_motion.with_relative_pose() if own_pose else self.parsed_motion


@dataclass(frozen=True)
class Outcome:
    """The finished output and what is worth knowing about it."""

    path: Path
    status: Literal["done", "skipped"]
    frames: int
    seconds: float = 0.0
    fallbacks: int = 0
    """Frames that half precision spoilt and that were made again in full precision."""
    held_frames: int = 0
    """Driving frames without a detection, for which the last one was held."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """How the driver's motion was used, where that is not obvious."""
    placement: Placement | None = None
    """The size of the result, where it is not the model's."""
    fitting: Fitting = Fitting("none", "nothing was made")
    """Whether the driving face or body was given the example's place and proportions."""
