"""Whom a clip is about: identities through crossings, crowds through tiles and windows, short gaps, jitter, cuts; for faces and bodies."""
