"""One set of examples and many driving videos: a result for each video, made by one or several processes."""

from __future__ import annotations

import atexit
import contextlib
import glob
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from fsv2v.inputs import Inputs, Prepared
from fsv2v.models import choose_perceptual_for
from fsv2v.reporting import RecordingReporter, Reporter
from fsv2v.sources import Examples, clip_of_layer, temporary_clips
from fsv2v.synthesis import INPUT_PARAMETERS, draw_preview, write_result
from stages.clip.clip import is_clip
from stages.clip.create import clip_path
from stages.clip.datasets.recording import VIDEO_SUFFIXES
from stages.clip.images import is_image
from stages.clip.importers import guess_layout
from stages.clip.writer import CONTAINERS
from stages.compute.devices import choose_device
from stages.errors import InputError, InvalidClip, Sentence, SharedInputError, UsageError
from stages.models.perceptual import open_distance
from stages.runner import ClipTask, InputProgress, Report, run_over_clips
from stages.runner import Outcome as RunnerOutcome
from stages.synthesize import EncodedExamples, Outcome, ReportRequest, SynthesizeOptions, require_sheet
from stages.synthesize.report.remarks import full_precision_frames

SUFFIXES = {*CONTAINERS, ".clip"}
"""Allowed suffixes of a result."""
_REPORT_INTERVAL = 0.2
"""Seconds between two reports of progress."""


