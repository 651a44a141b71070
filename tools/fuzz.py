"""Read files of strangers that were damaged at random: whatever they hold, a reader answers with a result or a sentence.

    python tools/fuzz.py --minutes 10 [--reader NAME ...] [--seed 0] [--keep FOLDER]

Each reader begins with sound files. A read mutates one of them, in its bytes or (JSON) in its values, and gives it to the reader. Faults
are exceptions other than those of stages/errors.py, reads that take longer than `HANG` seconds or more than `MEMORY` bytes, and files
that appear outside the folder of the read. Each kind of fault is reported once, and its file is put into the folder of --keep.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image

from stages.build_dataset import index, read_subjects
from stages.clip import Producer, create_clip, open_clip
from stages.clip.coco import read_coco
from stages.clip.foreign import read_labels, read_landmarks
from stages.clip.openpose import read_openpose
from stages.clip.pack import pack, unpack
from stages.clip.pictures import read_image
from stages.clip.validate import validate
from stages.errors import Fsv2vError
from stages.evaluate.measure import Score
from stages.evaluate.part import Part
from stages.evaluate.part import load as load_part
from stages.evaluate.study.answers import read_answers
from stages.evaluate.study.key import Key, Question, read_key
from stages.flow.files import FlowField, flow_bytes, read_flow
from stages.label_tables import table
from stages.model_files import read_model, save_model
from stages.networks.config import PRESETS
from stages.train.recipes import FOLDER as RECIPES
from stages.train.recipes import read_recipe

ROOT = Path(__file__).resolve().parents[1]
HANG = 10.0
MEMORY = 1 << 30
Files = dict[str, bytes]
"""Name in the folder of a read -> content."""


class Hang(BaseException):
    """A read took longer than `HANG` seconds."""


@dataclass(frozen=True)
class Reader:
    """sound: the files that mutations start from; read: reads the folder that holds them; only: name endings of what is mutated."""

    sound: Callable[[Path], Files]
    read: Callable[[Path], object]
    only: tuple[str, ...] = ("",)


@dataclass
class Result:
    """What became of the reads of one reader."""

    reads: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: dict[str, Files] = field(default_factory=dict)
    """What happened and where -> the files that made it happen first."""


def fuzz(reader: Reader, seconds: float, reads: int | None = None, seed: int = 0) -> Result:
    """Mutate and read until `seconds` are over, or for a number of `reads`."""
    result, draw, begun = Result(), random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place, _limits():
        sound = reader.sound(Path(place, "sound"))
        shutil.rmtree(Path(place, "sound"), ignore_errors=True)
        names = [name for name in sound if name.endswith(reader.only)]
        while result.reads < reads if reads is not None else time.monotonic() - begun < seconds:
            name = draw.choice(names)
            files = {**sound, name: mutated(sound[name], draw)}
            folder = Path(place, "read")
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            if fault := _fault_of(reader, folder, result):
                result.faults.setdefault(fault, files)
            shutil.rmtree(folder)
            if strays := [path.name for path in Path(place).iterdir()]:
                result.faults.setdefault(f"wrote outside its folder: {strays}", files)
                shutil.rmtree(place)
                Path(place).mkdir()
    result.seconds = time.monotonic() - begun
    return result


def _fault_of(reader: Reader, folder: Path, result: Result) -> str:
    result.reads += 1
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        reader.read(folder)
    except Fsv2vError:
        result.refused += 1
    except Hang:
        return f"took longer than {HANG:g} s"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = next(frame for frame in reversed(frames) if frame.filename.startswith(str(ROOT / "stages")) or frame is frames[0])
        return f"{type(error).__name__} at {Path(own.filename).name}:{own.lineno}, in {frames[-1].name}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """Within, a read that hangs raises Hang, and one that asks for too much memory MemoryError."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, hang)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, 1e-320, float("nan"), float("inf"),
    "", "0", "\0", "../x", "/x", "é\u202e", "\ud800", "x" * 70000, [], {}, [[]], [None], {"": None}, [[[[[]]]]],
)  # fmt: skip
ODD_BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\n",
    b'"',
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
    b"-",
    b"1e999",
    b"NaN",
    b"null",
    b"9" * 400,
    b"\xef\xbb\xbf",
    b"[" * 5000,
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """One or several changes of a content, most of them small."""
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        with contextlib.suppress(ValueError, RecursionError):
            if draw.random() < 0.6:
                content = json.dumps(_value_changed(json.loads(content), draw)).encode("utf-8", "surrogatepass")
                continue
        content = _bytes_changed(content, draw)
    return content


