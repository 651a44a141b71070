"""Regions of label maps, the edges between instances, and label maps whose ids are in no table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.conditions.kinds import find
from stages.conditions.kinds.instance_streets import EdgeTrack
from stages.conditions.kinds.streets import LabelTrack
from stages.conditions.labels import CAMVID, VOID
from stages.conditions.regions import edges_of, keys_of, regions_of
from stages.conditions.view import View
from stages.errors import InvalidClip

NAMES = ["road", "void", "car"]
META = {"names": NAMES, "palette": [[index] * 3 for index in range(3)]}


def layer(image: np.ndarray, meta: dict[str, Any] | None = None) -> Any:
    return SimpleNamespace(meta=meta or {}, num_frames=1, image=lambda index: image)


def pieces_by_flooding(labels: np.ndarray) -> np.ndarray:
    """Regions without numbers, one pixel after another; the eight neighbours of a pixel are connected to it."""
    found, count = np.zeros(labels.shape, int), 0
    for start in np.ndindex(labels.shape):
        if labels[start] == VOID or found[start]:
            continue
        count += 1
        waiting = [start]
        while waiting:
            y, x = waiting.pop()
            if 0 <= y < len(labels) and 0 <= x < labels.shape[1] and not found[y, x] and labels[y, x] == labels[start]:
                found[y, x] = count
                waiting += [(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return found


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two maps divide the image in the same way, whatever their numbers; 0 is the same in both."""
    pairs = {(a, b) for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) and ((0, 0) in pairs or not (one == 0).any())


def test_without_numbers_a_region_is_a_connected_piece_of_a_label():
    labels = np.random.default_rng(0).choice(np.array([0, 4, VOID], np.uint8), (12, 17))
    regions = regions_of(labels, None)
    assert same_partition(regions, pieces_by_flooding(labels)) and (regions[labels == VOID] == 0).all()


def test_with_numbers_a_region_is_what_has_the_same_label_and_number():
    draw = np.random.default_rng(1)
    labels, numbers = draw.choice(np.array([0, 4, VOID], np.uint8), (12, 17)), draw.choice(np.array([0, 3, 255], np.uint8), (12, 17))
    regions = regions_of(labels, numbers)
    expected = np.where(labels == VOID, 0, 1 + labels.astype(int) * 1000 + numbers)
    assert same_partition(regions, expected)
    assert sorted(np.unique(regions)) == list(range(7)), "they count from 1"


def test_an_edge_is_a_pixel_that_differs_from_one_of_its_four_neighbours():
    draw = np.random.default_rng(2)
    labels, numbers = draw.integers(0, 2, (6, 9)).astype(np.uint8), draw.integers(0, 2, (6, 9)).astype(np.uint8)
    edges = edges_of(keys_of(labels, numbers))
    for y, x in np.ndindex(6, 9):
        around = [(y + down, x + right) for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        inside = [(v, u) for v, u in around if 0 <= v < 6 and 0 <= u < 9]
        assert edges[y, x] == any(labels[place] != labels[y, x] or numbers[place] != numbers[y, x] for place in inside)


def test_edges_separate_cars_that_touch_and_are_found_after_the_view_has_changed_the_size():
    labels, numbers = np.zeros((8, 16), np.uint8), np.zeros((8, 16), np.uint8)
    labels[2:6, 4:12] = 2
    numbers[2:6, 4:8], numbers[2:6, 8:12] = 1, 2
    track = EdgeTrack(layer(labels, META), layer(numbers))
    half, double = (track.semantic(0, View.scaled(8, 16, side, 2 * side)) for side in (4, 16))
    assert track.names == ("road", "car") and track.channels == len(half) == 3
    assert half[1].sum() == 2 * 4 and half[2, 1:3].tolist() == [[0, 1, 1, 1, 1, 1, 1, 0]] * 2
    assert double[2, 8].tolist() == [0] * 7 + [1] * 2 + [0] * 6 + [1] * 2 + [0] * 6 + [1] * 2 + [0] * 7, "one pixel on each side"
    assert np.array_equal(half[:2], LabelTrack(layer(labels, META)).semantic(0, View.scaled(8, 16, 4, 8)))


def test_regions_follow_the_view_and_void_belongs_to_none():
    labels, numbers = np.full((4, 8), 2, np.uint8), np.zeros((4, 8), np.uint8)
    labels[:2] = NAMES.index("void")
    numbers[:, 4:] = 9
    track, mirrored = LabelTrack(layer(labels, META), layer(numbers)), View(np.array([[-1.0, 0, 7], [0, 1, 0]]), 4, 8)
    assert track.regions(0, mirrored).tolist() == [[0] * 8] * 2 + [[2] * 4 + [1] * 4] * 2
    assert LabelTrack(layer(labels, META)).regions(0, mirrored).max() == 1


@pytest.mark.parametrize("strange", [11, 200, 254])
def test_a_label_id_that_is_in_no_table_is_refused_with_its_frame(strange):
    image = np.full((4, 4), VOID, np.uint8)
    image[2, 3] = strange
    names = CAMVID.names[:11]
    track = LabelTrack(layer(image, {"names": list(names), "palette": [list(colour) for colour in CAMVID.palette[:11]]}))
    with pytest.raises(InvalidClip, match=f"frame 0 of the segment layer has the label id {strange}, but its table ends at 10"):
        track.semantic(0, View.scaled(4, 4, 4, 4))


def test_models_with_edges_say_which_layer_they_want():
    kind = find("segment+instances")
    assert kind.layers == ("segment", "instances") and "instances" in kind.remedies
