"""Optical flow: estimators, consistency checks, and the backward warp."""
