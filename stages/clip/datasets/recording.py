"""Import of data sets: the layouts of their folders, the recordings in them, and the import of each recording as a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from stages.clip.clip import Clip
from stages.clip.create import DEFAULT_FPS, FrameStorage, as_clip, clip_of_images, discard_on_failure
from stages.clip.images import add_frame, is_image, list_images, natural_key
from stages.clip.layer_importers import add_layer
from stages.clip.probe import Timestamps
from stages.errors import InputError, UsageError
from stages.tables.label_tables import find_table

VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".m4v"}


@dataclass(frozen=True)
class Recording:
    """The files that make up one clip."""

    name: str
    """The name of the clip, without .clip."""
    frames: Path | tuple[Path, ...]
    """A video, or images in order."""
    layers: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """Layer -> a file for each frame."""
    fps: Fraction = DEFAULT_FPS
    """The rate of images. It is ignored for a video."""
    timestamps: Timestamps | None = None
    """The times of images at a variable rate."""
    labels: str = ""
    """The name of the table of label ids, for a layer `segment`."""

    @property
    def source(self) -> str:
        """The path of the video or of the first image."""
        return str(self.frames if isinstance(self.frames, Path) else self.frames[0])


@dataclass(frozen=True)
class Layout:
    """The folder tree of a data set."""

    name: str
    recognises: Callable[[Path], bool]
    """Whether a folder is the root of such a tree, judging by the names in it."""
    recordings: Callable[[Path], Iterable[Recording]]
    """The recordings below a root. Raises InputError naming a missing file."""


def import_layout(
    layout: Layout, root: Path, out: Path, storage: FrameStorage | None = None, fps: Fraction | None = None, labels: str | None = None
) -> Iterator[Clip]:
    """Make a clip of each recording below `root`, in the folder `out`, and yield it; a finished clip is reused.

    fps, labels: replace the data set's rate of images and table of label ids. All recordings are listed before the first clip is made. If
    a file is damaged, no part of its clip remains. Raises UsageError when `out` is a clip or `labels` is unknown. Raises InputError when
    there is no recording, when two have the same name, or when a file is missing or damaged.
    """
    if out.suffix.lower() == ".clip":
        raise UsageError(f"{root} holds many sequences, so {out} must be a folder, not a clip")
    if labels is not None:
        find_table(labels)  # raises UsageError for an unknown name
    recordings = list(layout.recordings(root)) if root.is_dir() else []
    if not recordings:
        raise InputError(f"{root} holds no sequence in the layout {layout.name}", hint="See its folder tree in docs/importing.md")
    sources: dict[str, str] = {}
    for recording in recordings:
        if (other := sources.setdefault(recording.name, recording.source)) != recording.source:
            hint = "Import them one by one"
            raise InputError(f"{other} and {recording.source} would both be {recording.name}.clip", hint=hint)
    return (_import_recording(layout.name, _override(recording, fps, labels), out, storage) for recording in recordings)


def _override(recording: Recording, fps: Fraction | None, labels: str | None) -> Recording:
    changed = recording if fps is None else replace(recording, fps=fps, timestamps=None)
    return changed if labels is None else replace(changed, labels=labels)


def _import_recording(layout: str, recording: Recording, out: Path, storage: FrameStorage | None) -> Clip:
    target = out / f"{recording.name}.clip"
    with discard_on_failure(target):
        clip = _make_clip_of_frames(recording, target, storage)
        for layer, files in recording.layers.items():
            if len(files) != clip.num_frames:
                raise InputError(f"{files[0].parent} holds {len(files)} files, but {recording.frames} has {clip.num_frames} frames")
            add_layer(clip, layer, layout, files, recording.labels)
    return clip


def _make_clip_of_frames(recording: Recording, target: Path, storage: FrameStorage | None) -> Clip:
    if isinstance(recording.frames, Path):
        return as_clip(recording.frames, target, storage)
    return clip_of_images(recording.frames, target, storage, recording.fps, recording.timestamps)


# Helpers of the layouts


def folders_in(folder: Path) -> list[Path]:
    """The subfolders of a folder in natural order, without hidden ones."""
    found = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")] if folder.is_dir() else []
    return sorted(found, key=lambda entry: natural_key(entry.name))


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order."""
    return list_images(folder) if any(map(is_image, files_in(folder))) else []


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder, by suffix, in natural order."""
    return [path for path in files_in(folder) if path.suffix.lower() in VIDEO_SUFFIXES]


def files_in(folder: Path) -> list[Path]:
    """The files of a folder in natural order, without hidden ones; empty when the folder does not exist."""
    found = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")] if folder.is_dir() else []
    return sorted(found, key=lambda entry: natural_key(entry.name))


def matching_files(images: Sequence[Path], folder: Path, ending: str = "") -> tuple[Path, ...]:
    """The file in `folder` for each image: its stem is that of the image, followed by `ending` or not.

    Raises InputError naming a frame without a file, or two files of one frame.
    """
    names, by_stem = {image.stem for image in images}, dict[str, Path]()
    for path in files_in(folder):
        if (stem := path.stem.removesuffix(ending)) in names:
            add_frame(by_stem, stem, path)
    for image in images:
        if image.stem not in by_stem:
            raise InputError(f"{folder} has no file for the frame {image.stem}")
    return tuple(by_stem[image.stem] for image in images)


def consecutive_runs(numbers: Sequence[int], max_step: int | None = None) -> list[slice]:
    """Split ascending frame numbers at jumps; returns the runs between them.

    A jump is a step of more than `max_step`, or without `max_step` one that differs from the most common step by at least half of it.
    """
    usual_step = common_step(numbers)
    steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    is_jump = [step > max_step if max_step else not usual_step < 2 * step < 3 * usual_step for step in steps]
    bounds = [0, *(index for index, jump in enumerate(is_jump, 1) if jump), len(numbers)]
    return [slice(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]


def common_step(numbers: Sequence[int]) -> int:
    """The most common step between successive numbers, in a tie the smaller one; 1 for a single number."""
    steps = Counter(after - before for before, after in zip(numbers, numbers[1:], strict=False))
    return min(steps, key=lambda step: (-steps[step], step), default=1)


def timing(numbers: Sequence[int], rate: int, single_step: int = 1) -> tuple[Fraction, Timestamps | None]:
    """The mean frame rate of frames with these numbers, and their times if the rate is variable.

    rate: by how much the number grows per second. single_step: the step that is assumed for a single frame.
    """
    if len(numbers) == 1:
        return Fraction(rate, single_step), None
    constant = len({after - before for before, after in zip(numbers, numbers[1:], strict=False)}) == 1
    ticks = tuple(number - numbers[0] for number in numbers)
    return Fraction(rate * (len(numbers) - 1), ticks[-1]), None if constant else Timestamps(Fraction(1, rate), ticks)
