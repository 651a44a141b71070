"""The appearance of instances in a synthesis: sampled, the mean, or that of an image; constant over time; and refused input."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from streets import CAR, LABELS, SIDE, make_street, street_maps, write_layers

import fsv2v as library
from stages.clip import Clip, create_clip, open_clip, read_frames
from stages.conditions.framing import frame_of, sample_of
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.errors import InputError, UsageError
from stages.models import Model, load_model, save_model
from stages.models.mixtures import Mixture
from stages.networks.vid2vid import PRESETS, Vid2Vid
from stages.synthesize import Choices, Rendering, SynthesizeOptions, variant
from stages.synthesize.fitting import Fitting

CONFIG = replace(
    PRESETS["tiny-vid2vid"], kind="segment", semantic_channels=len(LABELS), appearance=3, appearance_filters=4, appearance_downs=2
)
MIXTURES = {
    name: Mixture(np.array([0.5, 0.5]), np.array([[-0.5, feature, 0.1], [0.5, feature, 0.1]]), np.tile(0.01 * np.eye(3), (2, 1, 1)))
    for name, feature in (("sky", -0.8), ("road", 0.0), ("car", 0.6))
}
NOT_FITTED = Fitting("none", "")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    """A model with random weights and the mixtures MIXTURES."""
    path = tmp_path_factory.mktemp("model") / "street.safetensors"
    torch.manual_seed(0)
    save_model(path, Vid2Vid(CONFIG).state_dict(), CONFIG, {"step": 1, "appearance": {n: m.to_json() for n, m in MIXTURES.items()}})
    return load_model(path)


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Clip:
    return make_street(tmp_path_factory.mktemp("clips") / "drive.clip", num_frames=4, step=3)


def maps_of(clip: Clip, model: Model, appearance: str = "", **more: Any) -> np.ndarray:
    """The appearance maps that a synthesis passes to its network, [T, 3, 64, 64]."""
    options = SynthesizeOptions(appearance=appearance, device="cpu")
    rendering = Rendering([], clip, model, options, NOT_FITTED, **more)
    maps = [frame.sample.appearance for frame in rendering.driving.driving_frames()]
    assert all(each is not None for each in maps)
    return np.stack([each for each in maps if each is not None])


def values_in(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The distinct features [N, 3] in a mask [T, 64, 64]."""
    return np.unique(maps.transpose(0, 2, 3, 1)[mask].round(5), axis=0)


def test_without_a_choice_instances_have_the_mean_of_their_label(model, drive):
    labels, _ = street_maps(4, step=3)
    maps = maps_of(drive, model)
    for name, feature in (("sky", -0.8), ("road", 0.0), ("car", 0.6)):
        assert np.allclose(values_in(maps, labels == LABELS.index(name)), [[0.0, feature, 0.1]], atol=1e-6)
    assert np.array_equal(maps, maps_of(drive, model, "mean"))


@pytest.mark.parametrize("numbers", [True, False], ids=["instance ids", "connected regions"])
def test_each_instance_has_its_own_sample_for_the_whole_video(numbers, model, tmp_path):
    """Without instance ids, an instance is a connected region, here both cars together."""
    clip = make_street(tmp_path / "drive.clip", num_frames=5, step=3, instances=numbers)
    labels, cars = street_maps(5, step=3)
    maps = maps_of(clip, model, "sample:3")
    for label in range(2):
        assert len(values_in(maps, labels == label)) == 1
    one, other = (values_in(maps, cars == number) for number in (7, 9))
    assert len(one) == len(other) == 1 and np.array_equal(one, other) == (not numbers)
    assert np.array_equal(maps, maps_of(clip, model, "sample:3")) and not np.array_equal(maps, maps_of(clip, model, "sample:4"))


def test_samples_are_distributed_like_the_mixture(tmp_path, model):
    """The shares, means and standard deviations of the two components, over 240 cars."""
    labels = np.full((1, SIDE, SIDE), CAR, np.uint8)
    numbers = (1 + np.arange(SIDE * SIDE) % 240).reshape(1, SIDE, SIDE).astype(np.uint8)
    clip = create_clip(tmp_path / "cars.clip", iter(np.zeros((1, SIDE, SIDE, 3), np.uint8)), storage="png")
    write_layers(clip, labels, numbers)
    samples = values_in(maps_of(open_clip(clip.path), model, "sample:0"), labels == CAR)
    assert len(samples) == 240 and np.abs(samples).max() <= 1
    first = samples[:, 0] < 0
    assert first.mean() == pytest.approx(0.5, abs=0.1)
    assert samples[first].mean(0) == pytest.approx([-0.5, 0.6, 0.1], abs=0.03) and samples[first].std(0) == pytest.approx(
        [0.1] * 3, abs=0.02
    )


