"""The inputs of a synthesis: clips with the driving layer, and the model."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from os import PathLike
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from fsv2v.models import DEFAULT_MODELS, default_model, load_model
from fsv2v.sources import Examples, Source, Subject, TemporaryClips, driving_clip, examples_with_layer, with_layer
from stages.clip import Clip
from stages.clip.parts import WHOLE, exact_span, frames_within, part_of, thinned
from stages.conditions.kinds import kinds
from stages.conditions.motion import UNCHANGED, Motion
from stages.errors import UsageError
from stages.models import Model
from stages.synthesize import Choices, require_appearance, require_examples, require_face

Time: TypeAlias = "tuple[float | Fraction | None, float | Fraction | None]"
"""Start and stop of a span in seconds; None for the beginning and the end."""
PREVIEW_FRAMES = 50
"""Number of frames in which a layer is extracted for a preview. The preview shows fewer; the others serve to measure the driver's
proportions."""


class Prepared(NamedTuple):
    """Clips with the layer that drives the model."""

    examples: list[Clip]
    driving: Clip
    model: Model
    start: Clip | None
    """Real frames that precede the first result."""
    appearance_images: dict[str, Clip]
    """Path in the option `appearance` -> clip of that picture."""
    others: list[tuple[Clip, Clip]]
    """(example clip, driving clip) of each further subject of the photograph."""


class Inputs:
    """The inputs of one or many syntheses with the same examples.

    The model and all clips except the driving clip are opened once, and missing layers are extracted once.

    temporary: creates intermediate clips. preview: extract the driving layer only in a few frames. The other parameters are those of
    `synthesize`.
    """

    def __init__(
        self,
        examples: Examples,
        temporary: TemporaryClips,
        *,
        subjects: Sequence[Subject] = (),
        model: Model | str | PathLike[str] | None = None,
        base: str | PathLike[str] | None = None,
        attention: str = "auto",
        backend: str = "auto",
        device: str = "auto",
        fps: float = 25,
        start: Source | None = None,
        time: Time = (None, None),
        appearance: str = "",
        motion: Motion = UNCHANGED,
        preview: bool = False,
    ) -> None:
        self._time = exact_span(time)
        self._choices = Choices.parse(appearance)
        self._examples, self._temporary, self._subjects = examples, temporary, subjects
        self._fps, self._start, self._motion, self._preview = fps, start, motion, preview
        self._model, self._base, self._attention = model, base, attention
        self._detector = {"device": device, "backend": backend}
        self._models: dict[str, Model] = {}
        self._shared: dict[str, tuple[list[list[Clip]], Clip | None, dict[str, Clip]]] = {}

    def driven_by(self, driving: Source | Sequence[Source], temporary: TemporaryClips) -> Prepared:
        """The inputs with this driving video, whose intermediate clips are created by `temporary`."""
        sources, subjects = _paired(driving, self._subjects)
        first = self._open_driving(sources[0], temporary)
        model = self._model_for(first)
        kind = model.config.kind
        if kind not in self._shared:
            self._shared[kind] = self.open_shared(kind, subjects)
        examples, start, appearance_images = self._shared[kind]
        first = with_layer(first, kind, temporary, **self._detector)
        opened = {_identity(sources[0]): first}
        for source in sources:
            if _identity(source) not in opened:
                opened[_identity(source)] = with_layer(self._open_driving(source, temporary), kind, temporary, **self._detector)
        drivers = [opened[_identity(source)] for source in sources]
        others = [(clips[0], driver) for clips, driver in zip(examples[1:], drivers[1:], strict=True) if clips]
        return Prepared(examples[0], first, model, start, appearance_images, others)

    def _open_driving(self, source: Source, temporary: TemporaryClips) -> Clip:
        """The driving clip, or the requested part of it; only a few of its frames if a layer has to be extracted for a preview."""
        clip = driving_clip(source, temporary, fps=self._fps)
        if self._time != WHOLE:
            frames = frames_within(clip, self._time)
            layers = {layer for kind in kinds().values() for layer in (*kind.layers, *kind.also_read)} | {"flow"}
            clip = _named(part_of(clip, frames, temporary.path_for(clip.path), layers), clip, temporary)
        if self._preview and not any(clip.has(kind.layer) for kind in kinds().values()):
            clip = _named(thinned(clip, PREVIEW_FRAMES, temporary.path_for(clip.path)), clip, temporary)
        return clip

    def _model_for(self, driving: Clip) -> Model:
        """The chosen model, or the default one for the layer of the clip. A clip without a layer drives a face."""
        name = "" if self._model is not None else next((kind for kind in driving.layers() if kind in DEFAULT_MODELS), "")
        if name not in self._models:
            found = _model(self._model, driving if name else None, self._base)
            model = found if self._attention == "auto" else found.with_attention(self._attention)
            require_appearance(str(self._choices), model)
            require_face(self._motion, model)
            require_examples(self._examples is not None, model)
            self._models[name] = model
        return self._models[name]

    def open_shared(self, kind: str, subjects: Sequence[Subject]) -> tuple[list[list[Clip]], Clip | None, dict[str, Clip]]:
        """The examples of each subject, the start and the images of the appearance, all with the driving layer."""

        def open_with_layer(source: Source) -> Clip:
            return with_layer(driving_clip(source, self._temporary, fps=self._fps), kind, self._temporary, **self._detector)

        def examples_of(subject: Subject) -> list[Clip]:
            if self._examples is None:
                return []
            return examples_with_layer(self._examples, kind, self._temporary, subject=subject, **self._detector)

        start = None if self._start is None else open_with_layer(self._start)
        return [*map(examples_of, subjects)], start, {name: open_with_layer(name) for name in self._choices.images}


def prepare(examples: Examples, driving: Source | Sequence[Source], temporary: TemporaryClips, **settings: Any) -> Prepared:
    """Open examples and driving clips, choose the model by the driving layer, and extract what is missing into `temporary`.

    settings: the other parameters of `Inputs`.
    """
    return Inputs(examples, temporary, **settings).driven_by(driving, temporary)


def _named(clip: Clip, source: Clip, temporary: TemporaryClips) -> Clip:
    """Let messages call the intermediate clip `clip` by the name of its source. Returns `clip`."""
    temporary.sources[str(clip.path)] = temporary.sources.get(str(source.path), str(source.path))
    return clip


def _identity(source: Source) -> str | int:
    """A key that is equal if the same source is given twice."""
    return id(source) if isinstance(source, Clip | np.ndarray) else str(source)


def _paired(driving: Source | Sequence[Source], subjects: Sequence[Subject]) -> tuple[list[Source], list[Subject]]:
    """A driving source for each subject of the photograph; a single source drives all of them."""
    sources: list[Source] = [*driving] if isinstance(driving, list | tuple) else [cast("Source", driving)]
    chosen = list(subjects) or ["largest"]
    if len(set(chosen)) < len(chosen):
        raise UsageError("a subject is chosen twice", code="subject-twice")
    if len(sources) == 1:
        sources *= len(chosen)
    if len(sources) != len(chosen):
        raise UsageError(
            f"{len(sources)} driving videos for {len(chosen)} subjects",
            hint="A call of synthesize_many makes one video for each of them",
            code="driving-of-subjects",
        )
    return sources, chosen


def _model(model: Model | str | PathLike[str] | None, driving: Clip | None, base: str | PathLike[str] | None) -> Model:
    if model is None:
        return default_model(driving)
    return model if isinstance(model, Model) else load_model(model, base)
