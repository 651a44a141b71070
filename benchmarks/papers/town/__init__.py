"""Towns drawn by a program, as seen from a car that drives through them: see drives.py."""
