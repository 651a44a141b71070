"""The frames of a synthesis: examples encoded once, then one step of the generator per driving frame."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stages.clip import Clip
from stages.compute.devices import choose_device
from stages.compute.mapping import move_to_disk
from stages.conditions.finetune_batches import finetune_batches
from stages.conditions.framing import Crop, Example, Sample, examples_of, frame_of, sample_of, squeezed, views
from stages.conditions.kinds import find, open_track, require_channels
from stages.conditions.reach import Reach
from stages.errors import InputError, NoDetection
from stages.models import Model
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.images import image_array
from stages.networks.common.inference import Renderer, Speed
from stages.networks.common.objective import PerceptualDistance
from stages.networks.common.tuning import TuneOptions, tune
from stages.synthesize.appearance import decide_appearance, require_appearance
from stages.synthesize.driving import Driving, Step
from stages.synthesize.fitting import Fitting
from stages.synthesize.options import SynthesizeOptions
from stages.synthesize.selection import AppearanceMap, Selector
from stages.synthesize.shown import Show, require_shown, show_step
from stages.synthesize.transforms import SideBySide, transformed

DEFAULT_EXAMPLES, DEFAULT_CANDIDATES = 4, 32
MAX_SELECTIONS = 16
"""Selections whose codes are kept for when the subject turns back."""


class Rendering:
    """The frames of a synthesis before they are written. Raises the same errors as `synthesize`.

    fitting: the result of `fitting.decide`; the other parameters are those of `synthesize`.
    """

    def __init__(
        self,
        examples: Sequence[Clip],
        driving: Clip,
        model: Model,
        options: SynthesizeOptions,
        fitting: Fitting,
        perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
        start: Clip | None = None,
        pictures: Mapping[str, Clip] = MappingProxyType({}),
    ) -> None:
        require_shown(options.show, model.config)
        require_appearance(options.appearance, model)
        self.options, self._clip = options, driving
        self._kind, size = model.config.kind, model.config.size
        self._examples = _examples(examples, self._kind, size, options) if model.config.few_shot else []
        self.driving = Driving(driving, self._kind, size, options.crop)
        require_channels(driving, self.driving.track.channels, model.config.semantic_channels)
        for example in self._examples:
            require_channels(example.clip, len(example.sample.semantic), model.config.semantic_channels)
        if start is not None:
            require_channels(start, open_track(start, self._kind).channels, model.config.semantic_channels)
        self._start = [] if start is None else _last_frames(start, model.config, options.crop)
        self._squeezed = () if start is None else squeezed(start, views(start, open_track(start, self._kind), size, options.crop)[-1])
        self._keypoints = [example.sample.keypoints for example in self._examples]
        if fitting.how != "none":
            self.driving.fit_to(self._keypoints, proportions=fitting.how == "proportions")
        self._device = choose_device(options.device)
        generator = model.generator.to(self._device)
        self._appearance = None
        if model.config.appearance:
            self._appearance = decide_appearance(
                options.appearance, driving, self.driving.track, model, pictures, options.crop, self._device
            )
            self.driving.painted_by(self._appearance.painter)
        if options.finetune:
            generator, tuning = copy.deepcopy(generator), TuneOptions(steps=options.finetune, seed=options.seed)
            tune(generator, finetune_batches(self._examples, tuning.batch, tuning.seed, self._device), tuning, perceptual())
        self.renderer = Renderer(generator, Speed(options.precision, compile=options.compile, cuda_graphs=options.compile))
        move_to_disk(generator)  # from now on only frames that half precision spoils need them

    def frames(self) -> Iterator[np.ndarray]:
        """uint8 RGB [H, W, 3] of the model's size, one for each driving frame; with `compare` two or three times as wide."""
        examples = frame_of([example.sample for example in self._examples], self._device) if self._examples else None
        select = _selector(self._kind, self._examples, self.options)
        frames = _frames(self.renderer, examples, self.driving, self._device, select, self.options.show, self._start)
        return transformed(frames, [SideBySide(self.driving)] if self.options.compare else [])

    def warnings(self) -> list[str]:
        """What makes the frames worse than they could be, as sentences about the clips."""
        quality_warnings = [text for example in self._examples for text in example.warnings]
        too_far = [f"{self._clip.id}: {text}" for text in self.driving.beyond(Reach(find(self._kind).pose, self._keypoints))]
        looks = [] if self._appearance is None else self._appearance.warnings
        return [*quality_warnings, *squeezed(self._clip, self.driving.views[0]), *self._squeezed, *too_far, *looks]


def _examples(clips: Sequence[Clip], kind: str, size: tuple[int, int], options: SynthesizeOptions) -> list[Example]:
    """Those examples in which the subject is detected. Raises NoDetection when there is none."""
    found: list[Example] = []
    failed: list[NoDetection] = []
    most = options.num_examples or (DEFAULT_EXAMPLES if options.select == "all" else DEFAULT_CANDIDATES)
    for clip in clips:
        try:
            found += examples_of(clip, kind, size, options.crop, most, slice(*options.example_frames))
        except NoDetection as error:
            failed.append(error)
    if not found:
        raise failed[0] if failed else InputError("there is no example", hint="Name an image, a folder of images, a video or a clip")
    return found


def _last_frames(clip: Clip, config: GeneratorConfig, crop: Crop) -> list[Sample]:
    """The last frames of a clip that a frame is made from, with their images, the oldest first."""
    track = open_track(clip, config.kind)
    seen_through = views(clip, track, config.size, crop)
    last = range(max(0, clip.num_frames - config.past_frames), clip.num_frames)
    seen = ((index, seen_through[index], seen_through[index].image(clip.frame(index))) for index in last)
    return [sample_of(track, index, view, image, regions=config.appearance > 0) for index, view, image in seen]


def _selector(kind: str, examples: list[Example], options: SynthesizeOptions) -> Callable[[Step], tuple[int, ...]]:
    """A function from a driving frame to the indices of the examples that it is made from."""
    count = {"all": len(examples), "delaunay": 3}.get(options.select, 0) if isinstance(options.select, str) else options.select
    if count >= len(examples):
        return lambda step: tuple(range(len(examples)))
    places = [find(kind).place(example.sample.keypoints, example.sample.semantic) for example in examples]
    selector = Selector(AppearanceMap(places), count, options.hysteresis)
    return lambda step: selector(find(kind).place(step.sample.keypoints, step.sample.semantic))


def _frames(
    renderer: Renderer,
    examples: Frame | None,
    driving: Driving,
    device: torch.device,
    select: Callable[[Step], tuple[int, ...]],
    show: Show,
    start: Sequence[Sample],
) -> Iterator[np.ndarray]:
    """uint8 RGB [H, W, 3], one per driving frame; `start`: the frames before the first."""
    count = 0 if examples is None else len(examples.required_image)
    whole = renderer.encode_examples(None if examples is None else examples.map(lambda x: x[None]))

    @lru_cache(maxsize=MAX_SELECTIONS)
    def code_of(chosen: tuple[int, ...]) -> Any:
        return whole if len(chosen) == count else renderer.choose(whole, chosen)

    past: Frame | None = None
    for sample in start:
        frame = frame_of([sample], device)
        past = renderer.remember(frame, Synthesis(frame.required_image, frame.required_image), past)
    for index, step in enumerate(driving.steps()):
        target = frame_of([step.sample], device)
        known = None if step.starts_shot and index else past
        image, past = show_step(renderer, show, code_of(select(step)), target, known)
        if not image.isfinite().all():
            raise InputError(f"the model makes no image of frame {index}: its values are not finite", hint="Use another model")
        yield image_array(image[0])
