"""Trains and measures the shipped pose network: `python tools/train_small.py --help`.

The targets are the keypoints of MediaPipe in clips whose licence permits training. Each person is cut out with a wide border, together with
a mask of all people in it. A sample is such a patch, rotated, scaled, shifted, mirrored and with random light; some have other colours or
another background, or are partly hidden. The clips in tools/held_out_people.py are left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import held_out_people
import numpy as np
import torch
from dense_training import FitOptions, color_jitter, fit
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from stages.clip import probe, read_frames
from stages.compute.mediapipe_task import VisionTask
from stages.conditions.poses import MID_HIP, MIRROR, NAMES, NECK
from stages.extract_poses.backends.small import FILL, INPUT, STRIDE, SmallPoses
from stages.models.dense import load_dense, save_dense
from stages.networks.common.images import image_tensor
from stages.networks.dense import DenseConfig, DenseNet
from stages.networks.features.squeezenet import WEIGHTS as SQUEEZENET
from stages.tables.skeletons import MEDIAPIPE_33, from_mediapipe
from stages.tracking.tracker import box_of_points
from stages.tracking.windows import cut_window
from weights import registry

NOT_PERMITTED = ("lia_taichi_driving1", "lia_ted_driving1", "lia_ted_driving2", "lia_ted_driving3")
"""Clips whose licence forbids training. The network is measured on them, too, because their people are unseen."""
PATCH_SIDE = 384
_MIN_VISIBLE, _MAX_ABSENT = 0.5, 0.1
"""MediaPipe's visibility above which a point counts as visible, and below which it counts as absent."""
MIN_SIZE = 0.4
"""Smallest diagonal of a person's box, as a share of the image's height."""

log = logging.getLogger("train_small")


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    people_step: every N-th frame of full-body clips is used; face_frames: frames of each face clip; width: channels of the decoder; spread:
    standard deviation of a peak, in cells of the heat map; turn: twice the standard deviation of the rotation, in degrees; stretch:
    standard deviation of the shear and of the logarithm of the stretch; empty: share of samples without people; smallest, largest: range of
    the random scale.
    """

    people_step: int = 3
    face_frames: int = 8
    steps: int = 6000
    batch: int = 16
    width: int = 192
    rate: float = 2e-3
    spread: float = 1.0
    turn: float = 35.0
    stretch: float = 0.12
    empty: float = 0.12
    smallest: float = 0.4
    largest: float = 1.4
    seed: int = 20191210


@dataclass(frozen=True)
class Patches:
    """images [N, S, S, 3] uint8 RGB; masks [N, S, S] uint8, 255 on people; keypoints [N, 25, 3]: x, y in pixels of the patch,
    visibility."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    keypoints: NDArray[np.float32]


def clips_of(data: Path) -> Iterator[tuple[str, Path]]:
    """("people" or "faces", file) of each clip whose licence permits training, without the held-out ones."""
    with open(data / "SOURCES.tsv", newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            part, path = row["file"].split("/")[0], data / row["file"]
            unseen = path.stem in held_out_people.BODIES or row["person"] in held_out_people.FACES
            if part in ("people", "faces") and row["may_train_shipped_weights"] == "yes" and not unseen:
                yield part, path


class MaskedPoses:
    """Called with the frames of a clip in order; returns (keypoints [25, 3], mask) of each person that MediaPipe detects. The third value
    of a keypoint is MediaPipe's visibility."""

    def __init__(self) -> None:
        self._task = VisionTask(_create_landmarker, lambda result: bool(result.pose_landmarks))

    def __call__(self, frame: NDArray[np.uint8]) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        height, width = frame.shape[:2]
        result = self._task(frame)
        persons = []
        for landmarks, mask in zip(result.pose_landmarks, result.segmentation_masks or (), strict=True):
            points = np.array([(p.x * width, p.y * height, max(p.visibility or 0.0, 1e-3)) for p in landmarks], np.float32)
            grey = (mask.numpy_view().reshape(height, width) * 255).astype(np.uint8)
            persons.append((from_mediapipe(points), grey))
        return persons


def _create_landmarker(vision: Any) -> Any:
    from mediapipe.tasks.python import BaseOptions

    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(registry.path("pose_landmarker_lite.task"))),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=3,
        output_segmentation_masks=True,
    )
    return vision.PoseLandmarker.create_from_options(options)


