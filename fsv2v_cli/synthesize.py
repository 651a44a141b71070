"""fsv2v synthesize: animate example images by a driving video."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fsv2v_cli import console
from fsv2v_cli.console_reporter import ConsoleReporter
from fsv2v_cli.hints import with_hint
from fsv2v_cli.live import is_live, run_live
from fsv2v_cli.options import (
    Inputs,
    Run,
    base_option,
    command,
    common_options,
    device_option,
    many_options,
    null_option,
    out_option,
    overwrite_option,
    path_option,
    seed_option,
)
from fsv2v_cli.reports import OnStep, print_reports
from fsv2v_cli.spans import parse_span, time_option, time_span
from fsv2v_cli.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Generator

    from stages.runner import InputProgress, Report
    from stages.synthesize import Outcome

PREVIEW_NOTE = (
    "each frame of a preview is made without the one before it, and a missing driving layer is extracted from few frames: the video is "
    "steadier, and its fit to the example may differ a little"
)


class _Reporter(ConsoleReporter):
    """Lets the allocator keep freed memory after the first frame. By then the model is loaded and prepared."""

    def progress(self, done: int, total: int, **figures: float) -> None:
        from stages.compute.allocator import keep_freed_memory

        if done == 1:
            keep_freed_memory()
        super().progress(done, total, **figures)


def _explain(values: dict[str, Any]) -> dict[str, str]:
    """The meaning of `--normalize auto`, as far as it is known without extraction."""
    from stages.errors import Fsv2vError, add_prefix

    if values["normalize"] != "auto" or values["examples"] is None:
        return {}
    try:
        (driving, *others) = _expanded(values["driving"])
        decided = "it is decided for each driving video" if others or driving == "-" else _fitting_of_auto({**values, "driving": driving})
        return {"normalize": decided}
    except Fsv2vError as error:
        return {"normalize": with_hint(add_prefix("unknown: ", str(error)))}


def _fitting_of_auto(values: dict[str, Any]) -> str:
    from fsv2v.models import default_model, load_model
    from fsv2v.sources import clip_of_layer
    from stages.clip import open_clip
    from stages.clip.clip import is_clip
    from stages.conditions.kinds import find_kind
    from stages.errors import InputError
    from stages.synthesize import decide
    from stages.synthesize.report.remarks import FITTED

    paths = clip_of_layer(Path(values["driving"])), Path(values["examples"])
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist")
    if not all(map(is_clip, paths)):
        return "it is decided when both clips with the driving layer have been made"
    driving, example = map(open_clip, paths)
    model = load_model(values["model"], values["base"]) if values["model"] else default_model(driving)
    kind = model.config.kind
    if not all(clip.has(layer) for clip in (driving, example) for layer in find_kind(kind).layers):
        return "it is decided when the driving layer has been extracted"
    fitting = decide("auto", kind, [example], driving)
    return f"{FITTED[fitting.method]}: {fitting.reason}"


@command("synthesize", explain=_explain)
@path_option(
    "--examples",
    metavar="PATH",
    help="An image, a folder of images, a video or a clip of the person or street to show. Not for pix2pixHD and vid2vid.",
)
@path_option(
    "--driving", required=True, multiple=True, metavar="PATH",
    help="What drives the result: a clip, a layer of one, a video or an OpenPose JSON folder. To make a result for each of several videos, "
    "repeat the option, or name a folder of videos, a pattern in quotes, or - for paths on stdin. With several --face, give one for all or "
    "one for each. camera:0 is a live driver, the first camera.",
)  # fmt: skip
@null_option
@click.option(
    "--format", type=click.Choice(["y4m"]), help="Read --driving, or stdin for -, as a raw video stream, frame by frame as it comes."
)
@time_option
@click.option(
    "--face", "--person", "subjects", type=Subject(several=False), multiple=True,
    help="Who moves in a photograph of several people; N counts from 0, from the left. May be repeated. Default: largest.",
)  # fmt: skip
@out_option(
    "NAME.mp4, .mkv, .mov or .clip. Default: the name of the examples, or of the driving clip, .mp4, in the current folder. With several "
    "driving videos a folder, in which each result is named after its driving video."
)
@path_option(
    "--start",
    metavar="PATH",
    help="Real frames as an image, a video or a clip; the result continues from the last of them.",
)
@path_option(
    "--model",
    metavar="MODEL",
    help="A .safetensors file, a run's folder, or the name of a shipped model. Default: the shipped one for the driving layer.",
)
@base_option
@click.option(
    "--num-examples",
    type=click.IntRange(1),
    metavar="N",
    help="Largest number of frames taken from an example video. Default: 4, or 32 with --select.",
)
@click.option(
    "--example-frames", metavar="START:STOP", help="The part of an example video to take them from; START or STOP may be left out."
)
@click.option(
    "--select", default="all", show_default=True, metavar="all|delaunay|N",
    help="Make each frame from all examples, or from the N with the most similar pose of the face; delaunay: from the 3 around that pose.",
)  # fmt: skip
@click.option(
    "--hysteresis", type=click.FloatRange(0, 10), default=0.25, show_default=True,
    help="How long a selection is kept after a better one exists, since each change is visible; 0: no delay.",
)  # fmt: skip
@click.option(
    "--attention", type=click.Choice(["auto", "pixel", "compact"]), default="auto", show_default=True,
    help="pixel: attention to every pixel of the examples; compact: to a few bases, at the same cost for any number of examples. auto: as "
    "trained.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True,
    help="auto: bf16 if the device supports it, else fp32.",
)  # fmt: skip
@click.option("--compile", is_flag=True, help="Compile the networks: takes a minute, then frames are faster. For long videos.")
@click.option(
    "--crop", type=click.Choice(["auto", "subject", "none"]), default="auto", show_default=True,
    help="subject: crop to the head or to the whole body; auto: the same, unless it already fills the image.",
)  # fmt: skip
@click.option(
    "--normalize", type=click.Choice(["auto", "on", "off"]), default="auto", show_default=True,
    help="Give the driving face or body the position and proportions of the example; auto: only the position if both are the same person.",
)  # fmt: skip
@click.option(
    "--strength", metavar="N|PART=N[,PART=N...]",
    help="Scale of the driver's motion in a face, one for all parts or one for each, as in pose=0.6,mouth=1.2. 0: as in the example, 1 "
    "(default): as in the driving video, up to 2: exaggerated. mouth: lips, jaw and nose; eyes: lids and brows; gaze: irises; pose: "
    "rotation, size and position of the head; expression: mouth and eyes.",
)  # fmt: skip
@click.option(
    "--part", metavar="PART[,PART...]",
    help="Only these follow the driver, the rest stays the example's: mouth, eyes (with the gaze), gaze, expression, pose or all. "
    "Default: all.",
)  # fmt: skip
@click.option(
    "--motion", type=click.Choice(["auto", "absolute", "relative"]), default="auto", show_default=True,
    help="absolute: the face looks as the driver's does. relative: it starts from the example's pose and expression, and moves as far as "
    "the driver does from the frames that are most like the example. auto: absolute, but relative for the pose of a head that is put back "
    "into its photograph.",
)  # fmt: skip
@click.option(
    "--size", default="auto", show_default=True, metavar="auto|model|example|N",
    help="Height of the crop in the result: of the model's images, of the example's own pixels, or N pixels. auto: the example's, at most "
    "1024, if it is clearly larger than the model's. For a model without examples, model scales a driving clip that auto leaves as it is.",
)  # fmt: skip
@click.option(
    "--paste/--no-paste", default=None,
    help="Put the moving head or body back into the photograph. Default: --paste if the example is one photograph and --size is auto.",
)  # fmt: skip
@click.option(
    "--retarget", is_flag=True,
    help="--examples is a film: its person makes the driver's expressions, with the film's head pose and position. The result has the "
    "film's frames and the driver's sound, until one of the two ends.",
)  # fmt: skip
@click.option(
    "--show", type=click.Choice(["result", "warp", "mask", "raw"]), default="result", show_default=True,
    help="Write an intermediate image: the example warped by the flow, the mask (black: warp used), or the raw image of the generator.",
)  # fmt: skip
@click.option("--compare", is_flag=True, help="Show driving frame, semantic image and result side by side.")
@click.option(
    "--appearance", metavar="CHOICE[,LABEL=CHOICE...]",
    help="What cars, roads and so on look like, if the model has learnt it: mean, sample:SEED (drawn for each instance) or from:PICTURE, "
    "for all labels or for one, as in road=sample:3,car=mean. Default: the mean.",
)  # fmt: skip
@click.option(
    "--variants", type=click.IntRange(1), metavar="N",
    help="Make N videos of different appearance, NAME-1.mp4 and so on; each SEED of --appearance is increased by one for each of them.",
)  # fmt: skip
@path_option(
    "--report", metavar="FILE.html",
    help="Also write a page about the result: examples, some frames, where they were painted, landmark error, frames without a detection, "
    "warnings. An older page is replaced. With several driving videos a folder for a page each.",
)  # fmt: skip
@click.option("--view", is_flag=True, help="Show the result of a live driver in a window: q quits, r starts again from the current face.")
@click.option(
    "--preview", is_flag=True,
    help="Make a PNG of ten frames in place of the video, NAME.preview.png, to check the options first.",
)  # fmt: skip
@click.option("--no-note", is_flag=True, help="Leave out the note in the video's metadata which says that it is synthetic.")
@click.option("--finetune", type=click.IntRange(0), default=0, metavar="N", help="First finetune on the examples for N steps.")
@click.option("--backend", default="auto", show_default=True, help="Landmark backend for inputs without landmarks; see extract-sketch.")
@seed_option
@device_option
@overwrite_option
@many_options
@common_options
def synthesize(
    examples: str | None, driving: tuple[str, ...], null: bool, format: str | None, time: str | None, subjects: tuple[str | int, ...],
    start: str | None, model: str | None, base: str | None, num_examples: int | None,
    example_frames: str | None, select: str, hysteresis: float, attention: str, precision: str, compile: bool, crop: str, normalize:
    str, strength: str | None, part: str | None, motion: str, size: str, paste: bool | None, retarget: bool, show: str, compare: bool,
    appearance: str | None, variants: int | None, report: str | None, view: bool, preview: bool, no_note: bool, finetune: int, backend:
    str, seed: int, device: str, run: Run,
) -> int:  # fmt: skip
    """Make a video in which the person (or the street) of the example images moves like the driving video.

    The layer of the driving clip chooses the model: landmarks a face, poses a body, segment a street. A video drives a face, unless --model
    is for another kind. A missing layer is extracted. The sound of the driving video is kept. The path of the output is printed.
    """
    from stages.compute.devices import choose_device
    from stages.errors import InputError, UsageError

    options: dict[str, Any] = {
        "num_examples": num_examples, "example_frames": parse_span(example_frames), "select": _selection(select), "hysteresis": hysteresis,
        "crop": crop, "normalize": normalize, "strength": strength or "", "part": part or "", "motion": motion,
        "size": int(size) if size.isdecimal() else size, "paste": paste, "retarget": retarget, "show": show, "compare": compare,
        "appearance": appearance or "",
        "note": not no_note, "finetune": finetune, "seed": seed, "precision": precision, "compile": compile, "device": device,
        "model": model, "base": base, "attention": attention, "backend": backend, "start": start, "subjects": subjects,
        "time": time_span(time),
    }  # fmt: skip
    choose_device(device)  # fail before minutes of work
    if is_live(driving, format):
        clip_options = {"--start": start, "--time": time, "--variants": variants, "--report": report, "--preview": preview}
        clip_options["--shard, --engine or --failures"] = _for_many(run)
        options = {name: value for name, value in options.items() if name not in ("start", "time")}
        return run_live(examples, driving, options, clip_options, view=view, run=run)
    if view:
        raise UsageError("--view is for a live driver", hint="Leave it out, or name a camera with --driving camera:0")
    if examples is None and model is None:
        raise UsageError(
            "Missing option '--examples'.", hint="With --model, name a model that needs no examples, such as one of pix2pixHD or vid2vid"
        )
    if preview and (report or variants):
        raise UsageError("a preview has no report and no variants", hint="Leave out --report and --variants, or --preview")
    for path in (examples, start):
        if path is not None and not Path(path).exists():
            raise InputError(f"{path} does not exist")
    named = driving if len(subjects) > 1 else _expanded(driving)
    several = len(subjects) < 2 and (len(named) > 1 or named != driving or "-" in named)
    if several or _for_many(run) or _is_folder(run.out):
        if variants is not None:
            raise UsageError("variants are made of one driving video", hint="Leave out --variants, or all --driving but one")
        return _synthesize_many(examples, Inputs(named, null), options, report, preview, run, several)
    out = run.out or Path(f"{Path(examples or driving[0]).absolute().stem}.mp4")
    if not _is_result(out):
        raise UsageError(f"{out} is neither a video nor a clip", hint="End its name in .mp4, .mkv, .mov or .clip")
    if preview:
        _preview(examples, driving, out.with_suffix(".preview.png"), options, run)
    else:
        _synthesize(examples, driving, out, {**options, "report": report}, variants, run)
    return 0


def _expanded(driving: tuple[str, ...]) -> tuple[str, ...]:
    """The driving videos, with each folder and pattern replaced by its videos."""
    from fsv2v.many import driving_videos

    return tuple(path for name in driving for path in ((name,) if name == "-" else driving_videos(name) or (name,)))


def _is_result(out: Path) -> bool:
    from fsv2v.many import SUFFIXES

    return out.suffix.lower() in SUFFIXES


def _is_folder(out: Path | None) -> bool:
    return out is not None and out.is_dir() and not _is_result(out)


def _for_many(run: Run) -> bool:
    """Whether --shard, --engine, --address or --failures is given."""
    return run.shard != (0, 1) or run.engine != "local" or run.address is not None or run.failures is not None


def _synthesize(examples: str | None, driving: tuple[str, ...], out: Path, options: dict[str, Any], variants: int | None, run: Run) -> None:
    import fsv2v

    with console.progress("synthesize", None, "frames") as bar:
        common = {"overwrite": run.overwrite, "reporter": _Reporter(bar.move), **options}
        if variants is None:
            outcomes = iter([fsv2v.synthesize(examples, list(driving), out, **common)])
        else:
            outcomes = fsv2v.synthesize_variants(variants, examples, list(driving), out, **common)
        for outcome in outcomes:
            _print_outcome(outcome, run, explain=options["normalize"] == "auto" and examples is not None)


def _synthesize_many(
    examples: str | None, driving: Inputs, options: dict[str, Any], report: str | None, preview: bool, run: Run, several: bool
) -> int:
    """Make a result for each driving video in a folder. several: whether there may be more than one driving video."""
    from fsv2v.many import synthesize_many
    from stages.compute.allocator import keep_freed_memory
    from stages.errors import UsageError

    if (out := run.out) is None or (several and _is_result(out)):
        raise UsageError("the results of several driving videos need a folder", hint="Name it with -o")
    if several and report and Path(report).suffix.lower() in (".html", ".htm"):
        raise UsageError(f"{report} is one page, and several driving videos give a page each", hint="Name a folder with --report")
    run_options: dict[str, Any] = {name: getattr(run, name) for name in ("overwrite", "jobs", "shard", "engine", "address", "keep_going")}
    if preview:
        console.note(PREVIEW_NOTE)

    keep_memory = functools.cache(keep_freed_memory)

    def reports(on_step: OnStep) -> Generator[Report, None, None]:
        def step(made: InputProgress) -> None:
            keep_memory()
            on_step(made)

        wanted: dict[str, Any] = {"report": report, "preview": preview, "add_hint": with_hint, "on_step": step}
        return synthesize_many(examples, driving, out, **run_options, **wanted, **options)

    return print_reports(reports, driving, run, "synthesize", "videos")


def _preview(examples: str | None, driving: tuple[str, ...], out: Path, options: dict[str, Any], run: Run) -> None:
    import fsv2v

    outcome = fsv2v.preview(examples, list(driving), out, reporter=ConsoleReporter(), **options)
    console.note(PREVIEW_NOTE)
    _print_outcome(outcome, run, explain=options["normalize"] == "auto" and examples is not None, layer="preview")


def _print_outcome(outcome: Outcome, run: Run, *, explain: bool, layer: str = "frames") -> None:
    """Print warnings and notes about a finished synthesis on stderr, and its path on stdout. explain: say how the keypoints were fitted."""
    from stages.synthesize.report.remarks import fitting_note, held_note, warnings_of

    for text in warnings_of(outcome):
        console.warning(text)
    if explain and outcome.status == "done":
        console.note(fitting_note(outcome))
    for text in [*outcome.notes, *([held_note(outcome)] if outcome.held_frames else [])]:
        console.note(text)
    counts = {"fallbacks": outcome.fallbacks, "held_frames": outcome.held_frames}
    record = {
        "clip": str(outcome.path),
        "layer": layer,
        "status": outcome.status,
        "frames": outcome.frames,
        "seconds": round(outcome.seconds, 3),
    }
    console.emit({**record, **counts, "reason": ""} if run.json else outcome.path)


def _selection(text: str) -> int | str:
    from stages.errors import UsageError

    if text in ("all", "delaunay"):
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"{text!r} is not a selection of examples", hint="Use all, delaunay or a number from 1")
