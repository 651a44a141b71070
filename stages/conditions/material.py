"""Former names of `stages/conditions/source_clip.py`, for driving kinds of other packages."""

from __future__ import annotations

from collections.abc import Sequence

from stages.clip import Clip, Producer
from stages.conditions.source_clip import Size, SourceClip, jumps, main_subject_of, select_entries, transform_boxes, transform_points
from stages.conditions.view import View

transformed, transformed_boxes = transform_points, transform_boxes


class Material(SourceClip):
    """A `SourceClip` whose layers are written by `keep` and `keep_images`."""

    def keep(self, made: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        """As `write_layers`."""
        raise NotImplementedError

    keep_images = SourceClip.write_images

    def write_layers(self, target: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        self.keep(target, run, views, producer)


__all__ = ["Material", "Size", "jumps", "main_subject_of", "select_entries", "transformed", "transformed_boxes"]