def synthesize_many(
    examples: Examples,
    driving: Iterable[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    report: str | PathLike[str] | None = None,
    preview: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    shard: tuple[int, int] = (0, 1),
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    keep_going: bool = True,
    add_hint: Callable[[str], str] = str,
    on_step: Callable[[InputProgress], None] | None = None,
    **options: Any,
) -> Generator[Report, None, None]:
    """Animate the examples by each driving video, and yield a report on each result when it is finished.

    The result of talk.mov is talk.mp4 in the folder `out`. Each process loads the model and encodes the examples once.

    driving: paths; the iterable may be endless.
    report: a folder for a page about each result, such as talk.html.
    preview: make the sheets of `preview` in place of videos, such as talk.preview.png.
    jobs, shard, engine, address, keep_going, on_step: as in `stages.runner.run_over_clips`.
    add_hint: adds a hint to each warning and note on a page, in terms of the caller's interface (see `Reporter.add_hint`).
    options: the other parameters of `synthesize`, except `reporter`, with at most one subject.

    A failed input does not stop the others; its report has the reason. An input also fails if its result would have the path of an
    earlier result. Raises UsageError and MissingRequirement, which concern all inputs, and SharedInputError for examples that cannot be
    used.
    """
    input_parameters: dict[str, Any] = {name: options.pop(name) for name in INPUT_PARAMETERS if name in options}
    synthesis_options = SynthesizeOptions(**options)
    if len(input_parameters.get("subjects", ())) > 1:
        raise UsageError("several subjects can be animated only in a single result", code="driving-of-subjects")
    choose_device(synthesis_options.device)
    folder = None if report is None else Path(report)
    work = Work(examples, Path(out), synthesis_options, input_parameters, folder, overwrite, preview, add_hint)
    task = ClipTask("fsv2v.many:make_one", work, layer=work.layer, opens_clips=False)
    clashes = _NameClashes(work, shard)
    reports = run_over_clips(
        task, clashes.without_clashes(os.fspath(path) for path in driving), jobs, shard, engine, keep_going, on_step, address
    )
    with contextlib.closing(work), contextlib.closing(reports):
        yield from _with_clashes(reports, clashes, keep_going)


def driving_videos(path: str) -> list[str] | None:
    """The driving videos in a folder of videos or clips, or those that match a pattern such as talks/*.mp4; None for a single video.

    A folder of images is a single video. Raises InputError if there is no video, and for a folder with videos and images.
    """
    if not os.path.exists(path) and glob.has_magic(path):
        if not (found := sorted(glob.glob(path, recursive=True))):
            raise InputError(f"no file matches {path}")
        return found
    folder = Path(path)
    if not folder.is_dir() or is_clip(folder) or clip_of_layer(folder) != folder:
        return None
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    videos = [str(entry) for entry in entries if is_clip(entry) or entry.suffix.lower() in VIDEO_SUFFIXES]
    if videos and any(map(is_image, entries)):
        raise InputError(
            f"{path} contains both videos and images", hint=f"Name the videos, for example as {folder / '*'}{Path(videos[0]).suffix}"
        )
    if not videos and not any(map(is_image, entries)) and guess_layout(folder) == "images":
        raise InputError(f"{path} contains no videos, clips or images")
    return videos or None


@dataclass(frozen=True, eq=False)
class Work:
    """The parameters that all results of a run share. They are sent to the processes that make the results."""

    examples: Examples
    out: Path
    """A folder, or the file of a single result."""
    options: SynthesizeOptions
    input_parameters: Mapping[str, Any]
    """The parameters of `Inputs` that are named in `INPUT_PARAMETERS`."""
    pages: Path | None
    """A folder, or the page about a single result. None: no pages."""
    overwrite: bool
    preview: bool
    add_hint: Callable[[str], str]
    """As in `synthesize_many`."""

    @property
    def layer(self) -> str:
        """The name of a result in reports."""
        return "preview" if self.preview else "frames"

    def result_of(self, driving: str) -> Path:
        """The path of the result of a driving video."""
        out = self.out if self.out.suffix.lower() in SUFFIXES else self._path_in(self.out, driving, ".mp4")
        return out.with_suffix(".preview.png") if self.preview else out

    def page_of(self, driving: str) -> Path | None:
        """The path of the page about a result; None without pages."""
        if self.pages is None or self.pages.suffix.lower() in (".html", ".htm"):
            return self.pages
        return self._path_in(self.pages, driving, ".html")

    def _path_in(self, folder: Path, driving: str, suffix: str) -> Path:
        """A path in the folder, with the name of the driving video and this suffix."""
        return clip_path(clip_of_layer(Path(driving)), folder).with_suffix(suffix)

    @cached_property
    def shared(self) -> Shared:
        """The model and examples, opened once in this process."""
        atexit.register(self.close)
        return Shared(self)

    def close(self) -> None:
        """Remove the intermediate clips of this process."""
        shared: Shared | None = self.__dict__.pop("shared", None)  # the cached property, if it has been read
        if shared is not None:
            shared.close()
            atexit.unregister(self.close)


@contextlib.contextmanager
def _as_shared_errors() -> Iterator[None]:
    """In the block, InputError and InvalidClip become SharedInputError, which ends the run.

    It is used where inputs are read that all results share.
    """
    try:
        yield
    except (InputError, InvalidClip) as error:
        raise SharedInputError(error.message, hint=error.hint, code=error.code, facts=error.facts) from error


class _SharedInputs(Inputs):
    """Inputs of a run. An error in an input that all results share ends the run."""

    def open_shared(self, *arguments: Any) -> Any:
        with _as_shared_errors():
            return super().open_shared(*arguments)


class Shared:
    """The model and the encoded examples, for all results that one process makes."""

    def __init__(self, work: Work) -> None:
        self._work, self._recorder = work, RecordingReporter(Reporter())
        self._open = contextlib.ExitStack()
        self._temporary = self._open.enter_context(temporary_clips(self._recorder))
        options = work.options
        from_options: dict[str, Any] = {
            "device": options.device,
            "appearance": options.appearance,
            "motion": options.parsed_motion,
            "preview": work.preview and not options.retarget,  # a film needs the driver's expression at any moment
        }
        self._inputs = _SharedInputs(work.examples, self._temporary, **work.input_parameters, **from_options)
        self._encoded: dict[Path, EncodedExamples] = {}

    def close(self) -> None:
        self._open.close()

    def make(self, driving: str, on_step: Callable[[InputProgress], None] | None) -> RunnerOutcome:
        """Make the result of a driving video."""
        work, recorder = self._work, RecordingReporter(_StepReporter(driving, on_step))
        out, page = work.result_of(driving), work.page_of(driving)
        request = None if page is None else ReportRequest(page, recorder.messages, work.add_hint)
        if request is not None:
            request.require_writable(out)
        if work.preview:
            require_sheet(out)
        with self._temporary.named(), temporary_clips(recorder) as temporary:
            ready = self._inputs.driven_by(driving, temporary)
            encoded = self._encoded_for(ready)
            if work.preview:
                outcome = draw_preview(ready, out, work.options, recorder, encoded)
            else:
                request = None if request is None else replace(request, messages=[*self._recorder.messages, *recorder.messages])
                outcome = write_result(ready, out, work.options, recorder, work.overwrite, request, encoded)
        return RunnerOutcome(work.layer, outcome.status, outcome.frames, self._notes(recorder, outcome), str(out))

    def _encoded_for(self, ready: Prepared) -> EncodedExamples:
        """The examples, encoded once for each model. Which model is used depends on the layer of the driving clip."""
        model = ready.model
        if model.path not in self._encoded:
            device = choose_device(self._work.options.device)
            perceptual = lambda: open_distance(choose_perceptual_for(model, self._recorder), device)  # noqa: E731
            with _as_shared_errors():
                self._encoded[model.path] = EncodedExamples(ready.examples, model, self._work.options, perceptual)
        return self._encoded[model.path]

    def _notes(self, recorder: RecordingReporter, outcome: Outcome) -> dict[str, Any]:
        """Warnings and counts for the report on a result (see `Reporter.warn_about`)."""
        warnings = [text for kind, text in (*self._recorder.messages, *recorder.messages) if kind == "warning"]
        counts = {"fallbacks": outcome.fallbacks, "held_frames": outcome.held_frames}
        return {"once": [*warnings, *outcome.warnings], "warnings": full_precision_frames(outcome), **counts}


def make_one(driving: str, work: Work, on_step: Callable[[InputProgress], None] | None) -> RunnerOutcome:
    """Make the result of one driving video. Runs in any process."""
    try:
        return work.shared.make(driving, on_step)
    except UsageError as error:
        if error.code in ("output-in-progress", "output-taken"):  # this concerns only one result
            raise InputError(error.message, hint=error.hint, code=error.code, facts=error.facts) from error
        raise


class _StepReporter(Reporter):
    """Reports a few times per second how many frames are made."""

    def __init__(self, driving: str, on_step: Callable[[InputProgress], None] | None) -> None:
        self._driving, self._on_step, self._reported = driving, on_step, time.monotonic()

    def progress(self, done: int, total: int, **figures: float) -> None:
        if self._on_step is not None and time.monotonic() - self._reported >= _REPORT_INTERVAL:
            self._reported = time.monotonic()
            self._on_step(InputProgress(self._driving, done, total))


class _NameClashes:
    """Finds driving videos whose result would have the path of an earlier result.

    reports: a failure report for each of them that belongs to this shard.
    """

    def __init__(self, work: Work, shard: tuple[int, int]) -> None:
        self._work, self._shard = work, shard
        self._first: dict[Path, str] = {}
        self.reports: list[Report] = []

    def without_clashes(self, driving: Iterator[str]) -> Iterator[str]:
        """The other driving videos, in order."""
        index, count = self._shard
        for number, path in enumerate(driving):
            result = self._work.result_of(path)
            if result not in self._first:
                self._first[result] = path
                yield path
            elif number % count == index:
                self.reports.append(self._report(path, self._first[result], result))

    def _report(self, path: str, first: str, result: Path) -> Report:
        reason = Sentence(f"{path} would have the same result path as {first}: {result}", code="same-result")
        return Report(path, self._work.layer, "failed", reason=reason, exit_code=InputError.exit_code, source=path)


def _with_clashes(reports: Iterator[Report], clashes: _NameClashes, keep_going: bool) -> Iterator[Report]:
    """All reports. Those on clashes are yielded as soon as they exist. After a failure without `keep_going`, they are yielded when the run
    has ended."""
    for report in reports:
        yield report
        while clashes.reports and (keep_going or report.status != "failed"):
            yield clashes.reports.pop(0)
    yield from clashes.reports
