"""People who are held out from the training of the shipped models `face-256` (FACES) and `pose-256` (BODIES); see their cards."""

FACES = (
    "f2-02", "f2-12", "f2-17", "f2-20", "f2-33", "f2-37", "liveportrait_d6", "liveportrait_s29", "moore_2", "lipnetgrid_brbk7n",
    "sadtalker_ref1", "latentsync_demo3_video",
)  # fmt: skip
"""Their names in the column `person` of the data collection's table, SOURCES.tsv."""

BODIES = ("animate_x_dance3", "hybrik_taiji", "sam2_juggle")
"""Names of the files of full-body clips, without suffix. Each shows one person."""
