"""extract-poses: body poses from videos."""

from stages.clip import Clip
from stages.extract_poses.extract import PoseOptions, extract
from stages.runner import Outcome

__all__ = ["PoseOptions", "extract", "extract_missing"]


def extract_missing(clip: Clip, backend: str, device: str, subject: str | int = "largest") -> Outcome:
    """Extract poses for a synthesis whose clip has none. `backend` names a landmark detector and is not used (see `Kind.extractor`)."""
    return extract(clip, PoseOptions(device=device, person=subject))
