"""People whom no shipped weights are trained on: what a network does with them is what it does with people whom it has not seen."""

FACES = (
    "f2-02", "f2-12", "f2-17", "f2-20", "f2-33", "f2-37", "liveportrait_d6", "liveportrait_s29", "moore_2", "lipnetgrid_brbk7n",
    "sadtalker_ref1", "latentsync_demo3_video",
)  # fmt: skip
"""Persons, as the column `person` of the collection's table (SOURCES.tsv) names them."""

BODIES = ("animate_x_dance3", "hybrik_taiji", "sam2_juggle")
"""Full-body clips of one person each, by the names of their files."""
