"""The stage: encode the examples once, then one step of the generator per driving frame, written as it is made."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.clip import Clip, Producer, VideoWriter, create_clip, open_clip, out_of_time
from stages.clip.comments import read_comment
from stages.conditions.finetune_batches import finetune_batches
from stages.conditions.framing import Example, examples_of, frame_of, squeezed
from stages.conditions.kinds import Kind, find, layers_digest, require_channels
from stages.conditions.reach import Reach
from stages.devices import choose_device
from stages.differences import differences
from stages.errors import InputError, NoDetection, ParametersDiffer, UsageError
from stages.files import alone
from stages.models import Model
from stages.networks.common.frame import Frame
from stages.networks.common.inference import Renderer, Speed
from stages.networks.common.objective import PerceptualDistance
from stages.networks.common.tuning import TuneOptions, tune
from stages.reading import parse_object
from stages.synthesize.driving import Driving, Step
from stages.synthesize.fitting import Fitting, decide
from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.selection import AppearanceMap, Selector
from stages.synthesize.shown import Show, require_shown, show_step

Progress = Callable[[int, int], None]
DEFAULT_EXAMPLES, DEFAULT_CANDIDATES = 4, 32
MAX_SELECTIONS = 16
"""Selections whose codes are kept for when the subject turns back."""


def synthesize(
    examples: Sequence[Clip],
    driving: Clip,
    model: Model,
    out: Path,
    options: SynthesizeOptions,
    *,
    perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Animate the examples by the driving clip and write `out`: a video (.mp4, .mkv, .mov) or a clip (.clip).

    examples and driving need the layer that the model was trained on; a model of a family without examples is given none. The output has
    the model's size, the driving clip's frame rate and its sound. `perceptual` makes the distance that finetuning uses, if any. Memory
    does not grow with the length. Raises InputError, NoDetection, ParametersDiffer (`out` was made otherwise and `overwrite` is not set)
    and UsageError (a name that is neither video nor clip, another process makes it, or the model wants examples and there are none, or
    the other way round).
    """
    for clip in (*examples, driving):
        clip.require_not(out)
    require_examples(examples, model, options)
    with alone(out):
        fitting = decide(options.normalize, model.config.kind, examples, driving)
        producer = _producer(examples, driving, model, options, fitting)
        if not overwrite and _is_finished(out, producer):
            return Outcome(out, "skipped", driving.num_frames)
        begun = time.monotonic()
        rendering = Rendering(examples, driving, model, options, fitting, perceptual)
        _write(out, _counted(rendering.frames(), driving.num_frames, progress), rendering.track, producer)
        apart = [] if out.suffix == ".clip" else [f"{driving.id}: {text}" for text in out_of_time(driving)]
        warnings = tuple(dict.fromkeys([*rendering.warnings(), *apart]))
        seconds, fallbacks = time.monotonic() - begun, rendering.renderer.fallbacks
        return Outcome(out, "done", driving.num_frames, seconds, fallbacks, rendering.track.held, warnings, fitting)


def require_examples(examples: Sequence[Clip], model: Model, options: SynthesizeOptions) -> None:
    """Raises UsageError unless there are examples where the model's family is made for them, and none where it is not."""
    if model.config.few_shot and not examples:
        raise UsageError("there is no example", hint="name an image, a folder of images, a video or a clip")
    if examples and not model.config.few_shot:
        raise UsageError(f"a model of the family {model.config.family} uses no examples", hint="leave them out")
    if options.finetune and not model.generator.tuned:
        raise UsageError(f"a model of the family {model.config.family} learns nothing from examples", hint="leave out the finetuning")


