"""Which instance each pixel of a clip belongs to, over time: by the clip's own numbers, or by the overlap of pieces of its label maps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.conditions.labels import MIN_INSTANCE
from stages.conditions.regions import LABELS, regions_of
from stages.errors import InputError
from stages.tables.label_tables import VOID

LabelMap = NDArray[np.uint8]
Identities = NDArray[np.int32]
"""[H, W]: label + 256 x number of the instance; the label of void is 255."""
OVERLAP = 0.3
"""Intersection over union from which a piece is the instance whose place it takes."""
INSIDE = 0.5
"""Share of a piece within an instance from which it is a part of that."""
SPECK = 1 / 2000
"""Share of the image below which a new piece is no instance of its own: it belongs to the largest of its label."""
REMEMBERED = 5
"""Number of frames for which an instance that is hidden keeps its number."""
SAME_PLACE, OTHER_PLACE = 0.5, 0.2
"""Intersection over union from which instances of successive frames are at the same place, and below which they are not."""


@dataclass
class _Hidden:
    """An instance that is no longer seen, as it was in its last frame."""

    identity: int
    mask: NDArray[np.bool_]
    frames: int = 0


@dataclass
class Follower:
    """Follows the pieces of label maps from frame to frame."""

    before: Identities | None = None
    hidden: list[_Hidden] = field(default_factory=list)
    count: int = 0

    def __call__(self, labels: LabelMap, flow: NDArray[np.floating] | None = None) -> Identities:
        """The identities of the next frame. labels: uint8 [H, W]; flow: [H, W, 2] from the frame before to this one, if it is known."""
        pieces = regions_of(labels, None)
        label_of = np.full(pieces.max() + 1, VOID)
        label_of[pieces] = labels
        areas = np.bincount(pieces.ravel())
        before = self._moved(flow, labels)
        chosen = self._matched(pieces, label_of, areas, before)
        self._name_the_others(chosen, label_of, areas, SPECK * labels.size)
        names = np.array([VOID, *(chosen[piece] for piece in range(1, len(areas)))], np.int32)
        self._remember(before, set(chosen.values()))
        self.before = names[pieces]
        return self.before

    def _moved(self, flow: NDArray[np.floating] | None, labels: LabelMap) -> Identities:
        """The frame before where its pixels are now, if they have the label of that place; void where none comes."""
        shape = labels.shape
        if self.before is None:
            return np.full(shape, VOID, np.int32)
        if flow is None:
            return self.before
        rows, columns = np.indices(shape)
        x, y = np.rint(columns + flow[..., 0]).astype(int), np.rint(rows + flow[..., 1]).astype(int)
        inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        x, y, who = x[inside], y[inside], self.before[inside]
        same = labels[y, x] == who % LABELS
        moved = np.full(shape, VOID, np.int32)
        moved[y[same], x[same]] = who[same]
        return moved

    def _matched(
        self, pieces: NDArray[np.int32], label_of: NDArray[np.int64], areas: NDArray[np.int64], before: Identities
    ) -> dict[int, int]:
        """piece -> identity, for pieces that continue an instance, that show a hidden one again, or that are a part of one."""
        same = (before % LABELS == label_of[pieces]) & (pieces > 0)
        codes, shared = np.unique((pieces[same].astype(np.int64) << 32) | before[same], return_counts=True)
        pairs = list(zip((codes >> 32).tolist(), (codes & 0xFFFFFFFF).tolist(), shared.tolist(), strict=True))
        sizes = dict(zip(*(found.tolist() for found in np.unique(before, return_counts=True)), strict=True))
        overlaps = sorted(((n / (areas[piece] + sizes[who] - n), piece, who) for piece, who, n in pairs), key=lambda x: (-x[0], *x[1:]))
        chosen: dict[int, int] = {}
        for overlap, piece, who in overlaps:
            if overlap > OVERLAP and piece not in chosen and who not in chosen.values():
                chosen[piece] = who
        self._find_hidden(chosen, pieces, label_of, areas)
        for piece, who, n in sorted(pairs, key=lambda pair: -pair[2]):
            if piece not in chosen and n > INSIDE * areas[piece]:
                chosen[piece] = who
        return chosen

    def _find_hidden(
        self, chosen: dict[int, int], pieces: NDArray[np.int32], label_of: NDArray[np.int64], areas: NDArray[np.int64]
    ) -> None:
        for lost in self.hidden:
            shared = np.bincount(pieces[lost.mask], minlength=len(areas))
            overlap = shared / (areas + lost.mask.sum() - shared) * (label_of == lost.identity % LABELS)
            overlap[[0, *chosen]] = 0
            if overlap.max() > OVERLAP:
                chosen[int(overlap.argmax())] = lost.identity

    def _name_the_others(self, chosen: dict[int, int], label_of: NDArray[np.int64], areas: NDArray[np.int64], speck: float) -> None:
        """New instances, and specks, which belong to the largest piece of their label."""
        largest: dict[int, int] = {}
        for piece in sorted(range(1, len(areas)), key=lambda piece: -areas[piece]):
            label = int(label_of[piece])
            if piece not in chosen and areas[piece] < speck and label in largest:
                chosen[piece] = largest[label]
            elif piece not in chosen:
                self.count += 1
                chosen[piece] = label + LABELS * self.count
            largest.setdefault(label, chosen[piece])

    def _remember(self, before: Identities, seen: set[int]) -> None:
        for lost in self.hidden:
            lost.frames += 1
        self.hidden = [lost for lost in self.hidden if lost.identity not in seen and lost.frames < REMEMBERED]
        known = {lost.identity for lost in self.hidden}
        for who in np.unique(before).tolist():
            if who % LABELS != VOID and who not in seen and who not in known:
                self.hidden.append(_Hidden(who, before == who))


def require_steady(before: NDArray[np.int32], now: NDArray[np.int32], is_thing: NDArray[np.bool_], frame: int) -> None:
    """Raises InputError if an instance has another number in frame `frame` than in the frame before.

    That is, if a thing is at another place than one frame earlier, and one that was elsewhere or nowhere is at its place. before, now:
    `keys_of` both frames.
    """
    things = is_thing[before // LABELS] | is_thing[now // LABELS]
    pairs, shared = np.unique(np.stack([before[things], now[things]], 1) // LABELS, axis=0, return_counts=True)
    old, new = (np.bincount(keys.ravel() // LABELS, minlength=LABELS) for keys in (before, now))
    overlap = {(a, b): n / (old[a] + new[b] - n) for (a, b), n in zip(pairs.tolist(), shared.tolist(), strict=True)}
    for (a, b), share in overlap.items():
        moved = all(is_thing[one] and overlap.get((one, one), 0) < OTHER_PLACE for one in (a, b))
        if a != b and moved and share > SAME_PLACE and old[a] >= MIN_INSTANCE * now.size:
            raise InputError(
                f"the numbers of instances jump: instance {a} of frame {frame - 1} is instance {b} in frame {frame}",
                hint="Each instance needs one number in all frames; without the layer instances they are followed by their overlap",
                code="instances-jump",
            )
