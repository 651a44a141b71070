"""Files of other tools are imported, and layers are exported in formats that these tools read."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_frames import number_of, numbered_frame
from PIL import Image, features

from stages.clip import Producer, create_clip, open_clip, probe, read_image
from stages.clip.exporters import export
from stages.clip.importers import guess_layout, import_clips
from stages.clip.layer_importers import read_labels
from stages.clip.openpose import PARTS
from stages.clip.validate import validate
from stages.errors import InputError, ParametersDiffer, UsageError


def openpose_person(x: float, parts=("pose_keypoints_2d",), count: int = 25) -> dict:
    """A person whose points lie on a vertical line at `x`; the last point is missing."""
    counts = {key: number for key, number in PARTS.values()} | {"pose_keypoints_2d": count}
    body = {key: [value for i in range(counts[key]) for value in (x, 10.0 + i, 0.5)] for key in parts}
    body["pose_keypoints_2d"][-3:] = [0, 0, 0]
    return body


def write_openpose(folder: Path, frames: list[list[dict]]) -> Path:
    """Write an OpenPose file for the people of each frame."""
    folder.mkdir()
    for index, people in enumerate(frames):
        (folder / f"walk_{index:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))
    return folder


def test_openpose_json_becomes_poses_in_body_25_order(tmp_path):
    folder = write_openpose(tmp_path / "walk", [[openpose_person(30)], [], [openpose_person(34)]])

    [clip] = import_clips(folder, tmp_path / "out", size=(100, 80), fps=Fraction(30))
    arrays = clip.layer("poses").arrays()

    assert (clip.width, clip.height, clip.num_frames, clip.fps) == (100, 80, 3, 30)
    assert clip.layer("poses").meta["skeleton"] == "BODY_25"
    assert arrays["keypoints"][0, 0, 8].tolist() == [30, 18, 0.5]
    assert arrays["keypoints"][0, 0, 24].tolist() == [0, 0, 0]
    assert arrays["boxes"][0, 0].tolist() == [30, 10, 30, 33]
    assert arrays["keypoints"][1].max() == 0
    assert arrays["track_id"][:, 0].tolist() == [0, -1, 0]


def test_a_person_keeps_its_index_when_openpose_changes_the_order(tmp_path):
    folder = write_openpose(
        tmp_path / "two",
        [
            [openpose_person(10), openpose_person(60)],
            [openpose_person(61), openpose_person(11)],
            [openpose_person(12)],
            [openpose_person(62), openpose_person(13)],
        ],
    )

    arrays = import_clips(folder)[0].layer("poses").arrays()

    assert arrays["keypoints"][:, 0, 0, 0].tolist() == [10, 11, 12, 13]
    assert arrays["keypoints"][:, 1, 0, 0].tolist() == [60, 61, 0, 62]
    assert arrays["track_id"].tolist() == [[0, 1], [0, 1], [0, -1], [0, 1]]


def test_without_a_size_the_clip_is_just_large_enough_for_all_points(tmp_path):
    [clip] = import_clips(write_openpose(tmp_path / "walk", [[openpose_person(30)]]))

    assert (clip.width, clip.height) == (32, 34)


def test_hands_and_face_are_kept(tmp_path):
    parts = tuple(key for key, _ in PARTS.values())
    arrays = import_clips(write_openpose(tmp_path / "walk", [[openpose_person(30, parts)]]))[0].layer("poses").arrays()

    assert {name: arrays[name].shape for name in PARTS} == {name: (1, 1, count, 3) for name, (_, count) in PARTS.items()}


def test_18_points_of_coco_become_body_25_with_the_mid_hip_between_the_hips(tmp_path):
    arrays = import_clips(write_openpose(tmp_path / "coco", [[openpose_person(30, count=18)]]))[0].layer("poses").arrays()

    body = arrays["keypoints"][0, 0]
    assert body[1].tolist() == [30, 11, 0.5]
    assert body[9].tolist() == [30, 18, 0.5]
    assert body[8].tolist() == [30, 19.5, 0.5]
    assert body[19:].max() == 0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"people": 3}',
        '{"people": [{"pose_keypoints_2d": [1, 2]}]}',
        '{"people": [{"pose_keypoints_2d": ["a", "b", "c"]}]}',
        '{"people": [{"pose_keypoints_2d": [' + ", ".join(["NaN"] * 75) + "]}]}",
        '{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}',
    ],
)
def test_a_file_that_is_not_openpose_json_is_named(content, tmp_path):
    folder = write_openpose(tmp_path / "walk", [[openpose_person(30)]])
    (folder / "walk_000000000001_keypoints.json").write_text(content)

    with pytest.raises(InputError, match="walk_000000000001_keypoints"):
        import_clips(folder)
    assert sorted(os.listdir(tmp_path)) == ["walk"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no JSON file"):
        import_clips(tmp_path, layout="openpose")
    with pytest.raises(InputError, match="no image"):
        import_clips(tmp_path)


def test_poses_exported_as_openpose_json_can_be_imported_unchanged(tmp_path):
    parts = tuple(key for key, _ in PARTS.values())
    folder = write_openpose(tmp_path / "walk", [[openpose_person(10, parts), openpose_person(60, parts)], [], [openpose_person(12, parts)]])
    [clip] = import_clips(folder)

    out = export(clip, "poses", tmp_path / "out")
    [restored] = import_clips(out, tmp_path / "restored")

    assert sorted(os.listdir(out))[0] == "walk_000000000000_keypoints.json"
    for name, array in clip.layer("poses").arrays().items():
        assert np.array_equal(restored.layer("poses").arrays()[name], array), name


@pytest.fixture
def imaginaire(tmp_path: Path) -> Path:
    """Two sequences with landmarks and label maps in the layout of imaginaire."""
    root = tmp_path / "imaginaire"
    for sequence in ("seq1", "seq2"):
        for folder in ("images", "landmarks-dlib68", "seg_maps"):
            (root / folder / sequence).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(numbered_frame(index)).save(root / "images" / sequence / f"{index}.png")
            (root / "landmarks-dlib68" / sequence / f"{index}.json").write_text(json.dumps([[i, index] for i in range(68)]))
            labels = Image.fromarray(np.full((48, 64), index, np.uint8), "P" if index == 2 else "L")
            if index == 2:
                labels.putpalette([9, 9, 9] * 256)
            labels.save(root / "seg_maps" / sequence / f"{index}.png")
    return root


def test_the_layout_of_imaginaire_gives_a_clip_per_sequence(imaginaire, tmp_path):
    clips = import_clips(imaginaire, tmp_path / "out")

    assert [clip.path.name for clip in clips] == ["seq1.clip", "seq2.clip"]
    assert clips[0].layers() == ["frames", "landmarks", "segment"]
    assert clips[0].layer("landmarks").arrays()["points"][2, 0, 67].tolist() == [67, 2, 1]
    assert [int(image[0, 0]) for image in clips[0].layer("segment").images()] == [0, 1, 2]
    assert all(validate(clip.path).errors == [] for clip in clips)
    assert [clip.path for clip in import_clips(imaginaire, tmp_path / "out")] == [clip.path for clip in clips]


def test_a_frame_without_landmarks_is_named(imaginaire, tmp_path):
    (imaginaire / "landmarks-dlib68" / "seq2" / "1.json").unlink()

    with pytest.raises(InputError, match="seq2 has no file for the frame 1"):
        import_clips(imaginaire, tmp_path / "out")
    assert not (tmp_path / "out").exists(), "everything is listed before the first clip is made"


LOSSY = [("x.jpg", {}), ("x.png", {"format": "JPEG"}), ("x.webp", {}), ("x.avif", {}), ("x.tif", {"compression": "jpeg"})]
LOSSLESS = [
    ("x.png", {}),
    ("x.bmp", {}),
    ("x.webp", {"lossless": True}),
    ("x.tif", {"compression": "tiff_lzw"}),
    ("x.jpg", {"format": "PNG"}),
]


@pytest.mark.parametrize(("name", "options"), [*LOSSY, *LOSSLESS])
def test_ids_are_only_read_from_lossless_images(name, options, tmp_path):
    """Here WebP and AVIF files have three channels, as DensePose images have. The content decides, not the name."""
    if name.endswith("avif") and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    values = np.zeros((48, 64, 3), np.uint8)
    values[10:30, 20:40] = 24
    colour = name.endswith(("webp", "avif"))
    Image.fromarray(values if colour else values[..., 0]).save(tmp_path / name, **options)

    def read() -> np.ndarray:
        return read_image(tmp_path / name, lossless=True) if colour else read_labels(tmp_path / name)

    if (name, options) in LOSSY:
        with pytest.raises(InputError, match=f"{name} is compressed as .* which changes ids along every edge. Export the original as PNG"):
            read()
    else:
        assert np.array_equal(read(), values if colour else values[..., 0])


@pytest.mark.parametrize(("folder", "mode"), [("seg_maps", "L"), ("human_instance_maps", "L"), ("pose_maps-densepose", "RGB")])
def test_a_data_set_with_ids_in_jpeg_is_refused(folder, mode, imaginaire, tmp_path):
    for path in (imaginaire / "images").rglob("*.*"):
        copy = imaginaire / folder / path.parent.name / f"{path.stem}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, Image.open(path).size).save(copy)
    for path in (imaginaire / folder).rglob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"\.jpg is compressed as JPEG"):
        import_clips(imaginaire, tmp_path / "out")


def test_landmarks_relative_to_the_image_size_become_pixels(imaginaire, tmp_path):
    in_pixels = import_clips(imaginaire, tmp_path / "pixels")[0]
    last_pixel = np.array([in_pixels.width - 1, in_pixels.height - 1])
    for path in (imaginaire / "landmarks-dlib68").rglob("*.json"):
        path.write_text(json.dumps((np.array(json.loads(path.read_text())) / last_pixel).tolist()))
    relative = import_clips(imaginaire, tmp_path / "relative")[0]
    expected, actual = (clip.layer("landmarks").arrays()["points"] for clip in (in_pixels, relative))
    assert np.allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize("content", ["{}", "[[1, 2]]", "[[1, 2, 3]]", "x", "[" + ", ".join(["[NaN, 1]"] * 68) + "]"])
def test_a_file_of_wrong_landmarks_is_named(content, imaginaire, tmp_path):
    (imaginaire / "landmarks-dlib68" / "seq1" / "1.json").write_text(content)

    with pytest.raises(InputError, match=r"1\.json"):
        import_clips(imaginaire, tmp_path / "out")


def test_a_colour_image_is_not_a_label_map(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")

    with pytest.raises(InputError, match="is not a label map"):
        read_labels(tmp_path / "colour.png")


@pytest.mark.parametrize(
    ("layout", "layers"),
    [
        ("imaginaire_face", ["frames", "landmarks"]),
        ("imaginaire_pose", ["densepose", "frames", "instances", "poses"]),
        ("imaginaire_street", ["frames", "segment"]),
    ],
)
def test_real_data_in_the_layouts_of_imaginaire_is_imported(layout, layers, real_media, tmp_path):
    [clip] = import_clips(real_media / "formats" / layout, tmp_path, frames="jpg")

    assert clip.layers() == layers
    assert validate(clip.path).errors == []


def test_an_imported_densepose_layer_has_the_body_part_in_the_first_channel(real_media, tmp_path):
    [clip] = import_clips(real_media / "formats" / "imaginaire_pose", tmp_path, frames="jpg")

    assert 1 <= clip.layer("densepose").image(0)[..., 0].max() <= 24


def test_the_layout_is_guessed_from_the_files(imaginaire, images, video, tmp_path):
    assert guess_layout(imaginaire) == "imaginaire"
    assert guess_layout(images) == "images"
    assert guess_layout(video) == "video"
    assert guess_layout(write_openpose(tmp_path / "walk", [[]])) == "openpose"


def test_frames_are_exported_as_images_or_as_a_video_with_sound(clip, tmp_path):
    folder = export(clip, "frames", tmp_path / "pictures")
    movie = export(clip, "frames", tmp_path / "movie.mp4")

    assert number_of(read_image(folder / "000042.png")) == 42
    assert len(os.listdir(folder)) == 100
    assert (probe(movie).num_frames, probe(movie).fps, probe(movie).has_audio) == (100, clip.fps, True)


@pytest.mark.parametrize(("form", "start"), [("json", "[[0.0, 1.5], [1.0, 1.5]"), ("txt", "0.0,1.5\n1.0,1.5\n")])
def test_landmarks_are_exported_as_text_or_json(form, start, small_clip, tmp_path):
    points = np.zeros((6, 1, 68, 3), np.float32)
    points[:5] = [[[i, 1.5, 1] for i in range(68)]]
    with small_clip.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=points)

    out = export(small_clip, "landmarks", tmp_path / "out", form)

    assert (out / f"000000.{form}").read_text().startswith(start)
    assert (out / f"000005.{form}").read_text() in ("[]", "")


def test_exported_label_maps_hold_the_ids(small_clip, tmp_path):
    with small_clip.writing("segment", Producer("test"), {}) as layer:
        for value in range(6):
            layer.image(np.full((48, 64), value, np.uint8))

    out = export(small_clip, "segment", tmp_path / "labels")

    assert read_labels(out / "000004.png").max() == 4
    with pytest.raises(UsageError, match="damaged by JPEG"):
        export(small_clip, "segment", tmp_path / "jpg", "jpg")


def test_a_folder_with_another_export_is_refused_with_a_hint_at_one_folder_per_clip(small_clip, fsv2v, tmp_path):
    other = create_clip(tmp_path / "other.clip", [numbered_frame(9)])
    (tmp_path / "out").mkdir()
    out = export(small_clip, "frames", tmp_path / "out")
    result = fsv2v("clip", "export", other.path, "-o", out)
    assert result.exit_code == 3
    assert "holds another export" in result.stderr and "several clips in one command get a folder each" in result.stderr
    assert fsv2v("clip", "export", small_clip.path, other.path, "-o", tmp_path / "each").exit_code == 0
    assert sorted(os.listdir(tmp_path / "each")) == sorted([small_clip.id, "other"])


def test_exporting_again_changes_no_file_and_never_deletes_other_files(small_clip, tmp_path):
    out = export(small_clip, "frames", tmp_path / "out")
    before = (out / "000000.png").stat().st_mtime_ns
    assert export(small_clip, "frames", out) == out
    assert (out / "000000.png").stat().st_mtime_ns == before

    (out / "mine.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(ParametersDiffer, match=r"holds other things \(mine\.txt\), so it is not replaced"):
            export(small_clip, "frames", out, overwrite=overwrite)
    assert (out / "mine.txt").exists()

    (out / "mine.txt").unlink()
    (out / "000000.png").write_bytes(b"old")
    assert number_of(read_image(export(small_clip, "frames", out, overwrite=True) / "000003.png")) == 3


@pytest.mark.parametrize(("kind", "form"), [("frames", "openpose"), ("landmarks", "png"), ("audio", "auto")])
def test_a_format_that_does_not_suit_the_layer_is_refused(kind, form, clip, tmp_path):
    with clip.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=np.zeros((100, 1, 68, 3), np.float32))

    with pytest.raises(UsageError, match="cannot be exported"):
        export(clip, kind, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


def test_a_missing_layer_is_named_with_the_existing_ones(tmp_path):
    clip = open_clip(create_clip(tmp_path / "x.clip", [numbered_frame(0)]).path)

    with pytest.raises(InputError, match=r"has no layer poses \(it has: frames\)"):
        export(clip, "poses", tmp_path / "out")
