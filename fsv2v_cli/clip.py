"""fsv2v clip: inspect clips, pack, split, import and export them, and estimate their optical flow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from fsv2v_cli.console import debugging, emit, error, note, progress, warning
from fsv2v_cli.console_reporter import ConsoleReporter
from fsv2v_cli.options import (
    Inputs,
    Run,
    backend_option,
    clip_stage_options,
    common_options,
    device_option,
    group,
    inputs_argument,
    out_option,
    overwrite_option,
    path_option,
)
from fsv2v_cli.reports import run_over_clips
from fsv2v_cli.sizes import Sides, Size

FILE_LAYOUTS = ("auto", "video", "images", "openpose", "coco", "densepose", "flow")
DATA_SETS = ("imaginaire", "few-shot-vid2vid", "youtube-dance", "faceforensics", "cityscapes", "camvid", "apolloscape")
"""Both together are the values of `stages.clip.importers.LayoutName`, repeated here because importing it would slow down --help."""

Result = tuple[str | Path, dict[str, Any]]
"""(path or text to print, further fields for --json)."""


@group("clip")
def clip() -> None:
    """Inspect clips, pack, split, import and export them, and estimate their optical flow.

    A clip is a folder (or one uncompressed zip) with the frames of a video and the layers that the other commands add.
    """


@clip.command("info")
@inputs_argument
@common_options
def info(inputs: Inputs, run: Run) -> int:
    """Print the content of each INPUT (a clip)."""

    def describe_clip(path: str) -> Iterable[Result]:
        from stages.clip import open_clip
        from stages.clip.describe import describe

        description = describe(open_clip(path))
        yield (path, description) if run.json else ("\n".join(_description_lines(description)), {})

    return _for_each(inputs, run, describe_clip)


def _description_lines(clip: dict[str, Any]) -> Iterable[str]:
    yield clip["clip"]
    rate = f"{clip['fps']} frames per second" + (" on average, at variable rate" if clip["variable_rate"] else "")
    yield f"  {clip['width']} x {clip['height']}, {clip['num_frames']} frames, {rate}, {clip['seconds']:.2f} s"
    yield f"  source     {clip['source'] or 'none'}"
    for kind, layer in clip["layers"].items():
        producer = " ".join(part for part in (layer["stage"], layer["backend"]) if part)
        yield f"  {kind:<10} {layer['storage'] or 'arrays':<10} {(layer['bytes'] or 0) / 1e6:>9.2f} MB  by {producer}"


@clip.command("preview")
@inputs_argument
@out_option("A folder for the previews. Default: beside each clip.", metavar="FOLDER")
@click.option("--columns", type=click.IntRange(1, 100), default=6, show_default=True, help="Frames on the contact sheet.")
@click.option("--height", type=click.IntRange(16, 2160), default=240, show_default=True, help="Height of each image, in pixels.")
@click.option("--video/--no-video", default=True, show_default=True, help="Write the side-by-side video too.")
@common_options
def preview(inputs: Inputs, columns: int, height: int, video: bool, run: Run) -> int:
    """Draw the layers of each INPUT over its frames: NAME.preview.png, a contact sheet, and NAME.preview.mp4, side by side.

    INPUT is a clip. For a video or a folder of images, the previews show only the frames.
    """
    sheet_path = _output_paths(run, ".preview.png")

    def draw(path: str) -> Iterable[Result]:
        from fsv2v.sources import open_or_import, temporary_clips
        from stages.clip import sound_sync_warnings
        from stages.clip.preview import contact_sheet, side_by_side
        from stages.errors import InputError
        from stages.io.files import exclusive_lock

        source, sheet = Path(path).absolute(), sheet_path(path)
        stem = sheet.with_suffix("")
        with exclusive_lock(stem, error_type=InputError), temporary_clips(ConsoleReporter()) as temporary:
            opened = open_or_import(source, temporary)
            yield contact_sheet(opened, sheet, columns, height), {}
            if video:
                yield side_by_side(opened, f"{stem}.mp4", height), _print_warnings(path, sound_sync_warnings(opened))

    return _for_each(inputs, run, draw)


@clip.command("validate")
@inputs_argument
@common_options
def validate(inputs: Inputs, run: Run) -> int:
    """Read every byte of each INPUT (a clip) and print the paths of valid ones; exit with 5 if all failures are damaged clips, else 3."""

    def check(path: str) -> Iterable[Result]:
        from stages.clip.validate import require_valid

        findings = require_valid(path)
        _print_warnings(path, findings.warnings)
        yield path, {"warnings": findings.warnings}

    return _for_each(inputs, run, check)


@clip.command("pack")
@inputs_argument
@out_option("A folder for the zips, or NAME.zip for one input. Default: beside each clip.")
@overwrite_option
@common_options
def pack(inputs: Inputs, run: Run) -> int:
    """Put each INPUT (a clip directory) into one uncompressed zip, with the video that its frames refer to."""
    output_path = _output_paths(run, ".zip")

    def work(path: str) -> Iterable[Result]:
        from stages.clip.pack import pack as pack_clip

        yield pack_clip(path, output_path(path), run.overwrite), {}

    return _for_each(inputs, run, work)


@clip.command("unpack")
@inputs_argument
@out_option("A folder for the clips, or NAME.clip for one input. Default: beside each zip.")
@overwrite_option
@common_options
def unpack(inputs: Inputs, run: Run) -> int:
    """Unpack each INPUT (a packed clip) into a clip directory."""
    output_path = _output_paths(run, ".clip")

    def work(path: str) -> Iterable[Result]:
        from stages.clip.pack import unpack as unpack_clip

        yield unpack_clip(path, output_path(path), run.overwrite), {}

    return _for_each(inputs, run, work)


@clip.command("split")
@inputs_argument
@out_option("A folder for the clips. Default: the current folder.", metavar="FOLDER")
@click.option("--min-seconds", type=click.FloatRange(0), default=0.5, show_default=True, help="Shorter shots are left out.")
@click.option("--frames", type=click.Choice(["jpg", "png"]), default="jpg", show_default=True, help="Format of the stored frames.")
@overwrite_option
@common_options
def split(inputs: Inputs, min_seconds: float, frames: Any, run: Run) -> int:
    """Find the shots of each INPUT and make a clip of each: NAME-000.clip, NAME-001.clip and so on.

    INPUT is a video, a folder of images or a clip. The new clips have frames only, without sound or other layers.
    """

    def work(path: str) -> Iterable[Result]:
        from fsv2v.sources import open_or_import, temporary_clips
        from stages.clip.create import clip_path
        from stages.clip.split import find_shots, write_shots

        with temporary_clips(ConsoleReporter()) as temporary:
            source = open_or_import(Path(path), temporary)
            shots = find_shots(source, min_seconds)
            if shots.dropped:
                note(f"{path}: {len(shots.dropped)} of {sum(map(len, shots))} shots are shorter than {min_seconds:g} s and are left out")
            name = clip_path(Path(path), None).stem
            for shot, status in write_shots(source, shots.kept, run.out or Path(), name, frames, run.overwrite):
                assert shot.source is not None
                yield shot.path, {"status": status, "frames": shot.num_frames, "range": shot.source["range"]}

    return _for_each(inputs, run, work)


@clip.command("flow")
@inputs_argument
@backend_option("flow", "Estimator; auto: onnx if --model is given, else dis.")
@path_option(
    "--model", metavar="FILE.onnx", help="A network such as RAFT: two images [1, 3, H, W] from 0 to 255 in, the flow [1, 2, H, W] out."
)
@device_option
@clip_stage_options
def flow(inputs: Inputs, backend: str, model: str | None, device: str, run: Run) -> int:
    """Estimate the optical flow of each INPUT and write the layers `flow` and `flow_confidence`.

    INPUT is a video, an image, a folder of images or a clip, or - for paths on stdin. The path of each finished clip is printed. The
    confidence is 255 where the backward flow and the colours agree with the flow, else 0. Flow never crosses a cut.
    """
    from stages.extract_flow import FlowOptions

    return run_over_clips("stages.extract_flow:extract", inputs, FlowOptions(backend, model, device), run, "flow")


class _Rate(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """25, 23.976 or 30000/1001 -> an exact frame rate."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        if not re.fullmatch(r"\d+(\.\d+|/\d+)?", str(value)) or re.search(r"/0+$", str(value)) or not Fraction(str(value)):
            self.fail(f"{value!r} is not a rate such as 25, 23.976 or 30000/1001.", param, ctx)
        return _exact_rate(str(value))


