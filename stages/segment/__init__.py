"""segment: label maps and person masks."""

from stages.segment.extract import SegmentOptions, extract

__all__ = ["SegmentOptions", "extract"]
