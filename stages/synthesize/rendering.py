"""The frames of a synthesis: examples encoded once, then one step of the generator per driving frame."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import repeat
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stages.clip import Clip
from stages.compute.devices import choose_device
from stages.compute.mapping import move_to_disk
from stages.compute.streaming import map_in_thread
from stages.conditions import reach
from stages.conditions.finetune_batches import finetune_batches
from stages.conditions.framing import Crop, Example, Sample, examples_of, frame_of, sample_of, squeeze_warnings, views
from stages.conditions.kinds import find_kind, open_track, require_channels
from stages.conditions.kinds.kind import Keypoints, Kind
from stages.conditions.view import View
from stages.errors import InputError, NoDetection, Sentence, UsageError
from stages.models import Model
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.images import image_array
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.common.objective import PerceptualDistance
from stages.networks.common.tuning import TuneOptions, tune
from stages.synthesize.appearance import decide_appearance, require_appearance
from stages.synthesize.background import find_background
from stages.synthesize.canvas import Canvas
from stages.synthesize.driving import Driving, DrivingFrame
from stages.synthesize.fitting import Fitting
from stages.synthesize.options import SynthesizeOptions
from stages.synthesize.own_size import multiple_of, padded, size_notes, size_of_frames
from stages.synthesize.placement import Photograph, Placement, canvas_of, decide_placement
from stages.synthesize.selection import AppearanceMap, Selector
from stages.synthesize.shown import Show, part_of, require_shown, show_step
from stages.synthesize.transforms import FrameTransform, SideBySide, apply_transforms

DEFAULT_EXAMPLES, DEFAULT_CANDIDATES = 4, 32
"""Default of `num_examples`: if all examples are used, and if `select` chooses among them."""
Observer = Callable[[int, Synthesis], None]
"""Called with the index of each frame and the output of the network for it."""
MAX_SELECTIONS = 16
"""Number of selections of examples whose codes are cached, because a subject often returns to a pose."""


Combine = Callable[[Synthesis, Sequence[int], Keypoints], np.ndarray]
"""The output of the network, the indices of its examples, the keypoints of the frame -> the frame, uint8 RGB [H, W, 3]."""


class EncodedExamples:
    """The examples, encoded for any number of driving clips. The parameters are those of `synthesize`.

    The network is prepared, finetuned and given the examples when it is first needed, and only once. renderer: one that is already
    prepared; None: it is made from `model`.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        model: Model,
        options: SynthesizeOptions,
        perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
        renderer: Renderer | None = None,
    ) -> None:
        config = model.config
        self.examples = _examples(clips, config.kind, config.size, options) if config.few_shot else []
        self.device = choose_device(options.device)
        self.multiple = multiple_of(config)
        self._generator, self._options, self._perceptual, self._prepared = model.generator, options, perceptual, renderer

    @cached_property
    def renderer(self) -> Renderer:
        """The network prepared for inference, finetuned if the options say so."""
        if self._prepared is not None:
            return self._prepared
        options, generator = self._options, self._generator.to(self.device)
        if options.finetune:
            generator, tuning = copy.deepcopy(generator), TuneOptions(steps=options.finetune, seed=options.seed)
            tune(generator, finetune_batches(self.examples, tuning.batch, tuning.seed, self.device), tuning, self._perceptual())
        renderer = Renderer(generator, InferenceOptions(options.precision, compile=options.compile, cuda_graphs=options.compile))
        move_to_disk(generator)  # from now on the fp32 weights are needed only for frames that fail in half precision
        return renderer

    @cached_property
    def code(self) -> Any:
        """The code of all examples (`Generator.encode_examples`)."""
        frame = frame_of([example.sample for example in self.examples], self.device).map(lambda x: x[None]) if self.examples else None
        return self.renderer.encode_examples(frame)


