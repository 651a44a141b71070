"""Generators, discriminators, losses and feature networks in pure torch. Nothing here reads or writes files."""
