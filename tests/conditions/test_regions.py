"""Regions of label maps, edges between instances, and label ids that are in no table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.conditions.kinds import find_kind
from stages.conditions.kinds.instance_streets import EdgeTrack
from stages.conditions.kinds.streets import LabelTrack
from stages.conditions.labels import CAMVID, VOID
from stages.conditions.regions import edges_of, keys_of, regions_of
from stages.conditions.view import View
from stages.errors import InvalidClip

NAMES = ["road", "void", "car"]
META = {"names": NAMES, "palette": [[index] * 3 for index in range(3)]}


def fake_layer(image: np.ndarray, meta: dict[str, Any] | None = None) -> Any:
    """A layer of one frame."""
    return SimpleNamespace(meta=meta or {}, num_frames=1, image=lambda index: image)


def flood_fill(labels: np.ndarray) -> np.ndarray:
    """Number the connected pieces of each label from 1; the eight neighbours of a pixel are connected to it."""
    pieces, count = np.zeros(labels.shape, int), 0
    for start in np.ndindex(labels.shape):
        if labels[start] == VOID or pieces[start]:
            continue
        count += 1
        pending = [start]
        while pending:
            y, x = pending.pop()
            if 0 <= y < len(labels) and 0 <= x < labels.shape[1] and not pieces[y, x] and labels[y, x] == labels[start]:
                pieces[y, x] = count
                pending += [(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return pieces


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two maps divide the image into the same regions, up to their numbering; 0 must be 0 in both."""
    pairs = {(a, b) for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) and ((0, 0) in pairs or not (one == 0).any())


def test_without_instances_a_region_is_a_connected_piece_of_a_label():
    labels = np.random.default_rng(0).choice(np.array([0, 4, VOID], np.uint8), (12, 17))
    regions = regions_of(labels, None)
    assert same_partition(regions, flood_fill(labels)) and (regions[labels == VOID] == 0).all()


def test_with_instances_a_region_has_one_label_and_one_instance_id():
    rng = np.random.default_rng(1)
    labels, instances = rng.choice(np.array([0, 4, VOID], np.uint8), (12, 17)), rng.choice(np.array([0, 3, 255], np.uint8), (12, 17))
    regions = regions_of(labels, instances)
    expected = np.where(labels == VOID, 0, 1 + labels.astype(int) * 1000 + instances)
    assert same_partition(regions, expected)
    assert sorted(np.unique(regions)) == list(range(7)), "regions are numbered from 1"


def test_an_edge_is_a_pixel_that_differs_from_one_of_its_four_neighbours():
    rng = np.random.default_rng(2)
    labels, instances = rng.integers(0, 2, (6, 9)).astype(np.uint8), rng.integers(0, 2, (6, 9)).astype(np.uint8)
    edges = edges_of(keys_of(labels, instances))
    for y, x in np.ndindex(6, 9):
        neighbours = [(y + down, x + right) for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        inside = [(v, u) for v, u in neighbours if 0 <= v < 6 and 0 <= u < 9]
        assert edges[y, x] == any(labels[neighbour] != labels[y, x] or instances[neighbour] != instances[y, x] for neighbour in inside)


def test_edges_separate_touching_cars_and_are_computed_after_resizing():
    labels, instances = np.zeros((8, 16), np.uint8), np.zeros((8, 16), np.uint8)
    labels[2:6, 4:12] = 2
    instances[2:6, 4:8], instances[2:6, 8:12] = 1, 2
    track = EdgeTrack(fake_layer(labels, META), fake_layer(instances))
    half, double = (track.semantic(0, View.scaled(8, 16, side, 2 * side)) for side in (4, 16))
    assert track.names == ("road", "car") and track.channels == len(half) == 3
    assert half[1].sum() == 2 * 4 and half[2, 1:3].tolist() == [[0, 1, 1, 1, 1, 1, 1, 0]] * 2
    assert double[2, 8].tolist() == [0] * 7 + [1] * 2 + [0] * 6 + [1] * 2 + [0] * 6 + [1] * 2 + [0] * 7, (
        "one pixel on each side of a border"
    )
    assert np.array_equal(half[:2], LabelTrack(fake_layer(labels, META)).semantic(0, View.scaled(8, 16, 4, 8)))


def test_regions_follow_the_view_and_void_is_region_0():
    labels, instances = np.full((4, 8), 2, np.uint8), np.zeros((4, 8), np.uint8)
    labels[:2] = NAMES.index("void")
    instances[:, 4:] = 9
    track, mirrored = LabelTrack(fake_layer(labels, META), fake_layer(instances)), View(np.array([[-1.0, 0, 7], [0, 1, 0]]), 4, 8)
    assert track.regions(0, mirrored).tolist() == [[0] * 8] * 2 + [[2] * 4 + [1] * 4] * 2
    assert LabelTrack(fake_layer(labels, META)).regions(0, mirrored).max() == 1


@pytest.mark.parametrize("label", [11, 200, 254])
def test_a_label_id_outside_the_table_is_refused_with_its_frame(label):
    image = np.full((4, 4), VOID, np.uint8)
    image[2, 3] = label
    names = CAMVID.names[:11]
    track = LabelTrack(fake_layer(image, {"names": list(names), "palette": [list(colour) for colour in CAMVID.palette[:11]]}))
    with pytest.raises(InvalidClip, match=f"frame 0 of the segment layer has the label id {label}, but its table ends at 10"):
        track.semantic(0, View.scaled(4, 4, 4, 4))


def test_the_kind_with_edges_needs_the_layer_instances():
    kind = find_kind("segment+instances")
    assert kind.layers == ("segment", "instances") and "instances" in kind.remedies
