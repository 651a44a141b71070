"""The papers' data sets, as small folders with the real layout: imported and exported unchanged; errors name the bad file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numbered_frames import number_of, numbered_frame
from PIL import Image

from fsv2v_cli.clip import DATA_SETS, FILE_LAYOUTS
from stages.clip import Clip, open_clip, read_image
from stages.clip.datasets import LAYOUTS
from stages.clip.datasets.recording import consecutive_runs, timing
from stages.clip.exporters import export
from stages.clip.importers import LayoutName, guess_layout, import_clips
from stages.clip.validate import validate
from stages.conditions.labels import APOLLOSCAPE, VOID, LabelLayer
from stages.errors import InputError


def write_image(path: Path, index: int) -> Path:
    """Write a numbered frame of 64 x 48."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbered_frame(index)).save(path)
    return path


def write_label_map(path: Path, *ids: int) -> np.ndarray:
    """Write and return a map [48, 64] with a vertical stripe for each id, in 16 bits if an id is above 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.array(ids, np.uint16 if max(ids) > 255 else np.uint8)[np.arange(64) * len(ids) // 64]
    values = np.tile(stripes, (48, 1))
    Image.fromarray(values).save(path)
    return values


def valid_by_name(clips: Iterable[Clip]) -> dict[str, Clip]:
    """Name -> clip; all clips must be valid."""
    named = {clip.path.stem: clip for clip in clips}
    for clip in named.values():
        assert validate(clip.path).errors == []
    return named


def exported_images(clip: Clip, kind: str, out: Path) -> list[np.ndarray]:
    """The pixel values of the files to which the layer is exported."""
    return [np.array(Image.open(path)) for path in sorted(export(clip, kind, out / clip.id / kind).iterdir())]


def test_every_layout_can_be_named_on_the_command_line():
    assert get_args(LayoutName) == (*FILE_LAYOUTS, *DATA_SETS)
    assert tuple(LAYOUTS) == DATA_SETS
    page = (Path(__file__).resolve().parents[2] / "docs" / "importing.md").read_text(encoding="utf-8")
    assert [name for name in get_args(LayoutName) if f"`{name}`" not in page] == []


# FaceForensics


@pytest.fixture
def faceforensics(video: Path, tmp_path: Path) -> Path:
    """Three original videos and a manipulated one."""
    root = tmp_path / "FaceForensics++"
    names = ("original_sequences/youtube/c23/videos/000.mp4", "original_sequences/youtube/raw/videos/000.mp4")
    for name in (*names, "original_sequences/actors/c40/videos/01__talk.mp4", "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"):
        (root / name).parent.mkdir(parents=True)
        shutil.copy(video, root / name)
    return root


def test_faceforensics_gives_the_original_videos_by_reference(faceforensics, tmp_path):
    clips = valid_by_name(import_clips(faceforensics, tmp_path / "out"))

    assert list(clips) == ["actors-c40-01__talk", "youtube-c23-000", "youtube-raw-000"]
    clip = clips["youtube-c23-000"]
    assert (clip.layer("frames").storage, clip.num_frames, clip.fps) == ("reference", 100, Fraction(30000, 1001))
    assert [number_of(frame) for frame in exported_images(clip, "frames", tmp_path / "files")] == list(range(100))


# few-shot vid2vid


def write_openpose(path: Path, x: float) -> Path:
    """Write a person whose BODY_25 keypoints lie on a vertical line at `x`."""
    body = [value for i in range(25) for value in (x, 10.5 + i, 0.5)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": body, "face_keypoints_2d": []}]}))
    return path


def write_iuv(path: Path, index: int) -> np.ndarray:
    """Write and return an image as DensePose does, with the body part I in the last channel."""
    iuv = numbered_frame(index)
    iuv[..., 2] = index % 25
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(iuv).save(path)
    return iuv


@pytest.fixture
def fewshot_faces(tmp_path: Path) -> Path:
    """Images and landmarks in the layout of the code of few-shot vid2vid."""
    root = tmp_path / "face"
    for split, sequence in (("train", "0001"), ("test", "0001"), ("test", "0002")):
        for index in range(3):
            write_image(root / f"{split}_images" / sequence / f"{index:05d}.png", index)
            text = root / f"{split}_keypoints" / sequence / f"{index:05d}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("".join(f"{i}.25,{index}\n" for i in range(68)))
    return root


def test_landmarks_of_few_shot_vid2vid_are_imported_and_exported_as_text(fewshot_faces, tmp_path):
    clips = valid_by_name(import_clips(fewshot_faces, tmp_path / "out"))

    assert list(clips) == ["train-0001", "test-0001", "test-0002"]
    clip = clips["test-0002"]
    assert clip.layers() == ["frames", "landmarks"] and clip.fps == 25
    assert clip.layer("landmarks").arrays()["points"][2, 0, 67].tolist() == [67.25, 2, 1]
    out = export(clip, "landmarks", tmp_path / "texts", "txt")
    assert (out / "000001.txt").read_text().splitlines()[5] == "5.25,1.0"
    shutil.rmtree(fewshot_faces / "test_keypoints" / "0002")
    shutil.copytree(out, fewshot_faces / "test_keypoints" / "0002")
    again = valid_by_name(import_clips(fewshot_faces, tmp_path / "again"))["test-0002"]
    assert again.layer("landmarks").digest == clip.layer("landmarks").digest


@pytest.fixture
def fewshot_bodies(tmp_path: Path) -> Path:
    """A sequence as data/preprocess of few-shot vid2vid writes it; the script has removed frame 3."""
    root = tmp_path / "pose"
    for index in (0, 1, 2, 4, 5):
        name = f"frame{index:06d}"
        write_image(root / "images" / "00007" / f"{name}.png", index)
        write_openpose(root / "openpose" / "00007" / f"{name}_keypoints.json", 20.5 + index)
        write_iuv(root / "densepose" / "00007" / f"{name}_IUV.png", index)
        write_label_map(root / "densemask" / "00007" / f"{name}_INDS.png", 0, 1, 2)
    (root / "all_subsequences.json").write_text("{}")
    return root


def test_bodies_of_few_shot_vid2vid_are_split_where_frames_were_removed(fewshot_bodies, tmp_path):
    clips = valid_by_name(import_clips(fewshot_bodies, tmp_path / "out"))

    assert {name: clip.num_frames for name, clip in clips.items()} == {"00007-frame000000": 3, "00007-frame000004": 2}
    clip = clips["00007-frame000004"]
    assert clip.layers() == ["densepose", "frames", "instances", "poses"]
    assert clip.layer("poses").arrays()["keypoints"][:, 0, 3].tolist() == [[24.5, 13.5, 0.5], [25.5, 13.5, 0.5]]
    assert np.array_equal(exported_images(clip, "densepose", tmp_path)[1], write_iuv(tmp_path / "x.png", 5))
    assert np.array_equal(exported_images(clip, "instances", tmp_path)[0], write_label_map(tmp_path / "y.png", 0, 1, 2))
    assert [number_of(frame) for frame in exported_images(clip, "frames", tmp_path)] == [4, 5]
    [again] = import_clips(export(clip, "poses", tmp_path / "openpose"), tmp_path / "again", size=(64, 48))
    assert again.layer("poses").digest == clip.layer("poses").digest


@pytest.fixture
def fewshot_streets(tmp_path: Path) -> Path:
    """Images and label maps in the layout of the code of few-shot vid2vid."""
    root = tmp_path / "street"
    for index in range(2):
        write_image(root / "train_images" / "berlin" / f"{index}.png", index)
        write_label_map(root / "train_labels" / "berlin" / f"{index}.png", 7, 26, 34 if index else 255)
    return root


def test_streets_of_few_shot_vid2vid_have_cityscapes_labels(fewshot_streets, tmp_path):
    [clip] = import_clips(fewshot_streets, tmp_path / "out")

    labels = LabelLayer(clip.layer("segment"))
    assert (labels.table.name, labels.names[26]) == ("cityscapes-ids", "car")
    assert [np.unique(labels.image(index)).tolist() for index in range(2)] == [[7, 26, VOID]] * 2
    assert np.array_equal(exported_images(clip, "segment", tmp_path)[0], write_label_map(tmp_path / "x.png", 7, 26, 255))


def test_files_without_matching_names_are_paired_by_their_order(fewshot_bodies, tmp_path):
    for index, path in enumerate(sorted((fewshot_bodies / "openpose" / "00007").iterdir())):
        path.rename(path.with_name(f"video_{index:012d}_keypoints.json"))

    clips = valid_by_name(import_clips(fewshot_bodies, tmp_path / "out"))
    assert clips["00007-frame000004"].layer("poses").arrays()["keypoints"][0, 0, 0, 0] == 24.5


# YouTube dance videos


@pytest.fixture
def dance_videos(video: Path, tmp_path: Path) -> Path:
    """Two videos, one of them with OpenPose and DensePose files."""
    root = tmp_path / "dances"
    root.mkdir()
    for name in ("001_001_salsa.mp4", "001_002_tango.mp4"):
        shutil.copy(video, root / name)
    for index in range(100):
        write_openpose(root / "openpose" / "001_002_tango" / f"001_002_tango_{index:012d}_keypoints.json", 10.0 + index / 8)
        write_iuv(root / "densepose" / "001_002_tango" / f"frame{index:06d}_IUV.png", index)
    return root


def test_dance_videos_are_imported_with_the_poses_beside_them(dance_videos, tmp_path):
    clips = valid_by_name(import_clips(dance_videos, tmp_path / "out"))

    assert {name: clip.layers() for name, clip in clips.items()} == {
        "001_001_salsa": ["audio", "frames"], "001_002_tango": ["audio", "densepose", "frames", "poses"],
    }  # fmt: skip
    clip = clips["001_002_tango"]
    assert (clip.fps, clip.layer("frames").storage) == (Fraction(30000, 1001), "reference")
    assert clip.layer("poses").arrays()["keypoints"][80, 0, 0].tolist() == [20, 10.5, 0.5]
    assert np.array_equal(exported_images(clip, "densepose", tmp_path)[80], write_iuv(tmp_path / "x.png", 80))


def test_fewer_poses_than_frames_are_refused_and_leave_no_clip(dance_videos, tmp_path):
    next((dance_videos / "openpose" / "001_002_tango").iterdir()).unlink()

    with pytest.raises(InputError, match=r"tango holds 99 files, but .*tango\.mp4 has 100 frames"):
        import_clips(dance_videos, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["001_001_salsa.clip"]


# Cityscapes


def write_cityscapes(root: Path, name: str, numbers: Iterable[int], labelled: Iterable[int], folder: str = "leftImg8bit_sequence") -> None:
    """Write frames with these numbers of the sequence `name` (city_index), and labels for those in `labelled`."""
    split, city = "train", name.split("_")[0]
    for number in numbers:
        write_image(root / folder / split / city / f"{name}_{number:06d}_leftImg8bit.png", number)
    for number in labelled:
        prefix = root / "gtFine" / split / city / f"{name}_{number:06d}_gtFine"
        write_label_map(Path(f"{prefix}_labelIds.png"), 7, 24, 255)
        write_label_map(Path(f"{prefix}_instanceIds.png"), 7, 24000 + number, 24999)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """A sequence with one labelled frame, one with all frames labelled, and one with a gap."""
    root = tmp_path / "cityscapes"
    write_cityscapes(root, "aachen_000000", range(30), [19])
    write_cityscapes(root, "aachen_000001", range(3), range(3))
    write_cityscapes(root, "hanover_000000", [*range(10, 14), *range(40, 43)], [41])
    return root


def test_cityscapes_gives_a_clip_per_consecutive_run_and_per_labelled_frame(cityscapes, tmp_path):
    clips = valid_by_name(import_clips(cityscapes, tmp_path / "out"))

    assert {name: clip.num_frames for name, clip in clips.items()} == {
        "train-aachen_000000_000000": 30, "train-aachen_000000_000019-labelled": 1, "train-aachen_000001_000000": 3,
        "train-hanover_000000_000010": 4, "train-hanover_000000_000040": 3, "train-hanover_000000_000041-labelled": 1,
    }  # fmt: skip
    assert all(clip.fps == 17 for clip in clips.values())
    assert clips["train-aachen_000000_000000"].layers() == ["frames"]
    assert clips["train-hanover_000000_000041-labelled"].layers() == ["frames", "instances", "segment"]
    assert number_of(clips["train-hanover_000000_000041-labelled"].frame(0)) == 41


def test_cityscapes_labels_and_instances_are_exported_unchanged(cityscapes, tmp_path):
    clip = valid_by_name(import_clips(cityscapes, tmp_path / "out"))["train-aachen_000001_000000"]

    assert LabelLayer(clip.layer("segment")).table.name == "cityscapes-ids"
    assert clip.layer("instances").meta["ids"] == [7, 24000, 24001, 24002, 24999]
    for index in range(3):
        assert np.array_equal(exported_images(clip, "segment", tmp_path / "s")[index], write_label_map(tmp_path / "x.png", 7, 24, 255))
        ids = exported_images(clip, "instances", tmp_path / "i")[index]
        assert ids.max() == 24999 and np.array_equal(ids, write_label_map(tmp_path / "y.png", 7, 24000 + index, 24999))


def test_cityscapes_without_sequences_gives_a_clip_per_frame(tmp_path):
    root = tmp_path / "cityscapes"
    write_cityscapes(root, "bremen_000002", [19], [19], "leftImg8bit")
    write_cityscapes(root, "hamburg_000000", [629, 1613, 2597], [629, 1613, 2597], "leftImg8bit")

    clips = valid_by_name(import_clips(root, tmp_path / "out"))
    assert list(clips) == ["train-bremen_000002_000019", *(f"train-hamburg_000000_{number:06d}" for number in (629, 1613, 2597))]
    assert all(clip.layers() == ["frames", "instances", "segment"] for clip in clips.values())


# CamVid


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Three drives: every 30th frame with a gap, about every 30th frame, and every second frame."""
    root = tmp_path / "camvid"
    drives = {"train": ["0001TP_006690", "0001TP_006720", "0001TP_006780", "0006R0_f00930", "0006R0_f00960", "0006R0_f00991"]}
    for split, names in {**drives, "val": ["0016E5_07959", "0016E5_07961", "0016E5_07963"]}.items():
        for index, name in enumerate(names):
            write_image(root / split / f"{name}.png", index)
            write_label_map(root / f"{split}annot" / f"{name}.png", index, 3, 11)
    return root


