"""The function behind `fsv2v segment`: person masks and imported label maps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.clip import Clip, VideoWriter, as_clip, read_frames
from stages.conditions.labels import CAMVID, LabelLayer, colourise
from stages.errors import InputError, NoDetection, ParametersDiffer, UsageError
from stages.segment import SegmentOptions, extract

IDS = np.repeat(np.repeat(np.array([[0, 0, 1, 1], [3, 3, 8, 9]], np.uint8), 12, axis=0), 12, axis=1)
"""A label map of a street, 24 x 48 pixels."""


def clip_of(frames: list[np.ndarray], path: Path) -> Clip:
    with VideoWriter(path, frames[0].shape[1], frames[0].shape[0], Fraction(25)) as video:
        for frame in frames:
            video.write(frame)
    return as_clip(path, path.parent)


@pytest.fixture
def street(tmp_path: Path) -> Callable[..., Clip]:
    """street(*images): a clip of 96 x 48 with a frame for each label map; the label maps are in street_labels beside it."""

    def make(*images: Image.Image) -> Clip:
        folder = tmp_path / "street_labels"
        folder.mkdir()
        for index, image in enumerate(images):
            image.save(folder / f"{index:03d}.png")
        return clip_of([np.full((48, 96, 3), 99, np.uint8)] * len(images), tmp_path / "street.mp4")

    return make


def palette_image() -> Image.Image:
    image = Image.fromarray(IDS)
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768, np.uint8).tobytes())
    return image


def test_ids_palettes_and_colours_are_read_as_ids_and_scaled_to_the_frames(street) -> None:
    clip = street(Image.fromarray(IDS), palette_image(), Image.fromarray(colourise(IDS, CAMVID)))
    outcome = extract(clip, SegmentOptions(backend="labels"))
    assert (outcome.layer, outcome.status, outcome.frames) == ("segment", "done", 3)
    layer = LabelLayer(clip.layer("segment"))
    assert layer.names == CAMVID.names and layer.table.palette == CAMVID.palette
    for index in range(3):
        assert np.array_equal(layer.image(index), IDS.repeat(2, axis=0).repeat(2, axis=1))


def test_the_folder_of_label_maps_can_contain_the_stem_of_the_source(street, tmp_path) -> None:
    clip = street(Image.fromarray(IDS))
    assert extract(clip, SegmentOptions(labels=str(tmp_path / "{stem}_labels"))).status == "done"
    assert extract(clip, SegmentOptions(labels=str(tmp_path / "street_labels"))).status == "skipped"


def test_other_label_maps_and_another_table_are_refused_without_overwrite(street, tmp_path) -> None:
    clip = street(Image.fromarray(IDS))
    extract(clip, SegmentOptions(backend="labels"))
    with pytest.raises(ParametersDiffer, match="table"):
        extract(clip, SegmentOptions(backend="labels", table="cityscapes-ids"))
    Image.fromarray(IDS[:, ::-1]).save(tmp_path / "street_labels/000.png")
    with pytest.raises(ParametersDiffer, match=r"inputs\.labels"):
        extract(clip, SegmentOptions(backend="labels"))
    assert extract(clip, SegmentOptions(backend="labels"), overwrite=True).status == "done"


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (Image.fromarray(IDS + 9), "has the label id 12, but the table camvid ends at 11"),
        (Image.fromarray(IDS[:, :24]), "not the shape of the clip's 96 x 48 frames"),
        (Image.fromarray(np.full((24, 48, 3), 7, np.uint8)), "#070707"),
        (Image.fromarray(np.full((24, 48), 400, np.uint16)), "its values reach 400"),
    ],
)
def test_label_maps_that_do_not_fit_are_refused(street, leftovers, image, sentence) -> None:
    clip = street(image)
    with pytest.raises(InputError, match=sentence):
        extract(clip, SegmentOptions(backend="labels"))
    assert not clip.has("segment") and leftovers(clip.path) == []


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_label_maps_in_jpeg_are_refused(street, fsv2v, tmp_path, mode) -> None:
    clip = street(Image.fromarray(IDS))
    for path in (tmp_path / "street_labels").iterdir():
        Image.open(path).convert(mode).save(path.with_suffix(".jpg"))
        path.unlink()
    result = fsv2v("segment", clip.path, "--labels", tmp_path / "street_labels")
    assert result.exit_code == 3 and "000.jpg is compressed as JPEG" in result.stderr and "the original as PNG" in result.stderr


def test_there_must_be_one_label_map_for_each_frame(street, tmp_path) -> None:
    clip = street(Image.fromarray(IDS), Image.fromarray(IDS))
    (tmp_path / "street_labels/001.png").unlink()
    with pytest.raises(InputError, match="holds 1 label maps, but .* has 2 frames"):
        extract(clip, SegmentOptions(backend="labels"))
    shutil.copy(tmp_path / "street_labels/000.png", tmp_path / "street_labels/000.bmp")
    with pytest.raises(InputError, match=r"two files of one frame: 000\.bmp and 000\.png"):
        extract(clip, SegmentOptions(backend="labels"))
    shutil.rmtree(tmp_path / "street_labels")
    with pytest.raises(InputError, match="There are no label maps beside") as caught:
        extract(clip, SegmentOptions(backend="labels"))
    assert caught.value.facts == {"usual": "street_labels"}


def test_label_maps_and_the_backend_person_exclude_each_other(street) -> None:
    with pytest.raises(UsageError):
        extract(street(Image.fromarray(IDS)), SegmentOptions(backend="person", labels="x"))


def test_label_maps_of_a_real_street_are_imported(shared: Path, tmp_path: Path) -> None:
    clip = as_clip(shared / "data/streets/udacity_traffic.mp4", tmp_path / "traffic.clip")
    assert extract(clip, SegmentOptions(backend="labels")).frames == 38
    ids = LabelLayer(clip.layer("segment")).image(20)
    assert ids.shape == (clip.height, clip.width)
    road, sky = (np.argwhere(ids == CAMVID.names.index(name))[:, 0].mean() for name in ("road", "sky"))
    assert road > sky, "the road is below the sky"


def test_a_person_gives_a_mask_and_a_map_of_two_labels(shared: Path, tmp_path: Path) -> None:
    frames = list(read_frames(shared / "data/people/musepose_dance.mp4", 90, 93))
    clip = clip_of(frames, tmp_path / "dance.mp4")
    outcome = extract(clip, SegmentOptions(backend="person"))
    assert outcome.notes == {"frames_without_person": 0}
    mask, ids = clip.layer("mask").image(1), clip.layer("segment").image(1)
    assert set(np.unique(mask)) == {0, 255} and np.array_equal(ids, mask // 255)
    assert 0.03 < (ids == 1).mean() < 0.5
    assert LabelLayer(clip.layer("segment")).names == ("background", "person")
    assert extract(clip, SegmentOptions(backend="person")).status == "skipped"


def test_a_clip_without_people_is_an_error_and_leaves_no_layer(shared: Path, tmp_path: Path, leftovers) -> None:
    clip = clip_of([np.full((120, 160, 3), 120, np.uint8)] * 2, tmp_path / "grey.mp4")
    with pytest.raises(NoDetection, match="No person"):
        extract(clip, SegmentOptions(backend="person"))
    assert not clip.has("segment") and not clip.has("mask") and leftovers(clip.path) == []
