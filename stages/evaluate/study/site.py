"""The site of a study: a folder with one page and the videos, which have random names. Any web server can serve it, and it also opens
without one."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

from stages.errors import ParametersDiffer, UsageError
from stages.evaluate.frame_source import FrameSource
from stages.evaluate.measure import OnEvent, ignore
from stages.evaluate.study.answers import MAX_NAME
from stages.evaluate.study.encode import encode, encode_broken
from stages.evaluate.study.key import Key, Question, draw_key, read_key
from stages.evaluate.study.pairs import Pair, find_pairs, identity
from stages.io.files import building_directory, exclusive_lock, replace_file, write_atomically, write_bytes
from stages.io.reading import parse_object

DEFAULT_QUESTION = "Which one looks more like a video captured by a real camera?"
"""The question of vid2vid, section 4."""
PAGE = "index.html"
VIDEOS = "videos"
_DATA = '<script id="study" type="application/json">'


@dataclass(frozen=True)
class StudyOptions:
    """Options of a study.

    question: its text, "" for that of vid2vid.
    catch: number of catch questions for each worker.
    per_worker: approximate number of clips for each worker, 0 for all.
    post: the address that receives the answers, "" for none.
    code: the completion code, "" for a different one for each worker.
    """

    question: str = ""
    catch: int = 3
    per_worker: int = 0
    post: str = ""
    code: str = ""


@dataclass(frozen=True)
class Outcome:
    """What `make_study` did. status: done or skipped; frames: number of frames that were written; pairs, catch: number of questions of each
    kind; blocks: number of blocks of questions. Each block is for one worker."""

    status: str
    frames: int
    seconds: float
    key: Path
    pairs: int
    catch: int
    blocks: int


def make_study(
    folders: tuple[str, str],
    reference: str,
    out: Path,
    options: StudyOptions,
    *,
    key: Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent = ignore,
) -> Outcome:
    """Make the site `out`, which asks for each pair of videos in two methods' folders which video is better, and its key.

    The key (default: OUT.key.json beside the site) is written first; then the finished site is renamed into place. If the key exists and
    the site does not, the site is made again with the same names, so that existing answers remain valid. With `overwrite` the old study and
    a copy of its key stay until the new study is complete. `on_event` receives {done, total}, in videos. Raises InputError for folders that
    cannot be compared, ParametersDiffer when `out` or the key belongs to another study or is something else, and UsageError for a key
    inside the site, a site inside a folder of videos, an invalid address or a code that is too long.
    """
    started = time.monotonic()
    if len(options.code) > MAX_NAME:
        raise UsageError(f"A completion code has at most {MAX_NAME} characters, not {len(options.code)}")
    if options.post and not options.post.startswith(("http://", "https://", "/")):
        hint = "It begins with https:// or, on the page's own server, with /"
        raise UsageError(f"{options.post!r} is not an address to which answers can be sent", hint=hint)
    key_path = key or out.parent / f"{out.name}.key.json"
    if key_path.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{key_path} would be published with the site and tell which method made which video", code="study-key-in-site")
    if parents := [folder for folder in (*folders, reference) if folder and out.resolve().is_relative_to(Path(folder).resolve())]:
        raise UsageError(f"{out} would count as one of the videos in {parents[0]}", code="study-in-videos")
    pairs = find_pairs(*folders, reference)
    request = _request(folders, pairs, options)
    with exclusive_lock(out), exclusive_lock(key_path):
        earlier = _earlier_key(key_path, request, overwrite)
        existing = _existing_study(out)
        if existing is not None and not overwrite and (earlier is None or earlier.study != existing):
            raise ParametersDiffer(f"{out} exists, and {key_path} is not its key", code="output-differs")
        new_key = earlier or draw_key(
            _names(folders), [pair.name for pair in pairs], options.catch, options.per_worker, bool(reference), request
        )
        status = "skipped" if existing == new_key.study else "done"
        frames = 0
        if status == "done":
            with _restore_on_failure(key_path):
                new_key.write(key_path)
                frames = _write_site(out, new_key, {pair.name: pair for pair in pairs}, options, on_event)
    catch = sum(question.kind == "catch" for question in new_key.questions)
    return Outcome(status, frames, time.monotonic() - started, key_path, len(new_key.questions) - catch, catch, len(new_key.blocks))


def _names(folders: tuple[str, str]) -> tuple[str, str]:
    """Names of the methods: the names of their folders, or the paths if both have the same name."""
    first, second = (Path(folder).resolve().name for folder in folders)
    return (first, second) if first != second else folders


def _request(folders: tuple[str, str], pairs: Sequence[Pair], options: StudyOptions) -> dict[str, Any]:
    """Everything on which a study depends except random numbers."""
    videos = {pair.name: [identity(video) for video in pair.sources] for pair in pairs}
    return {"methods": list(_names(folders)), "videos": videos, **asdict(options)}


def _earlier_key(path: Path, request: Mapping[str, Any], overwrite: bool) -> Key | None:
    """The existing key; None if there is none or if it is to be replaced.

    Raises ParametersDiffer when it belongs to another study, whose answers could no longer be scored without it, and InputError when the
    file is not a key.
    """
    if not path.exists():
        return None
    key = read_key(path)
    if overwrite:
        return None
    if changed := [name for name, value in request.items() if key.request.get(name) != value]:
        raise ParametersDiffer(
            f"{path} is the key of a study with other videos or options ({', '.join(changed)} differ)",
            code="study-differs",
        )
    return key


@contextlib.contextmanager
def _restore_on_failure(path: Path) -> Iterator[None]:
    """Keep a copy of the existing key beside it while the block runs, and restore it when the block fails."""
    if not path.exists():
        yield
        return
    copy = path.with_name(f"{read_key(path).study}.key.json")
    write_atomically(copy, path.read_bytes())
    try:
        yield
    except BaseException:
        replace_file(copy, path)
        raise
    copy.unlink()


def _existing_study(out: Path) -> str | None:
    """The id of the study in a folder; None if the folder is empty or does not exist.

    Raises ParametersDiffer for anything that is not a study; it is never replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        data = (out / PAGE).read_text(encoding="utf-8").partition(_DATA)[2].partition("</script>")[0]
        return str(parse_object(data)["study"])
    except (OSError, ValueError, KeyError) as error:
        raise ParametersDiffer(f"{out} exists and is not a study, so it is not replaced", code="output-taken") from error


