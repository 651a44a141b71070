"""Rendered towns, seen from a car that drives through them: see ../drives.py."""
