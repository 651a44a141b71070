"""Label maps by networks: temporal smoothing, edits of labels, and both segmenters of streets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.clip import as_clip
from stages.conditions.labels import CAMVID, CITYSCAPES_TRAIN_IDS, LabelLayer
from stages.errors import MissingRequirement, UsageError
from stages.segment import SegmentOptions, extract
from stages.segment.edit import edit_lookup
from stages.segment.temporal_smoothing import TemporalSmoother


def moving_square(count: int, step: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(frames of a textured square that moves by `step` pixels over a textured background, masks of the square)."""
    random = np.random.default_rng(0)
    ground, square = random.integers(0, 120, (64, 128, 1), np.uint8), random.integers(140, 255, (24, 24, 1), np.uint8)
    frames, truths = [], []
    for index in range(count):
        frame, truth = np.repeat(ground, 3, -1), np.zeros((64, 128), bool)
        x = 20 + step * index
        frame[20:44, x : x + 24], truth[20:44, x : x + 24] = square, True
        frames.append(frame)
        truths.append(truth)
    return frames, truths


def noisy_probabilities(truths: list[np.ndarray]) -> list[np.ndarray]:
    """Probabilities [2, 64, 128] of a segmenter that is wrong at a random fifth of the pixels of each frame."""
    random = np.random.default_rng(1)
    wrong = [random.random(truth.shape) < 0.2 for truth in truths]
    square = [np.where(truth ^ bad, 0.7, 0.3) for truth, bad in zip(truths, wrong, strict=True)]
    return [np.stack([1 - share, share]).astype(np.float32) for share in square]


@pytest.mark.parametrize("step", [0, 3])
def test_smoothing_reduces_flicker_and_leaves_no_trace_behind_a_moving_object(step: int) -> None:
    frames, truths = moving_square(8, step)
    smooth = TemporalSmoother(1.0)
    results = [smooth(frame, probabilities) for frame, probabilities in zip(frames, noisy_probabilities(truths), strict=True)]
    before = np.mean([probabilities.argmax(0) != truth for probabilities, truth in zip(noisy_probabilities(truths), truths, strict=True)])
    after = np.mean([result.argmax(0) != truth for result, truth in zip(results[3:], truths[3:], strict=True)])
    assert after < 0.6 * before
    if step:
        uncovered = truths[6] & ~truths[7]
        assert (results[7].argmax(0)[uncovered] == 1).mean() < 0.35, "the square leaves no trace"


def test_smoothing_starts_again_at_a_cut_and_with_strength_0_changes_nothing() -> None:
    dark, bright = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 250, np.uint8)
    one, other = (np.stack([np.full((32, 32), share), np.full((32, 32), 1 - share)]).astype(np.float32) for share in (0.9, 0.4))
    smooth = TemporalSmoother(1.0)
    smooth(dark, one)
    assert np.array_equal(smooth(bright, other), other)
    assert TemporalSmoother(0)(dark, one) is one


def test_edits_use_names_or_ids_and_are_applied_together() -> None:
    ids = np.array([0, 1, 5, 255], np.uint8)
    assert edit_lookup(["tree=building"], CAMVID)[ids].tolist() == [0, 1, 1, 255]
    assert edit_lookup(["5 = 1", "1=5"], CAMVID)[ids].tolist() == [0, 5, 1, 255]
    for wrong, sentence in (("tree", "not an edit"), ("tree=house", "no label 'house'"), ("99=1", "no label '99'")):
        with pytest.raises(UsageError, match=sentence):
            edit_lookup([wrong], CAMVID)
    with pytest.raises(UsageError, match="tree cannot become both building and road"):
        edit_lookup(["tree=building", "5=road"], CAMVID)


def test_a_street_is_labelled_by_the_shipped_network(shared: Path, tmp_path: Path) -> None:
    clip = as_clip(shared / "data/streets/udacity_traffic.mp4", tmp_path / "traffic.clip")
    assert extract(clip, SegmentOptions()).status == "done"
    layer = LabelLayer(clip.layer("segment"))
    ids = layer.image(20)
    assert layer.names == CAMVID.names[:11] and ids.shape == (clip.height, clip.width)
    road, sky = (np.argwhere(ids == CAMVID.names.index(name))[:, 0].mean() for name in ("road", "sky"))
    assert road > sky and 0.1 < (ids == CAMVID.names.index("road")).mean() < 0.7
    assert extract(clip, SegmentOptions()).status == "skipped"
    assert extract(clip, SegmentOptions(edits=("tree=building",)), overwrite=True).status == "done"
    assert not (LabelLayer(clip.layer("segment")).image(20) == CAMVID.names.index("tree")).any()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small untrained SegFormer with the labels of Cityscapes, saved by transformers."""
    transformers = pytest.importorskip("transformers")
    labels = dict(enumerate(CITYSCAPES_TRAIN_IDS.names))
    sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1], "decoder_hidden_size": 16}
    config = transformers.SegformerConfig(**sizes, id2label=labels, label2id={name: index for index, name in labels.items()})
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "segformer-tiny")
    return tmp_path / "segformer-tiny"


def test_a_segformer_checkpoint_uses_its_own_label_names(checkpoint: Path, make_tiny_video, tmp_path: Path, capfd) -> None:
    clip = as_clip(make_tiny_video(tmp_path / "a.mp4"), tmp_path)
    options = SegmentOptions(backend="segformer", model=str(checkpoint), edits=("vegetation=building",))
    assert extract(clip, options).status == "done"
    layer = LabelLayer(clip.layer("segment"))
    assert layer.table.palette == CITYSCAPES_TRAIN_IDS.palette
    assert layer.image(0).max() < 19 and not (layer.image(0) == CITYSCAPES_TRAIN_IDS.names.index("vegetation")).any()
    (digest,) = clip.layer("segment").meta["producer"]["weights"].values()
    assert len(digest) == 64
    assert capfd.readouterr().out == ""


def test_a_checkpoint_that_cannot_be_fetched_is_reported_in_a_sentence(make_tiny_video, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    clip = as_clip(make_tiny_video(tmp_path / "a.mp4"), tmp_path)
    with pytest.raises(MissingRequirement, match="not on this machine and cannot be fetched"):
        extract(clip, SegmentOptions(backend="segformer", model="nobody/nothing"))
    with pytest.raises(UsageError, match="needs its backend"):
        extract(clip, SegmentOptions(backend="street", model="x"))
    assert not clip.has("segment")


def test_maps_that_are_too_small_for_flow_are_not_smoothed() -> None:
    flat, probabilities = np.zeros((24, 240, 3), np.uint8), np.full((2, 24, 240), 0.5, np.float32)
    smooth = TemporalSmoother(1.0)
    assert [smooth(flat, probabilities) is probabilities for _ in range(2)] == [True, True]
