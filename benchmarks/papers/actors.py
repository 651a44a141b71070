"""Actors: any number of clips of rendered, clothed people with exact poses, masks, label maps and flow.

    python benchmarks/papers/actors.py --subjects 40 --frames 60 --size 256x128 --seed 0 -o out/actors

Appearance depends only on (seed, subject); motion and scene depend on (seed, subject, clip). The same command makes the same pixels. The
path of each finished clip is printed; existing clips are kept. `subjects.tsv` beside the clips maps each clip to its subject, for
`fsv2v build-dataset --subjects`. See benchmarks/papers/README.md.
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
from appearance import LABELS, Actor, draw_actor
from body import Array
from motion import draw_motion
from numpy.typing import NDArray
from render import RenderedFrame, Renderer
from scenes import draw_scene

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.errors import Fsv2vError
from stages.io.files import write_atomically

RENDERER_VERSION = 1
"""Increment when the same seed would render different pixels, so that outdated clips are detected."""
LAYERS = ("poses", "mask", "segment", "flow", "flow_confidence")
INVERSE_DEPTH_TOLERANCE = 0.0015
"""A pixel counts as visible in the next frame if the expected and the rendered inverse depth differ by less than this, in 1/m."""
_APPEARANCE, _MOTION, _SCENE, _SENSOR_NOISE = range(4)
"""Purposes of random numbers; each has its own seed."""


@dataclass(frozen=True)
class ClipSpec:
    """The parameters of a clip."""

    seed: int
    subject: int
    clip: int
    frames: int
    height: int
    width: int
    fps: int
    storage: str

    @property
    def name(self) -> str:
        return f"actor-{self.subject:04d}-{self.clip:02d}"

    def rng(self, purpose: int) -> np.random.Generator:
        """The random generator for one purpose. That of the appearance does not depend on the clip."""
        return np.random.default_rng([self.seed, self.subject, purpose, *([] if purpose == _APPEARANCE else [self.clip])])


@dataclass(frozen=True)
class RenderedClip:
    """The keypoints [T, 25, 3] (x, y in pixels, 1), the frames, and a description of the person, the actions and the backdrop."""

    keypoints: NDArray[np.float32]
    frames: list[RenderedFrame]
    description: str


def render_clip(spec: ClipSpec) -> RenderedClip:
    """All frames of a clip."""
    actor = _actor(spec.seed, spec.subject)
    height = actor.skeleton.proportions.height
    motion = draw_motion(spec.rng(_MOTION), spec.frames, spec.fps, height)
    world = actor.skeleton.pose(motion.angles, motion.yaw, motion.position, motion.planted, motion.lift)
    joints = actor.skeleton.keypoints(world)
    scene = draw_scene(spec.rng(_SCENE), joints, spec.height, spec.width)
    renderer, noise_rng = Renderer(actor, scene), spec.rng(_SENSOR_NOISE)
    last = spec.frames - 1
    frames = [renderer.render(world[time], world[min(time + 1, last)], time, noise_rng) for time in range(spec.frames)]
    pixels = np.stack([scene.camera_at(time).project(joints[time])[0] for time in range(spec.frames)])
    keypoints = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1), np.float32)], -1).astype(np.float32)
    return RenderedClip(keypoints, frames, f"{actor.description}; {motion.description}; {scene.description}")


@lru_cache(maxsize=1)
def _actor(seed: int, subject: int) -> Actor:
    return draw_actor(ClipSpec(seed, subject, 0, 0, 0, 0, 0, "").rng(_APPEARANCE))


def visible_next(frame: RenderedFrame, following: RenderedFrame) -> NDArray[np.bool_]:
    """Which pixels [H, W] of a frame are still visible in the next frame."""
    height, width = frame.labels.shape
    x = np.arange(width, dtype=np.float32) + frame.flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + frame.flow[..., 1]
    observed = cv2.remap(following.inverse_depth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside & (np.abs(observed - frame.next_inverse_depth) < INVERSE_DEPTH_TOLERANCE)


def write(spec: ClipSpec, out: Path, flow: bool, overwrite: bool) -> Path:
    """Write the clip of a spec to the folder `out` and return its path.

    Raises ParametersDiffer if it exists with different parameters, unless `overwrite` is set.
    """
    path = out / f"{spec.name}.clip"
    producer = Producer("actors", parameters={**asdict(spec), "generation": RENDERER_VERSION}, seed=spec.seed)
    kinds = LAYERS if flow else LAYERS[:3]
    if path.exists() and not overwrite:
        clip = open_clip(path)
        # a list, not a generator: `needs` must check every layer, because it raises if the parameters differ
        if not any([clip.needs(kind, producer, {"frames": clip.frames_digest()}) for kind in kinds]):
            return path
    rendered = render_clip(spec)
    frames = (frame.frame for frame in rendered.frames)
    clip = create_clip(path, frames, fps=Fraction(spec.fps), storage=spec.storage, producer=producer, overwrite=True)  # type: ignore[arg-type]
    _write_layers(clip, rendered, producer, kinds)
    return path


def _write_layers(clip: Clip, rendered: RenderedClip, producer: Producer, kinds: tuple[str, ...]) -> None:
    inputs = {"frames": clip.frames_digest()}
    with clip.writing("poses", producer, inputs, {"skeleton": "BODY_25", "words": rendered.description}) as layer:
        boxes = np.array([_box(frame.labels) for frame in rendered.frames], np.float32)
        layer.arrays(keypoints=rendered.keypoints[:, None], boxes=boxes[:, None], track_id=np.zeros((len(boxes), 1), np.int32))
    meta = {"segment": LABELS.meta()}
    for kind in kinds[1:]:
        with clip.writing(kind, producer, inputs, meta.get(kind, {})) as layer:
            for image in _images(rendered, kind):
                layer.image(image)


def _images(rendered: RenderedClip, kind: str) -> Iterator[np.ndarray]:
    """The images of a layer, one for each frame."""
    for frame, following in zip(rendered.frames, [*rendered.frames[1:], None], strict=True):
        if kind == "segment":
            yield frame.labels
        elif kind == "mask":
            yield (frame.labels > 0) * np.uint8(255)
        elif following is None:
            yield np.zeros_like(frame.flow) if kind == "flow" else np.zeros_like(frame.labels)
        else:
            yield frame.flow if kind == "flow" else visible_next(frame, following) * np.uint8(255)


def _box(labels: NDArray[np.uint8]) -> Array:
    """x0, y0, x1, y1 of the person; zeros if the person is not visible."""
    rows, columns = np.flatnonzero((labels > 0).any(1)), np.flatnonzero((labels > 0).any(0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]] if len(rows) else [0, 0, 0, 0], np.float64)


def _write_job(job: tuple[ClipSpec, Path, bool, bool]) -> Path:
    cv2.setNumThreads(1)
    return write(*job)


def main() -> None:
    options = _options()
    height, width = options.size
    numbers = range(options.first, options.first + options.subjects)
    specs = [
        ClipSpec(options.seed, subject, clip, options.frames, height, width, options.fps, options.storage)
        for subject in numbers
        for clip in range(options.clips_per_subject)
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [(spec, options.out, not options.no_flow, options.overwrite) for spec in specs]
    with ProcessPoolExecutor(options.jobs) as pool:
        for path in pool.map(_write_job, jobs) if options.jobs > 1 else map(_write_job, jobs):
            print(path, flush=True)
    names = sorted(path.stem for path in options.out.glob("actor-*.clip"))
    lines = "".join(f"{name}\t{name.rpartition('-')[0]}\n" for name in names)
    write_atomically(options.out / "subjects.tsv", lines.encode())


def _size(text: str) -> tuple[int, int]:
    """HxW -> (H, W)."""
    height, width = (int(side) for side in text.split("x"))
    return height, width


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the clips")
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="index of the first subject, to extend a set or to split it across machines")
    parser.add_argument("--clips-per-subject", type=int, default=1, help="same appearance, different motion, scene and light")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--size", type=_size, default=(256, 128), help="height x width in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--storage", choices=["jpg", "png"], default="jpg", help="frame format: JPEG (quality 95) to train on, PNG to measure on"
    )
    parser.add_argument(
        "--no-flow", action="store_true", help="leave out the layers flow and flow_confidence, which are 90 %% of the bytes"
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--overwrite", action="store_true", help="replace clips made with different parameters")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except Fsv2vError as error:
        sys.exit(f"actors: {error}")
