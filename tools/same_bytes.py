"""Checks whether two checkouts write the same files: most commands run in both on the same inputs, and the outputs are compared byte by
byte.

    python tools/same_bytes.py OLD NEW [--video talk.mp4] [--frames 24]

OLD and NEW are folders with the source. Without --video the input is a drawn video of a portrait that sways. Layers, videos, snapshots,
models and figures are compared, without the times of the run, such as seconds and dates. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TIMES = {"seconds", "wall", "time", "date", "created", "per_second", "rate", "version", "elapsed", "hours"}
"""Keys in JSON for the date, speed or version of a run; their values are not compared."""
NOT_COMPARED = {"speed.ndjson"}
"""Files that contain only such values."""


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="same-bytes-") as folder:
        video = arguments.video.resolve() if arguments.video else _write_swaying_portrait(arguments.old, Path(folder) / "talk.mp4")
        sources = {"a": arguments.old.resolve(), "b": arguments.new.resolve()}
        digests = [_run_commands(source, Path(folder) / name, video, arguments.frames) for name, source in sources.items()]
    return _compare(*digests)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="folder of the first checkout")
    parser.add_argument("new", type=Path, help="folder of the second checkout")
    parser.add_argument("--video", type=Path, help="a video of a face")
    parser.add_argument("--frames", type=int, default=24, help="number of its frames that are used in each of two clips")
    return parser.parse_args()


def _write_swaying_portrait(source: Path, path: Path) -> Path:
    code = (
        "import sys; from tests.conftest import swaying_face, write_video; from pathlib import Path; "
        "write_video(Path(sys.argv[1]), swaying_face(60))"
    )
    subprocess.run([sys.executable, "-P", "-c", code, path], check=True, env=_environment(source.resolve()))
    return path


def _environment(source: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}


def _run_commands(source: Path, folder: Path, video: Path, frames: int) -> dict[str, str]:
    """Run the commands of the checkout `source` in a folder. Returns path -> digest for all files that they write."""
    folder.mkdir()
    (folder / "stdout").mkdir()

    def run(name: str, *arguments: object) -> None:
        command = [sys.executable, "-P", "-m", "fsv2v_cli", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=_environment(source), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{source}: {name} ended with {done.returncode}\n{done.stderr}")
        (folder / "stdout" / name).write_text(done.stdout.replace(str(folder), "FOLDER"))

    run("cut", "clip", "import", video, "-o", "whole")
    whole = next((folder / "whole").glob("*.clip"), folder / "whole")
    run("export", "clip", "export", whole, "-o", "frames")
    images = sorted((folder / "frames").rglob("*.png"))
    talk, other = "talk.clip", "other.clip"
    for name, part in ((talk, images[:frames]), (other, images[frames : 2 * frames])):
        images_folder = folder / name.removesuffix(".clip")
        images_folder.mkdir()
        for image in part:
            image.rename(images_folder / image.name)
        run(name, "clip", "import", images_folder, "-o", name)
    run("sketch", "extract-sketch", talk, other, "--backend", "dlib")
    run("poses", "extract-poses", talk, "--backend", "small")
    run("segment", "segment", talk)
    run("dataset", "build-dataset", talk, other, "-o", "faces", "--kind", "landmarks", "--size", "64", "--hold-out", "other")
    run("train", "train", "--data", "faces", "--preset", "tiny", "--steps", "30", "--log-every", "1", "--float32", "-o", "run")
    run("finetune", "finetune", "--model", "run", "--examples", talk, "--steps", "4", "-o", "tuned.safetensors")
    shipped = ("--driving", source / "examples" / "driving.clip", "--device", "cpu")
    portrait = source / "examples" / "astronaut.png"
    run("synthesize", "synthesize", "--examples", portrait, *shipped, "-o", "portrait.clip", "--backend", "dlib")
    run("video", "synthesize", "--examples", talk, "--driving", talk, "--model", "tuned.safetensors", "-o", "out.mp4")
    run("several", "synthesize", "--examples", talk, "--driving", talk, "--precision", "fp32", "--normalize", "on", "-o", "several.clip")
    run("evaluate", "evaluate", "several.clip", "-r", talk, "--metric", "psnr", "--metric", "ssim", "--metric", "landmark-error", "--json")
    return {str(path.relative_to(folder)): _digest(path, source) for path in sorted(folder.rglob("*")) if path.is_file()}


def _digest(path: Path, source: Path) -> str:
    content = path.read_bytes().replace(os.fsencode(source), b"SOURCE")
    if path.name in NOT_COMPARED or path.suffix == ".pt":  # states contain times of the run
        return ""
    try:
        text = content.decode()
        content = "\n".join(json.dumps(_without_times(json.loads(line))) for line in _documents(text)).encode()
    except ValueError:
        content = re.sub(rb'"(seconds|elapsed)": ?[0-9.e-]+', b"", content)  # in the headers of models and videos
    return hashlib.sha256(content).hexdigest()


def _documents(text: str) -> list[str]:
    """The JSON documents of a file: the whole file, or each line."""
    try:
        json.loads(text)
    except ValueError:
        return text.splitlines()
    return [text]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [_without_times(part) for part in value]
    return value


def _compare(old: dict[str, str], new: dict[str, str]) -> int:
    """Print the differences, and return the exit code."""
    differing = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    for name in differing:
        print("differs" if name in old and name in new else "only in OLD" if name in old else "only in NEW", name)
    compared = sum(bool(digest) for digest in old.values())
    print(f"{compared} files compared, {len(differing)} differ")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
