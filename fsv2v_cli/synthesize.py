"""fsv2v synthesize: animate example images by a driving video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fsv2v_cli import console, prepare
from fsv2v_cli.hints import with_hint
from fsv2v_cli.options import Run, command, common_options, device_option, out_option, overwrite_option, path_option, seed_option
from fsv2v_cli.spans import span

if TYPE_CHECKING:
    from stages.synthesize import Outcome

_FITTED = {
    "none": "the driving keypoints are used as they are",
    "place": "the driving keypoints are moved to the example's place and keep their proportions",
    "proportions": "the driving keypoints are fitted to the example's place and proportions",
}


class _Reporter(prepare.ConsoleReporter):
    """Keeps freed memory from the first frame on: the model is loaded and prepared then."""

    def progress(self, done: int, total: int, **figures: float) -> None:
        from stages.compute.allocator import keep_freed_memory

        if done == 1:
            keep_freed_memory()
        super().progress(done, total, **figures)


def _explain(values: dict[str, Any]) -> dict[str, str]:
    """The meaning of `--normalize auto`, as far as it is known without extraction."""
    from stages.errors import Fsv2vError, prefixed

    if values["normalize"] != "auto" or values["examples"] is None:
        return {}
    try:
        return {"normalize": _what_auto_does(values)}
    except Fsv2vError as error:
        return {"normalize": with_hint(prefixed("unknown: ", str(error)))}


def _what_auto_does(values: dict[str, Any]) -> str:
    from pathlib import Path

    from fsv2v.models import default_model, load_model
    from fsv2v.sources import clip_of_layer
    from stages.clip import open_clip
    from stages.clip.clip import is_clip
    from stages.conditions.kinds import find
    from stages.errors import InputError
    from stages.synthesize import decide

    paths = clip_of_layer(Path(values["driving"])), Path(values["examples"])
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist")
    if not all(map(is_clip, paths)):
        return "it is decided when both clips with the driving layer have been made"
    driving, example = map(open_clip, paths)
    model = load_model(values["model"], values["base"]) if values["model"] else default_model(driving)
    kind = model.config.kind
    if not all(clip.has(layer) for clip in (driving, example) for layer in find(kind).layers):
        return "it is decided when the driving layer has been extracted"
    fitting = decide("auto", kind, [example], driving)
    return f"{_FITTED[fitting.how]}: {fitting.why}"


@command("synthesize", explain=_explain)
@path_option(
    "--examples",
    metavar="PATH",
    help="An image, a folder of images, a video or a clip of the person or street to show. Not for pix2pixHD and vid2vid.",
)
@path_option(
    "--driving", required=True, metavar="PATH", help="What drives the result: a clip, a layer of one, a video or an OpenPose JSON folder."
)
@out_option("NAME.mp4, .mkv, .mov or .clip. Default: the name of the examples, or of the driving clip, .mp4, in the current folder.")
@path_option(
    "--start",
    metavar="PATH",
    help="Real frames that precede the first one, as an image, a video or a clip: the result goes on from its end.",
)
@path_option("--model", metavar="MODEL", help="A .safetensors file or a run's folder. Default: the shipped one for the driving layer.")
@prepare.base_option
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
    help="Attention to every pixel of the examples, or (compact) to a few bases, whose cost is constant. auto: as trained.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True,
    help="auto: bf16 if the device supports it, else fp32.",
)  # fmt: skip
@click.option("--compile", is_flag=True, help="Compile the networks: takes a minute, then frames are faster. For long videos.")
@click.option(
    "--crop", type=click.Choice(["auto", "subject", "none"]), default="auto", show_default=True,
    help="Crop to the head or to the whole body; auto: unless it already fills the image.",
)  # fmt: skip
@click.option(
    "--normalize", type=click.Choice(["auto", "on", "off"]), default="auto", show_default=True,
    help="Give the driving face or body the position and proportions of the example; auto: only the position if both are the same person.",
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
@click.option("--finetune", type=click.IntRange(0), default=0, metavar="N", help="First finetune on the examples for N steps.")
@click.option("--backend", default="auto", show_default=True, help="Landmark backend for inputs without landmarks; see extract-sketch.")
@seed_option
@device_option
@overwrite_option
@common_options
def synthesize(
    examples: str | None, driving: str, start: str | None, model: str | None, base: str | None, num_examples: int | None,
    example_frames: str | None, select: str, hysteresis: float, attention: str, precision: str, compile: bool, crop: str, normalize:
    str, show: str, compare: bool, appearance: str | None, variants: int | None, finetune: int, backend: str, seed: int, device: str,
    run: Run,
) -> None:  # fmt: skip
    """Make a video in which the person (or the street) of the example images moves like the driving video.

    The layer of the driving clip chooses the model: landmarks a face, poses a body, segment a street. A video drives a face, unless --model
    is for another kind. A missing layer is extracted. The sound of the driving video is kept. The path of the output is printed.
    """
    from pathlib import Path

    import fsv2v
    from stages.compute.devices import choose_device
    from stages.errors import InputError, UsageError

    out = run.out or Path(f"{Path(examples or driving).absolute().stem}.mp4")
    if out.suffix.lower() not in (".mp4", ".mkv", ".mov", ".m4v", ".clip"):
        raise UsageError(f"{out} is neither a video nor a clip", hint="End its name in .mp4, .mkv, .mov or .clip")
    options: dict[str, Any] = {
        "num_examples": num_examples, "example_frames": span(example_frames), "select": _selection(select), "hysteresis": hysteresis,
        "crop": crop, "normalize": normalize, "show": show, "compare": compare, "appearance": appearance or "", "finetune": finetune,
        "seed": seed, "precision": precision, "compile": compile, "device": device,
    }  # fmt: skip
    choose_device(device)  # fail before minutes of work
    if examples is None and model is None:
        raise UsageError(
            "Missing option '--examples'.", hint="Only models such as those of pix2pixHD and vid2vid go without, which --model names"
        )
    for path in (examples, start):
        if path is not None and not Path(path).exists():
            raise InputError(f"{path} does not exist")
    settings: dict[str, Any] = {"model": model, "base": base, "attention": attention, "backend": backend, "start": start, **options}
    with console.progress("synthesize", None, "frames") as bar:
        common = {"overwrite": run.overwrite, "reporter": _Reporter(bar.move), **settings}
        if variants is None:
            outcomes = iter([fsv2v.synthesize(examples, driving, out, **common)])
        else:
            outcomes = fsv2v.synthesize_variants(variants, examples, driving, out, **common)
        for outcome in outcomes:
            _tell(outcome, run, explain=normalize == "auto" and examples is not None)


def _tell(outcome: Outcome, run: Run, *, explain: bool) -> None:
    """What came of a synthesis: warnings and notes on stderr, the path on stdout. explain: say what became of the driving keypoints."""
    for text in outcome.warnings:
        console.warning(text)
    if outcome.fallbacks:
        console.warning(f"{outcome.fallbacks} frames were made again in full precision: the model is not suited to half precision")
    if explain and outcome.status == "done":
        console.note(f"{_FITTED[outcome.fitting.how]}: {outcome.fitting.why}; --normalize on and off decide otherwise")
    if outcome.held_frames:
        console.note(f"{outcome.held_frames} driving frames without a detection repeat the last one that has one")
    degenerate = {"fallbacks": outcome.fallbacks, "held_frames": outcome.held_frames}
    record = {
        "clip": str(outcome.path),
        "layer": "frames",
        "status": outcome.status,
        "frames": outcome.frames,
        "seconds": round(outcome.seconds, 3),
    }
    console.emit({**record, **degenerate, "reason": ""} if run.json else outcome.path)


def _selection(text: str) -> int | str:
    from stages.errors import UsageError

    if text in ("all", "delaunay"):
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"{text!r} is not a selection of examples", hint="Use all, delaunay or a number from 1")
