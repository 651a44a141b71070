"""extract-sketch: face landmarks and sketches from videos."""

from stages.clip import Clip
from stages.extract_sketch.extract import SketchOptions, extract
from stages.runner import Outcome

__all__ = ["SketchOptions", "extract", "extract_missing"]


def extract_missing(clip: Clip, backend: str, device: str, subject: str | int = "largest") -> Outcome:
    """Extract landmarks for a synthesis whose clip has none. The sketch contains no edges of the background, which saves time."""
    return extract(clip, SketchOptions(backend=backend, background="none", device=device, face=subject))
