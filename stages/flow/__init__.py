"""Optical flow: the backward warp, and teachers that supervise the flow network."""