def test_camvid_is_split_by_drive_and_where_numbers_jump(camvid, tmp_path):
    clips = valid_by_name(import_clips(camvid, tmp_path / "out"))

    assert {name: (clip.num_frames, clip.fps) for name, clip in clips.items()} == {
        "train-0001TP_006690": (2, 1), "train-0001TP_006780": (1, 1), "train-0006R0_f00930": (3, Fraction(60, 61)),
        "val-0016E5_07959": (3, 15),
    }  # fmt: skip
    times = clips["train-0006R0_f00930"].timestamps
    assert times is not None and [times.seconds(index) for index in range(3)] == [0, 1, Fraction(61, 30)]
    assert clips["train-0001TP_006690"].timestamps is None
    labels = LabelLayer(clips["val-0016E5_07959"].layer("segment"))
    assert labels.table.name == "camvid" and labels.names[3] == "road"
    maps = exported_images(clips["val-0016E5_07959"], "segment", tmp_path)
    assert all(np.array_equal(maps[index], write_label_map(tmp_path / "x.png", index, 3, 11)) for index in range(3))


def test_the_real_camvid_is_imported_and_exported_unchanged(real_media, tmp_path):
    source = tmp_path / "camvid"
    for split in ("val", "valannot"):
        (source / split).mkdir(parents=True)
        for path in sorted((real_media / "streets" / "camvid" / split).iterdir())[:6]:
            shutil.copy(path, source / split)

    [clip] = import_clips(source, tmp_path / "out")

    assert (clip.path.name, clip.fps, clip.num_frames) == ("val-0016E5_07959.clip", 15, 6)
    for kind, folder, read in (("frames", "val", read_image), ("segment", "valannot", lambda path: np.array(Image.open(path)))):
        for values, path in zip(exported_images(clip, kind, tmp_path), sorted((source / folder).iterdir()), strict=True):
            assert np.array_equal(values, read(path))


