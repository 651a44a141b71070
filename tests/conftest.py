"""Shared fixtures: the command line as users run it, real videos and weights, and generated videos."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
SLOW_FIXTURES = {"fsv2v", "painted_dataset", "drift_dataset", "shared", "real_media", "browser", "shared_ray_cluster", "ffmpeg"}
"""Fixtures that start processes, train, or need real videos."""
SLOW_PATHS = (
    "api",
    "benchmarks",
    "build_dataset/test_build_dataset.py",
    "clip/test_full_and_read_only_disks.py",
    "evaluate/test_body_and_street_metrics.py",
    "evaluate/test_command.py",
    "evaluate/test_compare.py",
    "evaluate/test_distributions.py",
    "evaluate/test_frame_metrics.py",
    "evaluate/test_metrics.py",
    "evaluate/test_parallel_evaluation.py",
    "evaluate/test_published_networks.py",
    "evaluate/test_report.py",
    "evaluate/test_study_site.py",
    "examples/test_pipelines.py",
    "export",
    "extract_poses/test_small.py",
    "extract_sketch",
    "finetune",
    "models/test_dense.py",
    "networks/test_families.py",
    "networks/test_i3d.py",
    "networks/test_inception.py",
    "networks/test_inference.py",
    "networks/test_resnext3d.py",
    "networks/test_vgg.py",
    "runner",
    "segment/test_networks.py",
    "synthesize/test_appearance.py",
    "synthesize/test_film.py",
    "synthesize/test_kinds.py",
    "synthesize/test_motion.py",
    "synthesize/test_own_size.py",
    "synthesize/test_placement.py",
    "synthesize/test_report.py",
    "synthesize/test_selection.py",
    "synthesize/test_synthesize.py",
    "test_bad_input.py",
    "test_environment.py",
    "test_file_systems.py",
    "test_fuzz.py",
    "test_kill_9.py",
    "test_properties.py",
    "test_strange_videos.py",
    "test_two_at_once.py",
    "tools",
    "tracking/test_multi_person.py",
    "train/test_appearance.py",
    "train/test_data.py",
    "train/test_parallel.py",
    "train/test_robustness.py",
    "train/test_train.py",
)
"""Files and folders below tests/ with tests that take more than about 0.2 s each."""


def pytest_configure(config: pytest.Config) -> None:
    """With PYTHONDONTWRITEBYTECODE, store bytecode in pytest's cache instead of beside the modules.

    Without bytecode, each of the hundreds of processes compiles PyTorch and SciPy again, which takes longer than most commands.
    """
    cache = getattr(config, "cache", None)  # absent with `-p no:cacheprovider`
    if cache is not None and os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(cache.mkdir("bytecode"))
        sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, which `make test-fast` leaves out. Others have the mark in their own file."""
    slow_paths = tuple(REPOSITORY / "tests" / path for path in SLOW_PATHS)
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or any(item.path.is_relative_to(path) for path in slow_paths):
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True)
class Result:
    """The exit code and output of a command."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


def _restore_sigint() -> None:
    """Let SIGINT end this process. If the tests run in the background of a shell, it is ignored, and child processes would inherit this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Fsv2v:
    """`fsv2v("extract-sketch", video, "-o", folder)` runs the command line in a process of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def start(
        self, *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start the command in a process group of its own. stdin, stdout and stderr are pipes unless `popen` says otherwise."""
        command = [sys.executable, "-m", "fsv2v_cli", *map(str, arguments)]
        streams = {name: popen.pop(name, subprocess.PIPE) for name in ("stdin", "stdout", "stderr")}
        popen = {"cwd": cwd, "env": {**self.environment, **(env or {})}, "start_new_session": True, "preexec_fn": _restore_sigint, **popen}
        return subprocess.Popen(command, **streams, **popen)

    def __call__(
        self, *arguments: object, stdin: str | bytes = b"", cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 300
    ) -> Result:
        process = self.start(*arguments, cwd=cwd, env=env)
        try:
            stdout, stderr = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return Result(process.returncode, os.fsdecode(stdout), os.fsdecode(stderr))


