"""Landmark backends: each opens to a `stages.tracking.tracker.Detector` of faces (see `stages.extract_sketch.faces`)."""