# ApolloScape


@pytest.fixture
def apolloscape(tmp_path: Path) -> Path:
    """A record with a stop of five seconds, one unlabelled frame, and a second camera."""
    root = tmp_path / "apolloscape"
    start = datetime(2017, 9, 8, 6, 15, 2, 408000)
    for index, milliseconds in enumerate((0, 190, 410, 5410, 5500, 5600)):
        stamp = (start + timedelta(milliseconds=milliseconds)).strftime("%y%m%d_%H%M%S%f")[:-3]
        for camera in (5, 6)[: 1 if index else 2]:
            name = Path("Record001") / f"Camera {camera}" / f"{stamp}_Camera_{camera}"
            write_image(root / "road01_ins" / "ColorImage" / f"{name}.png", index)
            if index < 5:
                write_label_map(root / "road01_ins" / "Label" / f"{name}_bin.png", 33, 49, 200, 255, 168)
    return root


def test_apolloscape_has_exact_times_and_is_split_at_gaps(apolloscape, tmp_path):
    clips = valid_by_name(import_clips(apolloscape, tmp_path / "out"))

    name = "road01_ins-Record001-170908_0615"
    assert {key.removeprefix(name): (clip.num_frames, "segment" in clip.layers()) for key, clip in clips.items()} == {
        "02408_Camera_5": (3, True), "07818_Camera_5": (2, True), "08008_Camera_5": (1, False), "02408_Camera_6": (1, True),
    }  # fmt: skip
    clip = clips[f"{name}02408_Camera_5"]
    assert clip.fps == Fraction(2000, 410) and clip.timestamps is not None and clip.timestamps.seconds(1) == Fraction(190, 1000)
    assert clips[f"{name}07818_Camera_5"].fps == Fraction(1000, 90)
    assert [path.name for path in tmp_path.glob("*.clip")] == []