@pytest.fixture(scope="session")
def fsv2v() -> Fsv2v:
    """The command line without the FSV2V_* variables of the user, except those that say where weights are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FSV2V_") or name.startswith("FSV2V_WEIGHTS")}
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return Fsv2v({**kept, "PYTHONPATH": path})


@pytest.fixture(scope="session", autouse=True)
def weights_mirror() -> Iterator[None]:
    """Use the weights in the shared folder as the mirror, if that folder exists and no mirror is set."""
    before = os.environ.get("FSV2V_WEIGHTS_MIRROR")
    if before is None and (SHARED / "weights").is_dir():
        os.environ["FSV2V_WEIGHTS_MIRROR"] = str(SHARED / "weights")
    yield
    if before is None:
        os.environ.pop("FSV2V_WEIGHTS_MIRROR", None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real videos and weights. It is not part of the repository, because the videos show people."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the folder with real videos and weights does not exist ({SHARED})")
    return SHARED


def write_video(path: Path, frames: Iterator[np.ndarray], fps: Fraction = Fraction(25)) -> Path:
    """Encode frames (uint8 RGB [H, W, 3]) to an mp4."""
    from stages.clip import VideoWriter

    first = next(frames)
    with VideoWriter(path, first.shape[1], first.shape[0], fps) as video:
        video.write(first)
        for frame in frames:
            video.write(frame)
    return path


def swaying_face(num_frames: int, size: int = 256) -> Iterator[np.ndarray]:
    """The portrait of `skimage.data.astronaut` (public domain), cropped by a window that sways around the face: uint8 [size, size, 3]."""
    from skimage.data import astronaut

    image = astronaut()
    for index in range(num_frames):
        left = 100 + round(20 * np.sin(index / 5))
        top = 2 + round(2 * np.cos(index / 7))
        yield np.ascontiguousarray(image[top : top + size, left : left + size])


@pytest.fixture(scope="session")
def make_face_video() -> Callable[..., Path]:
    """make_face_video(path, num_frames): an mp4 of the swaying portrait, 256x256 at 25 Hz."""

    def make(path: Path, num_frames: int) -> Path:
        return write_video(path, swaying_face(num_frames))

    return make


@pytest.fixture(scope="session")
def face_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a face. Made once: write the clip elsewhere (-o)."""
    return write_video(tmp_path_factory.mktemp("videos") / "face.mp4", swaying_face(12))


