"""The baselines of table 1: limbs move by similarity transforms, flow follows the shifts of the joints, and a still person stays still."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.conditions.framing import frame_of, sample_of
from stages.conditions.poses import NAMES
from stages.conditions.tracks import DetectorNoise
from stages.conditions.view import View
from stages.models import load_model, save_model
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.common.objective import LossWeights, Target, generator_losses
from stages.networks.families import as_family, build
from stages.networks.fewshot.config import PRESETS

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
HEIGHT, WIDTH = 64, 32
METHODS = ("posewarp", "monkeynet")


@pytest.fixture(scope="module", autouse=True)
def baselines() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        return import_module("baselines")


@pytest.fixture(scope="module")
def joints(baselines: ModuleType) -> ModuleType:
    return import_module("baselines.joints")


@pytest.fixture(scope="module")
def posewarp(baselines: ModuleType) -> ModuleType:
    return import_module("baselines.posewarp")


def body(seed: int = 0) -> np.ndarray:
    """An upright person in the middle of the frame, with random shifts of the joints: [25, 3]."""
    points = {
        "nose": (16, 10), "neck": (16, 15), "shoulder": (5, 16), "elbow": (7, 24), "wrist": (8, 31), "mid hip": (16, 34), "hip": (3, 34),
        "knee": (4, 45), "ankle": (4, 55), "eye": (1, 9), "ear": (2, 10), "big toe": (6, 57), "small toe": (7, 57), "heel": (4, 56),
    }  # fmt: skip
    points_of_body = []
    for name in NAMES:
        side, part = (-1, name[6:]) if name.startswith("right ") else (1, name[5:]) if name.startswith("left ") else (0, name)
        x, y = points[part]
        points_of_body.append((16 + side * x if side else x, y, 1))
    rng = np.random.default_rng(seed)
    return np.array(points_of_body, np.float32) + np.c_[rng.uniform(-1.5, 1.5, (len(NAMES), 2)), np.zeros(len(NAMES))].astype(np.float32)


def config(method: str) -> GeneratorConfig:
    channels = import_module("baselines.joints").CHANNELS
    return as_family(replace(PRESETS["tiny"], kind="poses+joints", semantic_channels=channels, size=(HEIGHT, WIDTH)), method)


def semantic(*bodies: np.ndarray) -> Tensor:
    """s_t of these bodies, [B, 28, H, W]."""
    return driving(*bodies).semantic


def driving(*bodies: np.ndarray) -> Frame:
    """Driving frames [B, ...] without images."""
    view = View.scaled(HEIGHT, WIDTH, HEIGHT, WIDTH)
    tracks = [import_module("baselines.joints").JointTrack(body[None, None]) for body in bodies]
    return frame_of([sample_of(track, 0, view) for track in tracks], torch.device("cpu"))


def example(*bodies: np.ndarray, count: int = 1) -> Frame:
    """These bodies with images, as `count` equal examples each, [B, K, ...]."""
    frame = replace(driving(*bodies), image=image(len(bodies)))
    return frame.map(lambda x: torch.stack([x] * count, 1))


def image(count: int = 1) -> Tensor:
    """Smooth random images [count, 3, H, W]."""
    small = torch.rand(count, 3, 9, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(small, (HEIGHT, WIDTH), mode="bicubic").clamp(-1, 1)


def build_network(method: str, seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return build(config(method))


# the joints


def test_joints_are_read_from_their_heat_maps(joints: ModuleType):
    person = body()
    points, present = joints.joint_positions(torch.from_numpy(joints.heat_maps(person, HEIGHT, WIDTH))[None])
    assert present.all() and np.abs(points[0].numpy() - person[:, :2]).max() < 0.02


def test_joints_that_are_missing_or_outside_the_frame_are_absent(joints: ModuleType):
    person = body()
    person[3, 2], person[4, :2] = 0, (-3, 20)
    _, present = joints.joint_positions(torch.from_numpy(joints.heat_maps(person, HEIGHT, WIDTH))[None])
    assert [NAMES[joint] for joint in (~present[0]).nonzero()[:, 0]] == ["right elbow", "right wrist"]


def test_detector_noise_removes_joints_from_the_heat_maps(joints: ModuleType):
    track, view = joints.JointTrack(body()[None, None]), View.scaled(HEIGHT, WIDTH, HEIGHT, WIDTH)
    clean = track.semantic(0, view)
    for seed in range(20):
        damaged = track.semantic(0, view, DetectorNoise(seed))
        lost = damaged[joints.DRAWN :].max((1, 2)) == 0
        if lost.any():
            break
    assert lost.any() and clean.shape == damaged.shape == (joints.CHANNELS, HEIGHT, WIDTH) and clean[joints.DRAWN :].max((1, 2)).all()


# PoseWarp


def test_the_similarity_is_the_least_squares_solution(posewarp: ModuleType):
    rng = torch.Generator().manual_seed(0)
    points, targets = torch.rand(2, 6, 6, 2, generator=rng) * 40
    present = torch.rand(6, 6, generator=rng) > 0.3
    factor, shift = posewarp.similarity(points, targets, present, 0.0)
    for index in range(6):
        known = present[index].numpy()
        x, y = points[index].numpy()[known].T
        ones, zeros = np.ones_like(x), np.zeros_like(x)
        system = np.concatenate([np.c_[x, -y, ones, zeros], np.c_[y, x, zeros, ones]])  # x' = a x - b y + c, y' = b x + a y + d
        a, b, c, d = np.linalg.lstsq(system, targets[index].numpy()[known].T.ravel(), rcond=None)[0]
        assert np.allclose([factor[index].real, factor[index].imag, shift[index].real, shift[index].imag], [a, b, c, d], atol=1e-3)


def test_a_limb_seen_from_its_end_is_shifted_and_not_rotated(posewarp: ModuleType):
    points, targets = torch.tensor([[[5.0, 5.0], [5.0, 5.0]]]), torch.tensor([[[9.0, 4.0], [9.0, 4.0]]])
    factor, shift = posewarp.similarity(points, targets, torch.ones(1, 2, dtype=torch.bool), 1.0)
    assert torch.isclose(factor, torch.ones(1, dtype=factor.dtype)).all() and torch.isclose(shift, torch.tensor([4 - 1j])).all()


def test_moved_limbs_are_those_of_a_loop(posewarp: ModuleType):
    """Each pixel of each limb is interpolated separately; the similarity of the joints is computed by numpy."""
    here, there, source = body(1), body(2), image()
    masks = torch.rand(1, len(posewarp.LIMBS), HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))
    known = torch.ones(1, len(NAMES), dtype=torch.bool)
    points = [(torch.from_numpy(person[None, :, :2].copy()), known) for person in (here, there)]
    moved = posewarp.move_limbs(source, masks, *points)[0].unflatten(0, (len(posewarp.LIMBS), 4)).numpy()
    for number in (0, 3, 8):
        limb = posewarp.LIMBS[number]
        cut = np.concatenate([source[0].numpy() * masks[0, number].numpy(), masks[0, number : number + 1].numpy()])
        assert np.abs(moved[number] - move_by_loops(cut, here, there, list(limb.joints), posewarp.MIN_LIMB * HEIGHT)).max() < 1e-3


def move_by_loops(cut: np.ndarray, here: np.ndarray, there: np.ndarray, chosen: list[int], short: float) -> np.ndarray:
    """The limb `cut` [4, H, W] after the similarity of the `chosen` joints from `here` to `there` [25, 3]. short: see MIN_LIMB."""
    source, target = (person[chosen, 0] + 1j * person[chosen, 1] for person in (here, there))
    a, b = target - target.mean(), source - source.mean()
    factor = (np.mean(a.conj() * b) + short**2) / (np.mean(np.abs(a) ** 2) + short**2)
    out = np.zeros_like(cut)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            position = factor * (x + 1j * y - target.mean()) + source.mean()
            left, top = int(np.floor(position.real)), int(np.floor(position.imag))
            for v, u in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= v < HEIGHT and 0 <= u < WIDTH:
                    out[:, y, x] += cut[:, v, u] * (1 - abs(position.real - u)) * (1 - abs(position.imag - v))
    return out


def test_a_pixel_on_a_bone_belongs_to_the_limb_and_a_distant_one_to_the_background(posewarp: ModuleType):
    person = body()
    points, present = torch.from_numpy(person[None, :, :2].copy()), torch.ones(1, len(NAMES), dtype=torch.bool)
    shares = posewarp.rough_masks(points, present, HEIGHT, WIDTH).softmax(1)[0]
    x, y = np.round((person[9] + person[10])[:2] / 2).astype(int)
    assert posewarp.LIMBS[shares[:, y, x].argmax()].joints == (9, 10)
    assert shares[-1, 0, 0] > 0.9 and torch.allclose(shares.sum(0), torch.ones(HEIGHT, WIDTH))


def test_a_limb_without_joints_is_left_out(posewarp: ModuleType):
    points, known = torch.from_numpy(body()[None, :, :2].copy()), torch.ones(1, len(NAMES), dtype=torch.bool)
    without_elbow = known.clone()
    without_elbow[:, 3] = False  # the right one
    moved = posewarp.move_limbs(image(), torch.ones(1, 10, HEIGHT, WIDTH), (points, known), (points, without_elbow))[0].unflatten(
        0, (10, 4)
    )
    empty = [limb.joints for limb, part in zip(posewarp.LIMBS, moved, strict=True) if not part.any()]
    assert empty == [(2, 3), (3, 4)]


def test_limbs_of_a_still_person_add_up_to_the_image(posewarp: ModuleType):
    source, maps = image(), semantic(body())[:, 3:]
    network: Any = build_network("posewarp")
    masks = network.masks(source, maps)
    joint_positions = import_module("baselines.joints").joint_positions(maps)
    moved = posewarp.move_limbs(source, masks[:, :-1], joint_positions, joint_positions)
    assert torch.allclose(moved.unflatten(1, (10, 4))[:, :, :3].sum(1) + source * masks[:, -1:], source, atol=1e-4)

    composed, cover = posewarp.compose_limbs(moved)
    assert torch.allclose(cover, 1 - masks[:, -1:], atol=1e-4)
    assert torch.allclose(composed[(cover > 0.1).expand_as(composed)], source[(cover > 0.1).expand_as(composed)], atol=1e-3)


# MonkeyNet


def test_the_flow_of_a_still_person_is_only_the_residual():
    network, person = build_network("monkeynet"), body()
    torch.nn.init.zeros_(network.get_parameter("to_residual.weight"))
    synthesis = network.synthesize(network.encode_examples(example(person)), driving(person))
    assert synthesis.example is not None
    assert synthesis.example.flow.abs().max() == 0 and torch.allclose(synthesis.example.image, image(), atol=1e-5)


def test_an_image_whose_joints_all_shift_equally_shifts_with_them():
    """With masks that leave nothing to the background, the flow is the shift, and points from the frame into the example."""
    network, person = build_network("monkeynet"), body()
    shifted = person + np.array([2, -3, 0], np.float32)
    torch.nn.init.zeros_(network.get_parameter("to_residual.weight"))
    torch.nn.init.zeros_(network.get_parameter("to_masks.weight"))
    with torch.no_grad():
        network.get_parameter("to_masks.bias")[-1] = -50.0
    synthesis = network.synthesize(network.encode_examples(example(person)), driving(shifted))
    assert synthesis.example is not None
    assert torch.allclose(
        synthesis.example.flow, torch.tensor([-2.0, 3.0])[None, :, None, None].expand_as(synthesis.example.flow), atol=0.05
    )
    assert torch.allclose(synthesis.example.image[..., :-5, 4:], image()[..., 3:-2, 2:-2], atol=0.1)


# PoseWarp and MonkeyNet


@pytest.mark.parametrize("method", METHODS)
def test_frames_are_in_range_and_every_weight_has_a_gradient(method: str):
    network = build_network(method)
    code = network.encode_examples(example(body(1), body(2), count=3))
    synthesis = network.synthesize(code, driving(body(3), body(4)))
    assert synthesis.frame.shape == (2, 3, HEIGHT, WIDTH) and synthesis.frame.abs().max() <= 1
    assert synthesis.shares is not None
    assert synthesis.shares.tolist() == [[1, 0, 0]] * 2 and network.select_examples(code, [1]).examples.required_image.shape[1] == 1
    ((synthesis.frame - image(2)) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_images_without_a_person_can_be_used(method: str):
    network, nobody = build_network(method), np.zeros((len(NAMES), 3), np.float32)
    frame, past = network.step(network.encode_examples(example(nobody)), driving(nobody))
    assert frame.isfinite().all() and past.required_image is frame


@pytest.mark.parametrize("method", (*METHODS, "no-flow-warping"))
def test_a_saved_baseline_is_loaded_and_rendered_by_its_own_family(method: str, tmp_path: Path):
    network, person = build_network(method).eval(), example(body())
    save_model(tmp_path / "baseline.safetensors", network.state_dict(), config(method), {"step": 0})
    model = load_model(tmp_path / "baseline.safetensors")
    assert type(model.generator) is type(network) and model.config.family == method
    renderer, frame = Renderer(model.generator, InferenceOptions("fp32")), driving(body(1))
    fast, past = renderer.step(renderer.encode_examples(person), frame)
    with torch.no_grad():
        exact, _ = network.step(network.encode_examples(person), frame)
    assert torch.allclose(fast, exact, atol=5e-3)  # files store float16
    renderer.step(renderer.encode_examples(person), frame, past)


def test_a_method_that_is_not_registered_is_refused_by_name():
    with pytest.raises(TypeError, match="'osewarp'"):
        build(config("osewarp"))


def test_the_loss_of_a_warp_without_a_mask_has_no_mask_term():
    network, person = build_network("monkeynet"), body()
    synthesis = network.synthesize(network.encode_examples(example(person)), driving(person))
    target = Target(replace(driving(person), image=image()), example(person))
    terms = generator_losses(
        synthesis, target, LossWeights(), None, None, import_module("stages.networks.common.discriminator_inputs").History([], [], [])
    )
    assert set(terms) == {"l1", "raw", "warp", "keypoint"}


def test_without_flow_warping_the_previous_frame_guides_but_is_never_copied():
    torch.manual_seed(0)
    network, person = build_network("no-flow-warping").eval(), driving(body())
    code = network.encode_examples(example(body()))
    with torch.no_grad():
        dark, bright = (network.synthesize(code, person, replace(person, image=torch.full_like(image(), value))) for value in (-1.0, 1.0))
    assert dark.previous is not None and dark.previous_mask is not None and dark.example is not None and dark.example_mask is not None
    assert dark.previous_mask.min() > 0.999 and dark.previous.flow.abs().max() == 0
    assert (dark.frame - bright.frame).abs().max() > 0
    assert torch.allclose(dark.frame, torch.lerp(dark.example.image, dark.raw, dark.example_mask), atol=1e-4)