def _exact_rate(text: str) -> Fraction:
    """The rate that a decimal stands for: 29.97 and 29.970 for 30000/1001, 23.976 and 23.98 for 24000/1001."""
    digits = len(text.partition(".")[2])
    ntsc_rates = (Fraction(1000 * whole, 1001) for whole in (12, 15, 24, 30, 48, 60, 120, 240))
    return next((rate for rate in ntsc_rates if digits > 1 and round(rate, digits) == Fraction(text)), Fraction(text))


@clip.command("import")
@inputs_argument
@out_option("A folder for the clips, or NAME.clip for one input. Default: the current folder.")
@click.option(
    "--layout",
    type=click.Choice([*FILE_LAYOUTS, *DATA_SETS]),
    default="auto",
    show_default=True,
    help="What INPUT is: a video, images, a folder of OpenPose JSON files, a COCO keypoint file, a folder of DensePose IUV images, "
    "optical flow (.flo, KITTI's .png, .npz), or a data set; see docs/importing.md.",
)
@click.option(
    "--frames", type=click.Choice(["reference", "png", "jpg"]), help="How frames are stored. Default: as references into videos, else png."
)
@click.option("--fps", type=_Rate(), metavar="RATE", help="Frame rate of images and of JSON files. Default: 25, or that of the data set.")
@click.option(
    "--size",
    type=Size("1280x720"),
    metavar="WxH",
    help="Size of the image to which poses in JSON belong. Default: a size that contains all points.",
)
@click.option(
    "--skeleton", type=click.Choice(["auto", "body_25", "body_25b"]), default="auto", show_default=True,
    help="The skeleton of OpenPose's 25 points. auto: BODY_25; points that cannot be BODY_25 are refused.",
)  # fmt: skip
@path_option("--table", metavar="NAME", help="The label table of a data set: its name or .json file. Default: the data set's own table.")
@common_options
def import_(
    inputs: Inputs, layout: Any, frames: Any, fps: Fraction | None, size: Sides | None, skeleton: Any, table: str | None, run: Run
) -> int:
    """Make a clip of each INPUT, or of each sequence of a data set, and print its path.

    Poses and DensePose images are added to the clip of -o if it exists.
    """

    def work(path: str) -> Iterable[Result]:
        from stages.clip.importers import iterate_imports

        for imported in iterate_imports(path, run.out, layout, frames, fps, size, table, skeleton):
            yield imported.path, {"layers": imported.layers(), "frames": imported.num_frames}

    return _for_each(inputs, run, work)


