"""Tracks instances through the label maps of a clip, by overlap; and checks that the clip's own instance numbers stay the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.conditions.labels import MIN_INSTANCE
from stages.conditions.regions import LABELS, regions_of
from stages.errors import InputError
from stages.tables.label_tables import VOID

LabelMap = NDArray[np.uint8]
Identities = NDArray[np.int32]
"""[H, W]: label + 256 x instance number; the label of void is 255."""
MIN_OVERLAP = 0.3
"""A piece continues an instance of the previous frame if their intersection over union is larger than this."""
MIN_INSIDE = 0.5
"""A piece is a part of an instance of the previous frame if a larger share of it lies inside that instance."""
SPECK = 1 / 2000
"""A new piece with a smaller share of the image is no instance of its own, but a part of the largest instance of its label."""
MAX_HIDDEN_FRAMES = 5
"""Number of frames for which an instance that is hidden keeps its number."""
SAME_PLACE, OTHER_PLACE = 0.5, 0.2
"""Instances of successive frames are at the same place if their intersection over union is larger than the first number, and at
different places if it is smaller than the second."""


@dataclass
class _Hidden:
    """An instance that is no longer seen: its mask in the last frame that showed it, and the number of frames since then."""

    identity: int
    mask: NDArray[np.bool_]
    frames: int = 0


@dataclass
class InstanceTracker:
    """Tracks the connected pieces of label maps from frame to frame."""

    previous: Identities | None = None
    """The identities of the previous frame; None before the first frame."""
    hidden: list[_Hidden] = field(default_factory=list)
    count: int = 0
    """Number of instances so far."""

    def __call__(self, labels: LabelMap, flow: NDArray[np.floating] | None = None) -> Identities:
        """The identities of the next frame. labels: uint8 [H, W]; flow: [H, W, 2] from the previous frame to this one, if it is known."""
        pieces = regions_of(labels, None)
        label_of = np.full(pieces.max() + 1, VOID)
        label_of[pieces] = labels
        areas = np.bincount(pieces.ravel())
        before = self._warp_before(flow, labels)
        identity_of = self._match_pieces(pieces, label_of, areas, before)
        self._number_new_pieces(identity_of, label_of, areas, SPECK * labels.size)
        identities = np.array([VOID, *(identity_of[piece] for piece in range(1, len(areas)))], np.int32)
        self._remember_hidden(before, set(identity_of.values()))
        self.previous = identities[pieces]
        return self.previous

    def _warp_before(self, flow: NDArray[np.floating] | None, labels: LabelMap) -> Identities:
        """The identities of the previous frame, warped forward by the flow; void in gaps, and where a pixel lands on another label."""
        shape = labels.shape
        if self.previous is None:
            return np.full(shape, VOID, np.int32)
        if flow is None:
            return self.previous
        rows, columns = np.indices(shape)
        x, y = np.rint(columns + flow[..., 0]).astype(int), np.rint(rows + flow[..., 1]).astype(int)
        inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        x, y, identity = x[inside], y[inside], self.previous[inside]
        same_label = labels[y, x] == identity % LABELS
        warped = np.full(shape, VOID, np.int32)
        warped[y[same_label], x[same_label]] = identity[same_label]
        return warped

    def _match_pieces(
        self, pieces: NDArray[np.int32], label_of: NDArray[np.int64], areas: NDArray[np.int64], before: Identities
    ) -> dict[int, int]:
        """Piece -> identity, for those pieces that continue an instance, show a hidden instance again, or are a part of an instance."""
        same_label = (before % LABELS == label_of[pieces]) & (pieces > 0)
        codes, shared = np.unique((pieces[same_label].astype(np.int64) << 32) | before[same_label], return_counts=True)
        pairs = list(zip((codes >> 32).tolist(), (codes & 0xFFFFFFFF).tolist(), shared.tolist(), strict=True))
        area_before = dict(zip(*(column.tolist() for column in np.unique(before, return_counts=True)), strict=True))
        overlaps = [(n / (areas[piece] + area_before[identity] - n), piece, identity) for piece, identity, n in pairs]
        identity_of: dict[int, int] = {}
        for overlap, piece, identity in sorted(overlaps, key=lambda x: (-x[0], *x[1:])):
            if overlap > MIN_OVERLAP and piece not in identity_of and identity not in identity_of.values():
                identity_of[piece] = identity
        self._match_hidden(identity_of, pieces, label_of, areas)
        for piece, identity, n in sorted(pairs, key=lambda pair: -pair[2]):
            if piece not in identity_of and n > MIN_INSIDE * areas[piece]:
                identity_of[piece] = identity
        return identity_of

    def _match_hidden(
        self, identity_of: dict[int, int], pieces: NDArray[np.int32], label_of: NDArray[np.int64], areas: NDArray[np.int64]
    ) -> None:
        """Add the pieces to `identity_of` that show a hidden instance again."""
        for hidden in self.hidden:
            shared = np.bincount(pieces[hidden.mask], minlength=len(areas))
            overlap = shared / (areas + hidden.mask.sum() - shared) * (label_of == hidden.identity % LABELS)
            overlap[[0, *identity_of]] = 0
            if overlap.max() > MIN_OVERLAP:
                identity_of[int(overlap.argmax())] = hidden.identity

    def _number_new_pieces(self, identity_of: dict[int, int], label_of: NDArray[np.int64], areas: NDArray[np.int64], speck: float) -> None:
        """Add all other pieces to `identity_of`: as new instances, or below `speck` pixels as parts of the largest piece of their label."""
        largest: dict[int, int] = {}
        for piece in sorted(range(1, len(areas)), key=lambda piece: -areas[piece]):
            label = int(label_of[piece])
            if piece not in identity_of and areas[piece] < speck and label in largest:
                identity_of[piece] = largest[label]
            elif piece not in identity_of:
                self.count += 1
                identity_of[piece] = label + LABELS * self.count
            largest.setdefault(label, identity_of[piece])

    def _remember_hidden(self, before: Identities, seen: set[int]) -> None:
        """Update `hidden`, given the identities of the previous frame and those seen in this frame."""
        for hidden in self.hidden:
            hidden.frames += 1
        self.hidden = [hidden for hidden in self.hidden if hidden.identity not in seen and hidden.frames < MAX_HIDDEN_FRAMES]
        known = {hidden.identity for hidden in self.hidden}
        for identity in np.unique(before).tolist():
            if identity % LABELS != VOID and identity not in seen and identity not in known:
                self.hidden.append(_Hidden(identity, before == identity))


def require_stable_numbers(before: NDArray[np.int32], now: NDArray[np.int32], is_thing: NDArray[np.bool_], frame: int) -> None:
    """Raises InputError if the number of an instance changes between the previous frame and frame `frame`.

    A number changes if another number takes the place of a thing, and neither of the two stays at its place. Things in a row that move on
    together, such as walkers, are no change, and neither are things that leave the image. before, now: `keys_of` the two frames. is_thing:
    whether each number is that of a countable object, bool [256].
    """
    things = is_thing[before // LABELS] | is_thing[now // LABELS]
    pairs, shared = np.unique(np.stack([before[things], now[things]], 1) // LABELS, axis=0, return_counts=True)
    old, new = (np.bincount(keys.ravel() // LABELS, minlength=LABELS) for keys in (before, now))
    overlap = {(a, b): n / (old[a] + new[b] - n) for (a, b), n in zip(pairs.tolist(), shared.tolist(), strict=True)}
    for (a, b), share in overlap.items():
        left_place = all(is_thing[number] and overlap.get((number, number), 0) < OTHER_PLACE for number in (a, b))
        if a != b and left_place and share > SAME_PLACE and old[a] >= MIN_INSTANCE * now.size and not _move_together(a, b, before, now):
            raise InputError(
                f"the numbers of instances jump: instance {a} of frame {frame - 1} is instance {b} in frame {frame}",
                hint="Each instance needs one number in all frames. Without the layer instances, instances are tracked by their overlap",
                code="instances-jump",
            )


def _move_together(a: int, b: int, before: NDArray[np.int32], now: NDArray[np.int32]) -> bool:
    """Whether instance b made a short step, of at most its size, and instance a nearly the same step, or one out of the image."""
    centres = np.array([[_centre(keys // LABELS == number) for number in (a, b)] for keys in (before, now)])  # nan without pixels
    step_of_a, step_of_b = centres[1] - centres[0]
    mask = before // LABELS == a
    a_left = bool(np.isnan(step_of_a[0]) and (mask[[0, -1]].any() or mask[:, [0, -1]].any()))
    size = math.sqrt(2 * (now // LABELS == b).sum())
    return bool(np.hypot(*step_of_b) <= size and (a_left or np.hypot(*(step_of_a - step_of_b)) <= SAME_PLACE * size))


def _centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = mask.nonzero()
    return (rows.mean(), columns.mean()) if len(rows) else (math.nan, math.nan)
