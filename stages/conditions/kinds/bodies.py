"""A driving kind (kind.py): bodies as BODY_25, with hands and faces where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip, Producer
from stages.conditions import crop, poses
from stages.conditions.appearance import body_coordinates
from stages.conditions.kinds.kind import Keypoints, Kind
from stages.conditions.poses import NAMES, person_height
from stages.conditions.reach import Pose
from stages.conditions.retarget import BONES, retarget
from stages.conditions.source_clip import Size, SourceClip, jumps, main_subject_of, select_entries, transform_boxes, transform_points
from stages.conditions.tracks import DetectorNoise, Track, select_main_subject
from stages.conditions.view import View
from stages.errors import InputError
from stages.tables.skeletons import POINT_COUNTS, boxes_of

if TYPE_CHECKING:
    import torch

MAX_TURN = 1.0
"""Largest difference from the nearest example in the orientation of `body_coordinates`: 1 is the front view, -1 the view from behind."""
LIMB_IN_PERSONS = 0.14
"""Thickness of a clothed limb, in heights of the person."""
NOSE, TRUNK = 0, (2, 5, 9, 12)
MIN_JOINTS = 10
"""Smallest number of visible points of BODY_25 in a dataset: a person down to the thighs has more, a head with shoulders fewer."""


class PoseTrack(Track):
    """The bodies of a clip. keypoints: [T, P, 25, 3] in BODY_25 order, or [T, P, 137, 3] with hands and faces, which are also drawn."""

    channels = 3

    def __init__(self, keypoints: np.ndarray) -> None:
        self.bodies = keypoints
        self.num_frames = len(keypoints)

    def _people(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """Keypoints [P, 25 or 137, 3] of a frame through the view."""
        people = view.points(self.bodies[index])
        people = poses.swap_sides(people) if view.mirrored else people
        return poses.add_noise(people, noise.frame_rng(index)) if noise is not None and noise.noisy else people

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        people = self._people(index, view, noise)
        drawn: np.ndarray = poses.draw_pose(people, view.height, view.width).astype(np.float32).transpose(2, 0, 1) / 255
        return drawn

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """BODY_25 followed by both hands, [67, 3]; unknown hands have confidence 0."""
        return poses.with_hands(self._people(index, view, noise)[0])

    def seen(self, index: int) -> bool:
        return bool(self.bodies[index, ..., 2].any())

    def drawing(self, index: int, view: View) -> np.ndarray:
        return poses.draw_pose(self._people(index, view), view.height, view.width)

    def crops(self, clip: Clip, aspect: float) -> np.ndarray:
        """Crops around the whole body."""
        return crop.smooth_body_crops(self.bodies[:, 0], clip.width, clip.height, float(clip.fps), aspect)

    def fitted(self, views: Sequence[View], examples: Sequence[np.ndarray], *, proportions: bool) -> PoseTrack:
        """As `Track.fitted`; the lengths of the limbs are measured in all examples, and `proportions` is ignored.

        The first view is used for all frames, because a crop that follows the body would remove its movement across the image.
        """
        bodies = np.stack([views[0].points(body) for body in self.bodies[:, 0]])
        return PoseTrack(retarget(bodies, np.stack(examples)[:, : len(NAMES)])[:, None])


def _open(clip: Clip) -> PoseTrack:
    return PoseTrack(select_main_subject(poses.whole_bodies(clip.layer("poses").arrays())))


def appearance_coordinates(keypoints: Keypoints, semantic: NDArray[np.float32]) -> NDArray[np.float64]:
    """(orientation, height of the hands)."""
    return body_coordinates(keypoints)


def pose(keypoints: Keypoints) -> Pose:
    """Orientation, centre and height of a body."""
    body = keypoints[: len(NAMES)]
    seen = body[body[:, 2] > 0, :2].astype(np.float64)
    centre = (seen.min(0) + seen.max(0)) / 2 if len(seen) else np.zeros(2)
    return Pose({"turned": float(body_coordinates(body)[0]) / MAX_TURN}, centre, max(person_height(body), 1.0))


def draw(semantic: torch.Tensor) -> torch.Tensor:
    """The drawn skeletons, the first three channels of s_t."""
    return semantic[:, :3] * 2 - 1


def _cover(keypoints: Keypoints, mask: NDArray[np.uint8]) -> None:
    """Draws clothed limbs, the trunk between shoulders and hips, and the head into the mask."""
    body = keypoints[: len(NAMES)]
    seen = body[:, 2] > 0
    if not seen.any():
        return
    thickness = max(1, round(LIMB_IN_PERSONS * person_height(body)))
    points = [(round(float(x)), round(float(y))) for x, y in body[:, :2]]
    for parent, child in BONES:
        if seen[parent] and seen[child]:
            cv2.line(mask, points[parent], points[child], 1, thickness)
    trunk = [points[joint] for joint in TRUNK if seen[joint]]
    if len(trunk) > 2:
        cv2.fillConvexPoly(mask, cv2.convexHull(np.array(trunk)), 1)
        cv2.polylines(mask, [cv2.convexHull(np.array(trunk))], True, 1, thickness)
    for joint in (NOSE, *(end for _, end in BONES)):
        if seen[joint]:
            cv2.circle(mask, points[joint], thickness if joint == NOSE else thickness // 2, 1, cv2.FILLED)


def _result_arrays(keypoints: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
    """The arrays of the layer `poses`, from driving keypoints [T, 1, 67, 3]."""
    bodies = keypoints[:, :, : len(NAMES)]
    seen = (bodies[..., 2] > 0).any(-1)
    return {"keypoints": bodies, "boxes": boxes_of(bodies), "track_id": np.where(seen, 0, -1).astype(np.int32)}


class BodySourceClip(SourceClip):
    """A clip of a person. Crops contain the whole body; hands, faces and DensePose are written if the clip has them."""

    layer, task, size, shows = "poses", "body", (256, 128), "a person"
    optional_layers = ("densepose",)

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        self.source = clip.layer("poses")
        arrays = self.source.arrays()
        if arrays["keypoints"].shape[2] != len(NAMES):
            raise InputError(f"{clip.path} has {arrays['keypoints'].shape[2]} keypoints per person, not the {len(NAMES)} of BODY_25")
        chosen, names = main_subject_of(clip, poses.whole_bodies(arrays)), (*POINT_COUNTS, "boxes", "track_id")
        self.person: Mapping[str, np.ndarray] = {name: arrays[name][:, chosen] for name in names if name in arrays}
        self.body = self.person["keypoints"]

    def usable(self) -> np.ndarray:
        return np.asarray((self.body[..., 2] > poses.MIN_CONFIDENCE).sum(1) >= MIN_JOINTS)

    def breaks(self) -> np.ndarray:
        heights = np.array([person_height(body) for body in self.body])
        other_person = np.diff(self.person["track_id"], prepend=self.person["track_id"][:1]) != 0
        return np.asarray(jumps(self.body, heights, crop.JUMP_IN_PERSONS) | other_person)

    def crops(self, run: slice, size: Size) -> np.ndarray:
        clip = self.clip
        return crop.smooth_body_crops(self.body[run], clip.width, clip.height, float(clip.fps), size[1] / size[0])

    def write_layers(self, target: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        if self.clip.has("densepose"):
            self.write_images(target, "densepose", run, views, producer)
        person = {name: array[run, None] for name, array in self.person.items()}
        person |= {name: transform_points(views, person[name]) for name in POINT_COUNTS if name in person}
        person["boxes"] = transform_boxes(views, person["boxes"])
        with target.writing("poses", producer, self.inputs, select_entries(self.source.meta, "skeleton", "keypoint_names")) as layer:
            layer.arrays(person)


KIND = Kind(
    name="poses",
    layers=("poses",),
    open=_open,
    appearance_coordinates=appearance_coordinates,
    draw=draw,
    channels=PoseTrack.channels,
    pose=pose,
    fits_example=True,
    cover=_cover,
    covers_subject=True,
    soft_edge=0.05,
    result_arrays=_result_arrays,
    dataset=BodySourceClip,
    extractor="stages.extract_poses:extract_missing",
    default_model="pose-256.safetensors",
)
