"""Property tests by hypothesis: files can be written and read without loss, and for any content a reader returns a value or an error."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from stages.build_dataset import read_subjects
from stages.clip.coco import read_coco
from stages.clip.flow_files import FlowField, flow_bytes, read_flow
from stages.clip.images import decode_image, encode
from stages.clip.layer_importers import read_labels, read_landmarks
from stages.clip.layers import Producer, npz_bytes
from stages.clip.openpose import read_openpose
from stages.clip.probe import Timestamps
from stages.clip.schema import check_clip, dump, load, rational_text, read_rational, read_seconds, read_timestamps, timestamps_json
from stages.conditions.dataset_files import read_rows
from stages.errors import Fsv2vError, InputError, InvalidClip
from stages.evaluate.study.answers import read_answers
from stages.evaluate.study.key import Key, draw_key, read_key
from stages.io.reading import load_npz, parse_json
from stages.models.files import read_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.tables.label_tables import find_table
from stages.train.config import TrainConfig
from stages.train.recipes import read_recipe

few_examples = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = texts.filter(str.strip)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0, -1, 1e308, 5e-324, 10**400]))
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    leaves, lambda children: st.one_of(st.lists(children, max_size=4), st.dictionaries(texts, children, max_size=4)), max_leaves=12
)
finite = st.floats(allow_nan=False, allow_infinity=False)
Read = TypeVar("Read")


def from_file(name: str, content: bytes, read: Callable[[Path], Read]) -> Read:
    """What `read` returns for a file with this name and content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        return read(path)


# Round trips


@few_examples
@given(st.dictionaries(texts, st.one_of(st.none(), st.booleans(), st.integers(), finite, texts)))
def test_json_of_clips_and_layers_is_read_as_written(value: dict[str, Any]) -> None:
    assert load(dump(value), "clip.json") == value


@few_examples
@given(st.fractions(max_denominator=10**9))
def test_the_start_of_sound_is_exact(offset: Fraction) -> None:
    assert read_seconds(load(dump({"offset": str(offset)}), "layer.json"), "offset", "") == offset


@few_examples
@given(
    st.fractions(Fraction(1, 10**6), Fraction(10**6), max_denominator=10**6),
    st.sets(st.integers(-(2**63), 2**63), min_size=1, max_size=9),
)
def test_rates_and_times_are_exact(rate: Fraction, ticks: set[int]) -> None:
    times = Timestamps(1 / rate, tuple(sorted(ticks)))
    stored = load(dump({"fps": rational_text(rate), "timestamps": timestamps_json(times)}), "clip.json")
    assert read_rational(stored, "fps", "") == rate and read_timestamps(stored, len(ticks), "") == times


SHAPES = npst.array_shapes(max_dims=4, max_side=4, min_side=0)
DTYPES = st.one_of(npst.floating_dtypes(), npst.integer_dtypes(), npst.unsigned_integer_dtypes(), npst.boolean_dtypes())


@few_examples
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), npst.arrays(DTYPES, SHAPES), max_size=3))
def test_arrays_are_read_as_written(stored: dict[str, np.ndarray]) -> None:
    loaded = load_npz(npz_bytes(stored))
    assert loaded.keys() == stored.keys()
    for name, array in stored.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


@few_examples
@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_label_maps_are_read_as_written(ids: np.ndarray) -> None:
    png = encode(ids, "png")
    assert np.array_equal(from_file("a.png", png, read_labels), ids)
    assert np.array_equal(decode_image(png, "", 1), ids)
    assert np.array_equal(np.array(Image.open(io.BytesIO(png))), ids)


FLOWS = npst.arrays(np.float32, (3, 4, 2), elements=st.floats(-65504, 65504, width=32))


@few_examples
@given(FLOWS, npst.arrays(np.uint8, (3, 4)))
def test_flow_is_read_as_written_and_by_opencv(flow: np.ndarray, confidence: np.ndarray) -> None:
    field = FlowField(flow, confidence)
    assert np.array_equal(from_file("a.flo", flow_bytes(field, "flo"), read_flow).flow, flow)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.flo").write_bytes(flow_bytes(field, "flo"))
        assert np.array_equal(cv2.readOpticalFlow(f"{folder}/a.flo"), flow)
    again = from_file("a.npz", flow_bytes(field, "npz"), read_flow)
    assert np.array_equal(again.flow, flow) and np.array_equal(again.confidence, confidence)


POINTS = npst.arrays(np.float32, (25, 3), elements=st.floats(3, 1000, width=32))


