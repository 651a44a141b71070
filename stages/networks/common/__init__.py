"""Code that all generator families share: layers, frames, discriminators, losses, fast inference; `family.py` describes a family."""
