"""Metrics of distributions with files of the published networks' format and random weights, through the registry and the loaders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typed_metrics import set_metric

from stages.errors import MissingRequirement, Sentence
from stages.evaluate import EvaluateOptions as Options
from stages.evaluate import evaluate
from stages.evaluate.extractor import Networks, extract
from stages.evaluate.extractors.i3d import FEATURES, I3D, LOGITS
from stages.evaluate.extractors.inception import INCEPTION
from stages.evaluate.extractors.resnext import RESNEXT
from stages.networks.features.i3d import WEIGHTS as I3D_WEIGHTS
from stages.networks.features.i3d import I3d, i3d, preprocess
from stages.networks.features.inception import WEIGHTS as INCEPTION_WEIGHTS
from stages.networks.features.inception import Inception, inception
from stages.networks.features.resnext3d import ResNeXt3d, resnext3d
from stages.networks.features.resnext3d import preprocess as resnext_input
from weights import registry

WriteWeights = Callable[[str, nn.Module], dict[str, torch.Tensor]]


@pytest.fixture
def write_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteWeights:
    """write_weights(name, network): writes a file with random weights, and lets the registry find it."""

    def write(name: str, network: nn.Module) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        state = network.state_dict()
        for key, value in state.items():
            if value.ndim > 2:
                state[key] = torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5
        torch.save(state, tmp_path / name)
        monkeypatch.setattr(registry, "path", lambda name: tmp_path / name)
        monkeypatch.setattr(registry, "available", lambda name: (tmp_path / name).exists())
        return state

    return write


def test_features_of_frames_are_those_of_inception(write_weights: WriteWeights):
    network = inception(write_weights(INCEPTION_WEIGHTS, Inception()))
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    statistics = extract(frames, "x", [INCEPTION], Networks("cpu"), lambda count: None)[INCEPTION.name]
    expected = network(torch.from_numpy(frames).movedim(-1, 1)).numpy()
    assert statistics.count == 3 and np.allclose(statistics.mean, expected.mean(0), rtol=1e-4, atol=1e-5)


def test_features_of_videos_are_those_of_i3d_and_each_metric_uses_its_columns(write_weights: WriteWeights):
    network = i3d(write_weights(I3D_WEIGHTS, I3d()))
    frames = np.random.default_rng(0).integers(0, 256, (20, 30, 40, 3), dtype=np.uint8)
    statistics = extract(frames, "x", [I3D], Networks("cpu"), lambda count: None)[I3D.name]
    features, logits = network(preprocess(torch.from_numpy(frames[:16]).movedim(-1, 1)).movedim(1, 0)[None])
    assert statistics.count == 1, "one window of 16 frames; four frames remain"
    assert np.allclose(statistics.part(*FEATURES).mean, features[0], rtol=1e-3, atol=1e-4)
    assert np.allclose(statistics.part(*LOGITS).mean, logits[0], rtol=1e-3, atol=1e-4)
    assert set_metric("fvd").columns == LOGITS and set_metric("video-fid-i3d").columns == FEATURES


def test_fid_needs_as_many_frames_as_features(make, write_weights: WriteWeights):
    write_weights(INCEPTION_WEIGHTS, Inception())
    truth = make("truth").path
    (score,) = evaluate([truth], [truth], Options(("fid",), device="cpu"))
    assert score.value is None and score.unavailable == f"needs 2048 frames, there are {make.frames - 1}"


@pytest.mark.parametrize(("name", "weights"), [("fid", INCEPTION_WEIGHTS), ("kid", INCEPTION_WEIGHTS), ("fvd", I3D_WEIGHTS)])
def test_a_metric_without_its_network_is_unavailable_and_refused_if_named(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, weights: str
):
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    truth = make("truth").path
    scores = {score.metric: score for score in evaluate([truth], [truth], Options(device="cpu", landmarks="mediapipe"))}
    reason = scores[name].unavailable
    assert scores[name].value is None and isinstance(reason, Sentence) and reason.facts == {"name": weights}
    monkeypatch.setattr("weights.registry.fetch", lambda name: (_ for _ in ()).throw(MissingRequirement(f"{name} cannot be fetched")))
    with pytest.raises(MissingRequirement, match=weights):
        list(evaluate([truth], [truth], Options((name,), device="cpu")))


def test_features_of_videos_are_those_of_resnext(write_weights: WriteWeights, tmp_path: Path):
    state = write_weights(RESNEXT.weights, ResNeXt3d())
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / RESNEXT.weights)
    frames = np.random.default_rng(0).integers(0, 256, (16, 30, 40, 3), dtype=np.uint8)
    statistics = extract(frames, "x", [RESNEXT], Networks("cpu"), lambda count: None)[RESNEXT.name]
    network = resnext3d({"state_dict": state})
    expected = network(resnext_input(torch.from_numpy(frames).movedim(-1, 1)).movedim(1, 0)[None])
    assert statistics.count == 1 and np.allclose(statistics.mean, expected[0], rtol=1e-3, atol=1e-3)


def test_a_network_without_a_checksum_is_unavailable_with_a_reason(make):
    truth = make("truth").path
    reason = set_metric("video-fid-resnext").missing()
    assert "no sha256" in reason and RESNEXT.weights in reason
    with pytest.raises(MissingRequirement, match="video-fid-resnext cannot run.*no sha256"):
        list(evaluate([truth], [truth], Options(("video-fid-resnext",), device="cpu")))


def test_the_networks_of_metrics_are_in_the_manifest_with_their_checksums():
    of_frames = ("alexnet-owt-7be5be79.pth", "lpips-v0.1-alex.pth", "face_recognition_sface_2021dec.onnx")
    for weights in (INCEPTION_WEIGHTS, I3D_WEIGHTS, *of_frames):
        entry = registry.entry(weights)
        assert entry.url.startswith("https://") and len(entry.sha256) == 1 and entry.bytes > 0
    assert registry.entry("alexnet-owt-7be5be79.pth").sha256[0].startswith("7be5be79")
    assert registry.entry(INCEPTION_WEIGHTS).sha256[0].startswith("6726825d")
