"""extract-sketch: face landmarks and sketches from videos."""

from stages.extract_sketch.extract import SketchOptions, extract

__all__ = ["SketchOptions", "extract"]
