"""Batches of training windows with their examples.

A batch is a function of the seed and the step alone, given the same data on disk, so a resumed run sees exactly what an undisturbed one
would have seen, and no sampler position has to be stored. Neither has a list of the clips that cannot be read: whatever draws one of them
draws again, each time.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from stages.conditions.dataset_files import read_index
from stages.conditions.framing import Sample, frame_of
from stages.conditions.kinds import require_channels
from stages.conditions.tracks import DetectorNoise
from stages.conditions.view import View
from stages.errors import Fsv2vError, InputError, InvalidClip
from stages.flow.backends import Estimator
from stages.flow.backends.dis import dis_flow
from stages.flow.consistency import consistent_flow
from stages.networks.common.frame import Frame
from stages.train.augment import Colours, draw_colours, draw_view
from stages.train.batch import Batch
from stages.train.config import Phase, TrainConfig
from stages.train.dataset_clip import DatasetClip, check_kind
from stages.train.parallel import ProcessGroup

EXAMPLE_DISTANCE = 0.5
"""Seconds between a window and its examples, where the clip is long enough."""
FAR_AMONG = 8
"""Number of frames from which the farthest is taken, for windows whose examples are to be far away."""
MAX_OPEN = 512
"""Clips whose tracks are kept in memory, the last ones used: a data set may have hundreds of thousands."""
OnBad = Callable[[Path, str], None]
"""Told of a clip that cannot be read, and why."""
TrainingWindow = tuple[Frame, Frame, dict[str, Tensor]]
"""The frames of a window [T, ...], its examples [K, ...], and what the teacher says of their flow."""
CPU = torch.device("cpu")
SAME = Colours(np.ones(3), 0.0)
"""The colours as they are."""


class Dataset:
    """The clips of one split of a dataset folder, by subject. Raises InputError or InvalidClip with what is wrong and what to do.

    A dataset of one subject has nobody to hold out: its "val" is its "train". `teacher` estimates the flow of the windows. `on_bad` is told
    once of each clip that turns out unreadable; other clips take its place, unless more than half are so.
    """

    def __init__(self, root: Path, kind: str, split: str, teacher: Estimator = dis_flow, on_bad: OnBad = lambda path, reason: None) -> None:
        self.teacher = teacher
        rows = read_index(root)
        check_kind(root, kind)
        if split == "val" and not any(row["split"] == "val" for row in rows):
            split = "train"
        subjects: dict[str, list[DatasetClip]] = defaultdict(list)
        for row in rows:
            if row["split"] == split:
                subjects[row["subject"]].append(DatasetClip(root, row, kind))
        self.subjects = [subjects[name] for name in sorted(subjects)]
        if not self.subjects:
            raise InputError(f"{root} has no clips in its split {split!r}", code="split-empty")
        self.open: OrderedDict[DatasetClip, None] = OrderedDict()
        self.lock = Lock()
        self.unreadable = _Unreadable(root, len({footage.path for clips in self.subjects for footage in clips}), on_bad)

    def label_names(self) -> tuple[str, ...]:
        """The labels of s_t, the same for all clips; empty for keypoints. Clips that cannot be read are skipped."""
        for footage in chain.from_iterable(self.subjects):
            try:
                return footage.track.names
            except (InputError, InvalidClip) as error:
                self.unreadable.add(footage.path, error)
        return ()

    def batch(
        self, config: TrainConfig, step: int, phase: Phase, part: Sequence[int] | None = None, attempt: int = 0, examples: int | None = None
    ) -> Batch:
        """The batch of one step, or those of its samples that `part` numbers. Another attempt at a step draws another batch.

        K is drawn, unless `examples` says it, and so are the number of frames of a rollout, which come before those of the phase, and
        whether real frames come before all.
        """
        draw = np.random.default_rng([config.seed, step, attempt])
        examples = examples or _draw_k(draw, config.max_examples)
        before = int(draw.integers(phase.rollout + 1)) if phase.rollout else 0
        given = config.generator.past_frames if phase.has_past and config.given and draw.random() < config.given else 0
        before += given
        numbers = range(phase.batch) if part is None else part
        draws = (np.random.default_rng([config.seed, step, attempt, 1 + i]) for i in numbers)
        samples = [self._sample(own, config, phase, examples, before) for own in draws]
        frames, shown, flows = zip(*samples, strict=True)
        taught = {name: torch.stack([sample[name] for sample in flows]) for name in flows[0]}
        whole, others = _stacked(frames), _stacked(shown)
        if config.generator.makes_labels:
            whole, others = _label_maps(whole), _label_maps(others)
        return Batch(whole, others, **taught, numbers=torch.tensor(list(numbers)), given=given)

    def survey(self, size: tuple[int, int], count: int) -> Iterator[Sample]:
        """About `count` frames with their regions, evenly spread over all clips, as they are at the size (height, width)."""
        clips = list(chain.from_iterable(self.subjects))
        chosen = clips[:: -(-len(clips) // count)]
        for footage in chosen:
            self._keep_open(footage)
            try:
                frames = np.linspace(0, len(footage.usable) - 1, -(-count // len(chosen))).astype(int)
                indices = [footage.usable[frame] for frame in np.unique(frames)]
                yield from footage.samples(indices, View.scaled(*footage.shape, *size), SAME, None, regions=True)
            except (InputError, InvalidClip) as error:
                self.unreadable.add(footage.path, error)

    def _sample(self, draw: np.random.Generator, config: TrainConfig, phase: Phase, examples: int, before: int) -> TrainingWindow:
        tried: set[Path] = set()
        while True:
            footage = self._draw_clip(draw, tried)
            try:
                return self._window(footage, draw, config, phase, examples, before)
            except (InputError, InvalidClip) as error:
                self.unreadable.add(footage.path, error)
                tried.add(footage.path)

    def _draw_clip(self, draw: np.random.Generator, tried: set[Path]) -> DatasetClip:
        """A subject, then one of its clips, the longer the likelier; none of those that were tried."""
        there = ([footage for footage in clips if footage.path not in tried] for clips in self.subjects)
        subjects = [clips for clips in there if clips] if tried else self.subjects
        clips = subjects[draw.integers(len(subjects))]
        lengths = np.array([footage.num_frames for footage in clips])
        return clips[draw.choice(len(clips), p=lengths / lengths.sum())]

    def _window(
        self, footage: DatasetClip, draw: np.random.Generator, config: TrainConfig, phase: Phase, examples: int, before: int
    ) -> TrainingWindow:
        """before: the number of frames that come before those of the phase; no loss asks for the flow of the first of them."""
        self._keep_open(footage)
        require_channels(footage.clip, footage.track.channels, config.generator.semantic_channels)
        stride = int(draw.integers(1, config.most_stride + 1))
        distance = round(EXAMPLE_DISTANCE * footage.clip.fps)
        many = FAR_AMONG if config.far_examples and draw.random() < config.far_examples else 1
        window, others = draw_window(draw, footage.usable, before + phase.frames, many * examples, distance, stride)
        others = [footage.farthest(others[i::examples], window[0]) for i in range(examples)]
        view = draw_view(draw, footage.shape, *config.size_of(phase), config.jitter)
        colours = draw_colours(draw, config.jitter, config.hue)
        seed = int(draw.integers(1 << 62))
        noise, faults = (DetectorNoise(seed), DetectorNoise(seed + 1, noisy=False)) if config.jitter else (None, None)
        frames = footage.samples(window, view, colours, noise, regions=config.generator.appearance > 0)
        shown = footage.samples(others, view, colours, faults)
        untaught = max(0, before - max(1, config.discriminators.span))
        flows, confidence = _teach(list(zip(frames[1:], frames, strict=False))[untaught:], self.teacher, view, untaught)
        warped = shown if config.losses.example_flow and config.generator.warps_example else []
        to_examples, trusted = _teach(product(frames, warped), self.teacher, view)
        of_each = (len(frames), len(warped))
        taught = {
            "flows": torch.from_numpy(flows),
            "flow_confidence": torch.from_numpy(confidence),
            "example_flows": torch.from_numpy(to_examples).unflatten(0, of_each),
            "example_confidence": torch.from_numpy(trusted).unflatten(0, of_each),
        }
        return frame_of(frames, CPU), frame_of(shown, CPU), taught

    def _keep_open(self, footage: DatasetClip) -> None:
        with self.lock:
            self.open[footage] = None
            self.open.move_to_end(footage)
            if len(self.open) > MAX_OPEN:
                self.open.popitem(last=False)[0].close()


class _Unreadable:
    """The clips of a dataset that could not be read so far; threads may add to it at the same time."""

    def __init__(self, root: Path, clips: int, tell: OnBad) -> None:
        self.root, self.clips, self.tell = root, clips, tell
        self.unreadable: set[Path] = set()
        self.lock = Lock()

    def add(self, path: Path, error: Fsv2vError) -> None:
        """Raises an error of the same kind when it is more than half of them now."""
        with self.lock:
            if path not in self.unreadable:
                self.unreadable.add(path)
                self.tell(path, str(error))
            if 2 * len(self.unreadable) > self.clips:
                unusable = f"{len(self.unreadable)} of {self.clips} clips of {self.root} cannot be used: {error.message}"
                raise type(error)(unusable, code="dataset-unusable") from error


class Prefetcher:
    """Makes the next batches in threads while a step runs (decoding and drawing release the interpreter's lock)."""

    def __init__(self, dataset: Dataset, config: TrainConfig, start: int, world: ProcessGroup, attempt: int = 0, ahead: int = 2) -> None:
        self.dataset, self.config, self.step, self.world, self.attempt = dataset, config, start, world, attempt
        self.pool = ThreadPoolExecutor(ahead, thread_name_prefix="batches")
        self.waiting = [self._order(start + i) for i in range(ahead)]

    def _order(self, step: int) -> Future[Batch]:
        phase = self.config.phase_at(step)
        return self.pool.submit(self.dataset.batch, self.config, step, phase, self.world.part(phase.batch), self.attempt)

    def next(self) -> Batch:
        batch = self.waiting.pop(0).result()
        self.step += 1
        self.waiting.append(self._order(self.step + len(self.waiting)))
        return batch

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def draw_window(
    draw: np.random.Generator, usable: list[int], frames: int, examples: int, distance: int, stride: int = 1
) -> tuple[list[int], list[int]]:
    """A window of `frames` usable frames, every `stride`-th one where there are enough, and `examples` others.

    Examples are at least `distance` away from the window where possible, drawn with replacement. A clip shorter than the window repeats
    its last frame.
    """
    stride = max(1, min(stride, (len(usable) - 1) // max(frames - 1, 1)))
    start = int(draw.integers(max(1, len(usable) - (frames - 1) * stride)))
    window = [usable[min(start + i * stride, len(usable) - 1)] for i in range(frames)]
    far = [i for i in usable if i < window[0] - distance or i > window[-1] + distance]
    chosen = draw.choice(far or usable, examples, replace=True)
    return window, [int(i) for i in chosen]


def _draw_k(draw: np.random.Generator, most: int) -> int:
    return 1 if most == 1 or draw.random() < 2 / 3 else int(draw.integers(2, most + 1))


def _teach(pairs: Iterable[tuple[Sample, Sample]], teacher: Estimator, view: View, untaught: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's flow from the first of each pair to the second, [N, 2, H, W], and its confidence, [N, 1, H, W].

    Zeros for `untaught` pairs come first.
    """
    found = [consistent_flow(one.required_image, other.required_image, teacher) for one, other in pairs]
    flows = np.array([flow.transpose(2, 0, 1) for flow, _ in found], np.float32)
    confidence = np.array([trusted[None] for _, trusted in found], np.float32)
    flows, confidence = flows.reshape(-1, 2, view.height, view.width), confidence.reshape(-1, 1, view.height, view.width)
    return np.pad(flows, [(untaught, 0), *[(0, 0)] * 3]), np.pad(confidence, [(untaught, 0), *[(0, 0)] * 3])


def _stacked(frames: Sequence[Frame]) -> Frame:
    """Frames [T, ...] of each sample as one, [B, T, ...]."""
    images = torch.stack([frame.required_image for frame in frames])
    regions = [frame.regions for frame in frames if frame.regions is not None]
    return Frame(
        torch.stack([frame.semantic for frame in frames]),
        torch.stack([frame.keypoints for frame in frames]),
        images,
        torch.stack(regions) if len(regions) == len(frames) else None,
    )


def _label_maps(frames: Frame) -> Frame:
    """The frames of a family that makes label maps: these are its images."""
    return replace(frames, image=frames.semantic)
