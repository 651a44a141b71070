"""The readers of untrusted files, each with valid files that the fuzzer changes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from fuzz_reader import Files, Reader, read_files
from PIL import Image

from fsv2v_cli.main import cli
from fsv2v_cli.options import count_on_stdin, paths_on_stdin
from stages.build_dataset import DatasetOptions, index, read_subjects
from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.coco import read_coco
from stages.clip.create import as_clip
from stages.clip.describe import describe
from stages.clip.ffmpeg import executable
from stages.clip.flow_files import FlowField, FlowFormat, flow_bytes, read_flow
from stages.clip.images import read_image
from stages.clip.layer_importers import add_layer, read_labels, read_landmarks
from stages.clip.openpose import read_openpose
from stages.clip.pack import pack, unpack
from stages.clip.validate import validate
from stages.conditions.dataset_files import kind_of
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.errors import Fsv2vError
from stages.evaluate import partial_result
from stages.evaluate.cache import Cache
from stages.evaluate.measure import Score
from stages.evaluate.set_statistics import SetStatistics
from stages.evaluate.statistics import Statistics
from stages.evaluate.study import score_answers
from stages.evaluate.study.key import Key, Question
from stages.evaluate.study.site import _existing_study
from stages.models import load_model
from stages.models.dense import load_dense, save_dense
from stages.models.files import Base, save_delta, save_model
from stages.networks.dense import DenseConfig, DenseNet
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.segment.backends.labels import read_label_map
from stages.tables.label_tables import CAMVID, find_table
from stages.train.augment import Colours
from stages.train.config import TrainConfig
from stages.train.data import Dataset
from stages.train.recipes import FOLDER as RECIPES
from stages.train.recipes import read_recipe
from stages.train.state import RunFolder

TINY = PRESETS["tiny"]


def _single_file(name: str, content: bytes) -> Callable[[Path], Files]:
    return lambda folder: {name: content}


def _written_by(write: Callable[[Path], object]) -> Callable[[Path], Files]:
    """The files that a function writes into a folder."""

    def files(folder: Path) -> Files:
        folder.mkdir()
        write(folder)
        return read_files(folder)

    return files


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _encode_image(image_format: str, array: np.ndarray, mode: str | None = None, **options: Any) -> bytes:
    stream, image = io.BytesIO(), Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(stream, image_format, **options)
    return stream.getvalue()


RGB = np.arange(24 * 16 * 3, dtype=np.uint8).reshape(24, 16, 3)
IDS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 11
FACE = np.ones((3, 1, 68, 3), np.float32)


# Clips

PRODUCER = Producer("test", "any", {"size": 3}, {"w": "0"}, 1)


def _clip(folder: Path) -> Clip:
    clip = create_clip(folder / "a.clip", iter(np.zeros((3, 16, 16, 3), np.uint8)), fps=Fraction(25), storage="png")
    with clip.writing("landmarks", PRODUCER, {"frames": clip.frames_digest()}) as layer:
        layer.arrays(points=FACE, iris=np.ones((3, 1, 10, 3), np.float32))
    with clip.writing("poses", PRODUCER, {}, {"skeleton": "BODY_25"}) as layer:
        layer.arrays(
            keypoints=np.ones((3, 1, 25, 3), np.float32), boxes=np.ones((3, 1, 4), np.float32), track_id=np.zeros((3, 1), np.int32),
            hand_left=np.ones((3, 1, 21, 3), np.float32),
        )  # fmt: skip
    with clip.writing("segment", PRODUCER, {}, CAMVID.meta()) as layer:
        for _ in range(3):
            layer.image(np.zeros((16, 16), np.uint8))
    with clip.writing("instances", PRODUCER, {}, {"ids": [0, 1001, 24001]}) as layer:
        for _ in range(3):
            layer.image(np.ones((16, 16), np.uint8))
    with clip.writing("flow", PRODUCER, {}) as layer:
        for _ in range(3):
            layer.image(np.zeros((16, 16, 2), np.float32))
    return clip


VIEW = View.scaled(16, 16, 16, 16)


def _use(clip: Clip) -> None:
    """Read a clip in all the ways in which commands read it."""
    json.dumps(describe(clip), allow_nan=False)
    clip.audio()
    next(clip.frames())
    for kind in clip.layers():
        layer = clip.layer(kind)
        layer.arrays() if layer.payload == "arrays" else layer.image(0) if layer.payload != "file" else None
    for kind in ("landmarks+iris", "poses", "segment"):
        track = open_track(clip, kind)
        track.seen(0), track.semantic(0, VIEW), track.keypoints(0, VIEW), track.drawing(0, VIEW)


def _read_clip(folder: Path) -> None:
    validate(folder / "a.clip")
    clip = open_clip(folder / "a.clip")
    _use(clip)
    clip.needs("landmarks", PRODUCER, {"frames": clip.frames_digest()})


def _video_clip(folder: Path) -> None:
    """A clip that refers to the frames and the sound of a video."""
    video = str(folder / "v.mkv")
    tone = ["-f", "lavfi", "-i", "testsrc=s=16x16:r=25:d=0.12", "-f", "lavfi", "-i", "sine=d=0.12", "-pix_fmt", "yuv420p", video]
    subprocess.run([executable(), "-v", "error", *tone], check=True)
    as_clip(video, folder / "a.clip")


def _read_video(folder: Path) -> None:
    clip = open_clip(folder / "a.clip")
    clip.audio()
    next(clip.frames())


def _read_packed(folder: Path) -> None:
    _use(open_clip(folder / "a.zip"))
    try:
        unpack(folder / "a.zip", folder / "out" / "a.clip")
    finally:
        if (folder / "out").exists() and set(os.listdir(folder / "out")) - {"a.clip"}:
            raise AssertionError("unpacked a member outside the clip")


def _read_masks(folder: Path) -> None:
    """Add label maps, instances and DensePose images to a clip. Raises an error if one of them is refused."""
    clip = create_clip(folder / "out" / "a.clip", iter(np.zeros((1, 6, 8, 3), np.uint8)), fps=Fraction(25))
    refused = None
    for kind, labels in (("segment", "camvid"), ("instances", ""), ("densepose", "")):
        try:
            add_layer(clip, kind, "test", [folder / f"{kind}.png"], labels)
        except Fsv2vError as error:
            refused = error
    if refused:
        raise refused


# Models and runs


def _tiny() -> FewShotGenerator:
    torch.manual_seed(0)
    return FewShotGenerator(TINY)


def _delta(folder: Path) -> None:
    from stages.io.digests import file_sha256

    state = _tiny().state_dict()
    save_model(folder / "base.safetensors", state, TINY, {"step": 1})
    halves = {name: value.half().float() for name, value in state.items()}
    few = {name: value + 1 for name, value in list(halves.items())[:3]}
    base = Base(file_sha256(folder / "base.safetensors"), "base.safetensors", "base.safetensors")
    save_delta(folder / "m.safetensors", few, base, halves, TINY, {})


def _run(folder: Path) -> None:
    run = RunFolder(folder)
    run.claim(CONFIG, "data", overwrite=False)
    for step in (20, 40):
        run.log({"step": step, "l1": 0.5})
        run.save_state(step, {"step": step, "weights": torch.ones(3), "rng": [1, 2]}, [20, 40])


def _resume(folder: Path) -> None:
    run = RunFolder(folder)
    run.planned_lengths(CONFIG)
    run.claim(CONFIG, "data", overwrite=False)
    run.latest_state()
    run.cut_log(30, [])


CONFIG = TrainConfig(generator=TINY, budget=60.0)


# Datasets

ROW = {
    "id": "anna-1", "clip": "a.clip", "subject": "anna", "split": "train", "source": "anna-1", "num_frames": 3, "fps": "25",
    "fps_value": 25.0, "start": 0, "size": [16, 16], "crops": [[0, 0, 16]] * 3,
}  # fmt: skip


def _dataset(folder: Path) -> None:
    _clip(folder)
    rows = {name: {**ROW, "id": name, "subject": name} for name in ("anna-1", "bob")}
    header = {"kind": "landmarks", "task": "face", "parameters": DatasetOptions().with_kind("landmarks").to_json(), "labels": CAMVID.meta()}
    index.write_index(folder, header, rows, {"anna-1": "train", "bob": "val"})


UNCHANGED = Colours(np.ones(3), 0.0)


def _train_on(folder: Path) -> None:
    for clip in (clips[0] for clips in Dataset(folder, "landmarks", "train").subjects):
        clip.samples(clip.usable[:1], VIEW, UNCHANGED, None)


def _extend(folder: Path) -> None:
    """Read a dataset as build-dataset does when it adds clips to it."""
    header = index.header_to_continue(folder, overwrite=False)
    if not (rows := index.read_rows(folder)):
        return
    index.assign_subjects(rows, {}, ())
    splits = index.assign_splits({row["subject"] for row in rows.values()}, (), 0.1)
    if header is not None:
        index.common_labels(folder, CAMVID.meta(), header.get("labels"))
        index.require_same_parameters(folder, header, "landmarks", DatasetOptions().with_kind("landmarks").to_json())
        index.write_index(folder, {"kind": kind_of(header)}, rows, splits)


# Evaluations and studies

STATISTICS = Statistics.of(np.ones((5, 4), np.float32), np.arange(5, dtype=np.uint64))
LONG = Statistics.repeated(np.ones(4, np.float32), np.arange(3000, dtype=np.uint64))


def _statistics(folder: Path) -> None:
    arrays: dict[str, Any] = {**LONG.arrays()}
    np.savez(folder / "s.npz", **arrays)


def _partial_result(folder: Path) -> None:
    scores = [Score(f"{name}.mp4", "b.mp4", "psnr", "dB", "higher", 30.0, 2, 1.0, series=(30.0, 30.0)) for name in "ac"]
    statistics = {("", "squeezenet"): SetStatistics(STATISTICS, STATISTICS)}
    pairs = (("a.mp4", "b.mp4"), ("c.mp4", "b.mp4"))
    partial_result.PartialResult(("psnr", "fid"), ((0, 1),), "w", pairs, scores, statistics, {"": 2}, {("", "fid"): "too few"}).save(
        folder / "p.npz"
    )


def _merge(folder: Path) -> None:
    merged = partial_result.merge([folder / "p.npz"])
    for score in [*merged.scores, *merged.aggregate_scores()]:
        json.dumps(score.json(), allow_nan=False)


def _cached(folder: Path) -> None:
    """Read a cache entry. A damaged entry is only warned of; here the warning becomes an error, which counts as a refusal."""
    warnings: list[str] = []
    Cache(str(folder), warnings.append).read(folder / "s.npz")
    if warnings:
        raise Fsv2vError(warnings[0])


KEY = Key(
    "s", ("ours", "theirs"),
    (Question("q1", "anna", "pair", ("a.mp4", "b.mp4")), Question("q2", "anna", "catch", ("c.mp4", "d.mp4"), of=1)),
    (("q1", "q2"),), {"code": ""},
)  # fmt: skip
ANSWERS = {
    "schema": "fsv2v.answers/1", "study": "s", "worker": "w", "code": "c",
    "answers": [
        {"question": "q1", "shown": ["a.mp4", "b.mp4"], "chosen": "b.mp4", "seconds": 3.5},
        {"question": "q2", "shown": ["d.mp4", "c.mp4"], "chosen": "c.mp4", "seconds": 2},
    ],
}  # fmt: skip


def _study(folder: Path) -> None:
    KEY.write(folder / "s.key.json")
    (folder / "a.json").write_bytes(_json(ANSWERS))


def _score(folder: Path) -> None:
    scores, _ = score_answers([folder / "a.json"], folder / "s.key.json", 0.25)
    json.dumps(scores.json(), allow_nan=False)


PAGE = b'<html>\n<script id="study" type="application/json">{"study": "s", "ask": "?", "blocks": [["q"]]}</script></html>'


# Files that the command line reads

SETTINGS = """
jobs = 2
seed = 3
device = "cpu"
[train]
data = "faces"
out = "run"
preset = "face-256"
budget = "25m"
learning-rate = 1e-4
max_examples = 4
bfloat16 = false
[evaluate]
metric = ["psnr", "ssim"]
reference = ["a.mp4"]
json = true
[synthesize]
examples = "a.png"
driving = "a.clip"
out = "out.mp4"
[segment]
map = ["a=b"]
shard = "0/2"
backend = "auto"
[build-dataset]
out = "data"
size = "256"
store = "pack"
[finetune]
examples = "a.png"
out = "m.safetensors"
steps = 20
"""


def _configure(folder: Path) -> None:
    """Let each command read its options from a configuration file."""
    for command in ("train", "evaluate b.mp4", "synthesize", "segment a.mp4", "build-dataset a.clip", "finetune"):
        cli.main([*command.split(), "--config", str(folder / "c.toml"), "--dry-run"], prog_name="fsv2v", standalone_mode=False)


def _read_list(folder: Path) -> None:
    """Read paths on stdin, separated by line breaks and by NUL."""
    stdin = sys.stdin
    try:
        for separator in (b"\n", b"\0"):
            with open(folder / "list") as sys.stdin:
                count = count_on_stdin(separator)
                paths = list(paths_on_stdin(separator))
                assert count is not None and len(paths) <= count and all(paths)
    finally:
        sys.stdin = stdin


# The table of readers

BODY = [float(value) for value in range(1, 76)]
PEOPLE = {"people": [{"person_id": [-1], "pose_keypoints_2d": BODY, "hand_left_keypoints_2d": [], "face_keypoints_2d": [0.5] * 210}] * 2}
FLOW = FlowField(np.ones((4, 6, 2), np.float32), np.full((4, 6), 255, np.uint8))
COCO = {
    "images": [{"id": 1, "file_name": "000000.png", "width": 64, "height": 48}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "track_id": 2, "keypoints": [1, 2, 2] * 17, "foot_kpts": [1, 2, 1] * 6}
    ],
    "categories": [{"id": 1, "name": "person"}],
}  # fmt: skip
RESULTS = [{"image_id": number, "category_id": 1, "keypoints": [9.5, 20.25, 0.5] * 17, "score": 0.5} for number in (3, 5)]
PAIRS = [[n, 2 * n] for n in range(68)]
COLOURS = np.array(CAMVID.palette, np.uint8)[IDS]


def _flow(flow_format: FlowFormat) -> Reader:
    return Reader(_single_file(f"a.{flow_format}", flow_bytes(FLOW, flow_format)), lambda folder: read_flow(folder / f"a.{flow_format}"))


def _image(name: str, content: bytes) -> Reader:
    return Reader(_single_file(name, content), lambda folder: read_image(folder / name))


READERS: dict[str, Reader] = {
    "clip": Reader(_written_by(_clip), _read_clip, ("clip.json", "layer.json", ".npz", ".png")),
    "clip of a video": Reader(_written_by(_video_clip), _read_video, ("layer.json",)),
    "packed clip": Reader(lambda folder: {"a.zip": pack(_clip(folder).path, folder / "a.zip").read_bytes()}, _read_packed),
    "openpose": Reader(
        _single_file("000000_keypoints.json", _json(PEOPLE)), lambda folder: read_openpose([folder / "000000_keypoints.json"])
    ),
    "coco": Reader(_single_file("coco.json", _json(COCO)), lambda folder: read_coco(folder / "coco.json")),
    "coco results": Reader(_single_file("coco.json", _json(RESULTS)), lambda folder: read_coco(folder / "coco.json", 9, (640, 480))),
    "landmarks": Reader(_single_file("000000.json", _json(PAIRS)), lambda folder: read_landmarks([folder / "000000.json"], (256, 256))),
    "landmarks as text": Reader(
        _single_file("000000.txt", "\n".join(f"{x},{y}" for x, y in PAIRS).encode()),
        lambda folder: read_landmarks([folder / "000000.txt"], (256, 256)),
    ),
    "label map": Reader(_single_file("000000.png", _encode_image("png", IDS)), lambda folder: read_labels(folder / "000000.png")),
    "label colours": Reader(
        _single_file("a.png", _encode_image("png", COLOURS)), lambda folder: read_label_map(folder / "a.png", CAMVID, 8, 6)
    ),
    "label table": Reader(
        _single_file("t.json", _json([{"name": "sky", "color": [0, 9, 99]}, {"name": "road", "color": [1, 1, 1]}])),
        lambda folder: find_table(str(folder / "t.json")).indices(IDS % 2),
    ),
    "masks": Reader(
        lambda folder: {
            "segment.png": _encode_image("png", IDS),
            "instances.png": _encode_image("png", IDS.astype(np.uint16) * 1000),
            "densepose.png": _encode_image("png", np.stack([IDS] * 3, -1)),
        },
        _read_masks,
    ),
    "png": _image("a.png", _encode_image("png", RGB)),
    "png of 16 bits": _image("a.png", _encode_image("png", RGB[..., 0].astype(np.uint16) * 257)),
    "png with a palette": _image("a.png", _encode_image("png", RGB, "P", transparency=3)),
    "png with alpha": _image("a.png", _encode_image("png", np.concatenate([RGB, RGB[..., :1]], -1))),
    "jpeg": _image("a.jpg", _encode_image("jpeg", RGB, exif=Image.Exif())),
    "webp": _image("a.webp", _encode_image("webp", RGB)),
    "tiff": _image("a.tif", _encode_image("tiff", RGB, compression="tiff_lzw")),
    "bmp": _image("a.bmp", _encode_image("bmp", RGB)),
    "ppm": _image("a.ppm", _encode_image("ppm", RGB)),
    "flo": _flow("flo"),
    "flow png": _flow("png"),
    "flow npz": _flow("npz"),
    "recipe": Reader(_single_file("r.toml", (RECIPES / "face-256.toml").read_bytes()), lambda folder: read_recipe(str(folder / "r.toml"))),
    "settings": Reader(_single_file("c.toml", SETTINGS.encode()), _configure, refusals=(Fsv2vError, click.ClickException)),
    "list of paths": Reader(_single_file("list", b"\xef\xbb\xbfa.mp4\r\nb c.mp4\n\n\xc3\xa9.png\0x"), _read_list),
    "dataset to train on": Reader(_written_by(_dataset), _train_on, ("dataset.json", "clips.ndjson")),
    "dataset to extend": Reader(_written_by(_dataset), _extend, ("dataset.json", "clips.ndjson")),
    "subjects": Reader(
        _single_file("who.tsv", b"anna-1\tanna\nanna-2\tanna\nbob\tbob\n"), lambda folder: read_subjects(str(folder / "who.tsv"))
    ),
    "model": Reader(
        _written_by(lambda folder: save_model(folder / "m.safetensors", _tiny().state_dict(), TINY, {})),
        lambda folder: load_model(folder / "m.safetensors"),
    ),
    "finetuned model": Reader(_written_by(_delta), lambda folder: load_model(folder / "m.safetensors"), ("m.safetensors",)),
    "small network": Reader(
        _written_by(lambda folder: save_dense(folder / "d.safetensors", DenseNet(DenseConfig(2, width=8)), {"labels": ["a"]})),
        lambda folder: load_dense(folder / "d.safetensors", "cpu"),
    ),
    "run": Reader(_written_by(_run), _resume),
    "study": Reader(_written_by(_study), _score),
    "study page": Reader(_single_file("index.html", PAGE), lambda folder: _existing_study(folder)),
    "partial result": Reader(_written_by(_partial_result), _merge),
    "statistics": Reader(_written_by(_statistics), _cached),
}