def patches_of(part: str, video: Path, recipe: Recipe) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]]:
    """(image, mask, keypoints) of the people in a clip who are large and have at least six visible points."""
    detect = MaskedPoses()
    step = recipe.people_step if part == "people" else 4
    count = probe(video).num_frames if part == "people" else recipe.face_frames * step
    for index, frame in enumerate(read_frames(video, 0, count)):
        persons = detect(frame)
        if index % step:
            continue
        mask_of_all = np.max([mask for _, mask in persons], axis=0) if persons else None
        for keypoints, _ in persons:
            visible = keypoints[keypoints[:, 2] > _MIN_VISIBLE]
            if len(visible) >= 6 and mask_of_all is not None and _is_large(visible, frame):
                yield _cut_patch(frame, mask_of_all, keypoints)


def _is_large(visible: NDArray[np.float32], frame: NDArray[np.uint8]) -> bool:
    """Whether a detection is as large as the subject of a clip. Smaller detections are sometimes chairs."""
    box = box_of_points(visible)
    return bool(np.linalg.norm(box[2:] - box[:2]) > MIN_SIZE * frame.shape[0])


def _cut_patch(frame: NDArray[np.uint8], mask: NDArray[np.uint8], keypoints: NDArray[np.float32]) -> tuple[Any, Any, NDArray[np.float32]]:
    """(image, mask, keypoints) of a square around a person, of about twice the person's size."""
    inside = (keypoints[:, :2] >= 0).all(1) & (keypoints[:, 0] < frame.shape[1]) & (keypoints[:, 1] < frame.shape[0])
    keypoints = keypoints.copy()
    keypoints[~inside, 2] = 0
    box = box_of_points(keypoints[keypoints[:, 2] > _MIN_VISIBLE])
    side = 1.9 * float(np.max(box[2:] - box[:2]))
    scale, centre = PATCH_SIDE / side, (box[:2] + box[2:]) / 2
    left, top = map(float, centre - side / 2)
    image, cut = (cut_window(source, (left, top), 1 / scale, (PATCH_SIDE, PATCH_SIDE)) for source in (frame, mask))
    keypoints[:, :2] = (keypoints[:, :2] - [left, top]) * scale
    return image, cut, keypoints


def collect(data: Path, recipe: Recipe, cache: Path) -> Patches:
    """The patches of all clips. They are read from the file `cache`, or made and written to it."""
    if not cache.exists():
        rows = []
        for part, video in clips_of(data):
            in_clip = list(patches_of(part, video, recipe))
            log.info("%s: %d persons", video.name, len(in_clip))
            rows += in_clip
        images, masks, keypoints = (np.stack(column) for column in zip(*rows, strict=True))
        with cache.open("wb") as file:
            np.savez(file, images=images, masks=masks, keypoints=keypoints)
    with np.load(cache, allow_pickle=False) as arrays:
        return Patches(arrays["images"], arrays["masks"], arrays["keypoints"])


def empty_scenes(data: Path) -> Iterator[NDArray[np.uint8]]:
    """Some frames without people, from clips of streets whose licence permits training."""
    for name in ("udacity_highway", "udacity_traffic", "autonomousvehicle_driving"):
        for index, frame in enumerate(read_frames(data / "streets" / f"{name}.mp4", 0, None)):
            if index % 18 == 0:
                yield frame


POINTS = tuple(index for index, parts in enumerate(MEDIAPIPE_33.body) if parts)
"""The points of BODY_25 that MediaPipe finds."""


