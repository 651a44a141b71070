"""Models without examples: a clip that is nearly as large as their images is padded and cropped back; one of another size is scaled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from streets import LABELS, SIDE, street_maps, write_layers

import fsv2v as library
from stages.clip import Clip, create_clip, open_clip, probe
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.errors import ParametersDiffer
from stages.models import Model, load_model, save_model
from stages.models.mixtures import Mixture
from stages.networks import families, fewshot, pix2pixhd, vid2vid
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.images import image_array, image_tensor
from stages.synthesize import Rendering, SynthesizeOptions
from stages.synthesize.fitting import Fitting
from stages.synthesize.own_size import padded

CONFIG = replace(vid2vid.PRESETS["tiny-vid2vid"], kind="segment", semantic_channels=len(LABELS), size=(SIDE, SIDE))
ENHANCED = pix2pixhd.config.PRESETS["tiny-pix2pixhd"].with_values(kind="segment", semantic_channels=len(LABELS), enhancers=1)
CONFIGS: dict[str, GeneratorConfig] = {"vid2vid": CONFIG, "pix2pixhd": ENHANCED}
NEAR = [(61, 67), (70, 58), (63, 64), (65, 66)]
"""Heights and widths that differ from 64x64 by at most a tenth."""
OPTIONS: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


def make_model(path: Path, config: Any, **info: Any) -> Model:
    torch.manual_seed(0)
    save_model(path, families.build(config).state_dict(), config, {"step": 1, **info})
    return load_model(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Model]:
    """A model of each family, with random weights."""
    folder = tmp_path_factory.mktemp("models")
    return {name: make_model(folder / f"{name}.safetensors", config) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def make_drive(tmp_path_factory):
    """make_drive(height, width): a street of this size, of four frames with noise."""
    folder = tmp_path_factory.mktemp("drives")

    def make(height: int, width: int) -> Clip:
        path = folder / f"drive{width}x{height}.clip"
        if not path.exists():
            scaled = lambda frame: cv2.resize(frame, (width, height), interpolation=cv2.INTER_NEAREST)  # noqa: E731
            labels, numbers = (np.stack([scaled(frame) for frame in maps]) for maps in street_maps(4, step=3))
            noise = np.random.default_rng(0).integers(0, 255, (4, height, width, 3), np.uint8)
            write_layers(create_clip(path, iter(noise), storage="png"), labels, numbers)
        return open_clip(path)

    return make


def made(driving: Clip, model: Model, **options: Any) -> NDArray[np.uint8]:
    return np.stack(list(library.synthesize(None, driving, model=model, **{**OPTIONS, **options})))


def heard(driving: Clip, model: Model, **options: Any) -> tuple[list[str], list[str]]:
    """The (warnings, notes) of a synthesis, without the name of the clip."""

    class Heard(library.Reporter):
        warnings: list[str] = []
        notes: list[str] = []

        def warning(self, text: str) -> None:
            self.warnings.append(text.partition(" ")[2])

        def note(self, text: str) -> None:
            self.notes.append(text.partition(" ")[2])

    made(driving, model, reporter=(reporter := Heard()), **options)
    return reporter.warnings, reporter.notes


def maps_by_hand(clip: Clip, multiple: int) -> NDArray[np.float32]:
    """The one-hot label maps of a clip [T, S, H, W], continued by reflection to multiples of `multiple`."""
    labels = np.stack([clip.layer("segment").image(index) for index in range(clip.num_frames)])
    down, right = -clip.height % multiple, -clip.width % multiple
    labels = np.pad(labels, ((0, 0), (0, down), (0, right)), "reflect")
    return (labels[:, None] == np.arange(len(LABELS))[:, None, None]).astype(np.float32)


def frames_by_hand(clip: Clip, model: Model, past: Frame | None = None) -> NDArray[np.uint8]:
    """The frames of the network on padded label maps, cropped to the size of the clip, uint8 [T, H, W, 3]."""
    generator, frames = model.generator, []
    with torch.no_grad():
        for semantic in maps_by_hand(clip, 2**model.config.halvings):
            frame = Frame(torch.from_numpy(semantic)[None], torch.zeros(1, 0, 3))
            image, past = generator.step(generator.encode_examples(None), frame, past)
            frames.append(image_array(image[0])[: clip.height, : clip.width])
    return np.stack(frames)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(("height", "width"), NEAR)
def test_frames_are_those_of_the_network_on_padded_label_maps_cropped_to_the_clip(height, width, family, models, make_drive):
    drive, model = make_drive(height, width), models[family]
    frames = made(drive, model)
    assert frames.shape == (4, height, width, 3)
    expected = frames_by_hand(drive, model)
    assert np.abs(frames.astype(int) - expected).max() <= 1, "grey levels"
    assert np.ptp(expected) > 40, "the image is not uniform"


@pytest.mark.parametrize("suffix", ["clip", "mp4"])
def test_the_file_has_exactly_the_size_of_the_clip(suffix, models, make_drive, tmp_path):
    outcome = library.synthesize(None, make_drive(61, 67), tmp_path / f"out.{suffix}", model=models["vid2vid"], **OPTIONS)
    result: Any = open_clip(outcome.path) if suffix == "clip" else probe(outcome.path)
    assert (result.height, result.width, result.num_frames) == (61, 67, 4)


def test_a_note_says_which_size_was_chosen(models, make_drive):
    """Either the clip keeps its size, or it is scaled; if that changes its shape by more than 5 %, there is a warning."""
    model = models["vid2vid"]
    assert heard(make_drive(SIDE, SIDE), model) == ([], [])
    assert heard(make_drive(61, 67), model) == ([], ["has 67x61 pixels, and so have its frames; the model's images have 64x64"])
    assert heard(make_drive(128, 128), model) == ([], ["has 128x128 pixels and is scaled to 64x64, the size of the model's images"])
    warnings, notes = heard(make_drive(90, 120), model)
    assert notes == [] and [text.partition(":")[0] for text in warnings] == ["has 120x90 pixels and is squeezed to 64x64"]
    for height, width in ((128, 128), (90, 120), (71, 64), (64, 57)):
        assert made(make_drive(height, width), model).shape == (4, SIDE, SIDE, 3)


def test_the_size_of_the_model_can_be_asked_for(models, make_drive, tmp_path):
    drive, model = make_drive(66, 66), models["vid2vid"]
    assert made(drive, model, size="model").shape == (4, SIDE, SIDE, 3)
    assert heard(drive, model, size="model")[1] == ["has 66x66 pixels and is scaled to 64x64, the size of the model's images"]
    out = tmp_path / "out.mp4"
    first, again = (library.synthesize(None, drive, out, model=model, **OPTIONS).status for _ in range(2))
    assert (first, again) == ("done", "skipped")
    with pytest.raises(ParametersDiffer, match="frame_size"):
        library.synthesize(None, drive, out, model=model, size="model", **OPTIONS)


def test_all_scales_make_a_clip_of_slightly_smaller_height(models, make_drive):
    """A clip of half the model's height would be made by the coarsest scale alone."""
    drive, model = make_drive(58, 64), models["vid2vid"]
    frame = Frame(torch.from_numpy(maps_by_hand(drive, 4)[:1]), torch.zeros(1, 0, 3))
    with torch.no_grad():
        assert len(model.generator.synthesize(None, frame).coarser) == CONFIG.enhancers == 1
    generator: Any = model.generator
    assert [generator.finest(height) for height in (32, 36, 58, 64, 70, 128)] == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("height", "width"), [(61, 67), (63, 69), (122, 134)], ids=["the clip's", "a little larger", "twice the clip's"])
