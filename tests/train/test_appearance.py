"""Training with an appearance encoder: instances in batches, edges, exact resume, and the mixtures in the model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from streets import LABELS, make_street

from stages.build_dataset import DatasetOptions, build
from stages.clip import open_clip
from stages.conditions.framing import frame_of, sample_of
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.errors import InputError, UsageError
from stages.models import load_model
from stages.networks.vid2vid import PRESETS
from stages.train import LoggingSettings, Phase, TrainConfig, TrainOptions, read_recipe, train
from stages.train.data import Dataset

NETWORK = replace(
    PRESETS["tiny-vid2vid"], kind="segment", semantic_channels=len(LABELS), appearance=3, appearance_filters=4, appearance_downs=2
)
RECIPE = replace(
    read_recipe("vid2vid-street-512"),
    generator=NETWORK,
    perceptual="none",
    phases=(Phase(2, scale=0.5, batch=2, frames=2), Phase(1, batch=2, finest_only=True), Phase(1, batch=1, frames=2, rollout=2)),
)
RECIPE = replace(RECIPE, discriminators=replace(RECIPE.discriminators, filters=4, layers=2))


@pytest.fixture(scope="module")
def streets(tmp_path_factory) -> Path:
    """A dataset of two drawn streets with instances, one of them held out."""
    folder = tmp_path_factory.mktemp("streets")
    clips = [str(make_street(folder / f"street{i}.clip", seed=i).path) for i in range(2)]
    assert {report.status for report in build(clips, folder / "set", DatasetOptions(size=64, held_out=("street1",)))} == {"done"}
    return folder / "set"


def train_model(data: Path, out: Path, config: TrainConfig = RECIPE, **more) -> Path:
    return train(config, TrainOptions(data, "cpu", LoggingSettings(1, 0)), out, **more)


@pytest.fixture(scope="module")
def run(streets, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("appearance") / "run"
    train_model(streets, out)
    return out


def test_batches_have_the_regions_of_their_instances(streets):
    data = Dataset(streets, "segment", "train")
    batch = data.batch(RECIPE, 0, Phase(1, batch=2, frames=2))
    regions, semantic = batch.frames.regions, batch.frames.semantic
    assert regions is not None and regions.shape == (2, 2, 64, 64) and regions.dtype == torch.int32
    car = LABELS.index("car")
    for region in regions.unique().tolist():
        labels = semantic.movedim(2, 4)[regions == region]
        assert region == 0 or (labels == labels[0]).all(), "a region has one label"
    counts = {len(regions[b, t][semantic[b, t, car] > 0].unique()) for b in range(2) for t in range(2)}
    assert counts == {2}, "two touching cars are two regions"
    assert data.batch(replace(RECIPE, generator=replace(NETWORK, appearance=0)), 0, Phase(1, batch=1)).frames.regions is None


def test_without_instances_regions_are_connected_pieces_and_edges_are_refused(tmp_path):
    clip = make_street(tmp_path / "plain.clip", instances=False)
    list(build([str(clip.path)], tmp_path / "set", DatasetOptions(size=64)))
    batch = Dataset(tmp_path / "set", "segment", "train").batch(replace(RECIPE, jitter=0.0), 0, Phase(1, batch=1))
    labels = batch.frame(0).semantic[0].argmax(0).numpy()
    car = LABELS.index("car")
    pieces, _ = cv2.connectedComponents((labels == car).astype(np.uint8))
    assert batch.frames.regions is not None
    assert len(batch.frames.regions[0, 0].numpy()[labels == car].tolist()) > 0 and pieces - 1 == 1, "the cars touch"
    edges = replace(RECIPE, generator=replace(NETWORK, kind="segment+instances", semantic_channels=len(LABELS) + 1))
    with pytest.raises(InputError, match="has no layer 'instances'"):
        train_model(tmp_path / "set", tmp_path / "run", edges)
    assert not (tmp_path / "run").exists()


def test_a_model_with_edges_has_one_more_channel(streets, tmp_path):
    network = replace(NETWORK, kind="segment+instances", semantic_channels=len(LABELS) + 1, foreground=("car",))
    train_model(streets, tmp_path / "run", replace(RECIPE, generator=network, phases=(Phase(1, batch=1),)))
    config = load_model(tmp_path / "run").config
    assert config == replace(network, foreground=(LABELS.index("car"),))


def test_an_appearance_encoder_for_faces_is_refused(painted_dataset, tmp_path):
    faces = replace(RECIPE, generator=replace(NETWORK, kind="landmarks", semantic_channels=7))
    with pytest.raises(UsageError, match="an appearance belongs to regions of label maps, and landmarks has none"):
        train_model(painted_dataset, tmp_path / "run", faces)
    assert not (tmp_path / "run").exists()


def test_a_run_resumes_exactly_while_the_encoder_is_frozen(run, streets, tmp_path):
    """The snapshot, with its mixtures, has the same bytes."""

    def stop(row):
        if row.get("step") == 2 and "gan" in row:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_model(streets, tmp_path / "run", event=stop)
    finished = train_model(streets, tmp_path / "run")
    assert finished.read_bytes() == (run / finished.name).read_bytes()
    assert (tmp_path / "run" / "log.ndjson").read_text() == (run / "log.ndjson").read_text()


def test_the_model_file_has_a_mixture_over_the_instances_of_each_label(run, streets):
    """With fewer than forty instances the mixture is one Gaussian: mean and covariance of the appearances of all instances."""
    model = load_model(run)
    stored = model.info["appearance"]
    assert sorted(stored) == ["car", "road", "sky"], "the streets have no fence"
    clip = open_clip(next((streets / "clips").glob("street0*")))
    track = open_track(clip, "segment")
    view = View.scaled(64, 64, 64, 64)
    appearances = []
    for index in range(clip.num_frames):
        sample = sample_of(track, index, view, view.image(clip.frame(index)), regions=True)
        with torch.no_grad():
            appearance = model.generator.appearance_of(frame_of([sample], torch.device("cpu")))[0].numpy()
        instances, labels = clip.layer("instances").image(index), clip.layer("segment").image(index)
        for instance in np.unique(instances[labels == LABELS.index("car")]):
            appearances.append(appearance[:, (instances == instance) & (labels == LABELS.index("car"))].mean(1))
    mean, covariance = np.mean(appearances, 0), np.cov(np.array(appearances).T, bias=True)
    assert len(appearances) == 2 * clip.num_frames and len(stored["car"]["weights"]) == 1
    assert np.allclose(stored["car"]["means"][0], mean, atol=2e-3), "weights are stored as float16"
    assert np.allclose(stored["car"]["covariances"][0], covariance + 1e-4 * np.eye(3), atol=1e-4)


def test_the_recipe_street_appearance_is_street_small_with_three_appearance_channels_and_mean_colours():
    config, small = read_recipe("street-appearance"), read_recipe("street-small")
    assert config == replace(small, generator=small.generator.with_values(appearance=3, appearance_colour=True))