class Rendering:
    """The frames of a synthesis before they are written. Raises the same errors as `synthesize`.

    fitting: the result of `fitting.decide`; placement: that of `choose_placement`; encoded: the examples, if they have been encoded for
    another driving clip; the other parameters are those of `synthesize`.
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
        appearance_images: Mapping[str, Clip] = MappingProxyType({}),
        placement: Placement | None = None,
        encoded: EncodedExamples | None = None,
    ) -> None:
        require_shown(options.show, model.config)
        require_appearance(options.appearance, model)
        self.options, self._clip = options, driving
        self._kind, size = model.config.kind, size_of_frames(driving, model.config, options)
        self._encoded = EncodedExamples(examples, model, options, perceptual) if encoded is None else encoded
        self._examples = self._encoded.examples
        self.driving = Driving(driving, self._kind, size, options.crop)
        require_channels(driving, self.driving.track.channels, model.config.semantic_channels)
        for example in self._examples:
            require_channels(example.clip, len(example.sample.semantic), model.config.semantic_channels)
        if start is not None:
            require_channels(start, open_track(start, self._kind).channels, model.config.semantic_channels)
        self._start = [] if start is None else _last_frames(start, model.config, size, options.crop)
        self._resized: list[str] = []
        if not model.config.few_shot:
            self._resized += size_notes(driving, self.driving.views[0], model.config.size, "the model's images")
        self._squeezed: tuple[str, ...] = ()
        if start is not None:
            start_view = views(start, open_track(start, self._kind), size, options.crop)[-1]
            self._squeezed = squeeze_warnings(start, start_view)
            self._resized += [] if model.config.few_shot else size_notes(start, start_view, size, "the frames")
        self._keypoints = [example.sample.keypoints for example in self._examples]
        if fitting.method != "none":
            self.driving.fit_to(self._keypoints, proportions=fitting.method == "proportions")
        motion = options.motion_of(self._kind, placement, fitting)
        self._own_pose = motion != options.parsed_motion
        if not motion.unchanged:
            self.driving.apply_motion(motion, self._keypoints)
        self._canvas = canvas_for(self._examples, placement, find_kind(self._kind))
        self._device = self._encoded.device
        self._appearance = None
        if model.config.appearance:
            model.generator.to(self._device)
            self._appearance = decide_appearance(
                options.appearance, driving, self.driving.track, model, appearance_images, options.crop, self._device
            )
            self.driving.set_appearance(self._appearance.maps)
        self.renderer = self._encoded.renderer
        self._fallbacks = self.renderer.fallbacks

    def keypoints(self) -> Iterator[np.ndarray]:
        """The keypoints of each frame, [N, 3] in the result's pixels."""
        view = self._view_of_result()
        for keypoints in self.driving.keypoints():
            yield keypoints if view is None else view.points(keypoints)

    def _view_of_result(self) -> View | None:
        """The view from the model's pixels to the result's; None if they are the same."""
        if isinstance(self._canvas, Photograph):
            return self._canvas.from_model
        if self._canvas is None:
            return None
        return View.scaled(*self.driving.size, self._canvas.height, self._canvas.width)

    @property
    def fallbacks(self) -> int:
        """Number of frames so far that failed in half precision and were made again in full precision."""
        return self.renderer.fallbacks - self._fallbacks

    @property
    def pasted(self) -> bool:
        """Whether the frames show a whole photograph."""
        return isinstance(self._canvas, Photograph)

    def frames(
        self, photographs: Iterator[np.ndarray] | None = None, observe: Observer | None = None, transform: FrameTransform | None = None
    ) -> Iterator[np.ndarray]:
        """The frames, uint8 RGB [H, W, 3], one for each driving frame, of the model's size or that of the placement.

        With `compare` they are two or three times as wide. photographs: for each frame the photograph, in which other subjects have moved.
        observe: receives the output of the network for each frame. transform: is applied before `compare` puts frames side by side.
        """
        select, combine = example_selector(self._kind, self._examples, self.options), combine_on(self._canvas, photographs)
        driving = self.driving.driving_frames()
        frames = synthesized_frames(self._encoded, driving, select, self.options.show, self._start, combine, observe)
        transforms = [] if transform is None else [transform]
        return apply_transforms(frames, [*transforms, SideBySide(self.driving)] if self.options.compare else transforms)

    @property
    def kind(self) -> str:
        """The driving kind."""
        return self._kind

    @property
    def examples(self) -> Sequence[Example]:
        """The examples. The network gets all of them or a selection. Empty for a family without examples."""
        return self._examples

    def frames_beyond(self) -> dict[str, list[int]]:
        """A kind of deviation (a key of `reach.DEVIATIONS`) -> the driving frames in which the subject is beyond what the examples show."""
        return self.driving.frames_beyond(reach.Reach(find_kind(self._kind).pose, self._keypoints))

    def warnings(self) -> list[str]:
        """What makes the frames worse than they could be, as sentences about the clips."""
        quality_warnings = [text for example in self._examples for text in example.warnings]
        too_far = [f"{self._clip.id}: {text}" for text in reach.warnings(self.frames_beyond(), self._clip.num_frames)]
        appearance_warnings = [] if self._appearance is None else self._appearance.warnings
        return [*quality_warnings, *squeeze_warnings(self._clip, self.driving.views[0]), *self._squeezed, *too_far, *appearance_warnings]

    def notes(self) -> list[str]:
        """Sentences about how the clips are used, if that is not obvious: the driver's motion, and changes of size."""
        posed = [Sentence("the head moves from its pose in the photograph", code="pose-of-photograph")] if self._own_pose else []
        return [*posed, *self._resized, *(f"{self._clip.id}: {text}" for text in self.driving.notes)]