def _write_site(out: Path, key: Key, pairs: Mapping[str, Pair], options: StudyOptions, on_event: OnEvent) -> int:
    """Write the site and return the number of frames in it. Files are written in the order of their random names, so that their dates do
    not reveal the method."""
    jobs = {name: job for question in key.questions for name, job in _video_jobs(question, pairs[question.clip])}
    with building_directory(out, replace=True) as folder:
        for done, (name, (make, source, fps)) in enumerate(sorted(jobs.items()), 1):
            make(source, fps, folder / VIDEOS / f"{name}.mp4")
            on_event({"done": done, "total": len(jobs)})
        write_bytes(folder / PAGE, page(key, pairs, options).encode())
    return sum(source.num_frames for _, source, _ in jobs.values())


_VideoJob = tuple[Callable[[FrameSource, Fraction, Path], None], FrameSource, Fraction]
"""The function that makes a video, its source, and its frames per second."""


def _video_jobs(question: Question, pair: Pair) -> Iterator[tuple[str, _VideoJob]]:
    """(name in the site, how to make it) for each video of a question."""
    sources = pair.videos if question.kind == "pair" else (pair.videos[question.of],) * 2
    yield question.videos[0], (encode, sources[0], pair.fps)
    yield question.videos[1], (encode if question.kind == "pair" else encode_broken, sources[1], pair.fps)
    if pair.reference:
        yield question.reference, (encode, pair.reference, pair.fps)


def page(key: Key, pairs: Mapping[str, Pair], options: StudyOptions) -> str:
    """The page as HTML; it loads nothing but the videos. Questions and videos are sorted by their random names."""
    questions = {
        question.id: {
            "videos": sorted(question.videos),
            "reference": question.reference,
            "width": pairs[question.clip].width,
            "aspect": round(pairs[question.clip].aspect, 4),
        }
        for question in sorted(key.questions, key=lambda question: question.id)
    }
    data = {
        "study": key.study,
        "ask": options.question or DEFAULT_QUESTION,
        "post": options.post,
        "code": options.code,
        "blocks": key.blocks,
    }
    parts = files("stages.evaluate.study")
    html, style, script = (parts.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js"))
    text = json.dumps({**data, "questions": questions}).replace("<", "\\u003c")  # no </script> in a question
    return html.replace("/* style */", style).replace("/* script */", script).replace(f"{_DATA}</script>", f"{_DATA}{text}</script>")