def test_apolloscape_ids_are_exported_unchanged_and_unknown_ones_as_void(apolloscape, tmp_path):
    clips = valid_by_name(import_clips(apolloscape / "road01_ins", tmp_path / "out"))
    clip = clips["road01_ins-Record001-170908_061502408_Camera_5"]

    labels = LabelLayer(clip.layer("segment"))
    assert {labels.names[value] for value in np.unique(labels.image(0)) if value != VOID} == {"car", "road", "tricycle group"}
    assert np.array_equal(exported_images(clip, "segment", tmp_path)[0], write_label_map(tmp_path / "x.png", 33, 49, 255, 255, 168))
    assert len(APOLLOSCAPE.names) == 35 and APOLLOSCAPE.ids[APOLLOSCAPE.names.index("vegetation")] == 113


# All layouts


@pytest.mark.parametrize("name", [name for name in DATA_SETS if name != "imaginaire"])
def test_each_layout_is_recognised(name, request):
    fixture = {"few-shot-vid2vid": "fewshot_faces", "youtube-dance": "dance_videos"}.get(name, name)
    assert guess_layout(request.getfixturevalue(fixture)) == name


def test_a_folder_with_two_possible_layouts_is_refused_until_one_is_named(cityscapes, tmp_path):
    (cityscapes / "original_sequences").mkdir()

    with pytest.raises(InputError, match="could have the layout faceforensics or cityscapes") as caught:
        import_clips(cityscapes, tmp_path / "out")
    assert caught.value.code == "layout-ambiguous"
    assert len(import_clips(cityscapes, tmp_path / "out", layout="cityscapes")) == 6


