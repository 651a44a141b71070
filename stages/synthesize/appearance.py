"""The appearance of the instances in a synthesis: the features z_t of vid2vid, which are chosen for each label."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from stages.clip import Clip
from stages.conditions.framing import Crop, frame_of, sample_of, views
from stages.conditions.identities import Identities, InstanceTracker, require_stable_numbers
from stages.conditions.kinds import open_track, require_channels
from stages.conditions.kinds.streets import LabelTrack
from stages.conditions.regions import LABELS, features_of, keys_of
from stages.conditions.view import View
from stages.errors import READ_ERRORS, InputError, InvalidClip, UsageError
from stages.models import Model
from stages.models.mixtures import Mixture
from stages.tables.label_tables import VOID

Vector = NDArray[np.float64]
HOW_TO_CHOOSE = "write mean, sample:SEED or from:PICTURE, and LABEL= before it for one label, as in road=sample:3,car=mean"
_STARTS = "(?:mean|sample:|from:)"


@dataclass(frozen=True)
class Choice:
    """Where the appearance of the instances of a label comes from: the mean of the label, a random sample, or an image."""

    how: Literal["mean", "sample", "from"] = "mean"
    seed: int = 0
    image: str = ""

    def __str__(self) -> str:
        return {"mean": "mean", "sample": f"sample:{self.seed}", "from": f"from:{self.image}"}[self.how]


@dataclass(frozen=True)
class Choices:
    """A choice for each of some labels, and one for all other labels. Without a choice a label has its mean."""

    others: Choice | None = None
    by_label: Mapping[str, Choice] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Choices:
        """`sample:3`, or `road=sample:3,car=from:red.jpg`, or both. Raises UsageError for anything else."""
        choices = cls()
        for part in re.split(rf",(?=\s*{_STARTS}|[^,=]+={_STARTS})", text) if text else ():
            found = re.fullmatch(r"(?:([^,=\s][^,=]*)=)?(?:(mean)|sample:(\d{1,18})|from:(.+))", part.strip())
            if found is None:
                raise UsageError(f"{part!r} is not an appearance", hint=HOW_TO_CHOOSE)
            label, mean, seed, picture = found.groups()
            choice = Choice("mean") if mean else Choice("from", image=picture) if picture else Choice("sample", int(seed))
            earlier = choices.others if label is None else choices.by_label.get(label)
            if earlier is not None:
                raise UsageError(f"the appearance of {label or 'all labels'} is both {earlier} and {choice}", hint="Leave one of them out")
            choices = choices.changed(label, choice)
        return choices

    def changed(self, label: str | None, choice: Choice) -> Choices:
        """A copy with another choice for a label, or, if `label` is None, for all other labels."""
        return replace(self, others=choice) if label is None else replace(self, by_label={**self.by_label, label: choice})

    def __iter__(self) -> Iterator[tuple[str | None, Choice]]:
        """(label, its choice); the label of the choice for all others is None."""
        yield from ([] if self.others is None else [(None, self.others)])
        yield from self.by_label.items()

    def __str__(self) -> str:
        return ",".join(str(choice) if label is None else f"{label}={choice}" for label, choice in self)

    def of(self, label: str) -> Choice:
        return self.by_label.get(label, self.others or Choice())

    @property
    def images(self) -> list[str]:
        """The paths of the images in all choices, without repetitions."""
        return list(dict.fromkeys(choice.image for _, choice in self if choice.how == "from"))


def variant(text: str, number: int) -> str:
    """The appearance of variant 0, 1, 2, ... of a video: each SEED of `text` plus the number. An empty text stands for sample:0.

    Raises UsageError if `text` contains no sample, because all variants would be alike.
    """
    choices = Choices.parse(text or "sample:0")
    samples = [(label, choice) for label, choice in choices if choice.how == "sample"]
    if not samples:
        raise UsageError(f"{text} contains no sample: all variants would be alike", hint="Use sample:SEED")
    for label, choice in samples:
        choices = choices.changed(label, replace(choice, seed=choice.seed + number))
    return str(choices)


def require_appearance(text: str, model: Model) -> None:
    """Raises UsageError for a text that is not an appearance, and for one that the model cannot produce."""
    choices = Choices.parse(text)
    if text and not model.config.appearance:
        raise UsageError(f"this model of the family {model.config.family} has no appearance to choose", hint="Leave it out")
    if not model.config.appearance:
        return
    mixtures = mixtures_of(model)
    if unseen := [label for label, choice in choices.by_label.items() if choice.how != "from" and label not in mixtures]:
        raise UsageError(f"the model has not learnt what {unseen[0]} looks like, only {', '.join(mixtures)}")


def mixtures_of(model: Model) -> dict[str, Mixture]:
    """The mixture of Gaussians of each label that the model has seen in training. Raises InputError if the model's file is damaged."""
    try:
        stored = model.info["appearance"]
        return {str(name): Mixture.from_json(values, model.config.appearance) for name, values in stored.items()}
    except READ_ERRORS as error:
        raise InputError(f"{model.path} lacks valid mixtures of the appearance of labels: {error}", hint="Train it again") from error


