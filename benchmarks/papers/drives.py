"""Drives: any number of clips of rendered streets, seen from a moving car, with exact labels, instances, depth and flow.

    python benchmarks/papers/drives.py --clips 40 --frames 30 --size 256x128 --out out/drives --seed 0 --jobs 2

A clip is a function of (seed, number): the same command makes the same pixels. Eight consecutive clips show the same town; they share its
textures. The path of each finished clip is printed. Clips are written atomically and existing clips are skipped, so a command that was
killed continues when it is run again. `subjects.tsv` beside the clips names the town of each clip, for `fsv2v build-dataset --subjects`.
See benchmarks/papers/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from town.atlas import Atlas, draw_atlas
from town.drive import Drive
from town.labels import LABELS
from town.renderer import Renderer
from town.scene import draw_drive
from town.snapshot import Flow, Snapshot, flow_between

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.layers import npz_bytes
from stages.errors import Fsv2vError
from stages.io.files import building_directory, write_atomically, write_bytes

RENDERER_VERSION = 1
"""Increment when the same seed would render different pixels, so that outdated clips are detected."""
CLIPS_PER_TOWN = 8
SMALLEST, LARGEST = 32, 4096
"""Limits of width and height in pixels."""
LAYERS = ("segment", "instances", "flow", "flow_confidence", "flow_backward", "depth")
_TOWN, _SCENE, _SENSOR_NOISE = range(3)
"""Purposes of random numbers; each has its own seed."""


@dataclass(frozen=True)
class ClipSpec:
    """The parameters of a clip. The scene does not depend on the size of the frame."""

    seed: int
    number: int
    frames: int
    width: int
    height: int
    fps: str
    storage: str

    @property
    def name(self) -> str:
        return f"drive-{self.number:04d}"

    @property
    def town(self) -> int:
        return self.number // CLIPS_PER_TOWN

    def drive(self) -> Drive:
        rng = np.random.default_rng([self.seed, _SCENE, self.number])
        grain = (self.seed, _SENSOR_NOISE, self.number)
        rate = float(Fraction(self.fps))
        return draw_drive(rng, _atlas(self.seed, self.town), self.frames, rate, self.width, self.height, grain)


@lru_cache(maxsize=2)
def _atlas(seed: int, town: int) -> Atlas:
    return draw_atlas(np.random.default_rng([seed, _TOWN, town]))


@dataclass(frozen=True)
class RenderedFrame:
    """A frame with its ground truth.

    forward: flow to the next frame; backward: flow to the previous frame. Each is None if there is no such frame.
    """

    snapshot: Snapshot
    forward: Flow | None
    backward: Flow | None


def render_clip(drive: Drive, frames: int) -> Iterator[RenderedFrame]:
    """The frames of a clip, one at a time."""
    renderer = Renderer(drive)
    renderer.prepare(*drive.bounds())
    before, now = None, renderer.render(0)
    for time in range(frames):
        following = renderer.render(time + 1) if time + 1 < frames else None
        yield RenderedFrame(now, flow_between(now, following) if following else None, flow_between(now, before) if before else None)
        if following:
            before, now = now, following


def write(spec: ClipSpec, out: Path, kinds: tuple[str, ...], overwrite: bool) -> Path:
    """Write the clip of a spec to the folder `out` and return its path.

    Raises ParametersDiffer if it exists with different parameters, unless `overwrite` is set.
    """
    path = out / f"{spec.name}.clip"
    producer = Producer("drives", parameters={**asdict(spec), "generation": RENDERER_VERSION}, seed=spec.seed)
    if path.exists() and not overwrite:
        clip = open_clip(path)
        # a list, not a generator: `needs` must check every layer, because it raises if the parameters differ
        if not any([clip.needs(kind, producer, {"frames": clip.frames_digest()}) for kind in kinds]):
            return path
    drive = spec.drive()
    with building_directory(path, replace=True) as hidden:
        spool, inner = hidden / ".spool", hidden / path.name
        spool.mkdir()
        frames = _render_to_spool(render_clip(drive, spec.frames), spool, kinds)
        clip = create_clip(inner, frames, fps=Fraction(spec.fps), storage=spec.storage, producer=producer)  # type: ignore[arg-type]
        for kind in kinds:
            _write_layer(clip, kind, spool, producer, drive.description)
        for part in (*spool.iterdir(), spool):
            part.rmdir() if part.is_dir() else part.unlink()
        for part in inner.iterdir():
            part.rename(hidden / part.name)
        inner.rmdir()
    return path


def _render_to_spool(frames: Iterator[RenderedFrame], spool: Path, kinds: tuple[str, ...]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames, and write their entries of the layers to the folder `spool`, so that memory does not depend on the length."""
    for time, frame in enumerate(frames):
        for kind in kinds:
            write_bytes(spool / f"{kind}-{time}.npz", npz_bytes(_entry(frame, kind)))
        yield frame.snapshot.frame