class Rendering:
    """The frames of a synthesis before they are written. Raises what `synthesize` raises of examples, driving clip and model.

    fitting: of `decide`; the other parameters are those of `synthesize`.
    """

    def __init__(
        self,
        examples: Sequence[Clip],
        driving: Clip,
        model: Model,
        options: SynthesizeOptions,
        fitting: Fitting,
        perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
    ) -> None:
        require_shown(options.show, model.config)
        self.options, self._driving = options, driving
        self._kind, size = model.config.kind, model.config.size
        self._examples = _examples(examples, self._kind, size, options) if model.config.few_shot else []
        self.track = Driving(driving, self._kind, size, options.crop)
        require_channels(driving, self.track.track.channels, model.config.semantic_channels)
        for example in self._examples:
            require_channels(example.clip, len(example.shown.semantic), model.config.semantic_channels)
        self._keypoints = [example.shown.keypoints for example in self._examples]
        if fitting.how != "none":
            self.track.fit_to(self._keypoints, proportions=fitting.how == "proportions")
        self._device = choose_device(options.device)
        generator = model.generator.to(self._device)
        if options.finetune:
            generator, tuning = copy.deepcopy(generator), TuneOptions(steps=options.finetune, seed=options.seed)
            tune(generator, finetune_batches(self._examples, tuning.batch, tuning.seed, self._device), tuning, perceptual())
        self.renderer = Renderer(generator, Speed(options.precision, compile=options.compile, cuda_graphs=options.compile))

    def frames(self) -> Iterator[np.ndarray]:
        """uint8 RGB [H, W, 3] of the model's size, one for each driving frame; with `compare` three times as wide."""
        pictures = frame_of([example.shown for example in self._examples], self._device) if self._examples else None
        select = _selector(self._kind, self._examples, self.options)
        frames = _frames(self.renderer, pictures, self.track, self._device, select, self.options.show)
        return _side_by_side(frames, self.track, self._driving) if self.options.compare else frames

    def warnings(self) -> list[str]:
        """What makes the frames worse than they could be, as sentences about the clips."""
        complaints = [text for example in self._examples for text in example.warnings]
        too_far = [f"{self._driving.id}: {text}" for text in self.track.beyond(Reach(find(self._kind).pose, self._keypoints))]
        return [*complaints, *squeezed(self._driving, self.track.views[0]), *too_far]


def _examples(clips: Sequence[Clip], kind: str, size: tuple[int, int], options: SynthesizeOptions) -> list[Example]:
    """All examples in which something is seen; pictures without are left out as long as one remains."""
    shown: list[Example] = []
    failed: list[NoDetection] = []
    most = options.num_examples or (DEFAULT_EXAMPLES if options.select == "all" else DEFAULT_CANDIDATES)
    for clip in clips:
        try:
            shown += examples_of(clip, kind, size, options.crop, most, slice(*options.example_frames))
        except NoDetection as error:
            failed.append(error)
    if not shown:
        raise failed[0] if failed else InputError("there is no example", hint="name a picture, a folder of pictures, a video or a clip")
    return shown


def _selector(kind: str, shown: list[Example], options: SynthesizeOptions) -> Callable[[Step], tuple[int, ...]]:
    """Tells of each driving frame which examples it is made from."""
    count = {"all": len(shown), "delaunay": 3}.get(options.select, 0) if isinstance(options.select, str) else options.select
    if count >= len(shown):
        return lambda step: tuple(range(len(shown)))
    places = [find(kind).place(example.shown.keypoints, example.shown.semantic) for example in shown]
    selector = Selector(AppearanceMap(places), count, options.hysteresis)
    return lambda step: selector(find(kind).place(step.shown.keypoints, step.shown.semantic))


