"""Pose backends. `Backend.open` returns a `stages.tracking.tracker.Detector` of people with BODY_25 points [25, 3]."""
