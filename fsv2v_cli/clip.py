"""fsv2v clip: look into clips, pack, import and export them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from fsv2v_cli import prepare
from fsv2v_cli.console import debugging, emit, error, progress, warning
from fsv2v_cli.options import Inputs, Run, common_options, group, inputs_argument, out_option, overwrite_option

Line = tuple[str | Path, dict[str, Any]]
"""What an input gives: the path to print, and more that --json prints."""


@group("clip")
def clip() -> None:
    """Look into clips, pack, import and export them.

    A clip is a folder (or one uncompressed zip) with the frames of a video and the layers that the other commands add.
    """


@clip.command("info")
@inputs_argument
@common_options
def info(inputs: Inputs, run: Run) -> int:
    """Print what each INPUT (a clip) holds."""

    def show(path: str) -> Iterable[Line]:
        from stages.clip import open_clip
        from stages.clip.describe import describe

        about = describe(open_clip(path))
        yield (path, about) if run.json else ("\n".join(_readable(about)), {})

    return _each(inputs, run, show)


def _readable(about: dict[str, Any]) -> Iterable[str]:
    yield about["clip"]
    rate = f"{about['fps']} frames per second" + (" on average, at variable rate" if about["variable_rate"] else "")
    yield f"  {about['width']} x {about['height']}, {about['num_frames']} frames, {rate}, {about['seconds']:.2f} s"
    yield f"  source     {about['source'] or 'none'}"
    for kind, layer in about["layers"].items():
        by = " ".join(part for part in (layer["stage"], layer["backend"]) if part)
        yield f"  {kind:<10} {layer['storage'] or 'arrays':<10} {(layer['bytes'] or 0) / 1e6:>9.2f} MB  by {by}"


@clip.command("preview")
@inputs_argument
@out_option("A folder for the previews. Default: beside each clip.", metavar="FOLDER")
@click.option("--columns", type=click.IntRange(1, 100), default=6, show_default=True, help="Frames on the contact sheet.")
@click.option("--height", type=click.IntRange(16, 2160), default=240, show_default=True, help="Height of a picture, in pixels.")
@click.option("--video/--no-video", default=True, show_default=True, help="Write the side-by-side video too.")
@common_options
def preview(inputs: Inputs, columns: int, height: int, video: bool, run: Run) -> int:
    """Draw the layers of each INPUT over its frames: NAME.preview.png, a contact sheet, and NAME.preview.mp4, side by side.

    INPUT is a clip; of a video or a folder of pictures the frames are shown.
    """

    def draw(path: str) -> Iterable[Line]:
        from stages.clip.preview import contact_sheet, side_by_side

        source = Path(path).absolute()
        stem = (run.out or source.parent) / f"{source.stem}.preview"
        with prepare.workplace() as folder:
            shown = prepare.as_it_is(source, folder)
            yield contact_sheet(shown, f"{stem}.png", columns, height), {}
            if video:
                yield side_by_side(shown, f"{stem}.mp4", height), {}

    return _each(inputs, run, draw)


@clip.command("validate")
@inputs_argument
@common_options
def validate(inputs: Inputs, run: Run) -> int:
    """Read every byte of each INPUT (a clip) and print the paths of those that are whole; exit with 5 if one is not."""

    def check(path: str) -> Iterable[Line]:
        from stages.clip.validate import require_valid

        findings = require_valid(path)
        for text in findings.warnings:
            warning(f"{path}: {text}")
        yield path, {"warnings": findings.warnings}

    return _each(inputs, run, check)


@clip.command("pack")
@inputs_argument
@out_option("A folder for the zips, or NAME.zip for one input. Default: beside each clip.")
@overwrite_option
@common_options
def pack(inputs: Inputs, run: Run) -> int:
    """Put each INPUT (a clip directory) into one uncompressed zip, with the video that its frames refer to."""

    def work(path: str) -> Iterable[Line]:
        from stages.clip.pack import pack as pack_clip

        yield pack_clip(path, _place(run, path, ".zip"), run.overwrite), {}

    return _each(inputs, run, work)


@clip.command("unpack")
@inputs_argument
@out_option("A folder for the clips, or NAME.clip for one input. Default: beside each zip.")
@overwrite_option
@common_options
def unpack(inputs: Inputs, run: Run) -> int:
    """Unpack each INPUT (a packed clip) into a clip directory."""

    def work(path: str) -> Iterable[Line]:
        from stages.clip.pack import unpack as unpack_clip

        yield unpack_clip(path, _place(run, path, ".clip"), run.overwrite), {}

    return _each(inputs, run, work)


class _Rate(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        if not re.fullmatch(r"\d+(\.\d+|/\d+)?", str(value)) or re.search(r"/0+$", str(value)) or not Fraction(str(value)):
            self.fail(f"{value!r} is no rate such as 25, 23.976 or 30000/1001.", param, ctx)
        return Fraction(str(value))


class _Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", str(value))
        if match is None:
            self.fail(f"{value!r} is no size such as 1280x720.", param, ctx)
        return int(match[1]), int(match[2])


@clip.command("import")
@inputs_argument
@out_option("A folder for the clips, or NAME.clip for one input. Default: the current folder.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "video", "images", "openpose", "imaginaire"]),
    default="auto",
    show_default=True,
    help="What INPUT is: a video, pictures, OpenPose JSON files, or a folder with images/ and landmarks-dlib68/, poses-openpose/, "
    "pose_maps-densepose/ or seg_maps/ as imaginaire has them.",
)
@click.option(
    "--frames", type=click.Choice(["reference", "png", "jpg"]), help="How frames are kept. Default: videos by reference, else png."
)
@click.option("--fps", type=_Rate(), metavar="RATE", help="Rate of pictures and JSON files, which have none. Default: 25.")
@click.option("--size", type=_Size(), metavar="WxH", help="Size of the picture behind OpenPose JSON files. Default: around all points.")
@common_options
def import_(inputs: Inputs, layout: Any, frames: Any, fps: Fraction | None, size: tuple[int, int] | None, run: Run) -> int:
    """Make a clip of each INPUT and print its path; the layout of imaginaire gives one per sequence."""

    def work(path: str) -> Iterable[Line]:
        from stages.clip.importers import import_clips

        for made in import_clips(path, run.out, layout, frames, fps, size):
            yield made.path, {"layers": made.layers(), "frames": made.num_frames}

    return _each(inputs, run, work)


@clip.command("export")
@inputs_argument
@click.option("--layer", default="frames", show_default=True, help="The layer to export.")
@out_option("A folder for the files, or a name that ends in .mp4, .mov or .mkv for a video.", required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "png", "jpg", "video", "openpose", "json", "txt"]),
    default="auto",
    show_default=True,
    help="frames: png, jpg, video; poses: openpose; landmarks: json, txt; label maps and sketches: png, video.",
)
@overwrite_option
@common_options
def export(inputs: Inputs, layer: str, form: Any, run: Run) -> int:
    """Write one layer of INPUT (a clip) as other tools read it. Several inputs get a folder each in the one that -o names."""
    several = len(inputs.named) > 1 or "-" in inputs.named

    def work(path: str) -> Iterable[Line]:
        from stages.clip import open_clip
        from stages.clip.exporters import export as export_layer

        source = open_clip(path)
        assert run.out is not None
        yield export_layer(source, layer, run.out / source.id if several else run.out, form, run.overwrite), {}

    return _each(inputs, run, work)


def _place(run: Run, path: str, suffix: str) -> Path | None:
    """Where the output for `path` goes: `-o` itself if it has the suffix, else a file in the folder that it names."""
    if run.out is None or run.out.suffix.lower() == suffix:
        return run.out
    stem = Path(path).absolute().name.removesuffix(".zip").removesuffix(".clip")
    return run.out / f"{stem}{suffix}"


def _each(inputs: Inputs, run: Run, work: Callable[[str], Iterable[Line]]) -> int:
    """Do `work` on every input, print what comes of it, go on after a failure, and return the exit code."""
    from stages.errors import Fsv2vError, MissingRequirement, UsageProblem
    from stages.runner import exit_code

    failures: list[int] = []
    with progress("clip", inputs.total, "inputs") as bar:
        for path in inputs:
            try:
                for made, more in work(path):
                    emit({"clip": str(made), "status": "done", **more} if run.json else made)
            except (MissingRequirement, UsageProblem):
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
