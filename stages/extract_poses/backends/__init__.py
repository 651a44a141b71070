"""Pose backends: each opens to a function from a frame to its people (`stages.tracking.tracker.Subject`, BODY_25 points [25, 3])."""
