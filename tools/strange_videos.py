"""Reads and exports unusual but valid videos and images with fsv2v, and compares the results with the ground truth.

    python tools/strange_videos.py [--out FOLDER] [--only NAME ...] [--small]

Prints a table with a row for each file of tools/strange_files/. A cell is `ok`, `-` if nothing is compared, a deviation, the refusal if the
file has to be refused, or the encoder that ffmpeg lacks. The columns `frames` to `size` compare what fsv2v reads with the ground truth;
`others` compares the other ways in which fsv2v reads the file with the first; `ffprobe` compares what ffprobe finds, if it is on PATH, with
the ground truth; `out` and `sound` compare the video that fsv2v exports, decoded by ffmpeg, with the ground truth. The exit code is 1 if
any cell is wrong.
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
from strange_files import INVERSE, ORIENTATIONS, STRANGE_FILES, Setup, Truth, number_of, patches_of

from stages.clip import as_clip
from stages.clip.exporters import export
from stages.clip.ffmpeg import executable
from stages.clip.importers import import_clips
from stages.errors import InputError
from stages.evaluate.frame_source import open_frame_source

# Verdicts on decoded frames


@dataclass(frozen=True)
class DecodedVideo:
    """The frames that a reader returns, and their times in seconds."""

    frames: Sequence[np.ndarray]
    times: Sequence[Fraction]


Verdicts = dict[str, str]
COLUMNS = ("frames", "times", "colour", "orientation", "size", "others", "ffprobe", "out", "sound")
OK = "ok"


def compare(decoded: DecodedVideo, truth: Truth) -> Verdicts:
    """A verdict for each of the columns frames, times, colour, orientation and size."""
    size = (decoded.frames[0].shape[1], decoded.frames[0].shape[0])
    orientations = [orientation_of(frame, truth.patches) for frame in decoded.frames]
    upright = [ORIENTATIONS[INVERSE[orientation]](frame) for orientation, frame in zip(orientations, decoded.frames, strict=True)]
    numbers = tuple(map(number_of, upright))
    colour_error = max(float(np.abs(patches_of(frame) - truth.patches).max()) for frame in upright)
    time_error = max((abs(a - b) for a, b in zip(decoded.times, truth.times, strict=False)), default=Fraction(0))
    wrong = next((orientation for orientation in orientations if orientation != truth.orientation), None)
    return {
        "frames": OK if numbers == truth.numbers else f"{len(numbers)}, not {len(truth.numbers)}: {' '.join(map(str, numbers))[:60]}",
        "times": OK if len(decoded.times) == len(truth.times) and time_error <= truth.tick else f"{float(time_error):.4f} s off",
        "colour": OK if colour_error <= truth.tolerance else f"{colour_error:.0f} levels off",
        "orientation": OK if wrong is None else f"as EXIF {wrong}, not {truth.orientation}",
        "size": OK if size == truth.size else f"{size[0]}x{size[1]}, not {truth.size[0]}x{truth.size[1]}",
    }


def orientation_of(frame: np.ndarray, patches: np.ndarray) -> int:
    """The EXIF orientation that turns an upright frame with these patches into this frame."""
    return min(ORIENTATIONS, key=lambda number: np.abs(patches_of(ORIENTATIONS[INVERSE[number]](frame)) - patches).sum())


# Readers


def read_by_fsv2v(path: Path, folder: Path) -> tuple[DecodedVideo, Path]:
    """Import a file with fsv2v. Returns the frames and the path of the clip."""
    clip = import_clips(path, folder / "first")[0]
    times = [clip.timestamps.seconds(n) if clip.timestamps else n / clip.fps for n in range(clip.num_frames)]
    return DecodedVideo(list(clip.frames()), times), clip.path


def compare_other_readers(path: Path, clip: Path, folder: Path, decoded: DecodedVideo) -> str:
    """Verdict: whether reading single frames, frames stored as PNG, and the reader of `evaluate` give the same pixels."""
    single = as_clip(clip)
    readers: dict[str, Callable[[], Iterator[np.ndarray]]] = {
        "single frames": lambda: (single.frame(index) for index in {0, len(decoded.frames) // 2, len(decoded.frames) - 1}),
        "stored as PNG": lambda: as_clip(path, folder / "png", frames="png").frames(),
        "evaluate": lambda: open_frame_source(str(path)).frames(),
    }
    for name, read in readers.items():
        expected = decoded.frames
        if name == "single frames":
            expected = [decoded.frames[index] for index in {0, len(decoded.frames) // 2, len(decoded.frames) - 1}]
        frames = list(read())
        if len(frames) != len(expected):
            return f"{name}: {len(frames)} frames"
        if not all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True)):
            return f"{name}: other pixels"
    return OK


def compare_ffprobe(path: Path, truth: Truth) -> str:
    """Verdict: whether ffprobe finds the same number, times and size of the frames; "-" without ffprobe or `truth.probed`."""
    if not shutil.which("ffprobe") or not truth.probed:
        return "-"
    entries = "stream=width,height:stream_side_data=rotation:frame=best_effort_timestamp_time"
    command = ["ffprobe", "-v", "error", "-select_streams", "V:0", "-show_frames", "-show_streams", "-show_entries", entries, "-of", "json"]
    probed = json.loads(subprocess.run([*command, path], capture_output=True, check=True).stdout)
    stream = probed["streams"][0]
    size = (stream["width"], stream["height"])
    rotation = next((entry["rotation"] for entry in stream.get("side_data_list", []) if "rotation" in entry), 0)
    size = size[::-1] if rotation % 180 else size
    times = [Fraction(frame["best_effort_timestamp_time"]) for frame in probed["frames"] if "best_effort_timestamp_time" in frame]
    if len(probed["frames"]) != len(truth.numbers):
        return f"{len(probed['frames'])} frames"
    if len(times) < len(truth.times):  # ffprobe finds no times in an AVI with B-frames
        return OK if size == truth.size else f"{size[0]}x{size[1]}"
    error = max(abs(time - times[0] - expected) for time, expected in zip(times, truth.times, strict=True))
    if error > truth.tick + Fraction(1, 10**6):
        return f"{float(error):.4f} s off"
    return OK if size == truth.size else f"{size[0]}x{size[1]}"


def read_by_ffmpeg(path: Path) -> tuple[DecodedVideo, Fraction, str]:
    """(the frames that ffmpeg decodes, the time of the first frame, the colour metadata)."""
    command = [executable(), "-hide_banner", "-nostdin", "-copyts", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-vf", "showinfo,scale=flags=bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    log = done.stderr.decode("utf-8", "replace")
    width, height = map(int, re.findall(r" s:(\d+)x(\d+) ", log)[0])
    times = [Fraction(time) for time in re.findall(r"^\[Parsed_showinfo.*? pts_time: *(-?[\d.]+)", log, re.M)]
    tags = re.findall(r"color_range:\S+ color_space:\S+ color_primaries:\S+ color_trc:\S+", log)[0]
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    return DecodedVideo(list(frames), [time - times[0] for time in times]), times[0], tags


def click_time(path: Path) -> Fraction | None:
    """The time in the file of the first loud sample of the first sound; None without sound."""
    command = [executable(), "-hide_banner", "-nostdin", "-copyts", "-i", str(path), "-map", "0:a:0?", "-af", "ashowinfo", "-ac", "1"]
    done = subprocess.run([*command, "-ar", "48000", "-f", "s16le", "-"], capture_output=True, check=False)
    first = re.search(rb"^\[Parsed_ashowinfo.*? pts_time:(-?[\d.]+)", done.stderr, re.M)
    loud = np.flatnonzero(np.abs(np.frombuffer(done.stdout, np.int16).astype(int)) > 3000)
    return Fraction(first[1].decode()) + Fraction(int(loud[0]), 48000) if first and loud.size else None


def compare_export(clip: Path, truth: Truth, folder: Path) -> Verdicts:
    """Verdicts on the video that fsv2v exports: a constant rate, the colour metadata, and the sound within half a frame.

    H.264 at fsv2v's quality may change colours by one more grey level.
    """
    path = export(as_clip(clip), "frames", folder / "out.mp4")
    decoded, first, tags = read_by_ffmpeg(path)
    fps = as_clip(clip).fps
    constant = replace(
        truth, times=tuple(n / fps for n in range(len(truth.numbers))), tick=Fraction(1, 10_000), tolerance=truth.tolerance + 1
    )
    faults = [f"{name} {verdict}" for name, verdict in compare(decoded, constant).items() if verdict != OK]
    expected = "bt709" if truth.size[1] >= 720 else "smpte170m"
    if tags != f"color_range:tv color_space:{expected} color_primaries:{expected} color_trc:{expected}":
        faults.append(f"tags {tags}")
    return {"out": "; ".join(faults) or OK, "sound": _compare_sound(path, first, truth, fps)}


def _compare_sound(path: Path, first: Fraction, truth: Truth, fps: Fraction) -> str:
    click = click_time(path)
    if click is None or truth.sound is None:
        return "-" if click is truth.sound else "none" if click is None else "unexpected sound"
    error = click - first - truth.sound
    return OK if abs(error) <= 1 / (2 * fps) else f"{float(error):+.3f} s"


# The table


def has_encoder(name: str) -> bool:
    """Whether ffmpeg was built with this encoder."""
    return not name or re.search(rf"^ \S+ +{re.escape(name)} ", _encoders(), re.M) is not None


@lru_cache(maxsize=1)
def _encoders() -> str:
    return subprocess.run([executable(), "-hide_banner", "-encoders"], capture_output=True, text=True, check=True).stdout


def verdicts(name: str, folder: Path, small: bool = False, only_read: bool = False) -> Verdicts:
    """Make a file of STRANGE_FILES in `folder`, and check how fsv2v reads and exports it.

    only_read: read it in one way and do not export it. If ffmpeg lacks the encoder, the only verdict says so.
    """
    file = STRANGE_FILES[name]
    if not has_encoder(file.encoder):
        return {"frames": f"no encoder {file.encoder}"}
    folder.mkdir(parents=True, exist_ok=True)
    setup = Setup(folder, (64, 48), 10) if small else Setup(folder)
    truth = file.make(setup, folder / file.file)
    return check_file(folder / file.file, truth, folder, only_read)


def check_file(path: Path, truth: Truth, folder: Path, only_read: bool = False) -> Verdicts:
    """The verdicts on a file."""
    try:
        decoded, clip = read_by_fsv2v(path, folder)
    except InputError as error:
        return {"frames": f"refused: {error}" if truth.refused and truth.refused in str(error) else f"wrongly refused: {error}"}
    if truth.refused:
        return {"frames": f"not refused: {len(decoded.frames)} frames"}
    if only_read:
        return compare(decoded, truth)
    cells = {
        **compare(decoded, truth),
        "others": compare_other_readers(path, clip, folder, decoded),
        "ffprobe": compare_ffprobe(path, truth),
    }
    return {**cells, **compare_export(clip, truth, folder)}


def is_right(verdict: str) -> bool:
    """Whether a cell reports no fault."""
    return verdict in (OK, "-") or verdict.startswith(("refused: ", "no encoder "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the files here")
    parser.add_argument("--only", nargs="+", choices=STRANGE_FILES, metavar="NAME", help="check only these files")
    parser.add_argument("--small", action="store_true", help="ten frames of 64 x 48 pixels")
    arguments = parser.parse_args()
    names, wrong = arguments.only or list(STRANGE_FILES), 0
    print(f"{'file':40}", *(f"{column:11}" for column in COLUMNS))
    with tempfile.TemporaryDirectory(prefix="strange-") as temporary:
        for name in names:
            cells = verdicts(name, (arguments.out or Path(temporary)) / re.sub(r"\W+", "-", name).strip("-"), arguments.small)
            wrong += sum(not is_right(verdict) for verdict in cells.values())
            print(f"{name:40}", *(f"{cells.get(column, ''):11}" for column in COLUMNS), flush=True)
    if not shutil.which("ffprobe"):
        print("no ffprobe on PATH: its column is empty", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