def test_importing_again_writes_no_layer_again(camvid, tmp_path):
    first = {clip.path: (clip.path / "segment" / "layer.json").stat().st_mtime_ns for clip in import_clips(camvid, tmp_path / "out")}
    again = {clip.path: (clip.path / "segment" / "layer.json").stat().st_mtime_ns for clip in import_clips(camvid, tmp_path / "out")}
    assert first == again


def test_the_rate_and_the_label_table_can_be_chosen(camvid, tmp_path):
    clips = import_clips(camvid, tmp_path / "out", fps=Fraction(24), labels="cityscapes-ids")
    assert {(clip.fps, clip.timestamps, clip.layer("segment").meta["table"]) for clip in clips} == {(24, None, "cityscapes-ids")}


def test_an_unknown_table_is_refused_before_anything_is_made(fsv2v, camvid, tmp_path):
    result = fsv2v("clip", "import", camvid, "-o", tmp_path / "out", "--table", "kitti")

    assert result.exit_code == 2 and "no label table named 'kitti'" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", DATA_SETS)
def test_an_empty_folder_is_refused_in_every_layout(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"empty holds no sequence in the layout {name}"):
        import_clips(tmp_path / "empty", tmp_path / "out", layout=name)


def test_the_command_prints_each_clip(fsv2v, cityscapes, tmp_path):
    result = fsv2v("clip", "import", cityscapes, "--layout", "cityscapes", "-o", tmp_path / "clips")

    assert result.exit_code == 0, result.stderr
    assert result.lines[0] == str(tmp_path / "clips" / "train-aachen_000000_000000.clip") and len(result.lines) == 6
    assert open_clip(result.lines[0]).num_frames == 30


