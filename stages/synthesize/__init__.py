"""synthesize: frames in which the example's subject moves like the driving clip."""

from stages.synthesize.appearance import Choices, require_appearance, variant
from stages.synthesize.film import FilmRendering
from stages.synthesize.fitting import decide
from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.preview import require_sheet, write_preview
from stages.synthesize.rendering import EncodedExamples, Rendering, choose_placement
from stages.synthesize.report import ReportRequest
from stages.synthesize.scene import Scene, require_examples, require_face, require_inputs
from stages.synthesize.stage import synthesize

__all__ = [
    "Choices",
    "EncodedExamples",
    "FilmRendering",
    "Outcome",
    "Rendering",
    "ReportRequest",
    "Scene",
    "SynthesizeOptions",
    "choose_placement",
    "decide",
    "require_appearance",
    "require_examples",
    "require_face",
    "require_inputs",
    "require_sheet",
    "synthesize",
    "variant",
    "write_preview",
]
