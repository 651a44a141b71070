"""Segmentation backends. `person` opens to a function from a frame to a mask; `labels` reads label maps that are there already."""