def canvas_for(examples: Sequence[Example], placement: Placement | None, kind: Kind) -> Canvas | Photograph | None:
    """The canvas on which frames are made, or the photograph into which they are pasted; None for images of the model's size."""
    if placement is None:
        return None
    if not placement.pasted:
        return canvas_of(examples, placement)
    assert kind.cover is not None
    background = find_background(examples, kind, kind.soft_edge) if kind.covers_subject and len(examples) > 1 else None
    return Photograph(examples[0].clip.frame(examples[0].index), examples, placement, kind.cover, kind.soft_edge, background)


def combine_on(canvas: Canvas | Photograph | None, photographs: Iterator[np.ndarray] | None = None) -> Combine | None:
    """The function that makes frames on `canvas` from the output of the network; None for images of the model's size.

    photographs: for each frame the photograph, in which other subjects have moved.
    """
    if isinstance(canvas, Photograph):
        remaining = repeat(canvas.image) if photographs is None else photographs
        return lambda synthesis, chosen, keypoints: canvas.frame(synthesis, chosen, keypoints, next(remaining))
    return None if canvas is None else lambda synthesis, chosen, keypoints: canvas.frame(synthesis, chosen)


def choose_placement(clips: Sequence[Clip], model: Model, options: SynthesizeOptions) -> Placement | None:
    """The size of the result, and whether it is pasted into the photograph of the first example; None for images of the model's size.

    Raises UsageError when pasting, or a size other than the model's, is requested for a model that warps no example or for an intermediate
    image, and when pasting is requested for a kind without a subject.
    """
    if not (model.config.few_shot and model.config.warps_example) or options.show != "result":
        if options.paste or options.size not in ("auto", "model"):
            raise UsageError("only results of a model that warps the example can be enlarged or pasted", code="size-of-model")
        return None
    kind = find_kind(model.config.kind)
    if options.paste and kind.cover is None:
        raise UsageError(f"{kind.name} shows no subject before a background that could be pasted", code="paste-without-subject")
    if options.size == "model" and not (options.paste or options.retarget):
        return None
    (first, *_) = _examples(clips, kind.name, model.config.size, replace(options, num_examples=1))
    single = len(clips) == 1 and 1 in (clips[0].num_frames, options.num_examples)
    default = options.size == "auto" and single and kind.cover is not None and not options.compare
    return decide_placement(first, options.size, paste=default if options.paste is None else options.paste, film=options.retarget)


def _examples(clips: Sequence[Clip], kind: str, size: tuple[int, int], options: SynthesizeOptions) -> list[Example]:
    """The examples in which the subject is detected. Raises NoDetection when there is none."""
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


