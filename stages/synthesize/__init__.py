"""synthesize: frames in which the example's subject moves like the driving clip."""

from stages.synthesize.appearance import Choices, require_appearance, variant
from stages.synthesize.film import FilmRendering, require_film
from stages.synthesize.fitting import decide
from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.rendering import Rendering, choose_placement
from stages.synthesize.report import ReportRequest
from stages.synthesize.stage import chained, further, require_examples, require_face, synthesize

__all__ = [
    "Choices",
    "FilmRendering",
    "Outcome",
    "Rendering",
    "ReportRequest",
    "SynthesizeOptions",
    "chained",
    "choose_placement",
    "decide",
    "further",
    "require_appearance",
    "require_examples",
    "require_face",
    "require_film",
    "synthesize",
    "variant",
]
