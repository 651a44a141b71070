"""Colours for checkpoints whose labels have none."""

from __future__ import annotations

from stages.segment.backends.segformer import table_of


def test_150_labels_have_150_colours() -> None:
    table = table_of({index: f"thing {index}" for index in range(150)}, "ade")
    assert len(set(table.palette)) == 150 and table.names[149] == "thing 149"