def _value_changed(value: Any, draw: random.Random) -> Any:
    """One place of a JSON value made odd, removed, doubled, or exchanged with another."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return draw.choice(ODD_VALUES)
    holder, key = draw.choice(places)
    action = draw.randrange(5)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, list):
        holder.extend([holder[key]] * draw.choice((1, 3, 300)))
    elif action == 2:
        other, name = draw.choice(places)
        with contextlib.suppress(IndexError, KeyError):
            holder[key] = copy.deepcopy(other[name])
    else:
        holder[key] = draw.choice(ODD_VALUES)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, below in list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []:
        yield value, key
        yield from _places(below)


def _bytes_changed(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    end = min(len(content), start + draw.choice((0, 1, 1, 2, 4, 8, 64, 4096)))
    action = draw.randrange(5)
    if action == 0:
        return content[:start]
    if action == 1:
        return content[:start] + draw.choice(ODD_BYTES) + content[end:]
    if action == 2:
        return content[:start] + content[start:end] * draw.choice((2, 3, 50)) + content[end:]
    if action == 3:
        return content[:start] + draw.randbytes(end - start) + content[end:]
    return content[:start] + bytes(byte ^ (1 << draw.randrange(8)) for byte in content[start:end]) + content[end:]


def _all_of(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _clip(folder: Path) -> Path:
    clip = create_clip(folder / "a.clip", iter(np.zeros((3, 16, 16, 3), np.uint8)), fps=Fraction(25), storage="png")
    with clip.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=np.ones((3, 1, 68, 3), np.float32))
    with clip.writing("segment", Producer("test"), {}, {"labels": [{"name": "road", "color": [1, 2, 3]}]}) as labels:
        for _ in range(3):
            labels.image(np.zeros((16, 16), np.uint8))
    return clip.path


def _clip_files(folder: Path) -> Files:
    _clip(folder)
    return _all_of(folder)


def _read_clip(folder: Path) -> None:
    clip = open_clip(folder / "a.clip")
    validate(clip.path)
    for kind in clip.layers():
        layer = clip.layer(kind)
        layer.image(0) if kind == "segment" else layer.arrays() if kind != "frames" else clip.frame(0)


def _packed_files(folder: Path) -> Files:
    return {"a.zip": pack(_clip(folder), folder / "a.zip").read_bytes()}


def _read_packed(folder: Path) -> None:
    unpack(folder / "a.zip", folder / "out" / "a.clip")


def _one(name: str, content: bytes) -> Callable[[Path], Files]:
    return lambda folder: {name: content}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _model(folder: Path) -> Files:
    folder.mkdir()
    state = {"a.weight": torch.zeros(3, 2), "b.bias": torch.ones(5), "c.count": torch.tensor(3)}
    save_model(folder / "m.safetensors", state, PRESETS["tiny"], {"step": 1})
    return _all_of(folder)


def _png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return stream.getvalue()


def _jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(3 * 24 * 16, dtype=np.uint8).reshape(24, 16, 3)).save(stream, "jpeg", exif=Image.Exif())
    return stream.getvalue()


def _study_key(folder: Path) -> Files:
    folder.mkdir()
    KEY.write(folder / "k.json")
    return _all_of(folder)


def _part(folder: Path) -> Files:
    folder.mkdir()
    score = Score("a.mp4", "b.mp4", "psnr", "dB", "higher", 30.0, 2, series=(30.0, 30.0))
    Part(("psnr",), ((0, 1),), "w", (("a.mp4", "b.mp4"),), [score], {}, {"": 1}, {("", "fid"): "too few"}).save(folder / "p.npz")
    return _all_of(folder)


BODY = [float(value) for value in range(1, 76)]
FLOW = FlowField(np.ones((4, 6, 2), np.float32), np.full((4, 6), 255, np.uint8))
KEY = Key("s", ("ours", "theirs"), (Question("q1", "anna", "pair", ("a.mp4", "b.mp4")),), (("q1",),), {})
ANSWERS = {
    "schema": "fsv2v.answers/1", "study": "s", "worker": "w", "code": "c",
    "answers": [{"question": "q1", "shown": ["a.mp4", "b.mp4"], "chosen": "b.mp4", "seconds": 3.5}],
}  # fmt: skip
ROW = {"id": "anna-1", "subject": "anna", "split": "train", "frames": 3}
COCO = {
    "images": [{"id": 1, "file_name": "000000.png", "width": 64, "height": 48}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * 17, "bbox": [1, 2, 3, 4], "score": 0.5}],
    "categories": [{"id": 1, "name": "person"}],
}
PAIRS = [[n, 2 * n] for n in range(68)]

READERS: dict[str, Reader] = {
    "clip": Reader(_clip_files, _read_clip, ("clip.json", "layer.json", ".npz", ".png")),
    "packed clip": Reader(_packed_files, _read_packed),
    "openpose": Reader(
        _one("000000_keypoints.json", _json({"people": [{"person_id": [-1], "pose_keypoints_2d": BODY, "hand_left_keypoints_2d": []}]})),
        lambda folder: read_openpose([folder / "000000_keypoints.json"]),
    ),
    "coco": Reader(_one("coco.json", _json(COCO)), lambda folder: read_coco(folder / "coco.json")),
    "landmarks": Reader(_one("000000.json", _json(PAIRS)), lambda folder: read_landmarks([folder / "000000.json"], (256, 256))),
    "landmarks as text": Reader(
        _one("000000.txt", "\n".join(f"{x},{y}" for x, y in PAIRS).encode()),
        lambda folder: read_landmarks([folder / "000000.txt"], (256, 256)),
    ),
    "label map": Reader(
        _one("000000.png", _png(np.arange(48, dtype=np.uint8).reshape(6, 8))), lambda folder: read_labels(folder / "000000.png")
    ),
    "label table": Reader(_one("t.json", _json([{"name": "sky", "color": [0, 9, 99]}])), lambda folder: table(str(folder / "t.json"))),
    "png": Reader(_one("a.png", _png(np.zeros((6, 8, 3), np.uint8))), lambda folder: read_image(folder / "a.png")),
    "jpeg": Reader(_one("a.jpg", _jpeg()), lambda folder: read_image(folder / "a.jpg")),
    "flo": Reader(_one("a.flo", flow_bytes(FLOW, "flo")), lambda folder: read_flow(folder / "a.flo")),
    "flow png": Reader(_one("a.png", flow_bytes(FLOW, "png")), lambda folder: read_flow(folder / "a.png")),
    "flow npz": Reader(_one("a.npz", flow_bytes(FLOW, "npz")), lambda folder: read_flow(folder / "a.npz")),
    "recipe": Reader(_one("r.toml", (RECIPES / "face-256.toml").read_bytes()), lambda folder: read_recipe(str(folder / "r.toml"))),
    "dataset rows": Reader(
        _one("clips.ndjson", _json(ROW) + b"\n" + _json({**ROW, "id": "b"}) + b"\n"),
        lambda folder: ((folder / "dataset.json").write_text("{}"), index.read_rows(folder)),
    ),
    "subjects": Reader(_one("who.tsv", b"anna-1\tanna\nanna-2\tanna\nbob\tbob\n"), lambda folder: read_subjects(str(folder / "who.tsv"))),
    "model": Reader(_model, lambda folder: read_model(folder / "m.safetensors")),
    "study key": Reader(_study_key, lambda folder: read_key(folder / "k.json")),
    "answers": Reader(_one("a.json", _json(ANSWERS)), lambda folder: read_answers(folder / "a.json", KEY)),
    "part": Reader(_part, lambda folder: load_part(folder / "p.npz")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all readers together")
    parser.add_argument("--reader", action="append", choices=READERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    names, faults = asked.reader or list(READERS), 0
    print(f"{'reader':14} {'reads':>9} {'refused':>9} {'faults':>7} {'seconds':>8}")
    for name in names:
        result = fuzz(READERS[name], 60 * asked.minutes / len(names), seed=asked.seed)
        print(f"{name:14} {result.reads:9} {result.refused:9} {len(result.faults):7} {result.seconds:8.1f}", flush=True)
        for number, (fault, files) in enumerate(result.faults.items()):
            faults += 1
            print(f"    {fault}")
            for path, content in files.items() if asked.keep else ():
                place = asked.keep / name.replace(" ", "-") / str(number) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
