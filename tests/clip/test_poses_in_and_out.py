"""Poses of OpenPose and COCO, and images of DensePose: imported, exported and imported again unchanged; errors name the file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from numbered_frames import numbered_frame
from PIL import Image

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.exporters import export
from stages.clip.importers import guess_layout, import_clips
from stages.errors import InputError, ParametersDiffer, UsageError
from stages.tables.skeletons import COCO_WHOLEBODY, boxes_of, convert_to_body_25


def whole_body(seed: int) -> dict[str, np.ndarray]:
    """Random arrays of a layer `poses`, [4, 2, ...], from COCO-WholeBody. The second person is absent from the last two frames."""
    random = np.random.default_rng(seed)
    points = random.uniform(0.01, 1, (4, 2, 133, 3)).astype(np.float32)
    points[..., :2] *= 480
    points[2:, 1] = 0
    points[0, 0, 20:40, 2] = 0
    arrays = convert_to_body_25(points, COCO_WHOLEBODY)
    ids = np.where(arrays["keypoints"][..., 2].any(-1), [3, 8], -1).astype(np.int32)
    return {**arrays, "boxes": boxes_of(arrays["keypoints"]), "track_id": ids}


@pytest.fixture
def dancers(tmp_path: Path) -> Clip:
    """A clip without frames, with poses, hands and faces."""
    clip = create_clip(tmp_path / "dancers.clip", width=640, height=480, num_frames=4)
    with clip.writing("poses", Producer("test"), {}, {"skeleton": "BODY_25"}) as layer:
        layer.arrays(whole_body(0))
    return open_clip(clip.path)


def assert_same_poses(one: Clip, other: Clip) -> None:
    before, after = one.layer("poses").arrays(), other.layer("poses").arrays()
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert np.array_equal(array, after[name]), name


@pytest.mark.parametrize("file_format", ["openpose", "coco"])
def test_exported_bodies_hands_faces_and_track_ids_are_imported_exactly(file_format, dancers, tmp_path):
    out = export(dancers, "poses", tmp_path / "out", file_format)

    [restored] = import_clips(out if file_format == "openpose" else out / "person_keypoints.json", tmp_path / "restored", size=(640, 480))

    assert_same_poses(dancers, restored)
    assert (restored.width, restored.height) == (640, 480)


def rewrite_points(folder: Path, change, **header: object) -> Path:
    """Replace x, y of all found points in OpenPose files by `change(xy [N, 2])`, and add keys. Saved with a BOM, as Windows does."""
    for path in folder.iterdir():
        value = json.loads(path.read_text(encoding="utf-8-sig"))
        for person in value["people"]:
            for key in (key for key in person if key.endswith("_2d")):
                points = np.array(person[key]).reshape(-1, 3)
                found = points[:, 2] > 0
                points[found, :2] = change(points[found, :2])
                person[key] = points.ravel().tolist()
        path.write_text(json.dumps({**value, **header}), encoding="utf-8-sig")
    return folder


def assert_close_poses(one: Clip, other: Clip) -> None:
    """Equal up to rounding, 0.001 pixels."""
    before, after = one.layer("poses").arrays(), other.layer("poses").arrays()
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert np.allclose(array, after[name], atol=1e-3), name


SIZE, LAST_PIXEL = np.array([640, 480]), np.array([639, 479])
# OpenPose's --keypoint_scale 3 and 4 divide by width - 1. ControlNet's tools divide by the width, and store it in the file.
UNITS = {
    "0 to 1": (lambda xy: xy / LAST_PIXEL, {}),
    "-1 to 1": (lambda xy: 2 * xy / LAST_PIXEL - 1, {}),
    "0 to 1 of a canvas": (lambda xy: xy / SIZE, {"canvas_width": 640, "canvas_height": 480}),
    "pixels of a canvas of half the size": (lambda xy: (xy - 0.5) / 2, {"canvas_width": 320, "canvas_height": 240}),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("into_clip", [True, False], ids=["into a clip", "with --size"])
def test_openpose_files_that_are_not_in_pixels_of_the_frames_are_scaled(unit, into_clip, dancers, tmp_path):
    change, header = UNITS[unit]
    folder = rewrite_points(export(dancers, "poses", tmp_path / "json"), change, **header)
    if into_clip:
        create_clip(tmp_path / "restored.clip", width=640, height=480, num_frames=4)

    [restored] = import_clips(folder, tmp_path / "restored.clip", size=None if into_clip else (640, 480))

    assert_close_poses(dancers, restored)
    assert (restored.width, restored.height) == (640, 480)


def test_openpose_files_may_contain_the_size(dancers, tmp_path):
    folder = export(dancers, "poses", tmp_path / "json")
    [restored] = import_clips(rewrite_points(folder, lambda xy: xy, canvas_width=640, canvas_height=480), tmp_path / "a.clip")
    assert_same_poses(dancers, restored)
    assert (restored.width, restored.height) == (640, 480)
    [restored] = import_clips(rewrite_points(folder, lambda xy: xy / SIZE, canvas_width=640, canvas_height=480), tmp_path / "b.clip")
    assert_close_poses(dancers, restored)
    assert (restored.width, restored.height) == (640, 480)


def test_points_from_0_to_1_without_a_size_are_refused(fsv2v, dancers, tmp_path):
    folder = rewrite_points(export(dancers, "poses", tmp_path / "json"), lambda xy: xy / LAST_PIXEL)
    result = fsv2v("clip", "import", folder, "-o", tmp_path / "restored.clip")
    assert result.exit_code == 3 and "--size WxH" in result.stderr and not (tmp_path / "restored.clip").exists()


def test_points_of_an_image_of_another_aspect_ratio_are_refused(dancers, tmp_path):
    folder = rewrite_points(export(dancers, "poses", tmp_path / "json"), lambda xy: xy, canvas_width=480, canvas_height=640)
    with pytest.raises(InputError, match="an image of 480 x 640, but the frames are 640 x 480"):
        import_clips(folder, tmp_path / "restored.clip", size=(640, 480))


def test_the_layer_records_that_its_points_were_from_0_to_1(dancers, tmp_path):
    folder = rewrite_points(export(dancers, "poses", tmp_path / "json"), lambda xy: xy / LAST_PIXEL)
    [restored] = import_clips(folder, tmp_path / "restored.clip", size=(640, 480))
    assert restored.layer("poses").meta["producer"]["parameters"] == {"points": "0 to 1"}


BODY_25B = [
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow", "right elbow", "left wrist",
    "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle", "upper neck", "top of the head",
    "left big toe", "left small toe", "left heel", "right big toe", "right small toe", "right heel",
]  # fmt: skip
BODY_25 = [
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "middle of the hips",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear",
    "left big toe", "left small toe", "left heel", "right big toe", "right small toe", "right heel",
]  # fmt: skip
STANDING = {
    "nose": (300, 80), "eye": (8, 72), "ear": (16, 76), "shoulder": (40, 120), "elbow": (52, 160), "wrist": (56, 200), "hip": (20, 240),
    "knee": (20, 320), "ankle": (20, 400), "big toe": (28, 420), "small toe": (32, 416), "heel": (18, 412), "upper neck": (300, 110),
    "top of the head": (300, 40), "neck": (300, 120), "middle of the hips": (300, 240),
}  # fmt: skip
"""Name -> (x, y) in pixels; for points that come in pairs, x is the distance from the middle of the body, at x = 300."""


def standing(names: list[str]) -> np.ndarray:
    """A person who faces the camera, so that the right side is on the left; points [25, 3] in the order of `names`."""
    points = []
    for name in names:
        side, _, part = name.partition(" ")
        x, y = STANDING[part if side in ("left", "right") else name]
        points.append((300 + x if side == "left" else 300 - x if side == "right" else x, y, 0.9))
    return np.array(points, np.float32)


def write_bodies(folder: Path, *bodies: np.ndarray) -> Path:
    """Write an OpenPose file per body."""
    return write_people(folder, *([{"pose_keypoints_2d": points.ravel().tolist()}] for points in bodies))


def test_body_25b_is_converted_when_the_skeleton_is_named(fsv2v, tmp_path):
    folder = write_bodies(tmp_path / "walk", standing(BODY_25B))
    assert fsv2v("clip", "import", folder, "-o", tmp_path / "walk.clip", "--skeleton", "body_25b").exit_code == 0
    assert np.allclose(open_clip(tmp_path / "walk.clip").layer("poses").arrays()["keypoints"][0, 0], standing(BODY_25), atol=1e-4)
    with pytest.raises(ParametersDiffer, match="skeleton"):
        import_clips(folder, tmp_path / "walk.clip", body="body_25")


@pytest.mark.parametrize("visible", [range(25), [0, 1, 2, 5, 6, 17, 18]], ids=["all", "head and shoulders"])
def test_points_that_cannot_be_body_25_are_refused_with_a_hint_at_body_25b(visible, fsv2v, tmp_path):
    points = standing(BODY_25B)
    points[~np.isin(range(25), visible)] = 0
    result = fsv2v("clip", "import", write_bodies(tmp_path / "walk", points), "-o", tmp_path / "walk.clip")
    assert result.exit_code == 3 and "walk cannot be BODY_25" in result.stderr and "--skeleton body_25b" in result.stderr


def test_body_25_is_recognised_in_a_bust_and_with_a_hand_at_the_ear(tmp_path):
    whole, bust, hand_at_ear = standing(BODY_25), standing(BODY_25), standing(BODY_25)
    bust[[*range(8, 15), *range(19, 25)]] = 0
    hand_at_ear[BODY_25.index("right wrist"), :2] = hand_at_ear[BODY_25.index("right ear"), :2]
    [clip] = import_clips(write_bodies(tmp_path / "walk", whole, bust, hand_at_ear), tmp_path / "walk.clip")
    assert np.array_equal(clip.layer("poses").arrays()["keypoints"][:, 0], [whole, bust, hand_at_ear])


def test_a_skeleton_can_be_named_for_openpose_only(images, tmp_path):
    with pytest.raises(UsageError, match="layout images"):
        import_clips(images, tmp_path / "x.clip", body="body_25b")


@pytest.mark.parametrize("relative", [True, False])
def test_coco_points_become_pixels_of_the_clips_frames(relative, dancers, tmp_path):
    file = export(dancers, "poses", tmp_path / "poses.json", "coco")
    value = json.loads(file.read_text())
    for entry in value["annotations"]:
        for key in (key for key in entry if key.endswith(("keypoints", "kpts")) and isinstance(entry[key], list)):
            points = np.array(entry[key]).reshape(-1, 3)
            found = points[:, 2] > 0
            points[found, :2] = points[found, :2] / SIZE if relative else (points[found, :2] - 0.5) / 2
            entry[key] = points.ravel().tolist()
    for image in value["images"]:
        image |= {} if relative else {"width": 320, "height": 240}
    file.write_text(json.dumps(value))

    [restored] = import_clips(file, tmp_path / "restored.clip", size=(640, 480))

    assert_close_poses(dancers, restored)


def test_coco_is_exported_to_one_json_file_that_contains_the_size(dancers, tmp_path):
    out = export(dancers, "poses", tmp_path / "dancers.json")

    assert export(dancers, "poses", out) == out, "exporting again changes nothing"
    value = json.loads(out.read_text())
    assert value["images"][3] == {"id": 3, "file_name": "000003.png", "width": 640, "height": 480}
    assert value["annotations"][0]["num_keypoints"] == 17 and value["annotations"][1]["track_id"] == 8
    assert guess_layout(out) == "coco"
    [restored] = import_clips(out, tmp_path / "restored")
    assert (restored.width, restored.height, restored.num_frames) == (640, 480, 4)
    out.write_text("{}")
    with pytest.raises(ParametersDiffer, match="holds something else"):
        export(dancers, "poses", out)


def test_poses_become_a_layer_of_an_existing_clip(dancers, small_clip, tmp_path):
    out = export(dancers, "poses", tmp_path / "out")
    for name in ("z4.json", "z5.json"):
        (out / name).write_text('{"people": []}')

    [clip] = import_clips(out, small_clip.path)

    assert clip.path == small_clip.path and clip.layers() == ["frames", "poses"]
    (out / "z4.json").unlink()
    with pytest.raises(InputError, match=r"holds 5 frames, but .*small\.clip has 6"):
        import_clips(out, small_clip.path)


def write_people(folder: Path, *frames: object) -> Path:
    """Write an OpenPose file for the people of each frame."""
    folder.mkdir()
    for index, people in enumerate(frames):
        (folder / f"{index:03d}_keypoints.json").write_text(json.dumps({"people": people}))
    return folder


def test_the_keys_of_old_openpose_and_null_for_missing_parts_are_accepted(tmp_path):
    body = [float(value) for value in range(1, 76)]
    person = {"pose_keypoints": body, "face_keypoints": None, "hand_left_keypoints": [1.5] * 63, "person_id": [-1]}
    [clip] = import_clips(write_people(tmp_path / "old", [person, None], []), tmp_path / "out")

    arrays = clip.layer("poses").arrays()
    assert arrays["keypoints"][0, 0].ravel().tolist() == body
    assert arrays["hand_left"][0, 0, 20].tolist() == [1.5] * 3 and "face" not in arrays
    assert arrays["track_id"].tolist() == [[0], [-1]]


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        ({"pose_keypoints_2d": [None] * 75}, "pose_keypoints_2d holds NaN, null or infinite"),
        ({"pose_keypoints_2d": [1.0] * 75, "face_keypoints_2d": [float("nan")] * 210}, "face_keypoints_2d holds NaN"),
        ({"pose_keypoints_2d": [1.0] * 75, "hand_right_keypoints_2d": [1.0] * 60}, "hand_right_keypoints_2d has 20 points; 21 are known"),
        ({"pose_keypoints_2d": {"nose": [1, 2]}}, "pose_keypoints_2d is not a list of x, y, confidence"),
    ],
)
def test_values_that_are_not_numbers_are_named_with_file_and_body_part(person, reason, tmp_path):
    folder = write_people(tmp_path / "walk", [], [person])
    with pytest.raises(InputError, match=rf"001_keypoints\.json: {reason}"):
        import_clips(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_reports_nan_with_exit_code_3_and_leaves_no_clip(fsv2v, tmp_path):
    folder = write_people(tmp_path / "walk", [{"pose_keypoints_2d": [float("nan")] * 75}])

    result = fsv2v("clip", "import", folder, "-o", tmp_path / "out")

    assert (result.exit_code, result.lines) == (3, [])
    assert result.stderr.count("\n") == 1 and "000_keypoints.json: pose_keypoints_2d holds NaN" in result.stderr
    assert not (tmp_path / "out").exists()


def test_people_are_recognised_by_the_name_of_their_category(tmp_path):
    categories = [{"id": 5, "name": "person"}, {"id": 1, "name": "dog"}]
    value = {"annotations": [coco_person(0, 3.0, category_id=5), coco_person(0, 40.0)], "categories": categories}
    [clip] = import_clips(write_json(tmp_path / "a.json", value), tmp_path / "out")

    assert clip.layer("poses").arrays()["keypoints"][:, :, 0, 0].tolist() == [[3]]


def coco_person(image: object, x: float, v: float = 2, **more: object) -> dict:
    """An annotation whose 17 keypoints lie on a diagonal from (x, 10), each with the flag or confidence `v`."""
    return {"image_id": image, "category_id": 1, "keypoints": [value for i in range(17) for value in (x + i, 10.0 + i, v)], **more}


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_annotations_are_ordered_by_file_name_and_flags_become_confidences(tmp_path):
    images = [{"id": id, "file_name": f"frame{number}.jpg", "width": 64, "height": 48} for id, number in ((70, 10), (90, 2))]
    people = [coco_person(70, 5.0), coco_person(90, 6.0, 1), coco_person(90, 40.0, 0), coco_person(90, 9.0, category_id=18)]
    [clip] = import_clips(write_json(tmp_path / "walk.json", {"images": images, "annotations": people}), tmp_path / "out")

    keypoints = clip.layer("poses").arrays()["keypoints"]
    assert (clip.path.name, clip.num_frames, clip.width, clip.height) == ("walk.clip", 2, 64, 48)
    assert keypoints.shape == (2, 1, 25, 3), "a dog, and a person without visible keypoints, are left out"
    assert keypoints[:, 0, 0].tolist() == [[6, 10, 0.5], [5, 10, 1]]
    assert keypoints[0, 0, 1].tolist() == [6 + 5.5, 15.5, 0.5], "the neck is between the shoulders"


def test_missing_ids_in_a_list_of_results_are_frames_without_people(tmp_path):
    results = [coco_person(7, 5.0, 0.25, score=0.9), coco_person(4, 6.0, 0.5, score=0.8)]
    [clip] = import_clips(write_json(tmp_path / "results.json", results), tmp_path / "out", size=(64, 48))

    assert clip.layer("poses").arrays()["keypoints"][:, 0, 0].tolist() == [[6, 10, 0.5], [0, 0, 0], [0, 0, 0], [5, 10, 0.25]]


def test_a_list_of_results_is_matched_to_the_frames_of_an_existing_clip(small_clip, tmp_path):
    results = write_json(tmp_path / "results.json", [coco_person("walk_0002.jpg", 5.0, 1), coco_person("walk_0004.jpg", 6.0, 1)])
    [clip] = import_clips(results, small_clip.path)

    assert clip.layer("poses").arrays()["track_id"][:, 0].tolist() == [-1, -1, 0, -1, 0, -1]


def test_image_ids_count_from_one_if_the_largest_equals_the_number_of_frames(small_clip, tmp_path):
    [clip] = import_clips(write_json(tmp_path / "results.json", [coco_person(2, 5.0, 1), coco_person(6, 6.0, 1)]), small_clip.path)

    assert clip.layer("poses").arrays()["track_id"][:, 0].tolist() == [-1, 0, -1, -1, -1, 0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "no annotations with an image_id"),
        ({"annotations": [{"keypoints": []}]}, "no annotations with an image_id"),
        ([], "holds no people"),
        ([coco_person("first", 1.0)], "'first' is no number"),
        ([coco_person(1, float("nan"))], "keypoints of the image 1 holds NaN"),
        ([{"image_id": 1, "keypoints": [1, 2, 3]}], "has 1 points; 17 are known"),
        ({"images": [{"id": 1}], "annotations": [coco_person(2, 1.0)]}, "refers to the image 2, which is not in the list"),
        ({"images": [{"id": 1}, {"id": 1}], "annotations": []}, "two images have the same id"),
        ({"images": [{"id": n, "file_name": "1.jpg"} for n in (1, 2)], "annotations": []}, r"2 images are named 1\.jpg"),
        ([coco_person("left/7", 1.0), coco_person("right/7", 1.0)], "the image_ids 'left/7' and 'right/7' are the same frame"),
        ({"images": [{"id": 1, "width": 4, "height": 4}, {"id": 2, "width": 5, "height": 4}], "annotations": []}, "have 2 sizes"),
        ({"images": 3, "annotations": []}, "its images have no ids"),
    ],
)
def test_a_file_that_is_not_coco_is_named(value, reason, tmp_path):
    with pytest.raises(InputError, match=rf"bad\.json.*{reason}"):
        import_clips(write_json(tmp_path / "bad.json", value), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_iuv(folder: Path, count: int, size: tuple[int, int] = (64, 48), part: int = 24) -> Path:
    """Write IUV images as DensePose does, with the body part I in the last channel, and the INDS images beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        image = np.stack([v, u, np.full_like(u, (index + part) % 256)], -1).astype(np.uint8)
        image[..., 2] = np.where(u < 9, 0, min(part, 255))
        Image.fromarray(image).save(folder / f"frame{index:06d}_IUV.png")
        Image.fromarray(np.full(image.shape[:2], 1, np.uint8)).save(folder / f"frame{index:06d}_INDS.png")
    return folder


