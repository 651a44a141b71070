"""synthesize: frames of the example's subject that move as the driving clip says."""

from stages.synthesize.appearance import Choices, require_appearance, variant
from stages.synthesize.film import FilmRendering, require_film
from stages.synthesize.fitting import decide
from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.preview import require_sheet, write_preview
from stages.synthesize.rendering import Encoded, Rendering, choose_placement
from stages.synthesize.report import ReportRequest
from stages.synthesize.stage import chained, further, require_examples, require_face, synthesize

__all__ = [
    "Choices",
    "Encoded",
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
    "require_sheet",
    "synthesize",
    "variant",
    "write_preview",
]
