"""Label maps: tables, colours, and the layers `segment` and `instances` of clips."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.conditions import labels
from stages.conditions.finetune_batches import shifted_view
from stages.conditions.kinds.streets import LabelTrack
from stages.errors import InputError, InvalidClip, UsageError


@pytest.mark.parametrize(("name", "count", "examples"), [
    ("cityscapes-ids", 34, {7: "road", 24: "person", 33: "bicycle"}),
    ("cityscapes-train-ids", 19, {0: "road", 10: "sky", 18: "bicycle"}),
    ("camvid", 12, {0: "sky", 3: "road", 11: "void"}),
    ("apolloscape", 35, {0: "others", 2: "sky", 3: "car", 34: "tricycle group"}),
    ("person", 2, {0: "background", 1: "person"}),
])  # fmt: skip
def test_the_known_tables(name: str, count: int, examples: dict[int, str]) -> None:
    table = labels.find_table(name)
    assert len(table.names) == len(table.palette) == count
    assert {index: table.names[index] for index in examples} == examples


def test_label_maps_become_colours_and_colours_become_label_maps() -> None:
    ids = np.array([[0, 3], [11, 5]], np.uint8)
    colours = labels.colourise(ids, labels.CAMVID)
    assert colours.shape == (2, 2, 3) and tuple(colours[0, 1]) == (128, 64, 128)
    assert np.array_equal(labels.ids_of_colours(colours, labels.CAMVID), ids)
    with pytest.raises(InputError, match="#010203"):
        labels.ids_of_colours(np.full((1, 1, 3), (1, 2, 3), np.uint8), labels.CAMVID)


def test_ids_in_files_become_indices_into_the_table() -> None:
    values = np.array([[0, 33], [34, 255]], np.uint8)
    assert labels.CITYSCAPES_IDS.indices(values).tolist() == [[0, 33], [255, 255]], "34 is not in the table, and becomes void"
    assert labels.APOLLOSCAPE.indices(values + np.array([[1, 0], [0, 0]], np.uint8)).tolist() == [[1, 3], [4, 255]]
    assert labels.APOLLOSCAPE.indices(np.array([[2, 200]], np.uint8)).tolist() == [[255, 255]], "unknown values become void"
    assert labels.APOLLOSCAPE.meta()["ids"][3] == 33 and "ids" not in labels.CAMVID.meta()
    with pytest.raises(InputError, match="has the label id 33, but the table camvid ends at 11"):
        labels.CAMVID.indices(values)


def test_a_table_is_read_from_json(tmp_path: Path) -> None:
    file = tmp_path / "rooms.json"
    file.write_text(json.dumps([{"name": "wall", "color": [9, 9, 9]}, {"name": "door", "color": [90, 0, 0]}]))
    assert labels.find_table(str(file)) == labels.LabelTable("rooms", ("wall", "door"), ((9, 9, 9), (90, 0, 0)))
    file.write_text("\ufeff" + file.read_text(), encoding="utf-8")  # as Windows saves it
    assert labels.find_table(str(file)).names == ("wall", "door")
    file.write_text('[{"name": "wall", "color": [9, 9, 900]}]')
    with pytest.raises(InputError, match="is not a label table"):
        labels.find_table(str(file))
    with pytest.raises(UsageError, match="Choose one of cityscapes-ids"):
        labels.find_table("ade20k")


def fake_layer(meta: dict[str, Any]) -> Any:
    """A layer of one frame of zeros, 2x2."""
    return SimpleNamespace(meta=meta, num_frames=1, image=lambda index: np.zeros((2, 2), np.uint8))


def test_a_layer_contains_the_names_of_its_labels() -> None:
    layer = labels.LabelLayer(fake_layer(labels.PERSON.meta()))
    assert layer.names == ("background", "person") and layer.image(0).shape == (2, 2)
    assert layer.table == labels.PERSON


@pytest.mark.parametrize("meta", [{}, {"names": ["a"], "palette": []}, {"names": ["a"], "palette": [[1, 2]]}])
def test_a_layer_without_a_valid_table_is_refused(meta: dict[str, Any]) -> None:
    with pytest.raises(InvalidClip):
        labels.LabelLayer(fake_layer(meta))


def test_a_mirrored_view_exchanges_left_and_right() -> None:
    """In the mirrored image, what was the right arm is a left arm."""
    names = ["background", "left arm", "right arm", "left shoe", "bright sky"]
    assert labels.mirror_lookup(names)[:6].tolist() == [0, 2, 1, 3, 4, 5]
    assert labels.mirror_lookup(names)[labels.VOID] == labels.VOID
    ids = np.zeros((8, 8), np.uint8)
    ids[2:6, :3], ids[2:6, 6:] = 1, 2
    meta = {"names": names, "palette": [[index] * 3 for index in range(5)]}
    stored: Any = SimpleNamespace(meta=meta, num_frames=1, image=lambda index: ids)
    track = LabelTrack(stored)
    mirrored = track.semantic(0, shifted_view(8, 8, np.zeros(2), mirrored=True))
    assert np.array_equal(mirrored[1], ids[:, ::-1] == 2) and np.array_equal(mirrored[2], ids[:, ::-1] == 1)
    assert np.array_equal(track.semantic(0, shifted_view(8, 8, np.zeros(2), mirrored=False))[1], ids == 1)


class FakeInstances:
    """A layer `instances`. ids: the table of ids, if it has one."""

    def __init__(self, frames: list[np.ndarray], ids: list[int] | None = None) -> None:
        self.frames, self.num_frames = frames, len(frames)
        self.meta = {} if ids is None else {"ids": ids}

    def image(self, index: int) -> np.ndarray:
        return self.frames[index]


def instance_map(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Instances (id, left, top, width, height) on a background of 0, uint8 [40, 60]."""
    frame = np.zeros((40, 60), np.uint8)
    for instance, left, top, width, height in boxes:
        frame[top : top + height, left : left + width] = instance
    return frame


