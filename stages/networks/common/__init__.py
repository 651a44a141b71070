"""Code shared by the generator families: layers, frames, discriminators, losses, fast inference; `family.py` describes a family."""