@few_examples
@given(POINTS)
def test_poses_of_openpose_are_read_exactly(points: np.ndarray) -> None:
    points[:, 2] /= 1024
    body = {"people": [{"pose_keypoints_2d": points.ravel().tolist()}]}
    loaded = from_file("0_keypoints.json", json.dumps(body).encode(), lambda path: read_openpose([path], body="body_25"))
    assert np.array_equal(loaded.arrays["keypoints"][0, 0], points)


@few_examples
@given(POINTS)
def test_coco_keeps_the_seventeen_points_that_it_has(points: np.ndarray) -> None:
    points[:, 2] /= 1024
    nose, ankle = points[0], points[16]
    result = [{"image_id": 7, "category_id": 1, "keypoints": points[:17].ravel().tolist()}]
    loaded = from_file("a.json", json.dumps(result).encode(), read_coco).arrays["keypoints"][0, 0]
    assert np.array_equal(loaded[0], nose) and np.array_equal(loaded[11], ankle), "the right ankle is point 11 of BODY_25"


@few_examples
@given(npst.arrays(np.float32, (68, 2), elements=st.floats(3, 1000, width=32)))
def test_landmarks_are_read_exactly_from_json_and_text(points: np.ndarray) -> None:
    for name, content in (("a.json", json.dumps(points.tolist())), ("a.txt", "\n".join(f"{x!r},{y!r}" for x, y in points.tolist()))):
        loaded, _ = from_file(name, content.encode(), lambda path: read_landmarks([path], (1024, 1024)))
        assert np.array_equal(loaded["points"][0, 0, :, :2], points)


FLOAT16_ARRAYS = npst.arrays(np.float16, (2, 3), elements=st.floats(-100, 100, width=16))


@few_examples
@given(st.dictionaries(st.from_regex(r"[a-z][a-z.]{0,9}", fullmatch=True), FLOAT16_ARRAYS, min_size=1, max_size=4))
def test_models_are_read_as_written(tensors: dict[str, np.ndarray]) -> None:
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")
        save_model(path, state, PRESETS["tiny"], {"é": "\u202e"})
        info, loaded = read_model(path)
    assert info["é"] == "\u202e" and loaded.keys() == tensors.keys()
    assert all(np.array_equal(loaded[name].numpy(), array.astype(np.float32)) for name, array in tensors.items())


@few_examples
@given(
    st.floats(1e-9, 1), st.integers(1, 32), st.lists(st.integers(1, 10**9), min_size=1, max_size=4),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)  # fmt: skip
def test_recipes_are_read_exactly_and_configurations_survive_json(
    rate: float, max_examples: int, steps: list[int], betas: tuple[float, float]
) -> None:
    phases = "".join(f"[[phases]]\nsteps = {count}\n" for count in steps)
    toml = f'network = "tiny"\nlearning_rate = {rate!r}\nmax_examples = {max_examples}\nbetas = [{betas[0]!r}, {betas[1]!r}]\n{phases}'
    config = from_file("r.toml", toml.encode(), lambda path: read_recipe(str(path)))
    assert (config.learning_rate, config.max_examples, config.betas, [phase.steps for phase in config.phases]) == (
        rate,
        max_examples,
        betas,
        steps,
    )
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


CLIPS = st.lists(names | st.just("caf\udce9"), min_size=1, max_size=5, unique=True)


@few_examples
@given(CLIPS, st.integers(0, 4), st.integers(0, 3), st.booleans())
def test_keys_and_answers_of_studies_are_read_as_written(clips: list[str], catch: int, per_worker: int, reference: bool) -> None:
    key = draw_key(("ours", "théirs"), clips, catch, per_worker, reference, {"question": "\u202e"})
    with tempfile.TemporaryDirectory() as folder:
        key.write(Path(folder, "s.key.json"))
        assert read_key(Path(folder, "s.key.json")) == key
        videos = {question.id: question.videos for question in key.questions}
        rows = [{"question": name, "shown": videos[name][::-1], "chosen": videos[name][1], "seconds": 1} for name in key.blocks[0]]
        answers = {"schema": "fsv2v.answers/1", "study": key.study, "worker": "w", "code": "c", "answers": rows}
        Path(folder, "a.json").write_text(json.dumps(answers))
        choices = read_answers(Path(folder, "a.json"), key).choices
    assert [(choice.question.id, choice.first, choice.left) for choice in choices] == [(name, False, True) for name in key.blocks[0]]


TABLE_CELLS = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\\ufeff"), min_size=1, max_size=9)


@few_examples
@given(st.dictionaries(TABLE_CELLS.filter(lambda text: not text.endswith((".zip", ".clip"))), TABLE_CELLS, max_size=6))
def test_tables_of_subjects_are_read_exactly(subjects: dict[str, str]) -> None:
    text = "".join(f"{clip}\t{subject}\n" for clip, subject in subjects.items())
    assert from_file("subjects.tsv", text.encode(), lambda path: read_subjects(str(path))) == subjects


