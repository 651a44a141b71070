"""Strange but legal videos and pictures, whose truth is known by construction, read by fsv2v and written again.

    python tools/strange_videos.py [--out FOLDER] [--only NAME ...] [--small]

Prints a table: a row for each file, a column for each thing that is checked, a verdict in each cell: `ok`, the deviation, or the refusal
where that is the documented behaviour. `frames` to `shape` compare what fsv2v reads with the construction, `others` the other ways to read
the same file with the first, `ffprobe` what ffprobe finds (where one is on PATH) with the construction, `out` and `sound` the video that
fsv2v exports, as plain ffmpeg decodes it. The exit code is 1 when any cell is wrong.
The files are those of tools/strange_files.py.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
from strange_files import BACK, KINDS, TURNS, Bench, Truth, number_of, patches_of

from stages.clip import as_clip
from stages.clip.exporters import export
from stages.clip.ffmpeg import executable
from stages.clip.importers import import_clips
from stages.errors import InputError
from stages.evaluate.frame_source import open_frame_source

# What was seen, and the verdict


@dataclass(frozen=True)
class Seen:
    """What a reader found."""

    frames: Sequence[np.ndarray]
    times: Sequence[Fraction]


Verdicts = dict[str, str]
COLUMNS = ("frames", "times", "colour", "turned", "shape", "others", "ffprobe", "out", "sound")
OK = "ok"


def compare(seen: Seen, truth: Truth) -> Verdicts:
    """A verdict for each of frames, times, colour, turned and shape."""
    shown = (seen.frames[0].shape[1], seen.frames[0].shape[0])
    turns = [turn_of(frame, truth.patches) for frame in seen.frames]
    upright = [TURNS[BACK[turn]](frame) for turn, frame in zip(turns, seen.frames, strict=True)]
    numbers = tuple(map(number_of, upright))
    off = max(float(np.abs(patches_of(frame) - truth.patches).max()) for frame in upright)
    apart = max((abs(a - b) for a, b in zip(seen.times, truth.times, strict=False)), default=Fraction(0))
    wrong = next((turn for turn in turns if turn != truth.turn), None)
    return {
        "frames": OK if numbers == truth.numbers else f"{len(numbers)}, not {len(truth.numbers)}: {' '.join(map(str, numbers))[:60]}",
        "times": OK if len(seen.times) == len(truth.times) and apart <= truth.tick else f"{float(apart):.4f} s off",
        "colour": OK if off <= truth.within else f"{off:.0f} levels off",
        "turned": OK if wrong is None else f"as EXIF {wrong}, not {truth.turn}",
        "shape": OK if shown == truth.size else f"{shown[0]}x{shown[1]}, not {truth.size[0]}x{truth.size[1]}",
    }


def turn_of(frame: np.ndarray, patches: np.ndarray) -> int:
    """The turn after which the corners of an upright frame lie as they do in this one."""
    return min(TURNS, key=lambda turn: np.abs(patches_of(TURNS[BACK[turn]](frame)) - patches).sum())


# Readers


def through_fsv2v(path: Path, folder: Path) -> tuple[Seen, Path]:
    """What `fsv2v clip import` makes of a file, and where the clip lies."""
    clip = import_clips(path, folder / "first")[0]
    times = [clip.timestamps.seconds(n) if clip.timestamps else n / clip.fps for n in range(clip.num_frames)]
    return Seen(list(clip.frames()), times), clip.path


def other_ways(path: Path, clip: Path, folder: Path, seen: Seen) -> str:
    """Whether single frames, frames kept as PNG, and evaluate's reader give the very same frames."""
    single = as_clip(clip)
    ways: dict[str, Callable[[], Iterator[np.ndarray]]] = {
        "single frames": lambda: (single.frame(index) for index in {0, len(seen.frames) // 2, len(seen.frames) - 1}),
        "kept as PNG": lambda: as_clip(path, folder / "png", frames="png").frames(),
        "evaluate": lambda: open_frame_source(str(path)).frames(),
    }
    for name, way in ways.items():
        wanted = seen.frames
        if name == "single frames":
            wanted = [seen.frames[index] for index in {0, len(seen.frames) // 2, len(seen.frames) - 1}]
        found = list(way())
        if len(found) != len(wanted):
            return f"{name}: {len(found)} frames"
        if not all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True)):
            return f"{name}: other pixels"
    return OK


def by_ffprobe(path: Path, truth: Truth) -> str:
    """Whether ffprobe finds the number of frames, their times and their size; empty without ffprobe."""
    if not shutil.which("ffprobe") or not truth.probed:
        return "-"
    shown = "stream=width,height:stream_side_data=rotation:frame=best_effort_timestamp_time"
    command = ["ffprobe", "-v", "error", "-select_streams", "V:0", "-show_frames", "-show_streams", "-show_entries", shown, "-of", "json"]
    found = json.loads(subprocess.run([*command, path], capture_output=True, check=True).stdout)
    stream = found["streams"][0]
    size = (stream["width"], stream["height"])
    turned = next((entry["rotation"] for entry in stream.get("side_data_list", []) if "rotation" in entry), 0)
    size = size[::-1] if turned % 180 else size
    times = [Fraction(frame["best_effort_timestamp_time"]) for frame in found["frames"] if "best_effort_timestamp_time" in frame]
    if len(found["frames"]) != len(truth.numbers):
        return f"{len(found['frames'])} frames"
    if len(times) < len(truth.times):  # as of an AVI with B-frames
        return OK if size == truth.size else f"{size[0]}x{size[1]}"
    apart = max(abs(time - times[0] - wanted) for time, wanted in zip(times, truth.times, strict=True))
    if apart > truth.tick + Fraction(1, 10**6):
        return f"{float(apart):.4f} s off"
    return OK if size == truth.size else f"{size[0]}x{size[1]}"


def plainly(path: Path) -> tuple[Seen, Fraction, str]:
    """What plain ffmpeg decodes, the time of the first frame, and the colour tags."""
    command = [executable(), "-hide_banner", "-nostdin", "-copyts", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-vf", "showinfo,scale=flags=bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    log = done.stderr.decode("utf-8", "replace")
    width, height = map(int, re.findall(r" s:(\d+)x(\d+) ", log)[0])
    times = [Fraction(time) for time in re.findall(r"^\[Parsed_showinfo.*? pts_time: *(-?[\d.]+)", log, re.M)]
    tags = re.findall(r"color_range:\S+ color_space:\S+ color_primaries:\S+ color_trc:\S+", log)[0]
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    return Seen(list(frames), [time - times[0] for time in times]), times[0], tags


def click_in(path: Path) -> Fraction | None:
    """The time of the first loud sample of the first sound, in the time of the file; None without sound."""
    command = [executable(), "-hide_banner", "-nostdin", "-copyts", "-i", str(path), "-map", "0:a:0?", "-af", "ashowinfo", "-ac", "1"]
    done = subprocess.run([*command, "-ar", "48000", "-f", "s16le", "-"], capture_output=True, check=False)
    first = re.search(rb"^\[Parsed_ashowinfo.*? pts_time:(-?[\d.]+)", done.stderr, re.M)
    loud = np.flatnonzero(np.abs(np.frombuffer(done.stdout, np.int16).astype(int)) > 3000)
    return Fraction(first[1].decode()) + Fraction(int(loud[0]), 48000) if first and loud.size else None


def way_out(clip: Path, truth: Truth, folder: Path) -> Verdicts:
    """What plain ffmpeg finds in the video that fsv2v exports: at a constant rate, with tags, its sound within half a frame.

    H.264 at fsv2v's quality may cost a grey level more.
    """
    path = export(as_clip(clip), "frames", folder / "out.mp4")
    seen, first, tags = plainly(path)
    fps = as_clip(clip).fps
    constant = replace(truth, times=tuple(n / fps for n in range(len(truth.numbers))), tick=Fraction(1, 10_000), within=truth.within + 1)
    found = [f"{name} {verdict}" for name, verdict in compare(seen, constant).items() if verdict != OK]
    usual = "bt709" if truth.size[1] >= 720 else "smpte170m"
    if tags != f"color_range:tv color_space:{usual} color_primaries:{usual} color_trc:{usual}":
        found.append(f"tags {tags}")
    return {"out": "; ".join(found) or OK, "sound": _in_time(path, first, truth, fps)}


def _in_time(path: Path, first: Fraction, truth: Truth, fps: Fraction) -> str:
    click = click_in(path)
    if click is None or truth.sound is None:
        return "-" if click is truth.sound else "none" if click is None else "sound from nowhere"
    apart = click - first - truth.sound
    return OK if abs(apart) <= 1 / (2 * fps) else f"{float(apart):+.3f} s"


# The table


def has_encoder(name: str) -> bool:
    """Whether ffmpeg was built with this encoder."""
    return not name or re.search(rf"^ \S+ +{re.escape(name)} ", _encoders(), re.M) is not None


@lru_cache(maxsize=1)
def _encoders() -> str:
    return subprocess.run([executable(), "-hide_banner", "-encoders"], capture_output=True, text=True, check=True).stdout


def verdicts(name: str, folder: Path, small: bool = False, only_read: bool = False) -> Verdicts:
    """Make the file of this name in `folder`, read it, with `only_read` in one way and without writing it again, and judge.

    The only verdict where the encoder is missing says so.
    """
    made = KINDS[name]
    if not has_encoder(made.encoder):
        return {"frames": f"no encoder {made.encoder}"}
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, (64, 48), 10) if small else Bench(folder)
    truth = made.make(bench, folder / made.file)
    return judge(folder / made.file, truth, folder, only_read)


def judge(path: Path, truth: Truth, folder: Path, only_read: bool = False) -> Verdicts:
    """Read a file and compare with its truth."""
    try:
        seen, clip = through_fsv2v(path, folder)
    except InputError as error:
        return {"frames": f"refused: {error}" if truth.refused and truth.refused in str(error) else f"wrongly refused: {error}"}
    if truth.refused:
        return {"frames": f"not refused: {len(seen.frames)} frames"}
    if only_read:
        return compare(seen, truth)
    found = {**compare(seen, truth), "others": other_ways(path, clip, folder, seen), "ffprobe": by_ffprobe(path, truth)}
    return {**found, **way_out(clip, truth, folder)}


def is_right(verdict: str) -> bool:
    """Whether a cell tells of no fault."""
    return verdict in (OK, "-") or verdict.startswith(("refused: ", "no encoder "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the files here")
    parser.add_argument("--only", nargs="+", choices=KINDS, metavar="NAME", help="these kinds of files alone")
    parser.add_argument("--small", action="store_true", help="ten frames of 64 x 48 pixels")
    asked = parser.parse_args()
    names, wrong = asked.only or list(KINDS), 0
    print(f"{'file':40}", *(f"{column:7}" for column in COLUMNS))
    with tempfile.TemporaryDirectory(prefix="strange-") as place:
        for name in names:
            found = verdicts(name, (asked.out or Path(place)) / re.sub(r"\W+", "-", name).strip("-"), asked.small)
            wrong += sum(not is_right(verdict) for verdict in found.values())
            print(f"{name:40}", *(f"{found.get(column, ''):7}" for column in COLUMNS), flush=True)
    if not shutil.which("ffprobe"):
        print("no ffprobe on PATH: its column is empty", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
