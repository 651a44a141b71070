"""Tracking of faces and bodies: identities, crowds, interpolation of short gaps, smoothing, and detection of cuts."""