def test_real_first_frames_of_another_size_are_scaled_to_that_of_the_frames(height, width, models, make_drive):
    """The past of the first frame consists of the two last frames of the start, at the size of the driving clip, then padded."""
    drive, start, model = make_drive(61, 67), make_drive(height, width), models["vid2vid"]
    track, view = open_track(start, "segment"), View.scaled(height, width, 61, 67)
    past: Frame | None = None
    for index in (2, 3):
        image = np.pad(view.image(start.frame(index)), ((0, 3), (0, 1), (0, 0)), "reflect")
        semantic = np.pad(track.semantic(index, view), ((0, 0), (0, 3), (0, 1)), "reflect")
        frame = Frame(torch.from_numpy(semantic)[None], torch.zeros(1, 0, 3), image_tensor(image)[None])
        past = model.generator.remember(frame, Synthesis(frame.required_image, frame.required_image), past)
    frames = made(drive, model, start=start)
    assert np.abs(frames.astype(int) - frames_by_hand(drive, model, past)).max() <= 1
    assert np.abs(frames.astype(int) - made(drive, model)).mean() > 1
    scaled = [text for text in heard(drive, model, start=start)[1] if "scaled" in text]
    resized = [f"has {width}x{height} pixels and is scaled to 67x61, the size of the frames"]
    assert scaled == ([] if (height, width) == (61, 67) else resized)