def _last_frames(clip: Clip, config: GeneratorConfig, size: tuple[int, int], crop: Crop) -> list[Sample]:
    """The last frames of a clip with their images, oldest first: as many as the network needs as past frames.

    size: height and width of the frames.
    """
    track = open_track(clip, config.kind)
    clip_views = views(clip, track, size, crop)
    last = range(max(0, clip.num_frames - config.past_frames), clip.num_frames)
    seen = ((index, clip_views[index], clip_views[index].image(clip.frame(index))) for index in last)
    return [sample_of(track, index, view, image, regions=config.appearance > 0) for index, view, image in seen]


def example_selector(kind: str, examples: list[Example], options: SynthesizeOptions) -> Callable[[DrivingFrame], tuple[int, ...]]:
    """A function from a driving frame to the indices of the examples from which a frame is made."""
    count = {"all": len(examples), "delaunay": 3}.get(options.select, 0) if isinstance(options.select, str) else options.select
    if count >= len(examples):
        return lambda frame: tuple(range(len(examples)))
    coordinates = find_kind(kind).appearance_coordinates
    selector = Selector(AppearanceMap([coordinates(e.sample.keypoints, e.sample.semantic) for e in examples]), count, options.hysteresis)
    return lambda frame: selector(coordinates(frame.sample.keypoints, frame.sample.semantic))


def synthesized_frames(
    encoded: EncodedExamples,
    driving: Iterable[DrivingFrame],
    select: Callable[[DrivingFrame], tuple[int, ...]],
    show: Show,
    start: Sequence[Sample],
    combine: Combine | None,
    observe: Observer | None,
    *,
    live: bool = False,
) -> Iterator[np.ndarray]:
    """The frames, uint8 RGB [H, W, 3], one for each driving frame. start: the frames before the first one, of the same size.

    combine: makes frames from the output of the network; None for the network's own images. live: make each frame before the next
    driving frame is read.
    """
    renderer, device, whole = encoded.renderer, encoded.device, encoded.code

    @lru_cache(maxsize=MAX_SELECTIONS)
    def code_of(chosen: tuple[int, ...]) -> Any:
        return whole if len(chosen) == len(encoded.examples) else renderer.select_examples(whole, chosen)

    past: Frame | None = None
    for sample in start:
        frame = padded(frame_of([sample], device), encoded.multiple)
        past = renderer.remember(frame, Synthesis(frame.required_image, frame.required_image), past)

    def synthesize_one(numbered: tuple[int, DrivingFrame]) -> tuple[torch.Tensor, Synthesis | None, tuple[int, ...]]:
        """The image, its parts if they are needed, and the chosen examples."""
        nonlocal past
        (index, driving_frame), synthesis = numbered, None
        target = padded(frame_of([driving_frame.sample], device), encoded.multiple)
        known = None if driving_frame.starts_shot and index else past
        chosen = select(driving_frame)
        if combine is None and observe is None:
            image, past = show_step(renderer, show, code_of(chosen), target, known)
        else:
            synthesis = renderer.synthesize(code_of(chosen), target, known)
            past = renderer.remember(target, synthesis, known)
            image = part_of(synthesis, show)
        require_finite(image, index)
        return image, synthesis, chosen

    numbered_frames = enumerate(driving)
    # On a CPU the network runs in a thread while the next s_t is drawn and the previous result is written. A CUDA graph needs one thread.
    in_thread = device.type == "cpu" and not live
    pairs = map_in_thread(synthesize_one, numbered_frames) if in_thread else ((each, synthesize_one(each)) for each in numbered_frames)
    for (index, driving_frame), (image, synthesis, chosen) in pairs:
        if observe is not None and synthesis is not None:
            observe(index, synthesis)
        if combine is None or synthesis is None:
            height, width = driving_frame.sample.semantic.shape[1:]
            yield image_array(image[0, :, :height, :width])
        else:
            yield combine(synthesis, chosen, driving_frame.sample.keypoints)


def require_finite(image: torch.Tensor, index: int) -> None:
    """Raises InputError if the image of a frame has values that are not finite."""
    if not image.isfinite().all():
        raise InputError(f"the model makes no image of frame {index}: its values are not finite", hint="Use another model")
