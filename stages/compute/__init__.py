"""Devices, threads and memory; tasks of MediaPipe."""
