"""Optical flow: its estimators, where they can be trusted, the files it is kept in, the layer `flow`, and the backward warp."""
