"""Trains and measures the shipped street segmenter: `python tools/train_street.py --help`.

The images are CamVid's key frames, with 11 labels and void. The licence of the labels, and so of the network, allows research only.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from dense_training import FitOptions, color_jitter, fit
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from stages.clip import list_images, read_image
from stages.clip.images import by_name
from stages.conditions.labels import CAMVID
from stages.models.dense import save_dense
from stages.networks.common.images import image_tensor
from stages.networks.dense import DenseConfig, DenseNet
from stages.networks.features.squeezenet import WEIGHTS as SQUEEZENET
from stages.segment.backends.street import StreetLabels
from stages.segment.extract import most_probable_labels
from weights import registry

LABELS = 11
"""Number of CamVid's labels without void."""

log = logging.getLogger("train_street")


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    side: side of the crops in pixels; rare: a label's weight in the loss is its share of the pixels to the power of -rare; smallest,
    largest: range of the random scale.
    """

    steps: int = 3600
    batch: int = 8
    side: int = 352
    width: int = 160
    rate: float = 1.5e-3
    rare: float = 0.45
    smallest: float = 0.6
    largest: float = 2.0
    seed: int = 20181203


def read_pairs(folder: Path, part: str) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(image [H, W, 3] RGB, ids [H, W]) of each key frame in folder/PART and folder/PARTannot."""
    pairs, images = [], by_name(list_images(folder / part))
    for annotation in sorted((folder / f"{part}annot").glob("*.png")):
        image = images[annotation.stem]
        pairs.append((read_image(image), np.array(Image.open(annotation))))
    return pairs


class Crops:
    """step -> a batch of random crops: (images [B, 3, S, S], ids [B, S, S] int64, 255 for void)."""

    def __init__(self, pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], recipe: Recipe) -> None:
        self.pairs, self.recipe = pairs, recipe

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng([self.recipe.seed, step])
        chosen = [self.crop(*self.pairs[random.integers(len(self.pairs))], random) for _ in range(self.recipe.batch)]
        return image_tensor(np.stack([image for image, _ in chosen])), torch.from_numpy(np.stack([ids for _, ids in chosen])).long()

    def crop(
        self, image: NDArray[np.uint8], ids: NDArray[np.uint8], random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        recipe, (height, width) = self.recipe, ids.shape
        scale = float(np.exp(random.uniform(np.log(recipe.smallest), np.log(recipe.largest))))
        corner = [random.uniform(min(0, size * scale - recipe.side), max(0, size * scale - recipe.side)) for size in (width, height)]
        mirror = random.random() < 0.5
        matrix = np.array([[-scale if mirror else scale, 0, -corner[0] + (width * scale if mirror else 0)], [0, scale, -corner[1]]])
        size = (recipe.side, recipe.side)
        cut = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        labels = cv2.warpAffine(ids, matrix, size, flags=cv2.INTER_NEAREST, borderValue=255)
        return color_jitter(cut, random), np.asarray(np.where(labels < LABELS, labels, 255), np.uint8)


def label_weights(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], rare: float) -> Tensor:
    """The weight of each label in the loss, larger for rare labels; the mean over all pixels is 1."""
    counts = sum((np.bincount(ids.ravel(), minlength=256)[:LABELS] for _, ids in pairs), np.zeros(LABELS))
    weights = torch.from_numpy((counts / counts.sum()) ** -rare).float()
    return weights / (weights * torch.from_numpy(counts / counts.sum()).float()).sum()


def train(folder: Path, recipe: Recipe, out: Path) -> None:
    """Train on folder/train and write the network to `out`. The state of the training is saved beside it."""
    torch.manual_seed(recipe.seed)
    pairs = read_pairs(folder, "train")
    weights = label_weights(pairs, recipe.rare)
    network = DenseNet(DenseConfig(LABELS, stride=2, width=recipe.width))
    network.initialise_from(load_file(registry.path(SQUEEZENET)))
    log.info("%d images, %d parameters", len(pairs), sum(parameter.numel() for parameter in network.parameters()))

    def loss(outputs: Tensor, ids: Tensor) -> Tensor:
        enlarged = F.interpolate(outputs, size=ids.shape[-2:], mode="bilinear", align_corners=False)
        return F.cross_entropy(enlarged, ids, weights, ignore_index=255)

    state = out.with_suffix(".state")
    average = fit(network, Crops(pairs, recipe), loss, FitOptions(recipe.steps, recipe.rate), state)
    table = {"names": list(CAMVID.names[:LABELS]), "palette": [list(colour) for colour in CAMVID.palette[:LABELS]]}
    save_dense(out, average, {**table, "recipe": asdict(recipe)})


def measure(folder: Path, weights: Path, part: str = "val") -> dict[str, Any]:
    """Pixel accuracy, and intersection over union of each label, over all images of `part`. Void is left out."""
    network = StreetLabels(weights, "cpu")
    confusion = np.zeros((LABELS, LABELS), np.int64)
    for image, ids in read_pairs(folder, part):
        labelled = ids < LABELS
        predicted = most_probable_labels(network(image), ids.shape[1], ids.shape[0])
        confusion += np.bincount(ids[labelled].astype(np.int64) * LABELS + predicted[labelled], minlength=LABELS**2).reshape(LABELS, LABELS)
    overlap = np.diag(confusion) / np.maximum(confusion.sum(0) + confusion.sum(1) - np.diag(confusion), 1)
    present = confusion.sum(1) > 0
    return {
        "pixel_accuracy": round(float(np.diag(confusion).sum() / confusion.sum()), 4),
        "mean_iou": round(float(overlap[present].mean()), 4),
        "iou": {name: round(float(value), 3) for name, value, exists in zip(CAMVID.names, overlap, present, strict=False) if exists},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/, trainannot/, val/ and valannot/")
    parser.add_argument("--out", type=Path, default=Path("weights/street_camvid_fsv2v.safetensors"))
    parser.add_argument("--measure-only", action="store_true", help="only measure --out on val/")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not arguments.measure_only:
        train(arguments.data, Recipe(steps=arguments.steps), arguments.out)
    sys.stdout.write(json.dumps(measure(arguments.data, arguments.out), indent=1) + "\n")


if __name__ == "__main__":
    main()
