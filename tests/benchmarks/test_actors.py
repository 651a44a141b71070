"""The generator of actors: the same command makes the same pixels, and poses, masks, labels and flow match the frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from stages.clip import Clip, open_clip
from stages.clip.validate import require_valid
from stages.conditions.kinds import open_track
from stages.conditions.view import View

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
FRAMES, SIZE = 4, (128, 64)


@pytest.fixture(scope="module")
def actors() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        import actors

        return actors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("actors")
    assert len(generate(out, "--clips-per-subject", 2).splitlines()) == 4
    return out


@pytest.fixture(scope="module")
def clips(folder: Path) -> dict[str, Clip]:
    return {clip.id: clip for clip in map(open_clip, sorted(folder.glob("*.clip")))}


def generate(out: Path, *more: object) -> str:
    """Run the generator for two subjects, and return what it prints."""
    options = ["--subjects", 2, "--frames", FRAMES, "--size", "x".join(map(str, SIZE)), "--storage", "png", "-o", out, *more]
    command = [sys.executable, *map(str, [PAPERS / "actors.py", *options])]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def digests(clip: Clip) -> dict[str, str]:
    return {kind: clip.layer(kind).digest for kind in clip.layers()}


def test_a_subject_does_not_depend_on_the_other_subjects_of_the_command(clips: dict[str, Clip], tmp_path: Path):
    generate(tmp_path, "--first", 1, "--subjects", 1)
    assert digests(open_clip(tmp_path / "actor-0001-00.clip")) == digests(clips["actor-0001-00"])


def test_finished_clips_are_kept_and_other_parameters_are_refused(folder: Path, clips: dict[str, Clip]):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    generate(folder, "--clips-per-subject", 2)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before
    with pytest.raises(subprocess.CalledProcessError):
        generate(folder, "--seed", 1)


def test_clips_are_valid_and_can_drive_with_poses_and_label_maps(clips: dict[str, Clip]):
    for clip in clips.values():
        require_valid(clip.path)
        assert clip.layers() == ["flow", "flow_confidence", "frames", "mask", "poses", "segment"]
    view = View.crop(np.array([0.0, 0.0, SIZE[0]]), *SIZE)
    assert open_track(clips["actor-0000-00"], "poses").semantic(0, view).shape == (3, *SIZE)
    assert open_track(clips["actor-0000-00"], "segment").semantic(0, view).shape == (15, *SIZE)


def test_subjects_differ_and_clips_of_a_subject_share_clothes_but_not_positions(actors: ModuleType, clips: dict[str, Clip]):
    first, second, other_subject = (clips[name] for name in ("actor-0000-00", "actor-0000-01", "actor-0001-00"))
    clothes = [clip.layer("poses").meta["words"].split("; ")[0] for clip in (first, second, other_subject)]
    assert clothes[0] == clothes[1] != clothes[2]
    assert np.abs(first.frame(0).astype(int) - second.frame(0)).mean() > 10
    assert (first.path.parent / "subjects.tsv").read_text().splitlines()[1] == "actor-0000-01\tactor-0000"


def test_keypoints_lie_on_the_person(clips: dict[str, Clip]):
    for clip in clips.values():
        points = clip.layer("poses").arrays()["keypoints"][:, 0]
        assert points.shape == (FRAMES, 25, 3) and (points[..., 2] == 1).all()
        for mask, positions in zip(clip.layer("mask").images(), points[..., :2], strict=True):
            dilated = cv2.dilate(mask, np.ones((3, 3), np.uint8))
            x, y = np.round(positions).astype(int).T
            inside = (x >= 0) & (x < SIZE[1]) & (y >= 0) & (y < SIZE[0])
            assert dilated[y[inside], x[inside]].all()


def test_the_mask_covers_all_labelled_pixels_and_the_table_names_every_label(actors: ModuleType, clips: dict[str, Clip]):
    for clip in clips.values():
        for mask, labels in zip(clip.layer("mask").images(), clip.layer("segment").images(), strict=True):
            assert ((mask == 255) == (labels > 0)).all() and labels.max() < len(actors.LABELS.names)
        names = {clip.layer("segment").meta["names"][label] for label in np.unique(labels)}
        assert {"background", "face", "left arm"} <= names | {"gloves"}


def test_the_flow_warps_the_next_frame_to_this_one_where_it_is_visible(actors: ModuleType):
    """Labels and colours of frame t + 1, warped back, match those of frame t, and match less if the flow is half a pixel off."""
    for subject in range(3):
        frame, next_frame, _ = actors.render_clip(actors.ClipSpec(0, subject, 0, 3, 256, 128, 25, "png")).frames
        person = actors.visible_next(frame, next_frame) & (frame.labels > 0)
        assert person.sum() > 0.7 * (frame.labels > 0).sum()
        assert (warp(next_frame.labels, frame.flow, cv2.INTER_NEAREST) == frame.labels)[person].mean() > 0.98

        def error(flow: np.ndarray, frame=frame, next_frame=next_frame, person=person) -> float:
            return float(np.abs(warp(next_frame.frame, flow, cv2.INTER_LINEAR).astype(int) - frame.frame)[person].mean())

        assert error(frame.flow) < min(10, 0.7 * error(np.zeros_like(frame.flow)))
        assert error(frame.flow) < min(
            error(frame.flow + np.array(step, np.float32)) for step in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))
        )


def warp(image: np.ndarray, flow: np.ndarray, interpolation: int) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + flow[..., 0], y + flow[..., 1], interpolation)
