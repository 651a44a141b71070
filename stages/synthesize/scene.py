"""All subjects of a synthesis: usually one, or several people of one photograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from stages.clip import Clip, keeping_frames
from stages.conditions.kinds import find_kind
from stages.conditions.motion import Motion
from stages.errors import InputError, UsageError
from stages.models import Model
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize.appearance import require_appearance
from stages.synthesize.film import FilmRendering, require_film
from stages.synthesize.fitting import Fitting, decide
from stages.synthesize.options import SynthesizeOptions
from stages.synthesize.placement import Placement
from stages.synthesize.rendering import EncodedExamples, Rendering, choose_placement
from stages.synthesize.report.record import Record


class Scene:
    """The renderings of all subjects, the first one first.

    The parameters are those of `synthesize`, which describes them and the errors. fitting and placement: those of the first subject.
    """

    def __init__(
        self,
        examples: Sequence[Clip],
        driving: Clip,
        model: Model,
        options: SynthesizeOptions,
        *,
        start: Clip | None = None,
        appearance_images: Mapping[str, Clip] = MappingProxyType({}),
        others: Sequence[tuple[Clip, Clip]] = (),
        perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
        encoded: EncodedExamples | None = None,
        decided: tuple[Fitting, Placement | None] | None = None,
    ) -> None:
        """decided: fitting and placement, if the caller has decided them."""
        rendering = FilmRendering if options.retarget else Rendering
        with keeping_frames(example_clips(examples, others)):
            self.fitting, self.placement = decided or (
                decide(options.normalize, model.config.kind, examples, driving),
                choose_placement(examples, model, options),
            )
            self.first = rendering(
                examples, driving, model, options, self.fitting, perceptual, start, appearance_images, self.placement, encoded
            )
            self.renderings = [self.first, *_other_renderings(others, driving, self.first, model, perceptual)]

    def frames(self, record: Record | None = None) -> Iterator[np.ndarray]:
        """The frames of the first subject, in which the other subjects move, too: uint8 RGB [H, W, 3].

        record: receives the parts of the first subject's frames, and the frames with all subjects.
        """
        observe, transform = (None, None) if record is None else (record.add_synthesis, record.frames)
        if record is not None and len(self.renderings) > 1:
            record.reasons.append("several subjects move: apart from the result, everything here is about the first of them")
        frames = self.first.frames(None, observe, transform if len(self.renderings) == 1 else None)
        for rendering in self.renderings[1:]:
            frames = rendering.frames(frames, None, transform if rendering is self.renderings[-1] else None)
        return frames

    def warnings(self) -> tuple[str, ...]:
        """Sentences about what makes the frames worse than they could be."""
        return _without_duplicates(text for rendering in self.renderings for text in rendering.warnings())

    def notes(self) -> tuple[str, ...]:
        """Sentences about how the clips are used, if that is not obvious."""
        return _without_duplicates(text for rendering in self.renderings for text in rendering.notes())

    @property
    def fallbacks(self) -> int:
        """Number of frames so far that failed in half precision and were made again in full precision."""
        return sum({rendering.renderer: rendering.fallbacks for rendering in self.renderings}.values())  # several may share a renderer

    @property
    def held(self) -> int:
        """Number of driving frames without a detection."""
        return sum(rendering.driving.held for rendering in self.renderings)


def example_clips(examples: Sequence[Clip], others: Sequence[tuple[Clip, Clip]]) -> list[Clip]:
    """The example clips of all subjects."""
    return [*examples, *(example for example, _ in others)]


def require_inputs(
    examples: Sequence[Clip], model: Model, options: SynthesizeOptions, start: Clip | None, others: Sequence[tuple[Clip, Clip]]
) -> None:
    """Raise UsageError if the model cannot be used with these examples and options."""
    require_examples(len(examples) > 0, model, options.finetune)
    require_face(options.parsed_motion, model)
    require_appearance(options.appearance, model)
    if options.retarget:
        require_film(examples, model, alone=start is None and not others)


def require_examples(given: bool, model: Model, finetune: int = 0) -> None:
    """Raise UsageError if a few-shot model has no examples, if another model has some, if the model makes no images, or if it is to be
    finetuned and its family cannot.

    given: whether there are examples. finetune: the number of steps on them.
    """
    if model.config.makes_labels:
        raise UsageError(f"{model.path} predicts label maps and makes no images", code="model-makes-labels")
    if model.config.few_shot and not given:
        raise UsageError("there is no example", hint="Name an image, a folder of images, a video or a clip")
    if given and not model.config.few_shot:
        raise UsageError(f"a model of the family {model.config.family} uses no examples", hint="Leave out the examples")
    if finetune and not model.generator.tuned:
        raise UsageError(f"a model of the family {model.config.family} cannot be finetuned on examples", hint="Leave out the finetuning")


def require_face(motion: Motion, model: Model) -> None:
    """Raise UsageError if the motion of a face is changed and the model shows no face or uses no examples."""
    if motion.unchanged:
        return
    if not find_kind(model.config.kind).expressive:
        shown = f"{model.path} is driven by {model.config.kind}"
        raise UsageError(f"only the motion of faces has a strength and parts, and {shown}", hint="Leave them out")
    if not model.config.few_shot:
        family = model.config.family
        raise UsageError(
            f"a model of the family {family} uses no examples from which motion could be measured", hint="Leave the motion as it is"
        )


def _other_renderings(
    others: Sequence[tuple[Clip, Clip]],
    driving: Clip,
    first: Rendering,
    model: Model,
    perceptual: Callable[[], PerceptualDistance | None],
) -> list[Rendering]:
    """The renderings of the subjects after the first. driving: the clip that drives the first subject.

    Raises UsageError if the first subject is not pasted into its photograph, InputError if the driving clips differ in length.
    """
    if others and not first.pasted:
        raise UsageError("several subjects move only in one photograph that is shown whole", code="group-not-pasted")
    renderings = []
    for example, driver in others:
        if driver.num_frames != driving.num_frames:
            lengths = f"{driving.id} has {driving.num_frames} frames, {driver.id} has {driver.num_frames}"
            raise InputError(f"the driving clips of one photograph differ in length: {lengths}", hint="Cut them to the same length")
        fitting = decide(first.options.normalize, model.config.kind, [example], driver)
        placement = choose_placement([example], model, replace(first.options, paste=True))
        shared = None if first.options.finetune else first.renderer
        encoded = EncodedExamples([example], model, first.options, perceptual, shared)
        renderings.append(Rendering([example], driver, model, first.options, fitting, placement=placement, encoded=encoded))
    return renderings


def _without_duplicates(texts: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
