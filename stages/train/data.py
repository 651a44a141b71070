"""Batches of training windows with their examples.

For the same data on disk and the same recipe, a batch depends only on the seed, the step and the attempt: the number of times that the
guard has returned to an earlier state. A resumed run therefore gets exactly the batches of an uninterrupted one, without a stored position.
Unreadable clips need not be stored either: if one is drawn, another clip is drawn from the same random numbers, each time.
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
"""Smallest distance in seconds between a window and its examples, if the clip is long enough."""
FAR_CANDIDATES = 8
"""For windows with far examples: number of frames among which the farthest is chosen."""
MAX_OPEN = 512
"""Largest number of clips whose tracks are kept in memory; a dataset may have hundreds of thousands of clips."""
OnUnreadable = Callable[[Path, str], None]
"""Called with the path of a clip that cannot be read, and the reason."""
TrainingWindow = tuple[Frame, Frame, dict[str, Tensor]]
"""The frames of a window [T, ...], its examples [K, ...], and the teacher's flows with their confidence, by their names in `Batch`."""
CPU = torch.device("cpu")
UNCHANGED_COLOURS = Colours(np.ones(3), 0.0)


class Dataset:
    """The clips of one split of a dataset folder, grouped by subject. Raises InputError or InvalidClip when the dataset cannot be used.

    If the split "val" is empty, as for a dataset of one subject, "train" takes its place. `teacher` estimates the flow of the windows.
    `on_unreadable` is called once for each clip that cannot be read. Such clips are skipped; if they are more than half, an error is
    raised.
    """

    def __init__(
        self, root: Path, kind: str, split: str, teacher: Estimator = dis_flow, on_unreadable: OnUnreadable = lambda path, reason: None
    ) -> None:
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
        self.unreadable = _UnreadableClips(root, len({clip.path for clips in self.subjects for clip in clips}), on_unreadable)

    def label_names(self) -> tuple[str, ...]:
        """The labels of the channels of s_t, from the first readable clip; they are the same for all clips. Empty for keypoints."""
        for clip in chain.from_iterable(self.subjects):
            try:
                return clip.track.names
            except (InputError, InvalidClip) as error:
                self.unreadable.add(clip.path, error)
        return ()

    def batch(
        self, config: TrainConfig, step: int, phase: Phase, part: Sequence[int] | None = None, attempt: int = 0, examples: int | None = None
    ) -> Batch:
        """The batch of one step, or only those of its samples whose indices are `part`. Another attempt draws another batch.

        These are drawn: K, unless it is `examples`; the number of frames of a rollout, which are put before those of the phase; and
        whether the window starts with real frames, which are put before all others.
        """
        rng = np.random.default_rng([config.seed, step, attempt])
        examples = examples or _draw_k(rng, config.max_examples)
        rollout = int(rng.integers(phase.rollout + 1)) if phase.rollout else 0
        real_frames = config.generator.past_frames if phase.has_past and config.real_past and rng.random() < config.real_past else 0
        indices = range(phase.batch) if part is None else part
        sample_rngs = (np.random.default_rng([config.seed, step, attempt, 1 + i]) for i in indices)
        samples = [self._sample(sample_rng, config, phase, examples, real_frames + rollout) for sample_rng in sample_rngs]
        windows, example_frames, flows = zip(*samples, strict=True)
        stacked_flows = {name: torch.stack([sample[name] for sample in flows]) for name in flows[0]}
        batch_frames, batch_examples = _stack_frames(windows), _stack_frames(example_frames)
        if config.generator.makes_labels:
            batch_frames, batch_examples = _with_label_maps(batch_frames), _with_label_maps(batch_examples)
        if not config.generator.few_shot:  # only their images are used
            batch_examples = batch_examples.packed()
        return Batch(batch_frames.packed(), batch_examples, **stacked_flows, indices=torch.tensor(list(indices)), real_frames=real_frames)

    def survey(self, size: tuple[int, int], count: int) -> Iterator[Sample]:
        """About `count` frames with their regions, evenly spread over all clips, resized to `size` (height, width), not augmented."""
        clips = list(chain.from_iterable(self.subjects))
        chosen = clips[:: -(-len(clips) // count)]
        for clip in chosen:
            self._keep_open(clip)
            try:
                frames = np.linspace(0, len(clip.usable) - 1, -(-count // len(chosen))).astype(int)
                indices = [clip.usable[frame] for frame in np.unique(frames)]
                yield from clip.samples(indices, View.scaled(*clip.shape, *size), UNCHANGED_COLOURS, None, regions=True)
            except (InputError, InvalidClip) as error:
                self.unreadable.add(clip.path, error)

    def _sample(self, rng: np.random.Generator, config: TrainConfig, phase: Phase, examples: int, before: int) -> TrainingWindow:
        """A window of a random readable clip; parameters as in `_window`."""
        failed: set[Path] = set()
        while True:
            clip = self._draw_clip(rng, failed)
            try:
                return self._window(clip, rng, config, phase, examples, before)
            except (InputError, InvalidClip) as error:
                self.unreadable.add(clip.path, error)
                failed.add(clip.path)

    def _draw_clip(self, rng: np.random.Generator, failed: set[Path]) -> DatasetClip:
        """A random subject, then one of its clips with a probability proportional to its length; none of the `failed` clips."""
        remaining = ([clip for clip in clips if clip.path not in failed] for clips in self.subjects)
        subjects = [clips for clips in remaining if clips] if failed else self.subjects
        clips = subjects[rng.integers(len(subjects))]
        lengths = np.array([clip.num_frames for clip in clips])
        return clips[rng.choice(len(clips), p=lengths / lengths.sum())]

    def _window(
        self, dataset_clip: DatasetClip, rng: np.random.Generator, config: TrainConfig, phase: Phase, examples: int, before: int
    ) -> TrainingWindow:
        """A random window of a clip with its examples. before: the number of frames before those of the phase.

        The flows of the earliest of these frames are zeros, because no loss needs them.
        """
        self._keep_open(dataset_clip)
        require_channels(dataset_clip.clip, dataset_clip.track.channels, config.generator.semantic_channels)
        stride = int(rng.integers(1, config.max_stride + 1))
        distance = round(EXAMPLE_DISTANCE * dataset_clip.clip.fps)
        candidates = FAR_CANDIDATES if config.far_examples and rng.random() < config.far_examples else 1
        window, drawn = draw_window(rng, dataset_clip.usable, before + phase.frames, candidates * examples, distance, stride)
        chosen = [dataset_clip.farthest(drawn[i::examples], window[0]) for i in range(examples)]
        view = draw_view(rng, dataset_clip.shape, *config.size_of(phase), config.jitter)
        colours = draw_colours(rng, config.jitter, config.hue)
        seed = int(rng.integers(1 << 62))
        noise, example_noise = (DetectorNoise(seed), DetectorNoise(seed + 1, noisy=False)) if config.jitter else (None, None)
        frames = dataset_clip.samples(window, view, colours, noise, regions=config.generator.appearance > 0)
        example_frames = dataset_clip.samples(chosen, view, colours, example_noise)
        without_flow = max(0, before - max(1, config.discriminators.span))
        flows, confidence = _estimate_flows(list(zip(frames[1:], frames, strict=False))[without_flow:], self.teacher, view, without_flow)
        warped = example_frames if config.losses.example_flow and config.generator.warps_example else []
        example_flows, example_confidence = _estimate_flows(product(frames, warped), self.teacher, view)
        shape = (len(frames), len(warped))
        flow_tensors = {
            "flows": torch.from_numpy(flows),
            "flow_confidence": torch.from_numpy(confidence),
            "example_flows": torch.from_numpy(example_flows).unflatten(0, shape),
            "example_confidence": torch.from_numpy(example_confidence).unflatten(0, shape),
        }
        return frame_of(frames, CPU), frame_of(example_frames, CPU), flow_tensors

    def _keep_open(self, clip: DatasetClip) -> None:
        """Mark a clip as used, and close the least recently used one if too many are open."""
        with self.lock:
            self.open[clip] = None
            self.open.move_to_end(clip)
            if len(self.open) > MAX_OPEN:
                self.open.popitem(last=False)[0].close()


class _UnreadableClips:
    """The clips of a dataset that could not be read so far. Threads may add to them at the same time."""

    def __init__(self, root: Path, num_clips: int, on_unreadable: OnUnreadable) -> None:
        self.root, self.num_clips, self.on_unreadable = root, num_clips, on_unreadable
        self.paths: set[Path] = set()
        self.lock = Lock()

    def add(self, path: Path, error: Fsv2vError) -> None:
        """Add a clip that raised `error`. Raises an error of the same type when more than half of the clips are unreadable."""
        with self.lock:
            if path not in self.paths:
                self.paths.add(path)
                self.on_unreadable(path, str(error))
            if 2 * len(self.paths) > self.num_clips:
                unusable = f"{len(self.paths)} of {self.num_clips} clips of {self.root} cannot be used: {error.message}"
                raise type(error)(unusable, code="dataset-unusable") from error


class Prefetcher:
    """Makes the next `ahead` batches in threads while a step runs. Decoding and drawing release the interpreter's lock."""

    def __init__(self, dataset: Dataset, config: TrainConfig, start: int, world: ProcessGroup, attempt: int = 0, ahead: int = 2) -> None:
        self.dataset, self.config, self.step, self.world, self.attempt = dataset, config, start, world, attempt
        self.pool = ThreadPoolExecutor(ahead, thread_name_prefix="batches")
        self.pending = [self._submit(start + i) for i in range(ahead)]

    def _submit(self, step: int) -> Future[Batch]:
        phase = self.config.phase_at(step)
        return self.pool.submit(self.dataset.batch, self.config, step, phase, self.world.part(phase.batch), self.attempt)

    def next(self) -> Batch:
        """The batch of the next step."""
        batch = self.pending.pop(0).result()
        self.step += 1
        self.pending.append(self._submit(self.step + len(self.pending)))
        return batch

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def draw_window(
    rng: np.random.Generator, usable: list[int], frames: int, examples: int, distance: int, stride: int = 1
) -> tuple[list[int], list[int]]:
    """A random window of `frames` usable frames, and `examples` other frames, drawn with replacement.

    The window has every `stride`-th usable frame, or a smaller stride if the clip is too short for this. If the clip is shorter than the
    window, its last frame is repeated. Examples are more than `distance` frames away from the window, if there are such frames.
    """
    stride = max(1, min(stride, (len(usable) - 1) // max(frames - 1, 1)))
    start = int(rng.integers(max(1, len(usable) - (frames - 1) * stride)))
    window = [usable[min(start + i * stride, len(usable) - 1)] for i in range(frames)]
    far = [i for i in usable if i < window[0] - distance or i > window[-1] + distance]
    chosen = rng.choice(far or usable, examples, replace=True)
    return window, [int(i) for i in chosen]


def _draw_k(rng: np.random.Generator, max_examples: int) -> int:
    """1 with a probability of 2/3, else any number from 2 to `max_examples`."""
    return 1 if max_examples == 1 or rng.random() < 2 / 3 else int(rng.integers(2, max_examples + 1))


def _estimate_flows(
    pairs: Iterable[tuple[Sample, Sample]], teacher: Estimator, view: View, zeros: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's flow from the first sample of each pair to the second, [N, 2, H, W], and its confidence, [N, 1, H, W].

    `zeros` flows and confidences of zeros are put before them.
    """
    estimates = [consistent_flow(source.required_image, target.required_image, teacher) for source, target in pairs]
    flows = np.array([flow.transpose(2, 0, 1) for flow, _ in estimates], np.float32)
    confidence = np.array([trusted[None] for _, trusted in estimates], np.float32)
    flows, confidence = flows.reshape(-1, 2, view.height, view.width), confidence.reshape(-1, 1, view.height, view.width)
    return np.pad(flows, [(zeros, 0), *[(0, 0)] * 3]), np.pad(confidence, [(zeros, 0), *[(0, 0)] * 3])


def _stack_frames(frames: Sequence[Frame]) -> Frame:
    """Frames [T, ...] of B samples as one, [B, T, ...]."""
    images = torch.stack([frame.required_image for frame in frames])
    regions = [frame.regions for frame in frames if frame.regions is not None]
    return Frame(
        torch.stack([frame.semantic for frame in frames]),
        torch.stack([frame.keypoints for frame in frames]),
        images,
        torch.stack(regions) if len(regions) == len(frames) else None,
    )


def _with_label_maps(frames: Frame) -> Frame:
    """The frames for a family that makes label maps: with their label maps as images."""
    return replace(frames, image=frames.semantic)
