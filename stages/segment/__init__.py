"""segment: label maps and person masks."""

from stages.clip import Clip
from stages.runner import Outcome
from stages.segment.extract import SegmentOptions, extract

__all__ = ["SegmentOptions", "extract", "extract_missing"]


def extract_missing(clip: Clip, backend: str, device: str) -> Outcome:
    """Extract label maps for a synthesis whose clip has none. `backend` names a landmark detector and is not used (see
    `Kind.extractor`)."""
    return extract(clip, SegmentOptions(device=device))