@few_examples
@given(texts, st.dictionaries(texts, st.one_of(texts, st.integers(), st.booleans()), max_size=3))
def test_the_key_of_a_producer_contains_its_parameters_as_json(backend: str, parameters: dict[str, Any]) -> None:
    assert parse_json(Producer("stage", backend, parameters).key())["parameters"] == parameters


# Arbitrary content

KEY = Key("s", ("a", "b"), (), (("q",),), {})


def clip_json(path: Path) -> None:
    check_clip(load(path.read_bytes(), "clip.json"), "clip.json")


STUDY = {"schema": "fsv2v.study/1", "study": "", "methods": [], "questions": [], "blocks": [], "request": {}}
ROW = {"id": "a", "clip": "a", "subject": "a", "source": "a", "split": "val", "num_frames": 1, "fps_value": 25}
READERS: dict[str, tuple[str, Callable[[Path], object], dict[str, Any]]] = {
    "clip": ("clip.json", clip_json, {"schema": "fsv2v.clip/1", "id": "a", "width": 1, "height": 1, "num_frames": 1, "fps": "1"}),
    "openpose": ("0.json", lambda path: read_openpose([path]), {"people": [{"pose_keypoints_2d": [1.0] * 75}]}),
    "coco": ("a.json", read_coco, {"images": [{"id": 1}], "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [5] * 51}]}),
    "landmarks": ("a.json", lambda path: read_landmarks([path], (9, 9)), {}),
    "label table": ("t.json", lambda path: find_table(str(path)), {}),
    "study": ("s.key.json", read_key, STUDY),
    "answers": ("a.json", lambda path: read_answers(path, KEY), {"schema": "fsv2v.answers/1", "study": "s", "worker": "", "answers": []}),
    "rows": ("clips.ndjson", lambda path: read_rows(path.parent), ROW),
}


@few_examples
@given(st.data())
@pytest.mark.parametrize("name", READERS)
def test_readers_of_json_return_a_value_or_raise_an_error_with_a_sentence(name: str, data: st.DataObject) -> None:
    """The content is any JSON value, or a valid one with a few arbitrary fields; keys may be repeated."""
    file, read, valid = READERS[name]
    changed = st.dictionaries(st.sampled_from([*valid, "other"]), values, max_size=3).map(lambda fields: {**valid, **fields})
    value = data.draw(st.one_of(values, changed, st.lists(changed, max_size=2)))
    text = json.dumps(value)
    if isinstance(value, dict) and data.draw(st.booleans()):
        text = text[:-1] + ', "id": 1, "id": 2}' if value else '{"id": 1, "id": 2}'
    try:
        from_file(file, text.encode(), read)
    except Fsv2vError as error:
        assert str(error).strip()


@pytest.mark.parametrize("value", ["NaN", "1e999"])
def test_a_row_of_a_dataset_with_a_number_outside_of_json_is_damaged(tmp_path: Path, value: str) -> None:
    (tmp_path / "clips.ndjson").write_text(json.dumps({**ROW, "fps": 0}).replace('"fps": 0', f'"fps": {value}'))
    with pytest.raises(InvalidClip, match="damaged in line 1"):
        read_rows(tmp_path)


@few_examples
@given(st.integers(1, 200000), st.sampled_from(["[", '{"a":']))
def test_unclosed_nesting_of_any_depth_is_refused(depth: int, opening: str) -> None:
    with pytest.raises(ValueError):
        parse_json(opening * depth)
    with pytest.raises(InputError):
        from_file("a.json", (opening * depth).encode(), read_coco)


@few_examples
@given(npst.arrays(st.one_of(DTYPES, npst.complex_number_dtypes(), npst.unicode_string_dtypes()), SHAPES))
def test_any_array_read_as_flow_gives_a_finite_flow_or_an_error(array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, flow=array)
    try:
        loaded = from_file("a.npz", buffer.getvalue(), read_flow)
    except InputError:
        return
    assert loaded.flow.shape[2] == 2 and np.isfinite(loaded.flow).all()


@few_examples
@given(st.integers(-(2**70), 2**70) | st.just(10**400), st.integers(1, 2**21))
def test_any_image_size_in_coco_gives_finite_points_or_an_error(width: int, height: int) -> None:
    coco = {"images": [{"id": 1, "width": width, "height": height}], "annotations": [{"image_id": 1, "keypoints": [5] * 51}]}
    try:
        loaded = from_file("a.json", json.dumps(coco).encode(), lambda path: read_coco(path, size=(640, 480)))
    except InputError:
        return
    assert np.isfinite(loaded.arrays["keypoints"]).all()