# Each of these functions damages a file of CamVid and returns what the error must say.


def write_unknown_id(root: Path) -> str:
    write_label_map(root / "valannot" / "0016E5_07961.png", 3, 12)
    return "0016E5_07961.png: it has the label id 12, but the table camvid ends at 11"


def delete_label_map(root: Path) -> str:
    (root / "valannot" / "0016E5_07961.png").unlink()
    return "valannot has no file for the frame 0016E5_07961"


def write_another_size(root: Path) -> str:
    Image.new("L", (32, 48)).save(root / "valannot" / "0016E5_07961.png")
    return "0016E5_07961.png is 32 x 48 pixels, but the frames of val-0016E5_07959.clip are 64 x 48"


def write_colours(root: Path) -> str:
    Image.new("RGB", (64, 48)).save(root / "valannot" / "0016E5_07961.png")
    return "0016E5_07961.png is not a label map"


def write_16_bit_ids(root: Path) -> str:
    write_label_map(root / "valannot" / "0016E5_07961.png", 3, 24001)
    return "0016E5_07961.png is not a label map: it must have one channel with ids from 0 to 255"


def write_text(root: Path) -> str:
    (root / "valannot" / "0016E5_07961.png").write_text("?")
    return "0016E5_07961.png is not an image that can be read"


def write_strange_name(root: Path) -> str:
    write_image(root / "val" / "cover.png", 0)
    return "cover.png is not named DRIVE_FRAME"


@pytest.mark.parametrize(
    "damage", [write_unknown_id, delete_label_map, write_another_size, write_colours, write_16_bit_ids, write_text, write_strange_name]
)
def test_a_bad_file_is_named_with_exit_code_3_and_leaves_no_partial_clip(damage, fsv2v, camvid, tmp_path):
    reason = damage(camvid)
    for split in ("train", "trainannot"):
        shutil.rmtree(camvid / split)

    result = fsv2v("clip", "import", camvid, "-o", tmp_path / "clips")

    assert (result.exit_code, result.lines) == (3, [])
    [sentence] = result.stderr.splitlines()
    assert reason in sentence
    assert not (tmp_path / "clips").exists() or os.listdir(tmp_path / "clips") == []


@pytest.mark.parametrize(
    ("fixture", "file", "duplicate"),
    [
        ("fewshot_faces", "train_images/0001/00001.png", "00001.bmp"),
        ("fewshot_faces", "train_keypoints/0001/00001.txt", "00001.json"),
        ("fewshot_streets", "train_labels/berlin/1.png", "1.bmp"),
        ("dance_videos", "openpose/001_002_tango/001_002_tango_000000000080_keypoints.json", "001_002_tango_000000000080_keypoints.JSON"),
        ("dance_videos", "densepose/001_002_tango/frame000080_IUV.png", "frame000080_IUV.bmp"),
        ("cityscapes", "leftImg8bit_sequence/train/aachen/aachen_000000_000002_leftImg8bit.png", "aachen_000000_2_leftImg8bit.png"),
        ("camvid", "train/0006R0_f00930.png", "0006R0_930.png"),
        ("camvid", "valannot/0016E5_07961.png", "0016E5_07961.bmp"),
        ("apolloscape", "road01_ins/ColorImage/Record001/Camera 5/170908_061502598_Camera_5.png", "170908_061502598_Camera_5.bmp"),
    ],
)
def test_two_files_of_one_frame_are_named(fixture, file, duplicate, request, tmp_path):
    root = request.getfixturevalue(fixture)
    shutil.copy(root / file, (root / file).with_name(duplicate))

    with pytest.raises(InputError, match="holds two files of one frame") as caught:
        import_clips(root, tmp_path / "out")
    assert Path(file).name in str(caught.value) and duplicate in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_iuv_and_inds_files_of_densepose_may_lie_in_one_folder(fewshot_bodies, tmp_path):
    separate = valid_by_name(import_clips(fewshot_bodies, tmp_path / "separate"))["00007-frame000000"]
    for name in ("densepose", "densemask"):
        for path in [*(fewshot_bodies / "densepose" / "00007").iterdir(), *(fewshot_bodies / "densemask" / "00007").iterdir()]:
            if path.parent.parent.name != name:
                shutil.copy(path, fewshot_bodies / name / "00007")

    clip = valid_by_name(import_clips(fewshot_bodies, tmp_path / "out"))["00007-frame000000"]
    for kind in ("densepose", "instances"):
        assert np.array_equal(clip.layer(kind).image(1), separate.layer(kind).image(1))