@clip.command("export")
@inputs_argument
@click.option("--layer", default="frames", show_default=True, help="The layer to export.")
@out_option("A folder for the files; a video ends in .mp4, .mov or .mkv, a COCO file in .json.", required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "png", "jpg", "video", "openpose", "coco", "json", "txt", "flo", "npz"]),
    default="auto",
    show_default=True,
    help="frames: png, jpg, video; poses: openpose, coco; landmarks: json, txt; flow: flo, png (KITTI's), npz; other layers, such as "
    "label maps and sketches: png, video.",
)
@overwrite_option
@common_options
def export(inputs: Inputs, layer: str, form: Any, run: Run) -> int:
    """Write one layer of each INPUT (a clip) in a format of other tools. With several inputs, each gets a folder of its own below PATH."""
    several_inputs = len(inputs.named) > 1 or "-" in inputs.named

    def work(path: str) -> Iterable[Result]:
        from stages.clip import open_clip, sound_sync_warnings
        from stages.clip.exporters import export as export_layer

        source = open_clip(path)
        assert run.out is not None
        output = export_layer(source, layer, run.out / source.id if several_inputs else run.out, form, run.overwrite)
        yield output, _print_warnings(path, sound_sync_warnings(source) if output.is_file() and output.suffix != ".json" else [])

    return _for_each(inputs, run, work)


def _output_paths(run: Run, suffix: str) -> Callable[[str], Path]:
    """A function from the path of an input to the path of its output.

    The output is `-o` itself if that has the suffix, else a file in the folder `-o`, by default in the folder of the input. The function
    raises UsageError for an input that would have the same output as an earlier one.
    """
    inputs: dict[Path, str] = {}  # output -> input

    def output_path(path: str) -> Path:
        from stages.errors import UsageError

        source = Path(path).absolute()
        stem = source.name.removesuffix(".zip").removesuffix(".clip") if suffix in (".zip", ".clip") else source.stem
        out = run.out if run.out is not None and run.out.name.lower().endswith(suffix) else (run.out or source.parent) / f"{stem}{suffix}"
        if (other := inputs.setdefault(out, path)) != path:
            raise UsageError(f"{path} and {other} have the same output, {out}", hint="Give a folder with -o, and inputs of different names")
        return out

    return output_path


def _print_warnings(path: str, texts: list[str]) -> dict[str, Any]:
    """Print warnings about an input, and return them as fields for --json."""
    for text in texts:
        warning(f"{path}: {text}")
    return {"warnings": texts} if texts else {}


def _for_each(inputs: Inputs, run: Run, work: Callable[[str], Iterable[Result]]) -> int:
    """Call `work` with the path of each input, print its results, continue after a failed input, and return the exit code."""
    from stages.errors import Fsv2vError, MissingRequirement, UsageError
    from stages.runner import exit_code

    failures: list[int] = []
    with progress("clip", inputs.total, "inputs") as bar:
        for path in inputs:
            try:
                for result, fields in work(path):
                    emit({"clip": str(result), "status": "done", **fields} if run.json else result)
            except (MissingRequirement, UsageError):
                raise
            except Fsv2vError as problem:
                if debugging():
                    raise
                failures.append(problem.exit_code)
                error(str(problem))
                if run.json:
                    emit({"clip": path, "status": "failed", "reason": str(problem)})
            bar.advance()
    return exit_code(failures)
