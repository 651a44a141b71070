"""What a recording and a layout of a data set are, and how recordings become clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from stages.clip.clip import Clip
from stages.clip.create import DEFAULT_FPS, FrameStorage, all_or_nothing, as_clip, clip_of_pictures
from stages.clip.foreign import add_layer
from stages.clip.pictures import add_frame, is_picture, list_pictures, natural_key
from stages.clip.probe import Timestamps
from stages.errors import InputError, UsageError
from stages.label_tables import table

VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".m4v"}


@dataclass(frozen=True)
class Recording:
    """The material of one clip.

    `frames`: a video, or images in order. `layers`: kind -> a file for each frame. `labels`: the table of label ids.
    """

    name: str
    frames: Path | tuple[Path, ...]
    layers: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    fps: Fraction = DEFAULT_FPS
    timestamps: Timestamps | None = None
    labels: str = ""

    @property
    def source(self) -> str:
        """The path of the video or of the first image."""
        return str(self.frames if isinstance(self.frames, Path) else self.frames[0])


@dataclass(frozen=True)
class Layout:
    """The layout of a data set on disk. `recognises` looks at the names in its root; `recordings` lists its recordings, and raises
    InputError naming what is missing.
    """

    name: str
    recognises: Callable[[Path], bool]
    recordings: Callable[[Path], Iterable[Recording]]


def import_layout(
    layout: Layout, root: Path, out: Path, storage: FrameStorage | None = None, fps: Fraction | None = None, labels: str | None = None
) -> Iterator[Clip]:
    """Make a clip in the folder `out` of each recording below `root`, one after the other; finished ones are reused.

    `fps` and `labels` replace the rate of images and the table of label ids of the data set. Everything is listed before the first clip
    is made. A clip with a bad file is not left behind.
    """
    if out.suffix.lower() == ".clip":
        raise UsageError(f"{root} holds many sequences, so {out} must be a folder, not a clip")
    if labels is not None:
        table(labels)  # fail for an unknown name before anything is read
    recordings = list(layout.recordings(root)) if root.is_dir() else []
    if not recordings:
        raise InputError(f"{root} holds no sequence in the layout {layout.name}", hint="see its folder tree in docs/importing.md")
    sources: dict[str, str] = {}
    for recording in recordings:
        if (other := sources.setdefault(recording.name, recording.source)) != recording.source:
            hint = "Import them one by one"
            raise InputError(f"{other} and {recording.source} would both be {recording.name}.clip", hint=hint)
    return (_import(layout.name, _adjusted(recording, fps, labels), out, storage) for recording in recordings)


def _adjusted(recording: Recording, fps: Fraction | None, labels: str | None) -> Recording:
    changed = recording if fps is None else replace(recording, fps=fps, timestamps=None)
    return changed if labels is None else replace(changed, labels=labels)


def _import(layout: str, recording: Recording, out: Path, storage: FrameStorage | None) -> Clip:
    target = out / f"{recording.name}.clip"
    with all_or_nothing(target):
        clip = _frames(recording, target, storage)
        for kind, files in recording.layers.items():
            if len(files) != clip.num_frames:
                raise InputError(f"{files[0].parent} holds {len(files)} files, but {recording.frames} has {clip.num_frames} frames")
            add_layer(clip, kind, layout, files, recording.labels)
    return clip


def _frames(recording: Recording, target: Path, storage: FrameStorage | None) -> Clip:
    if isinstance(recording.frames, Path):
        return as_clip(recording.frames, target, storage)
    return clip_of_pictures(recording.frames, target, storage, recording.fps, recording.timestamps)


# What the files of this folder share


def folders_in(folder: Path) -> list[Path]:
    """The subfolders of a folder in natural order, without hidden ones."""
    found = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")] if folder.is_dir() else []
    return sorted(found, key=lambda entry: natural_key(entry.name))


def pictures_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order."""
    return list_pictures(folder) if any(map(is_picture, files_in(folder))) else []


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder, by suffix, in natural order."""
    return [path for path in files_in(folder) if path.suffix.lower() in VIDEO_SUFFIXES]


def files_in(folder: Path) -> list[Path]:
    """The files of a folder in natural order, without hidden ones; empty when the folder does not exist."""
    found = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")] if folder.is_dir() else []
    return sorted(found, key=lambda entry: natural_key(entry.name))


def matching(pictures: Sequence[Path], folder: Path, ending: str = "") -> tuple[Path, ...]:
    """The file of `folder` for each image: the one with the same stem, apart from `ending`.

    Raises InputError naming the first frame that has none, or two files that one frame has.
    """
    names, by_stem = {picture.stem for picture in pictures}, dict[str, Path]()
    for path in files_in(folder):
        if (stem := path.stem.removesuffix(ending)) in names:
            add_frame(by_stem, stem, path)
    for picture in pictures:
        if picture.stem not in by_stem:
            raise InputError(f"{folder} has no file for the frame {picture.stem}")
    return tuple(by_stem[picture.stem] for picture in pictures)


def unbroken(numbers: Sequence[int], longest: int | None = None) -> list[slice]:
    """Runs of ascending frame numbers without a jump: each step is between half and one and a half times the most common one, or
    at most `longest`."""
    usual = step_of(numbers)
    steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    jumps = [step > longest if longest else not usual < 2 * step < 3 * usual for step in steps]
    bounds = [0, *(index for index, jump in enumerate(jumps, 1) if jump), len(numbers)]
    return [slice(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]


def step_of(numbers: Sequence[int]) -> int:
    """The most common difference between neighbours, the smaller one in a tie; 1 for a single number."""
    steps = Counter(after - before for before, after in zip(numbers, numbers[1:], strict=False))
    return min(steps, key=lambda step: (-steps[step], step), default=1)


def times(numbers: Sequence[int], rate: int, usual: int = 1) -> tuple[Fraction, Timestamps | None]:
    """Frame rate, and exact times if it is variable. rate: frame numbers per second; usual: the step assumed for a single frame."""
    if len(numbers) == 1:
        return Fraction(rate, usual), None
    constant = len({after - before for before, after in zip(numbers, numbers[1:], strict=False)}) == 1
    ticks = tuple(number - numbers[0] for number in numbers)
    return Fraction(rate * (len(numbers) - 1), ticks[-1]), None if constant else Timestamps(Fraction(1, rate), ticks)
