"""What all generator families share: layers, frames, discriminators, losses, the fast form; and what a family is (`family.py`)."""