class AppearanceMaps:
    """The appearance maps z_t of a driving clip. The object is called for the frames in their order."""

    def __init__(self, clip: Clip, track: LabelTrack, appearances: InstanceAppearances) -> None:
        self.clip, self.track, self.appearances = clip, track, appearances
        self.tracker = InstanceTracker()
        self.whole = View.scaled(clip.height, clip.width, clip.height, clip.width)

    def __call__(self, index: int, view: View) -> NDArray[np.float32]:
        """z_t of frame `index` through a view, float32 [D, H, W]; zeros for void."""
        identities = cv2.warpAffine(
            self._identities(index).astype(np.float64), view.matrix, (view.width, view.height),
            flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        instances, indices = np.unique(identities.astype(np.int64), return_inverse=True)
        values = np.stack([self.appearances.features(int(identity)) for identity in instances]).astype(np.float32)
        return np.ascontiguousarray(values[indices.reshape(identities.shape)].transpose(2, 0, 1))

    def _identities(self, index: int) -> Identities:
        labels, numbers = self.track.channels_and_instances(index, self.whole)
        if numbers is not None:
            return keys_of(labels, numbers)
        return self.tracker(labels, self._flow_to(index) if index and self.clip.has("flow") else None)

    def _flow_to(self, index: int) -> NDArray[np.float32]:
        """The clip's flow from the previous frame to frame `index`, [H, W, 2]."""
        flow = self.clip.layer("flow").image(index - 1).astype(np.float32)
        if flow.shape[:2] != (self.clip.height, self.clip.width):
            raise InvalidClip(f"the layer flow of {self.clip.path} does not have the size of its frames")
        return flow


class InstanceAppearances:
    """The appearance of each instance. It is decided when the instance is first seen, and then never changes."""

    def __init__(
        self, names: Sequence[str], choices: Choices, mixtures: Mapping[str, Mixture], shown: Mapping[str, Shown], size: int
    ) -> None:
        self.names, self.choices, self.mixtures, self.shown = names, choices, mixtures, shown
        self.none = np.zeros(size)
        self.decided: dict[int, Vector] = {}
        self.counts: dict[str, int] = {}

    def features(self, identity: int) -> Vector:
        """The features [D] of an instance; identity: see `Identities`."""
        if identity not in self.decided:
            label, number = identity % LABELS, identity // LABELS
            self.decided[identity] = self.none if label == VOID else self._decide(self.names[label], number)
        return self.decided[identity]

    def _decide(self, name: str, number: int) -> Vector:
        choice = self.choices.of(name)
        if choice.how == "from" and (examples := self.shown[choice.image].get(name)):
            self.counts[name] = self.counts.get(name, -1) + 1
            return examples[self.counts[name] % len(examples)]
        if choice.how == "sample":
            rng = np.random.default_rng([choice.seed, zlib.crc32(name.encode()), number])
            return self.mixtures[name].sample(rng).clip(-1, 1)
        return self.mixtures[name].mean.clip(-1, 1)


Shown = Mapping[str, list[Vector]]
"""label -> the features of its instances in an image, the largest instance first."""


@dataclass(frozen=True)
class Appearance:
    """The choices for one driving clip. They have been checked against the labels in the clip and in the images."""

    clip: Clip
    track: LabelTrack
    choices: Choices
    mixtures: Mapping[str, Mixture]
    shown: Mapping[str, Shown]
    size: int
    warnings: tuple[str, ...]

    def maps(self) -> AppearanceMaps:
        """The appearance maps for one pass over the clip; each pass needs a new object."""
        appearances = InstanceAppearances(self.track.names, self.choices, self.mixtures, self.shown, self.size)
        return AppearanceMaps(self.clip, self.track, appearances)


def decide_appearance(
    text: str, driving: Clip, track: Any, model: Model, appearance_images: Mapping[str, Clip], crop: Crop, device: torch.device
) -> Appearance:
    """The appearance of a driving clip's instances.

    appearance_images: path in `text` -> clip of that image. device: where the model already is.
    Raises UsageError for a label that the clip's table does not have. Raises InputError if the clip shows a label that the model has never
    seen, if its instance numbers do not stay with the instances from frame to frame, or if an image does not show the label whose
    appearance it has to give.
    """
    choices, mixtures = Choices.parse(text), mixtures_of(model)
    if unknown := [label for label in choices.by_label if label not in track.names]:
        raise UsageError(f"the label table of {driving.path} has no {unknown[0]}, only {', '.join(track.names)}")
    shown = {name: _shown(appearance_images[name], model, crop, device) for name in choices.images}
    for label, choice in choices.by_label.items():
        if choice.how == "from" and label not in shown[choice.image]:
            raise InputError(f"{choice.image} shows no {label}", hint="Give a picture that shows it, or leave out the label")
    present = _labels_of(driving, track)
    pictured = [label for label in present if choices.of(label).how == "from"]
    replaced = [label for label in pictured if label not in shown[choices.of(label).image]]
    if unseen := [label for label in present if (label not in pictured or label in replaced) and label not in mixtures]:
        known = ", ".join(mixtures)
        message = f"{driving.path} shows {unseen[0]}, but the model has learnt only the appearance of {known}"
        raise InputError(message, code="appearance-unknown")
    warnings = tuple(
        f"{choices.of(label).image} shows no {label}: the mean appearance that the model has learnt is used" for label in replaced
    )
    return Appearance(driving, track, choices, mixtures, shown, model.config.appearance, warnings)


def _labels_of(clip: Clip, track: LabelTrack) -> list[str]:
    """The labels that a clip shows. Raises InputError if its instance numbers do not stay with the instances from frame to frame."""
    whole = View.scaled(clip.height, clip.width, clip.height, clip.width)
    counts, previous = np.zeros(LABELS, np.int64), None
    for index in range(track.num_frames):
        labels, numbers = track.channels_and_instances(index, whole)
        counts += np.bincount(labels.ravel(), minlength=LABELS)
        if numbers is not None and track.instances is not None:
            keys = keys_of(labels, numbers)
            if previous is not None:
                require_stable_numbers(previous, keys, track.instances.is_thing, index)
            previous = keys
    return [name for name, count in zip(track.names, counts, strict=False) if count]


@torch.no_grad()
def _shown(image: Clip, model: Model, crop: Crop, device: torch.device) -> Shown:
    """The features of the instances in the first frame of an image."""
    track = open_track(image, model.config.kind)
    require_channels(image, track.channels, model.config.semantic_channels)
    view = views(image, track, model.config.size, crop)[0]
    sample = sample_of(track, 0, view, view.image(image.frame(0)), regions=True)
    appearance = model.generator.appearance_of(frame_of([sample], device))[0].float().cpu().numpy()
    assert sample.regions is not None
    found = features_of(sample.regions, sample.semantic[: len(track.names)], appearance)
    shown: dict[str, list[Vector]] = {}
    for region in np.argsort(-found.areas, kind="stable"):
        shown.setdefault(track.names[found.labels[region]], []).append(found.features[region])
    return shown
