"""Landmark backends. `Backend.open` returns a `stages.tracking.tracker.Detector` of faces (see `stages.extract_sketch.faces`)."""