def _entry(frame: RenderedFrame, kind: str) -> dict[str, np.ndarray]:
    """The arrays that a layer stores for one frame."""
    shape = frame.snapshot.label.shape
    if kind == "segment":
        return {"image": frame.snapshot.label}
    if kind == "instances":
        return {"image": frame.snapshot.instance}
    if kind == "depth":
        return {"depth": frame.snapshot.depth}
    flow = (frame.backward if kind == "flow_backward" else frame.forward) or Flow(np.zeros((*shape, 2), np.float32), np.zeros(shape, bool))
    if kind == "flow_backward":
        return {"flow": flow.pixels, "visible": flow.visible}
    return {"image": flow.pixels if kind == "flow" else flow.visible * np.uint8(255)}


_META = {
    "segment": LABELS.meta(),
    "instances": {"values": "numbers of cars and people, the same in all frames; 0 is everything else"},
    "flow_backward": {"payload": "file", "values": "flow [H, W, 2]: pixels from frame t to t - 1; visible [H, W]: if it is seen there"},
    "depth": {"payload": "file", "values": "depth [H, W]: metres along the axis of the camera; 0 in the sky"},
}


def _write_layer(clip: Clip, kind: str, spool: Path, producer: Producer, description: str) -> None:
    meta = {**_META.get(kind, {}), **({"words": description} if kind == "segment" else {})}
    with clip.writing(kind, producer, {"frames": clip.frames_digest()}, meta) as layer:
        for time in range(clip.num_frames):
            with np.load(spool / f"{kind}-{time}.npz") as entry:
                if "image" in entry:
                    layer.image(entry["image"])
                else:
                    layer.add(f"{time:06d}.npz", npz_bytes(dict(entry)))


def _write_job(job: tuple[ClipSpec, Path, tuple[str, ...], bool]) -> Path:
    cv2.setNumThreads(1)
    return write(*job)


def main() -> None:
    options = _options()
    width, height = options.size
    numbers = range(options.first, options.first + options.clips)
    specs = [ClipSpec(options.seed, number, options.frames, width, height, str(options.fps), options.storage) for number in numbers]
    options.out.mkdir(parents=True, exist_ok=True)
    omitted = ("flow" if options.no_flow else "-", "depth" if options.no_depth else "-")
    kinds = tuple(kind for kind in LAYERS if not kind.startswith(omitted))
    jobs = [(spec, options.out, kinds, options.overwrite) for spec in specs]
    if options.jobs > 1:
        with ProcessPoolExecutor(options.jobs) as pool:
            _report(pool.map(_write_job, jobs))
    else:
        _report(map(_write_job, jobs))
    names = sorted(path.stem for path in options.out.glob("drive-*.clip"))
    lines = "".join(f"{name}\ttown-{int(name.partition('-')[2]) // CLIPS_PER_TOWN:03d}\n" for name in names)
    write_atomically(options.out / "subjects.tsv", lines.encode())


def _report(paths: Iterator[Path]) -> None:
    for path in paths:
        print(path, flush=True)


def _size(text: str) -> tuple[int, int]:
    width, height = (int(side) for side in text.split("x"))
    if not SMALLEST <= min(width, height) <= max(width, height) <= LARGEST:
        raise argparse.ArgumentTypeError(f"width and height must be between {SMALLEST} and {LARGEST} pixels, not {text}")
    return width, height


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return number


def _rate(text: str) -> Fraction:
    rate = Fraction(text)
    if not 1 <= rate <= 240:
        raise argparse.ArgumentTypeError(f"must be from 1 to 240 frames per second, not {text}")
    return rate


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the clips")
    parser.add_argument("--clips", type=_positive_int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first clip, to extend a set or to split it across machines")
    parser.add_argument("--frames", type=_positive_int, default=30)
    parser.add_argument("--fps", type=_rate, default=Fraction(17), help="frames per second")
    parser.add_argument("--size", type=_size, default=(256, 128), help="width x height in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--storage", choices=["jpg", "png"], default="jpg", help="frame format: JPEG (quality 95) to train on, PNG to measure on"
    )
    parser.add_argument("--no-flow", action="store_true", help="leave out the layers of flow, which are most of the bytes")
    parser.add_argument("--no-depth", action="store_true", help="leave out the layer depth")
    parser.add_argument("--jobs", type=_positive_int, default=1, help="number of processes")
    parser.add_argument("--overwrite", action="store_true", help="replace clips made with different parameters")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except Fsv2vError as error:
        sys.exit(f"drives: {error}")