def test_the_appearance_of_instances_covers_a_clip_that_keeps_its_size(tmp_path, make_drive):
    config = replace(CONFIG, appearance=3, appearance_filters=4, appearance_downs=2)
    mixture = Mixture(np.ones(1), np.zeros((1, 3)), 0.1 * np.eye(3)[None]).to_json()
    model = make_model(tmp_path / "m.safetensors", config, appearance=dict.fromkeys(LABELS, mixture))
    drive = make_drive(61, 67)
    assert made(drive, model, appearance="sample:1").shape == (4, 61, 67, 3)
    rendering = Rendering([], drive, model, SynthesizeOptions(appearance="sample:1", device="cpu"), Fitting("none", ""))
    sample = next(rendering.driving.driving_frames()).sample
    assert sample.appearance is not None and sample.appearance.shape == (3, 61, 67)


def test_a_cropped_face_has_the_size_of_the_models_images(tmp_path, make_painted_clip):
    """A crop is scaled in any case. Whole images of faces keep their size, as label maps do."""
    config = replace(CONFIG, kind="landmarks", semantic_channels=7)
    model = make_model(tmp_path / "face.safetensors", config)
    driver = open_clip(make_painted_clip(tmp_path / "driver.clip", 1, num_frames=3, size=66))
    assert made(driver, model, crop="subject").shape[1:3] == (SIDE, SIDE)
    assert made(driver, model, crop="none").shape[1:3] == (66, 66)


def test_a_few_shot_model_ignores_the_size_of_the_clip(tmp_path, make_drive):
    config = replace(fewshot.config.PRESETS["tiny"], kind="segment", semantic_channels=len(LABELS))
    model = make_model(tmp_path / "few.safetensors", config)
    drive = make_drive(61, 67)
    frames = next(iter(library.synthesize(drive, drive, model=model, **OPTIONS)))
    assert frames.shape == (*config.size, 3)


def test_padding_is_a_reflection_of_every_map():
    rng = np.random.default_rng(0)
    maps = {"semantic": rng.random((1, 2, 5, 9)), "image": rng.random((1, 3, 5, 9)), "regions": rng.integers(0, 9, (1, 5, 9))}
    frame = Frame(keypoints=torch.ones(1, 4, 3), **{name: torch.from_numpy(values) for name, values in maps.items()})
    result = padded(frame, 8)
    for name, values in maps.items():
        wide = [(0, 0)] * (values.ndim - 2) + [(0, 3), (0, 7)]
        assert np.array_equal(getattr(result, name).numpy(), np.pad(values, wide, "reflect"))
    assert result.appearance is None and torch.equal(result.keypoints, frame.keypoints)
    assert padded(result, 8) is result