def test_two_videos_that_would_be_one_clip_are_named(dance_videos, tmp_path):
    shutil.copy(dance_videos / "001_001_salsa.mp4", dance_videos / "001_001_salsa.mov")

    with pytest.raises(InputError, match=r"001_001_salsa\.mov and .*001_001_salsa\.mp4 would both be 001_001_salsa\.clip"):
        import_clips(dance_videos, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_with_more_instances_than_a_layer_holds_is_named(cityscapes, tmp_path):
    instance_file = cityscapes / "gtFine" / "train" / "aachen" / "aachen_000001_000001_gtFine_instanceIds.png"
    Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)).save(instance_file)

    with pytest.raises(InputError, match=r"aachen_000001_000001_gtFine_instanceIds\.png: a layer holds at most 256 instances"):
        import_clips(cityscapes, tmp_path / "out")
    assert not (tmp_path / "out" / "train-aachen_000001_000000.clip").exists()


def test_instance_ids_of_cityscapes_are_refused_as_labels(cityscapes, small_clip, tmp_path):
    from stages.clip.layer_importers import read_labels

    with pytest.raises(InputError, match="It holds instance ids; the label ids are in"):
        read_labels(cityscapes / "gtFine" / "train" / "aachen" / "aachen_000001_000001_gtFine_instanceIds.png")


@pytest.mark.parametrize(
    ("layout", "folder", "kind"),
    [
        ("imaginaire_pose", "pose_maps-densepose", "densepose"),
        ("imaginaire_pose", "human_instance_maps", "instances"),
        ("imaginaire_street", "seg_maps", "segment"),
    ],
)
def test_real_maps_are_exported_unchanged(layout, folder, kind, real_media, tmp_path):
    [clip] = import_clips(real_media / "formats" / layout, tmp_path / "clips", frames="jpg")
    [source] = (real_media / "formats" / layout / folder).iterdir()

    for values, path in zip(exported_images(clip, kind, tmp_path / "out"), sorted(source.iterdir()), strict=True):
        assert np.array_equal(values, np.array(Image.open(path)))


def test_real_landmarks_and_poses_are_exported_unchanged(real_media, tmp_path):
    for layout, kind, folder in (("imaginaire_face", "landmarks", "landmarks-dlib68"), ("imaginaire_pose", "poses", "poses-openpose")):
        [clip] = import_clips(real_media / "formats" / layout, tmp_path / "clips", frames="jpg")
        [source] = (real_media / "formats" / layout / folder).iterdir()
        exported = sorted(export(clip, kind, tmp_path / kind).iterdir())
        for written, path in zip(exported, sorted(source.iterdir()), strict=True):
            actual, expected = json.loads(written.read_text()), json.loads(path.read_text())
            if kind == "landmarks":
                assert actual == expected
            else:
                keys = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
                for key in keys:
                    before, after = (
                        np.array([person[key] for person in value["people"]], np.float32).reshape(len(value["people"]), -1, 3)
                        for value in (expected, actual)
                    )
                    assert np.array_equal(before, after)


def test_frame_numbers_become_runs_with_rates_and_times():
    assert consecutive_runs([5]) == [slice(0, 1)]
    assert consecutive_runs([0, 30, 60, 91, 120, 300, 330]) == [slice(0, 5), slice(5, 7)]
    assert consecutive_runs([1, 2, 4, 5, 6]) == [slice(0, 2), slice(2, 5)]
    assert consecutive_runs([0, 400, 900, 4000], max_step=2000) == [slice(0, 3), slice(3, 4)]
    assert timing([10], 30, 2) == (15, None)
    assert timing([10, 12, 14], 30) == (15, None)