class Views:
    """step -> a batch: images [B, 3, H, W]; distributions [B, N, cells + 1] of each point, whose last value is for absence; weights [B,
    N]."""

    def __init__(self, patches: Patches, scenes: list[NDArray[np.uint8]], recipe: Recipe) -> None:
        self.patches, self.scenes, self.recipe = patches, scenes, recipe

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        random = np.random.default_rng([self.recipe.seed, step])
        columns = zip(*(self.view(int(random.integers(len(self.patches.images))), random) for _ in range(self.recipe.batch)), strict=True)
        images, distributions, weights = (np.stack(column) for column in columns)
        return image_tensor(images), torch.from_numpy(distributions), torch.from_numpy(weights)

    def view(self, index: int, random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        if random.random() < self.recipe.empty:
            return self._empty(random)
        keypoints = self.patches.keypoints[index].copy()
        mask = self.patches.masks[index]
        image = self.patches.images[index]
        if random.random() < 0.5:
            image = np.where(mask[..., None] > 127, _shift_hue(image, random), image)
        matrix = self._matrix(keypoints, random)
        cut = np.asarray(cv2.warpAffine(image, matrix, INPUT, flags=cv2.INTER_AREA), np.uint8)
        share = cv2.warpAffine(mask, matrix, INPUT, flags=cv2.INTER_AREA)[..., None].astype(np.float32) / 255
        if random.random() < 0.4:
            cut = self._change_clothes(cut, share * np.float32(random.uniform(0.2, 0.7)), random)
        if random.random() < 0.65:
            cut = (share * cut + (1 - share) * self._texture(random, *INPUT)).astype(np.uint8)
        keypoints[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        hidden = np.zeros(len(keypoints), bool)
        if random.random() < 0.3:
            hidden = self._hide(cut, keypoints, random)
        if random.random() < 0.5:
            cut, keypoints, hidden = np.ascontiguousarray(cut[:, ::-1]), _mirror(keypoints), hidden[MIRROR]
        distributions, weights = targets(keypoints, self.recipe.spread)
        return _degrade(color_jitter(cut, random), random), distributions, weights * ~hidden[list(POINTS)]

    def _empty(self, random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """A sample without people: a part of a street, or a texture."""
        image = self._texture(random, *INPUT)
        if random.random() < 0.6:
            scene = self.scenes[random.integers(len(self.scenes))]
            height, width = scene.shape[:2]
            scale = float(random.uniform(0.3, 1.0)) * min(height / INPUT[1], width / INPUT[0])
            corner = (float(random.uniform(0, width - scale * INPUT[0])), float(random.uniform(0, height - scale * INPUT[1])))
            image = cut_window(scene, corner, scale, INPUT)
        distributions, weights = targets(np.zeros((len(NAMES), 3), np.float32), self.recipe.spread)
        return _degrade(color_jitter(image, random), random), distributions, weights

    def _matrix(self, keypoints: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float64]:
        """The matrix from pixels of the patch to pixels of the input. A quarter of the people are smaller than in a tracked window, as they
        are when the whole image is searched."""
        box = box_of_points(keypoints[keypoints[:, 2] > _MIN_VISIBLE])
        fitting = FILL * min(INPUT[0] / max(box[2] - box[0], 1), INPUT[1] / max(box[3] - box[1], 1))
        small = random.random() < 0.25
        scale = fitting * float(random.uniform(self.recipe.smallest, 0.8) if small else random.uniform(0.75, self.recipe.largest))
        centre = (box[:2] + box[2:]) / 2
        matrix = cv2.getRotationMatrix2D(tuple(map(float, centre)), float(random.normal() * self.recipe.turn / 2), scale)
        shift = random.uniform(-1, 1, 2) * np.array(INPUT) * (0.28 if small else 0.12)
        matrix[:, 2] += np.array(INPUT) / 2 + shift - centre
        return _stretch(np.asarray(matrix), self.recipe.stretch, random)

    def _texture(self, random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
        """An enlarged part of a patch without people, or a single colour if none is found."""
        for _ in range(8):
            other, side = int(random.integers(len(self.patches.images))), int(random.integers(48, 200))
            x, y = random.integers(0, PATCH_SIDE - side, 2)
            if self.patches.masks[other, y : y + side, x : x + side].mean() < 8:
                piece = self.patches.images[other, y : y + side, x : x + side]
                if piece.std() > 4:
                    return color_jitter(np.asarray(cv2.resize(piece, (width, height)), np.uint8), random)
        return np.broadcast_to(random.integers(0, 255, (1, 1, 3), dtype=np.uint8), (height, width, 3))

    def _change_clothes(self, image: NDArray[np.uint8], share: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.uint8]:
        """Give the person other clothes with the same light and shadow. share [H, W, 1]: opacity of the clothes."""
        shade = image.mean(2, keepdims=True) / max(float((image.mean(2, keepdims=True) * share).sum() / max(share.sum(), 1)), 20.0)
        clothes = self._texture(random, *INPUT) * shade
        return np.asarray(((1 - share) * image + share * clothes).clip(0, 255), np.uint8)

    def _hide(self, image: NDArray[Any], keypoints: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.bool_]:
        """Draw an occluder over the person, in place. Returns a mask of the hidden points."""
        width, height = (random.uniform(0.15, 0.5, 2) * INPUT).astype(int)
        x, y = (random.uniform(-0.1, 0.9, 2) * INPUT).astype(int).clip(0)
        area = image[y : y + height, x : x + width]
        if area.size:
            area[:] = self._texture(random, area.shape[1], area.shape[0])
        (px, py) = keypoints[:, 0], keypoints[:, 1]
        return np.asarray((px >= x) & (px < x + width) & (py >= y) & (py < y + height))


def targets(keypoints: NDArray[np.float32], spread: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints [25, 3] in pixels of the input -> (distributions [N, cells + 1] over the cells of the map and absence, weights [N]).

    Points outside the input or with a low visibility are absent. Points of medium visibility, which MediaPipe only guesses, have weight 0.
    """
    columns, rows = INPUT[0] // STRIDE, INPUT[1] // STRIDE
    chosen = keypoints[list(POINTS)]
    x, y = chosen[:, 0] / STRIDE, chosen[:, 1] / STRIDE
    inside = (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
    present, absent = inside & (chosen[:, 2] > _MIN_VISIBLE), ~inside | (chosen[:, 2] < _MAX_ABSENT)
    across = np.exp(-0.5 * ((np.arange(columns) - x[:, None]) / spread) ** 2)
    down = np.exp(-0.5 * ((np.arange(rows) - y[:, None]) / spread) ** 2)
    peaks = (down[:, :, None] * across[:, None, :]).reshape(len(chosen), -1)
    peaks = peaks / np.maximum(peaks.sum(1, keepdims=True), 1e-9)
    distributions = np.concatenate([peaks * present[:, None], ~present[:, None]], axis=1)
    return distributions.astype(np.float32), (present + 0.5 * absent).astype(np.float32)


def loss(outputs: Tensor, distributions: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy over the cells of the map and absence, whose logit is 0. outputs: logits [B, N, h, w]."""
    logits = torch.cat([outputs.flatten(2), outputs.new_zeros(*outputs.shape[:2], 1)], 2)
    return -((distributions * logits.log_softmax(2)).sum(2) * weights).sum() / weights.sum()


def _stretch(matrix: NDArray[np.float64], strength: float, random: np.random.Generator) -> NDArray[np.float64]:
    """The matrix with a random stretch and shear around the centre of the input, so that people look broader, slimmer or leaning."""
    wide, lean = float(np.exp(strength * random.normal())), strength * random.normal()
    change = np.array([[wide, lean], [0, 1 / wide]])
    centre = np.array(INPUT) / 2
    return np.column_stack([change @ matrix[:, :2], change @ (matrix[:, 2] - centre) + centre])


def _mirror(keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
    mirrored = keypoints[MIRROR]
    mirrored[:, 0] = INPUT[0] - 1 - mirrored[:, 0]
    return mirrored


def _shift_hue(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + random.integers(0, 180)) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _degrade(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Degrade about half of the images, by lower resolution, blur or lossy compression."""
    if random.random() < 0.3:
        small = cv2.resize(image, None, fx=1 / (factor := float(random.uniform(1.5, 4))), fy=1 / factor, interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)
    if random.random() < 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(random.uniform(0.4, 1.6))), np.uint8)
    if random.random() < 0.2:
        lossy = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(20, 70))])[1]
        image = np.asarray(cv2.imdecode(lossy, cv2.IMREAD_COLOR), np.uint8)
    return image


def train(data: Path, recipe: Recipe, out: Path, start: Path | None = None) -> None:
    """Train the network, from that in `start` if given, and write it to `out`. The patches and the state of the training are saved beside
    it."""
    torch.manual_seed(recipe.seed)
    patches = collect(data, recipe, out.with_suffix(".patches.npz"))
    network = DenseNet(DenseConfig(len(POINTS), stride=STRIDE, width=recipe.width))
    network.initialise_from(load_file(registry.path(SQUEEZENET)))
    if start is not None:
        network.load_state_dict(load_dense(start, "cpu")[0].state_dict())
    log.info("%d persons, %d parameters", len(patches.images), sum(parameter.numel() for parameter in network.parameters()))
    views = Views(patches, list(empty_scenes(data)), recipe)
    average = fit(network, views, loss, FitOptions(recipe.steps, recipe.rate, encoder_rate=0.3), out.with_suffix(".state"))
    save_dense(out, average, {"points": [NAMES[index] for index in POINTS], "recipe": asdict(recipe)})


def measure(video: Path, weights: Path, within: float = 0.1) -> dict[str, Any]:
    """How well the network agrees with MediaPipe in `video`.

    pck: the share of MediaPipe's visible points from which the network's points are closer than `within` times the length of the trunk.
    Only the person with the longest trunk is compared. A person whom the network misses has no close points.
    """
    teacher, network = MaskedPoses(), SmallPoses(weights, "cpu")
    near, points, frames, missed, errors = 0, 0, 0, 0, []
    for frame in read_frames(video, 0, None):
        persons, detections = [person for person, _ in teacher(frame)], network(frame)
        persons = [person for person in persons if _trunk_length(person) > 0]
        if not persons:
            continue
        truth = max(persons, key=_trunk_length)
        inside = (truth[:, :2] > 0).all(1) & (truth[:, 0] < frame.shape[1] - 1) & (truth[:, 1] < frame.shape[0] - 1)
        visible = inside & (truth[:, 2] > _MIN_VISIBLE)
        frames += 1
        points += int(visible.sum())
        if not detections:
            missed += 1
            continue
        predicted = detections[0].points
        distance = np.linalg.norm(predicted[:, :2] - truth[:, :2], axis=1) / _trunk_length(truth)
        near += int((visible & (predicted[:, 2] > 0) & (distance < within)).sum())
        errors += distance[visible & (predicted[:, 2] > 0)].tolist()
    pck = round(near / points, 3) if points else None
    return {"clip": video.stem, "frames": frames, "missed": missed, "pck": pck, "median": round(float(np.median(errors or [0])), 4)}


def _trunk_length(keypoints: NDArray[np.float32]) -> float:
    """Distance from neck to mid-hip in pixels; 0 when one is absent."""
    ends = keypoints[[NECK, MID_HIP]]
    return float(np.linalg.norm(ends[0, :2] - ends[1, :2])) if (ends[:, 2] > _MIN_VISIBLE).all() else 0.0


def measured_clips(data: Path) -> list[Path]:
    """Full-body clips of unseen people: the held-out ones, and those whose licence forbids training."""
    return [data / "people" / f"{stem}.mp4" for stem in (*held_out_people.BODIES, *NOT_PERMITTED)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with SOURCES.tsv, people/ and faces/")
    parser.add_argument("--out", type=Path, default=Path("weights/pose_small_fsv2v.safetensors"))
    parser.add_argument("--measure-only", action="store_true", help="only measure --out on unseen people")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--start", type=Path, help="start from this network instead of the ImageNet encoder")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not arguments.measure_only:
        train(arguments.data, Recipe(steps=arguments.steps, rate=arguments.rate), arguments.out, arguments.start)
    rows = [measure(video, arguments.out) for video in measured_clips(arguments.data)]
    shares = [row["pck"] for row in rows if row["pck"] is not None]
    sys.stdout.write(json.dumps({"mean_pck": round(float(np.mean(shares)), 3), "clips": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