def test_the_corners_of_the_largest_instances_are_keypoints() -> None:
    layer = labels.InstanceLayer(FakeInstances([instance_map((3, 5, 6, 10, 4), (9, 30, 10, 20, 20)), instance_map((3, 7, 6, 10, 4))]))
    assert layer.followed == (9, 3)
    points = labels.box_corners(layer.image(0), layer.followed)
    assert points[:4].tolist() == [[29.5, 9.5, 1], [49.5, 29.5, 1], [4.5, 5.5, 1], [14.5, 9.5, 1]] and not points[4:].any()
    second = labels.box_corners(layer.image(1), layer.followed)
    assert not second[:2].any(), "the first instance has left"
    assert second[2:4].tolist() == [[6.5, 5.5, 1], [16.5, 9.5, 1]], "the second has the same indices as before"


def test_specks_and_ids_that_are_labels_are_not_followed() -> None:
    cityscapes = labels.InstanceLayer(FakeInstances([instance_map((1, 0, 0, 60, 10), (2, 20, 20, 10, 10))], ids=[0, 7, 26001]))
    assert cityscapes.followed == (2,), "the first is 7, the label of roads"
    assert not labels.box_corners(instance_map((2, 3, 3, 2, 2)), (2,)).any()


def test_no_more_instances_are_followed_than_there_are_keypoints() -> None:
    layer = labels.InstanceLayer(FakeInstances([instance_map(*((number, 6 * number - 6, 3, 5, 5 + number) for number in range(1, 11)))]))
    assert len(layer.followed) == labels.INSTANCES_FOLLOWED and 1 not in layer.followed
    assert labels.box_corners(layer.image(0), layer.followed).shape == (2 * labels.INSTANCES_FOLLOWED, 3)


def test_an_id_outside_the_table_is_an_error() -> None:
    ids = np.array([[0, 1], [255, 2]], np.uint8)
    layer = labels.LabelLayer(SimpleNamespace(meta=labels.PERSON.meta(), num_frames=5, image=lambda index: ids if index == 3 else ids % 2))
    assert layer.image(0).max() == 1
    with pytest.raises(InvalidClip, match="frame 3 of the segment layer has the label id 2, but its table ends at 1"):
        layer.image(3)


@pytest.mark.parametrize("meta", [{}, {"names": ["a"], "palette": [[1, 2]]}, {"names": ["a"], "palette": [[1, 2, 3]]}])
def test_errors_name_the_clip(meta: dict[str, Any]) -> None:
    layer = SimpleNamespace(meta=meta, num_frames=1, image=lambda index: np.full((2, 2), 1, np.uint8))
    with pytest.raises(InvalidClip, match="^/clips/drive.clip: "):
        labels.LabelLayer(layer, Path("/clips/drive.clip")).image(0)
