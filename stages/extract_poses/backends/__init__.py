"""Pose backends: each opens to a function from a frame to its persons (`stages.following.Subject`, points [25, 3] in BODY_25 order)."""
