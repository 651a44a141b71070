"""The videos that a study shows side by side: those of the same name in the folders of the two methods and, if given, of the references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from stages.clip.clip import is_clip
from stages.clip.create import DEFAULT_FPS, source_identity
from stages.errors import InputError
from stages.evaluate.frame_source import FrameSource, is_frame_source, open_frame_source, same_rate, same_shape, stem


@dataclass(frozen=True)
class Pair:
    """Videos of the same name: one of each method, of equal length and aspect ratio, and a reference of that length or None."""

    name: str
    videos: tuple[FrameSource, FrameSource]
    reference: FrameSource | None
    fps: Fraction

    @property
    def sources(self) -> tuple[FrameSource, ...]:
        """The two videos, and the reference if there is one."""
        return (*self.videos, self.reference) if self.reference else self.videos

    @property
    def width(self) -> int:
        """The larger of the two widths, in pixels."""
        return max(video.width for video in self.videos)

    @property
    def aspect(self) -> float:
        """Width divided by height."""
        return self.videos[0].width / self.videos[0].height


def find_pairs(first: str, second: str, reference: str = "") -> list[Pair]:
    """The pairs of all names, in order. Each folder must have each name, because leaving out the failures of a method would favour it.

    A folder holds videos, clips or folders of images. Raises InputError for other folders, for missing names and for videos that cannot be
    compared.
    """
    folders = [first, second, *([reference] if reference else [])]
    found = [videos_by_name(Path(folder)) for folder in folders]
    for folder, videos in zip(folders, found, strict=True):
        for other, other_videos in zip(folders, found, strict=True):
            if missing := sorted(videos.keys() - other_videos.keys()):
                rest = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                raise InputError(
                    f"{other} lacks {', '.join(missing[:3])}{rest}, which {folder} has", hint="Give each folder the same names"
                )
    return [_pair(name, [open_frame_source(str(videos[name])) for videos in found]) for name in sorted(found[0])]


def videos_by_name(folder: Path) -> dict[str, Path]:
    """Name without suffix -> path. A clip takes precedence over a video of its name; files that are not videos are ignored."""
    if not folder.is_dir() or is_clip(folder):
        raise InputError(f"{folder} is not a folder of videos")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not is_frame_source(path):
            continue
        name = stem(path)
        if name in found and is_clip(path) == is_clip(found[name]):
            raise InputError(f"{folder} holds two videos named {name}: {found[name].name} and {path.name}", hint="Remove one")
        if name not in found or is_clip(path):
            found[name] = path
    if not found:
        raise InputError(f"{folder} holds no video")
    return found


def _pair(name: str, sources: Sequence[FrameSource]) -> Pair:
    rates = [video.fps for video in sources if video.fps is not None]
    lengths = {video.num_frames for video in sources}
    if (rates and not same_rate(rates)) or len(lengths) > 1:
        lengths_and_rates = ", ".join(f"{video.path} has {video.num_frames} frames" + _per_second(video.fps) for video in sources)
        hint = "Cut them to the same frames at the same rate"
        raise InputError(f"The videos named {name} are not of equal length and rate: {lengths_and_rates}", hint=hint)
    first, second = sources[:2]
    if not same_shape((first.width, first.height), (second.width, second.height)):
        shapes = f"{first.path} has {first.width}x{first.height} pixels, {second.path} {second.width}x{second.height}"
        hint = "Crop them to one shape, so that it does not reveal the method"
        raise InputError(f"The videos named {name} differ in shape: {shapes}", hint=hint)
    return Pair(name, (first, second), sources[2] if len(sources) > 2 else None, next(iter(rates), DEFAULT_FPS))


def _per_second(rate: Fraction | None) -> str:
    return "" if rate is None else f" at {float(rate):.5g} per second"


def identity(source: FrameSource) -> str:
    """A sha256 that identifies the frames."""
    return source.clip.frames_digest() if source.clip is not None else str(source_identity(Path(source.path))["sha256"])