def _frames(
    renderer: Renderer,
    examples: Frame | None,
    track: Driving,
    device: torch.device,
    select: Callable[[Step], tuple[int, ...]],
    show: Show,
) -> Iterator[np.ndarray]:
    """uint8 RGB [H, W, 3], one per driving frame."""
    count = 0 if examples is None else len(examples.picture)
    whole = renderer.encode_examples(None if examples is None else examples.map(lambda x: x[None]))

    @lru_cache(maxsize=MAX_SELECTIONS)
    def code_of(chosen: tuple[int, ...]) -> Any:
        return whole if len(chosen) == count else renderer.choose(whole, chosen)

    past: Frame | None = None
    for index, step in enumerate(track.steps()):
        driving = frame_of([step.shown], device)
        picture, past = show_step(renderer, show, code_of(select(step)), driving, None if step.fresh else past)
        if not picture.isfinite().all():
            raise InputError(f"the model makes no image of frame {index}: its values are not finite", hint="use another model")
        yield picture[0].add(1).mul(127.5).round().clamp(0, 255).byte().movedim(0, -1).cpu().numpy()


def _side_by_side(frames: Iterator[np.ndarray], track: Driving, driving: Clip) -> Iterator[np.ndarray]:
    """Driving frame (when the clip has frames), drawn driving layer, result."""
    pictures: Iterator[np.ndarray | None] = track.frames() if driving.has("frames") else repeat(None)
    for frame, drawing, picture in zip(frames, track.drawings(), pictures, strict=False):
        columns = [drawing, frame]
        yield np.concatenate(columns if picture is None else [picture, *columns], 1)


def _counted(frames: Iterator[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
    for done, frame in enumerate(frames, 1):
        yield frame
        progress(done, total)


def _producer(examples: Sequence[Clip], driving: Clip, model: Model, options: SynthesizeOptions, fitting: Fitting) -> Producer:
    kind = model.config.kind
    parameters: dict[str, Any] = {
        **asdict(options),
        **model.config.recorded(),
        "driving": layers_digest(driving, kind),
    }
    parameters["examples"] = [layers_digest(clip, kind) for clip in examples]
    parameters["pictures"] = [clip.frames_digest() for clip in examples if clip.has("frames")]
    if fitting.how == "place":
        parameters["fitting"] = fitting.how
    del parameters["compile"], parameters["device"]
    return Producer("synthesize", model.config.kind, parameters, {"model": model.sha256}, options.seed, options.device)


def _is_finished(out: Path, producer: Producer) -> bool:
    """Whether `out` was made in this very way. ParametersDiffer when it is there and was not."""
    if not out.exists():
        return False
    if out.suffix == ".clip":
        clip = open_clip(out)
        kind = find(producer.backend)
        return not clip.needs("frames", producer, {}) and (kind.keep is None or clip.has(kind.layer))
    made, wanted = read_comment(out), producer.key()
    if made == wanted:
        return True
    try:
        changed = "; ".join(differences(parse_object(made or ""), parse_object(wanted)))
    except ValueError:  # no comment, or not one of ours
        changed = "by something else"
    raise ParametersDiffer(f"{out} is there and was made otherwise ({changed})", hint="Make it again with --overwrite, or use another -o")


def _write(out: Path, frames: Iterator[np.ndarray], track: Driving, producer: Producer) -> None:
    driving = track.clip
    sound = driving if driving.has("audio") else None
    if out.suffix == ".clip":
        clip = create_clip(
            out, frames, fps=driving.fps, timestamps=driving.timestamps, audio_from=sound, producer=producer, overwrite=out.exists()
        )
        _keep_driving(clip, track, find(producer.backend), producer)
        return
    first = next(frames)
    with VideoWriter(out, first.shape[1], first.shape[0], driving.fps, audio_from=sound, comment=producer.key()) as video:
        video.write(first)
        for frame in frames:
            video.write(frame)


def _keep_driving(clip: Clip, track: Driving, kind: Kind, producer: Producer) -> None:
    """The result keeps the layer that drove it: evaluate compares with it."""
    if kind.keep is None:
        return
    keypoints = np.stack([step.shown.keypoints for step in track.steps()])[:, None]
    with clip.writing(kind.layer, producer, {"frames": clip.frames_digest()}) as layer:
        layer.arrays(kind.keep(keypoints))
