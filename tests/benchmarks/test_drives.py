"""The generator of drives: the same command makes the same pixels, and labels, instances, depth and flow match the frames."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from stages.clip import Clip, open_clip
from stages.clip.validate import require_valid
from stages.conditions.kinds import open_track
from stages.conditions.view import View

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
NUMBER, FRAMES, WIDTH, HEIGHT = 0, 3, 193, 97
"""A clip in which a car, a person and the camera move."""


@pytest.fixture(scope="module")
def drives() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        import drives

        return drives


@pytest.fixture(scope="module")
def drive(drives: ModuleType) -> Any:
    """A drive without the blur and noise of the sensor."""
    spec = drives.ClipSpec(0, NUMBER, FRAMES, WIDTH, HEIGHT, "17", "png").drive()
    return replace(spec, weather=replace(spec.weather, noise_level=0.0, blur=0.0))


@pytest.fixture(scope="module")
def frames(drives: ModuleType, drive: Any) -> list[Any]:
    return list(drives.render_clip(drive, FRAMES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a command that was killed after the first of two clips and then run again."""
    out = tmp_path_factory.mktemp("drives")
    with subprocess.Popen(command(out), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == f"{out}/drive-0000.clip\n"
        running.send_signal(signal.SIGKILL)
    assert [path.name for path in out.iterdir() if not path.name.startswith(".")] == ["drive-0000.clip"]
    require_valid(out / "drive-0000.clip")
    written = (out / "drive-0000.clip" / "clip.json").stat().st_mtime_ns
    subprocess.run(command(out), check=True, stdout=subprocess.PIPE)
    assert (out / "drive-0000.clip" / "clip.json").stat().st_mtime_ns == written
    return out


def command(out: Path, *more: object) -> list[str]:
    options = ["--first", NUMBER, "--clips", 2, "--frames", 2, "--size", "67x33", "--storage", "png", "-o", out, *more]
    return [sys.executable, *map(str, [PAPERS / "drives.py", *options])]


def test_a_killed_command_continues_and_leaves_only_complete_clips(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == ["drive-0000.clip", "drive-0001.clip", "subjects.tsv"]
    assert (folder / "subjects.tsv").read_text() == "drive-0000\ttown-000\ndrive-0001\ttown-000\n"


def test_the_same_seed_and_number_make_the_same_bytes(drives: ModuleType, folder: Path, tmp_path: Path):
    spec = drives.ClipSpec(0, 1, 2, 67, 33, "17", "png")
    again = open_clip(drives.write(spec, tmp_path, drives.LAYERS, overwrite=False))
    assert digests(again) == digests(open_clip(folder / "drive-0001.clip"))
    assert digests(again)["frames"] != digests(open_clip(folder / "drive-0000.clip"))["frames"]


def test_clips_are_valid_and_can_drive_with_label_maps(folder: Path):
    clip = open_clip(folder / "drive-0001.clip")
    require_valid(clip.path)
    assert clip.layers() == sorted(["frames", "segment", "instances", "flow", "flow_confidence", "flow_backward", "depth"])
    assert (clip.width, clip.height, clip.num_frames, clip.fps) == (67, 33, 2, 17)
    track = open_track(clip, "segment")
    assert track.semantic(0, View.crop(np.array([0.0, 0.0, 32.0]), 32, 64)).shape == (11, 32, 64)


def test_existing_clips_with_other_parameters_are_refused(drives: ModuleType, folder: Path):
    from stages.errors import ParametersDiffer

    with pytest.raises(ParametersDiffer):
        drives.write(drives.ClipSpec(1, 1, 2, 67, 33, "17", "png"), folder, drives.LAYERS, overwrite=False)


def test_a_size_that_cannot_be_drawn_is_refused(tmp_path: Path):
    done = subprocess.run(command(tmp_path / "none", "--size", "31x64"), stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "between 32 and 4096" in done.stderr and not (tmp_path / "none").exists()


def digests(clip: Clip) -> dict[str, str]:
    return {kind: clip.layer(kind).digest for kind in clip.layers()}


def test_a_street_has_its_labels(drives: ModuleType, frames: list[Any]):
    names = {drives.LABELS.names[label] for frame in frames for label in np.unique(frame.snapshot.label)}
    assert {"sky", "building", "road", "pavement", "tree", "car", "pedestrian", "pole"} <= names


def test_each_instance_has_one_label_and_is_a_car_or_a_person(drives: ModuleType, frames: list[Any]):
    label, instance = (np.stack([getattr(frame.snapshot, name) for frame in frames]) for name in ("label", "instance"))
    names = np.array(drives.LABELS.names)[label]
    assert ((instance > 0) == np.isin(names, ("car", "pedestrian"))).all()
    assert all(len(np.unique(label[instance == number])) == 1 for number in np.unique(instance[instance > 0]))
    assert len(np.unique(instance[names == "car"])) > 3 and (names == "pedestrian").any()


def test_each_pixel_shows_the_nearest_surface(drive: Any, frames: list[Any]):
    """Rays through the centres of pixels are intersected with each triangle and with the plane of the road."""
    snapshot, mesh = frames[1].snapshot, drive.mesh
    moves = snapshot.motions[mesh.part]
    corners = np.einsum("nij,nkj->nki", moves[:, :, :3], mesh.corners) + moves[:, None, :, 3] - snapshot.camera.eye
    solid = ~mesh.cutout
    rows, columns = np.random.default_rng(0).integers((HEIGHT, WIDTH), size=(80, 2)).T
    checked = 0
    for y, x in zip(rows, columns, strict=True):
        right, down, ahead = snapshot.camera.rotation
        centre, focal = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2), snapshot.camera.focal
        ray = ahead + (x - centre[0]) / focal * right + (y - centre[1]) / focal * down
        distances = hits(ray, corners)
        nearest = min(float(distances[solid].min()), -snapshot.camera.eye[1] / ray[1] if ray[1] < 0 else np.inf)
        depth = snapshot.depth[y, x] or np.inf
        triangle = snapshot.triangle[y, x]
        assert depth <= nearest * (1 + 1e-4)
        if triangle >= 0 and solid[triangle]:
            assert depth == pytest.approx(float(distances[triangle]), rel=1e-5)
            assert snapshot.label[y, x] == mesh.label[triangle] and snapshot.instance[y, x] == mesh.instance[triangle]
            checked += 1
    assert checked > 15


def hits(ray: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distances at which the ray [3] from the origin hits triangles [N, 3, 3], by Moeller and Trumbore; infinite where it misses."""
    first, edge1, edge2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(ray, edge2)
    determinant = np.einsum("ni,ni->n", edge1, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.einsum("ni,ni->n", -first, p) / determinant
        q = np.cross(-first, edge1)
        v = q @ ray / determinant
        t = np.einsum("ni,ni->n", edge2, q) / determinant
    inside = (np.abs(determinant) > 1e-12) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return np.where(inside, t, np.inf)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_flow_warps_the_other_frame_to_this_one(frames: list[Any], direction: str):
    """The other frame, warped by the flow, matches this frame, and matches less if the flow is a quarter of a pixel off."""
    frame, other = frames[1], frames[2 if direction == "forward" else 0]
    flow, label = getattr(frame, direction), frame.snapshot.label
    interior = cv2.erode(flow.visible.astype(np.uint8), np.ones((3, 3))) > 0
    interior &= (cv2.morphologyEx(label, cv2.MORPH_GRADIENT, np.ones((3, 3))) == 0) & (label > 0)
    assert flow.visible.mean() > 0.75 and interior.mean() > 0.3

    def error(shift: tuple[float, float]) -> float:
        warped_frame = warp(other.snapshot.frame, flow.pixels + np.asarray(shift, np.float32)).astype(int)
        return float(np.abs(warped_frame - frame.snapshot.frame)[interior].mean())

    exact = error((0, 0))
    still = np.abs(other.snapshot.frame.astype(int) - frame.snapshot.frame)[interior].mean()
    assert exact < 2.5 and exact < 0.5 * still
    assert exact < min(error(step) for step in ((0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25)))


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_flow_points_to_pixels_of_the_same_label_and_instance(frames: list[Any], direction: str):
    frame, other = frames[1], frames[2 if direction == "forward" else 0]
    flow, instance = getattr(frame, direction), frame.snapshot.instance
    assert agrees(frame.snapshot.label, other.snapshot.label, flow)[flow.visible].all()
    of_instances = flow.visible & (instance > 0)
    assert of_instances.sum() > 0.75 * (inside(flow) & (instance > 0)).sum() > 300
    assert agrees(instance, other.snapshot.instance, flow)[of_instances].all()


def agrees(values: np.ndarray, others: np.ndarray, flow: Any) -> np.ndarray:
    """Whether each pixel has the value of the pixel to which its flow points, rounded."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    column, row = (np.rint(axis + flow.pixels[..., index]).astype(int) for index, axis in enumerate((x, y)))
    return others[row.clip(0, HEIGHT - 1), column.clip(0, WIDTH - 1)] == values


def test_pixels_that_become_hidden_are_not_visible(frames: list[Any]):
    """Pixels whose flow points to a nearer surface, or out of the frame."""
    frame, other = frames[1], frames[2].snapshot
    outside = ~inside(frame.forward)
    assert outside.any() and not frame.forward.visible[outside].any()
    instance = warp(other.instance, frame.forward.pixels, cv2.INTER_NEAREST)
    covered = ~outside & (cv2.erode((instance > 0).astype(np.uint8), np.ones((3, 3))) > 0) & (frame.snapshot.instance == 0)
    assert covered.any() and not frame.forward.visible[covered].any()


def inside(flow: Any) -> np.ndarray:
    """Whether the flow [H, W] of each pixel points into the frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    targets = np.stack([x, y], -1) + flow.pixels
    return ((targets > -0.5) & (targets < np.array([WIDTH, HEIGHT]) - 0.5)).all(-1)


def test_the_flow_of_moving_objects_is_the_motion_of_their_projected_corners(drive: Any, frames: list[Any]):
    """The perspective weights of a pixel in the corners of its triangle at one time give its position at the next time."""
    mesh = drive.mesh
    snapshot = frames[1].snapshot
    rows, columns = np.nonzero(snapshot.part > 0)
    triangle = snapshot.triangle[rows, columns]
    now, then = (project(mesh, drive, time, triangle) for time in (1, 2))
    corners = np.concatenate([now[0], np.ones((len(triangle), 3, 1))], -1)
    flat = np.linalg.solve(corners.swapaxes(1, 2), np.stack([columns, rows, np.ones(len(rows))], -1)[..., None])[..., 0]
    weights = flat / now[1] * then[1]
    positions = np.einsum("nk,nki->ni", weights / weights.sum(1, keepdims=True), then[0])
    flow = frames[1].forward.pixels[rows, columns]
    assert len(np.unique(mesh.label[triangle])) == 2 and np.abs(flow).max() > 1
    assert np.abs(positions - np.stack([columns, rows], -1) - flow).max() < 0.01


def project(mesh: Any, drive: Any, time: int, triangle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [N, 3, 2] and depths [N, 3] of the corners of triangles, in frame `time`."""
    camera, motions = drive.camera(time), drive.motions(time)[mesh.part[triangle]]
    positions = np.stack([motions[:, :, :3] @ mesh.corners[triangle, corner, :, None] for corner in range(3)], 1)[..., 0]
    in_camera = (positions + motions[:, None, :, 3] - camera.eye) @ camera.rotation.T
    pixels = camera.focal * in_camera[..., :2] / in_camera[..., 2:] + [(camera.width - 1) / 2, (camera.height - 1) / 2]
    return pixels, in_camera[..., 2]


def test_a_larger_frame_shows_the_same_scene(drives: ModuleType, frames: list[Any]):
    large = drives.ClipSpec(0, NUMBER, FRAMES, 3 * WIDTH, 3 * HEIGHT, "17", "png").drive()
    from town.renderer import Renderer

    snapshot = Renderer(large).render(1)
    assert (snapshot.label[1::3, 1::3] == frames[1].snapshot.label).mean() > 0.995
    assert (snapshot.instance[1::3, 1::3] == frames[1].snapshot.instance).mean() > 0.995


def warp(image: np.ndarray, flow: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + flow[..., 0], y + flow[..., 1], interpolation)
