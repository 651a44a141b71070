"""fsv2v synthesize: example pictures and a driving clip become a video, one frame at a time."""

from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.stage import synthesize

__all__ = ["Outcome", "SynthesizeOptions", "synthesize"]
