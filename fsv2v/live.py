"""Examples animated live, by a camera or a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsv2v.models import choose_perceptual_for, default_model, load_model
from fsv2v.reporting import Reporter
from fsv2v.sources import Source, Subject, examples_with_layer, temporary_clips
from stages.backends import Backends
from stages.compute.devices import choose_device
from stages.errors import UsageError
from stages.models import Model
from stages.models.perceptual import open_distance
from stages.synthesize import SynthesizeOptions, require_examples, require_face
from stages.synthesize.live import LiveRendering

REFUSED = ("compare", "example_frames", "appearance", "crop", "retarget")
"""Fields of `SynthesizeOptions` that cannot be used with a live driver."""


class Live:
    """Examples that are animated by images from a camera or a stream, one image at a time.

    A frame does not depend on later images. Landmarks are therefore smoothed less than in a clip, and the driver's proportions are measured
    in the first second.

        live = fsv2v.Live("anna.jpg")
        for frame in live(images):  # uint8 RGB [H, W, 3], one for each image, made before the next image is taken
            ...
    """

    def __init__(
        self,
        examples: Source | Sequence[Source],
        *,
        subject: Subject = "largest",
        model: Model | str | PathLike[str] | None = None,
        base: str | PathLike[str] | None = None,
        attention: str = "auto",
        backend: str = "auto",
        reporter: Reporter | None = None,
        **options: Any,
    ) -> None:
        """subject: the person who moves in a photograph of several people. The other parameters and errors are those of `synthesize`.
        options: the fields of `stages.synthesize.SynthesizeOptions`, except those in `REFUSED`.
        """
        reporter, chosen = reporter or Reporter(), SynthesizeOptions(**options)
        for name in REFUSED:
            if getattr(chosen, name) != getattr(SynthesizeOptions(), name):
                raise UsageError(f"{name} applies to driving clips, not to a live driver", code="option-not-live", facts={"option": name})
        device = choose_device(chosen.device)
        found = model if isinstance(model, Model) else default_model(None) if model is None else load_model(model, base)
        found = found if attention == "auto" else found.with_attention(attention)
        require_examples(True, found)
        require_face(chosen.parsed_motion, found)
        with temporary_clips(reporter) as temporary:
            clips = examples_with_layer(examples, found.config.kind, temporary, device=chosen.device, backend=backend, subject=subject)
            perceptual = lambda: open_distance(choose_perceptual_for(found, reporter), device)  # noqa: E731
            self._rendering = LiveRendering(clips, found, chosen, perceptual)
        self._detector = Backends("landmarks").require(backend).open(chosen.device)

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """A frame for each image, both uint8 RGB [H, W, 3]."""
        return self._rendering.frames(images, self._detector)

    def restart(self) -> None:
        """Measure the driver's proportions again, and begin relative motion again, from the next image on."""
        self._rendering.driving.restart()

    @property
    def pasted(self) -> bool:
        """Whether frames show the whole photograph."""
        return self._rendering.pasted

    @property
    def held_frames(self) -> int:
        """Number of images so far in which no face was found. The last face is used again for them."""
        return self._rendering.driving.held