def test_another_sample_of_the_road_does_not_change_other_instances(model, drive):
    labels, _ = street_maps(4, step=3)
    one, other = (maps_of(drive, model, f"sample:1,road=sample:{seed}") for seed in (1, 8))
    changed = (one != other).any(1)
    assert np.array_equal(changed, labels == LABELS.index("road"))
    assert np.allclose(values_in(maps_of(drive, model, "car=mean,sample:1"), labels == CAR), [[0, 0.6, 0.1]], atol=1e-6)


def test_instances_can_have_the_features_of_an_image(model, drive, tmp_path):
    labels, cars = street_maps(4, step=3)
    image = make_street(tmp_path / "image.clip", seed=5, num_frames=1)
    maps = maps_of(drive, model, "from:p", appearance_images={"p": image})
    track, view = open_track(image, "segment"), View.scaled(SIDE, SIDE, SIDE, SIDE)
    with torch.no_grad():
        sample = sample_of(track, 0, view, image.frame(0), regions=True)
        features = model.generator.appearance_of(frame_of([sample], torch.device("cpu")))[0].numpy()
    image_labels, numbers = street_maps(1)
    for ours, theirs in ((labels == 0, image_labels[0] == 0), (labels == 1, image_labels[0] == 1)):
        assert np.allclose(values_in(maps, ours), features[:, theirs].mean(1)[None], atol=1e-4)
    expected = {tuple(features[:, numbers[0] == number].mean(1).round(3).tolist()) for number in (7, 9)}
    assert {tuple(values_in(maps, cars == number)[0].round(3).tolist()) for number in (7, 9)} == expected, (
        "each car has the features of a car in the image"
    )


def test_a_label_that_the_image_lacks_has_the_mean_appearance_and_a_warning(model, drive, tmp_path):
    plain = create_clip(tmp_path / "sky.clip", iter(np.full((1, SIDE, SIDE, 3), 90, np.uint8)), storage="png")
    write_layers(plain, np.zeros((1, SIDE, SIDE), np.uint8), None)
    appearance_images = {"sky.png": open_clip(plain.path)}
    labels, _ = street_maps(4, step=3)
    assert np.allclose(
        values_in(maps_of(drive, model, "from:sky.png", appearance_images=appearance_images), labels == CAR), [[0, 0.6, 0.1]], atol=1e-6
    )
    rendering = Rendering(
        [], drive, model, SynthesizeOptions(appearance="from:sky.png", device="cpu"), NOT_FITTED, appearance_images=appearance_images
    )
    assert "sky.png shows no car: the mean appearance that the model has learnt is used" in rendering.warnings()
    with pytest.raises(InputError, match=r"sky\.png shows no car"):
        maps_of(drive, model, "car=from:sky.png", appearance_images=appearance_images)


def test_frames_depend_on_the_appearance(model, drive):
    videos = [
        np.stack(list(Rendering([], drive, model, SynthesizeOptions(appearance=a, device="cpu", precision="fp32"), NOT_FITTED).frames()))
        for a in ("sample:1", "sample:1", "sample:2")
    ]
    assert np.array_equal(videos[0], videos[1]) and not np.array_equal(videos[0], videos[2])


# choices


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("sample:3", [(None, "sample:3")]),
        ("road=sample:3, car=mean", [("road", "sample:3"), ("car", "mean")]),
        ("from:a,b=c.png,traffic light=from:x=mean.jpg,mean", [(None, "mean"), ("traffic light", "from:x=mean.jpg")]),
    ],
)
def test_choices_are_parsed_from_text(text, parts):
    if text.startswith("from:a"):
        with pytest.raises(UsageError, match="all labels is both from:a,b=c.png and mean"):
            Choices.parse(text)
        text = text.removeprefix("from:a,b=c.png,")
    assert [(label, str(choice)) for label, choice in Choices.parse(text)] == parts
    assert Choices.parse(str(Choices.parse(text))) == Choices.parse(text)