@pytest.fixture(scope="session")
def make_tiny_video() -> Callable[[Path], Path]:
    """make_tiny_video(path): five frames of 64x48 noise."""

    def make(path: Path) -> Path:
        random = np.random.default_rng(0)
        return write_video(path, iter(random.integers(0, 255, (5, 48, 64, 3), np.uint8)))

    return make


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder in which no file can be made. For root, who may write into any ordinary folder, it is /proc."""
    if os.geteuid() == 0:
        yield Path("/proc")
        return
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    yield folder
    folder.chmod(0o700)


def visible_layers(clip: Path) -> list[str]:
    """The finished layers of a clip, by the definition of the format: folders with a layer.json."""
    return sorted(file.parent.name for file in clip.glob("*/layer.json") if not file.parent.name.startswith("."))


def leftovers(folder: Path) -> list[Path]:
    """The hidden files and folders anywhere below `folder`: partial output. Running processes may remove some during the search."""
    hidden = (Path(parent, name) for parent, folders, files in os.walk(folder) for name in folders + files if name.startswith("."))
    return [path for path in hidden if path.exists()]


@pytest.fixture(name="visible_layers")
def _visible_layers() -> Callable[[Path], list[str]]:
    return visible_layers


@pytest.fixture(name="leftovers")
def _leftovers() -> Callable[[Path], list[Path]]:
    return leftovers


def content(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every visible file below a folder. JSON is without its fields for times, which differ between runs."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(name): _without_times(folder / name) for name in names if not any(part.startswith(".") for part in name.parts)}


def _without_times(path: Path) -> bytes:
    if path.suffix != ".json":
        return path.read_bytes()
    return json.dumps(_strip(json.loads(path.read_text())), sort_keys=True).encode()


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items() if key not in ("seconds", "created")}
    return [_strip(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(name="content")
def _content() -> Callable[[Path], dict[str, bytes]]:
    return content


def painted_face(points: np.ndarray, size: int, seed: int) -> np.ndarray:
    """A face that is drawn from its landmarks [68, 3] in the colours of person `seed`: uint8 [size, size, 3]."""
    import cv2

    from stages.conditions.landmarks import face_curves

    random = np.random.default_rng(seed)
    image = np.full((size, size, 3), random.integers(120, 250, 3), np.uint8)
    curves = {name: np.round(curve * 16).astype(np.int32) for name, curve in face_curves(points).items()}
    skin, hair, lips = (tuple(int(v) for v in random.integers(low, high, 3)) for low, high in ((90, 230), (0, 120), (60, 200)))
    outline = np.concatenate([curves["contour"], curves["forehead"][::-1]])
    cv2.fillPoly(image, [outline], skin, cv2.LINE_AA, 4)
    cv2.polylines(image, [curves["forehead"], curves["right brow"], curves["left brow"]], False, hair, 2, cv2.LINE_AA, 4)
    for name, colour in (("right eye", (255, 255, 255)), ("left eye", (255, 255, 255)), ("outer lips", lips), ("inner lips", (30, 0, 0))):
        cv2.fillPoly(image, [curves[name]], colour, cv2.LINE_AA, 4)
    cv2.polylines(image, [curves["nose ridge"], curves["nose base"]], False, hair, 1, cv2.LINE_AA, 4)
    return image


@pytest.fixture(scope="session")
def make_painted_clip() -> Callable[..., Path]:
    """make_painted_clip(path, person, num_frames=24, size=64): a clip with landmarks of a painted person who moves as driving.clip does."""

    def make(path: Path, person: int, num_frames: int = 24, size: int = 64) -> Path:
        from stages.clip import Producer, create_clip, open_clip
        from stages.conditions.view import View

        track = open_clip(REPOSITORY / "examples" / "driving.clip").layer("landmarks").arrays()["points"][:, 0]
        chosen = np.arange(3 * person, 3 * person + 4 * num_frames, 4) % len(track)
        points = View.scaled(256, 256, size, size).points(track[chosen])
        clip = create_clip(path, (painted_face(face, size, person) for face in points), storage="png")
        with clip.writing("landmarks", Producer("painted"), {"frames": clip.frames_digest()}) as layer:
            layer.arrays(points=points[:, None])
        return path

    return make


@pytest.fixture(scope="session")
def painted_dataset(tmp_path_factory: pytest.TempPathFactory, make_painted_clip: Callable[..., Path]) -> Path:
    """A dataset of four painted people at 64x64, one of them held out for validation."""
    from stages.build_dataset import DatasetOptions, build

    folder = tmp_path_factory.mktemp("painted")
    clips = [str(make_painted_clip(folder / f"person{i}.clip", i)) for i in range(4)]
    options = DatasetOptions(size=64, held_out=("person3",))
    assert {report.status for report in build(clips, folder / "faces", options)} == {"done"}
    return folder / "faces"


@pytest.fixture(scope="session")
def make_drift_clip() -> Callable[..., Path]:
    """make_drift_clip(path, seed, num_frames=10, size=32): a clip of label maps in which a square and a disc drift over a ground.

    The square moves by two pixels per frame and the disc by one, each in its own diagonal direction. In the frames, each label has its own
    texture, which moves along. In the layer `instances`, the square is 1 and the disc 2. The labels are ground, square and disc.
    """

    def make(path: Path, seed: int, num_frames: int = 10, size: int = 32) -> Path:
        from stages.clip import Producer, create_clip

        draw = np.random.default_rng(seed)
        y, x = np.mgrid[:size, :size]
        texture = draw.integers(0, 255, (3, 2 * size, 2 * size, 3), np.uint8)
        centres = draw.uniform(0.3 * size, 0.7 * size, (2, 2))
        steps = draw.choice([-1, 1], (2, 2)) * np.array([[2.0], [1.0]])
        maps, frames = [], []
        for index in range(num_frames):
            (a, b), (c, d) = np.round(centres + (index - num_frames / 2) * steps).astype(int)
            ids = np.zeros((size, size), np.uint8)
            ids[(abs(x - a) <= size // 6) & (abs(y - b) <= size // 6)] = 1
            ids[(x - c) ** 2 + (y - d) ** 2 <= (size // 5) ** 2] = 2
            maps.append(ids)
            textures = np.stack(
                [texture[0][:size, :size], *(np.roll(texture[i], (q, p), (0, 1))[:size, :size] for i, p, q in ((1, a, b), (2, c, d)))]
            )
            frames.append(np.take_along_axis(textures, ids[None, ..., None].astype(int), 0)[0])
        clip = create_clip(path, iter(frames), storage="png")
        table = {"table": "drift", "names": ["ground", "square", "disc"], "palette": [[90, 90, 90], [200, 0, 0], [0, 0, 200]]}
        for layer, meta in (("segment", table), ("instances", {})):
            with clip.writing(layer, Producer("drift"), {"frames": clip.frames_digest()}, meta) as writer:
                for ids in maps:
                    writer.image(ids)
        return path

    return make


@pytest.fixture(scope="session")
def drift_dataset(tmp_path_factory: pytest.TempPathFactory, make_drift_clip: Callable[..., Path]) -> Path:
    """A dataset of five clips of drifting objects at 32x32, one of them held out for validation."""
    from stages.build_dataset import DatasetOptions, build

    folder = tmp_path_factory.mktemp("drift")
    clips = [str(make_drift_clip(folder / f"drift{i}.clip", i, num_frames=16)) for i in range(5)]
    options = DatasetOptions(size=32, held_out=("drift4",))
    assert {report.status for report in build(clips, folder / "streets", options)} == {"done"}
    return folder / "streets"