def test_densepose_becomes_a_layer_of_an_existing_clip_and_is_exported_unchanged(small_clip, tmp_path):
    folder = write_iuv(tmp_path / "iuv", 6)
    [clip] = import_clips(folder, small_clip.path, layout="densepose")

    assert clip.layers() == ["densepose", "frames"]
    assert clip.layer("densepose").image(0)[0, 20].tolist() == [24, 20, 0], "I, U, V"
    out = export(clip, "densepose", tmp_path / "out")
    for index in range(6):
        assert np.array_equal(np.array(Image.open(out / f"{index:06d}.png")), np.array(Image.open(folder / f"frame{index:06d}_IUV.png")))
    [restored] = import_clips(out, tmp_path / "restored.clip", layout="densepose")
    assert restored.layer("densepose").digest == clip.layer("densepose").digest
    assert restored.layers() == ["densepose"] and (restored.width, restored.height) == (64, 48)


@pytest.mark.parametrize(
    ("count", "size", "part", "reason"),
    [
        (6, (64, 50), 3, r"frame000000_IUV\.png is 64 x 50 pixels, but the frames of small\.clip are 64 x 48"),
        (5, (64, 48), 3, r"holds 5 frames, but .*small\.clip has 6"),
        (6, (64, 48), 25, r"frame000000_IUV\.png is not a DensePose IUV image: it has the part 25"),
    ],
)
def test_densepose_that_does_not_fit_is_refused_and_the_clip_stays_unchanged(count, size, part, reason, small_clip, tmp_path):
    with pytest.raises(InputError, match=reason):
        import_clips(write_iuv(tmp_path / "iuv", count, size, part), small_clip.path, layout="densepose")
    assert open_clip(small_clip.path).layers() == ["frames"] and sorted(os.listdir(small_clip.path)) == ["clip.json", "frames"]


def test_a_folder_of_iuv_images_is_recognised(tmp_path):
    folder = write_iuv(tmp_path / "iuv", 1)
    for path in folder.glob("*_INDS.png"):
        path.unlink()
    assert guess_layout(folder) == "densepose"
    Image.fromarray(numbered_frame(0)).save(folder / "other.png")
    assert guess_layout(folder) == "images"