@pytest.mark.parametrize("text", ["sample", "sample:x", "sample:-1", "red", "car=red", "mean,", "from:", "car=mean,car=sample:1", "=mean"])
def test_invalid_choices_are_refused(text):
    with pytest.raises(UsageError, match="is not an appearance|is both"):
        Choices.parse(text)


def test_variants_have_other_seeds_and_keep_choices_without_samples():
    assert [variant("", number) for number in range(2)] == ["sample:0", "sample:1"]
    assert variant("road=sample:3,car=mean,sample:9", 2) == "sample:11,road=sample:5,car=mean"
    with pytest.raises(UsageError, match="car=mean contains no sample"):
        variant("car=mean", 1)


# refused input


def test_a_model_without_appearance_refuses_a_choice(model, drive, tmp_path):
    plain = replace(CONFIG, appearance=0)
    save_model(tmp_path / "plain.safetensors", Vid2Vid(plain).state_dict(), plain, {"step": 1})
    with pytest.raises(UsageError, match="of the family vid2vid has no appearance to choose"):
        library.synthesize(None, drive, tmp_path / "x.mp4", model=tmp_path / "plain.safetensors", appearance="mean", device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["plain.safetensors"]


@pytest.mark.parametrize(
    ("appearance", "error", "sentence"),
    [
        ("tram=mean", UsageError, "the model has not learnt what tram looks like, only car, road, sky"),
        ("fence=sample:1", UsageError, "has not learnt what fence looks like"),
        ("tram=from:p", UsageError, r"the label table of .* has no tram, only sky, road, car, fence"),
    ],
)
def test_labels_that_are_unknown_or_not_learnt_are_refused(appearance, error, sentence, model, drive):
    with pytest.raises(error, match=sentence):
        maps_of(drive, model, appearance, appearance_images={"p": drive})


def test_a_clip_with_a_label_that_was_not_learnt_or_unstable_instance_ids_is_refused(model, tmp_path):
    labels, numbers = street_maps(3, step=3)
    labels[2, :4] = LABELS.index("fence")
    numbers[1][numbers[1] > 0] = 16 - numbers[1][numbers[1] > 0]
    for name, layers, sentence in (
        ("fence", (labels, None), "shows fence, but the model has learnt only the appearance of"),
        ("jump", (street_maps(3, step=3)[0], numbers), "jump: instance . of frame 0 is instance . in frame 1"),
    ):
        clip = create_clip(tmp_path / f"{name}.clip", iter(np.zeros((3, SIDE, SIDE, 3), np.uint8)), storage="png")
        write_layers(clip, *layers)
        with pytest.raises(InputError, match=sentence):
            library.synthesize(None, open_clip(clip.path), tmp_path / "out.mp4", model=model, device="cpu")
        assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("stored", [None, [], {"car": {}}, {"car": {"weights": [1], "means": [[0]], "covariances": [[[1]]]}}])
def test_a_model_file_with_invalid_mixtures_is_refused(stored, drive, tmp_path):
    save_model(
        tmp_path / "m.safetensors",
        Vid2Vid(CONFIG).state_dict(),
        CONFIG,
        {"step": 1} | ({"appearance": stored} if stored is not None else {}),
    )
    with pytest.raises(InputError, match="lacks valid mixtures of the appearance of labels"):
        maps_of(drive, load_model(tmp_path / "m.safetensors"), "sample:1")


# the command


def test_variants_are_numbered_videos_and_skipped_the_second_time(model, drive, tmp_path, fsv2v):
    command = ["synthesize", "--driving", drive.path, "--model", model.path, "--device", "cpu", "--variants", "2", "-o", "town.mp4"]
    done = fsv2v(*command, "--appearance", f"road=sample:3,car=from:{drive.path}", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert done.lines == ["town-1.mp4", "town-2.mp4"]
    one, two = (np.stack(list(read_frames(tmp_path / name))) for name in done.lines)
    assert one.shape == two.shape == (4, SIDE, SIDE, 3) and not np.array_equal(one, two)
    again = fsv2v(*command, "--appearance", f"road=sample:3,car=from:{drive.path}", "--json", cwd=tmp_path)
    assert [json.loads(line)["status"] for line in again.lines] == ["skipped", "skipped"]
    other = fsv2v(*command, "--appearance", "road=sample:4", cwd=tmp_path)
    assert other.exit_code == 3 and "was made with other parameters" in other.stderr
