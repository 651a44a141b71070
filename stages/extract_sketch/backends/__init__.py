"""Landmark backends: each opens to a function from a frame to its faces (see `stages.extract_sketch.faces`)."""
