"""extract-poses: body poses from videos."""

from stages.extract_poses.extract import PoseOptions, extract

__all__ = ["PoseOptions", "extract"]
