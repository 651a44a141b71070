"""What `synthesize` and `finetune` need before they begin: the model, and clips with the layer that drives it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsv2v_cli import console
from fsv2v_cli.options import path_option

if TYPE_CHECKING:
    from stages.clip import Clip
    from stages.models import Model

DEFAULT_MODELS = {"landmarks": "face-256.safetensors", "poses": "pose-256.safetensors", "segment": "street-256.safetensors"}
"""The shipped model for each kind of driving layer."""
LAYER_FOLDERS = ("landmarks", "poses", "segment", "sketch")


base_option = path_option("--base", metavar="FILE", help="Where the base of a finetuned model is, when it is not found.")


def open_model(name: str | None, driving: Clip | None, base: str | None = None) -> Model:
    """The model of that name (a file, a run's folder, a name in the registry), or the shipped one for the layers of `driving`."""
    from stages.errors import MissingRequirement
    from stages.models import load_model
    from weights import registry

    if name is not None:
        return load_model(model_path(name), Path(base) if base else None)
    for kind in driving.layers() if driving is not None else ("landmarks",):
        if kind in DEFAULT_MODELS:
            return load_model(registry.path(DEFAULT_MODELS[kind]))
    have = ", ".join(driving.layers()) if driving is not None else "nothing"
    raise MissingRequirement(f"no model is shipped that is driven by {have}", hint="name one with --model, or extract landmarks")


def model_path(name: str) -> Path:
    """A file, a run's folder, or a name in the registry."""
    from weights import registry

    path = Path(name)
    return path if path.exists() or path.suffix else registry.path(f"{name}.safetensors")


class TemporaryClips:
    """A folder for clips that are made on the way and not kept, and what the user calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: dict[str, str] = {}

    def place_for(self, source: Path) -> Path:
        """Where a clip of `source` can be made; it has the same name."""
        from stages.clip.create import clip_path

        place = clip_path(source, self.folder / str(len(self.given)))
        self.given[str(place)] = str(source)
        return place

    def plain(self, text: str) -> str:
        """A sentence about clips that are made here as one about what the user gave."""
        for place, source in self.given.items():
            text = text.replace(place, source)
        return text


@contextlib.contextmanager
def temporary_clips() -> Iterator[TemporaryClips]:
    """Errors that leave it are about what the user gave."""
    from stages.errors import Fsv2vError
    from stages.files import TEMPORARY, TEMPORARY_FULL

    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        place = TemporaryClips(Path(folder))
        try:
            yield place
        except Fsv2vError as error:
            if error.hint != TEMPORARY_FULL:
                error.args, error.hint = (place.plain(error.args[0]),), place.plain(error.hint)
            raise


def driving_clip(name: str, place: TemporaryClips) -> Clip:
    """A clip, a layer's folder inside one, a video, a folder of pictures, or a folder of OpenPose JSON files."""
    return open_or_import(clip_of_layer(Path(name)), place)


def clip_of_layer(path: Path) -> Path:
    """The clip whose layer's folder this is; any other path as it is."""
    return path.parent if path.name in LAYER_FOLDERS and (path.parent / "clip.json").is_file() else path


def open_or_import(path: Path, place: TemporaryClips) -> Clip:
    """A clip where it lies; anything else that can be imported as a clip in `place`."""
    from stages.clip import open_clip
    from stages.clip.clip import is_clip
    from stages.clip.importers import import_clips

    return open_clip(path) if is_clip(path) else import_clips(path, place.place_for(path))[0]


def examples_with_layer(name: str, kind: str, place: TemporaryClips, *, device: str, backend: str) -> list[Clip]:
    """The example clips with their layer. Pictures in which nothing is found are left out, with a warning, while others remain."""
    from stages.errors import InputError, NoDetection

    found: list[Clip] = []
    failed: list[NoDetection] = []
    for clip in example_clips(name, place):
        try:
            found.append(with_layer(clip, kind, place, device=device, backend=backend))
        except NoDetection as error:
            failed.append(error)
    if not found:
        raise failed[0] if failed else InputError(f"{name} holds no example")
    for reason in failed:
        console.warning(place.plain(str(reason)))
    return found


def example_clips(name: str, place: TemporaryClips) -> list[Clip]:
    """One clip for each picture of a folder; one for a picture, a video or a clip."""
    from stages.clip import as_clip, list_pictures, open_clip
    from stages.clip.clip import is_clip

    path = Path(name)
    if is_clip(path):
        return [open_clip(path)]
    if path.is_dir():
        return [as_clip(picture, place.place_for(picture)) for picture in list_pictures(path)]
    return [as_clip(path, place.place_for(path))]


def with_layer(clip: Clip, kind: str, place: TemporaryClips, *, device: str, backend: str) -> Clip:
    """`clip` if it has the layer `kind`; otherwise a clip in `place` of the same frames, from which the layer was extracted."""
    from stages.clip import open_clip
    from stages.clip.create import borrowed
    from stages.conditions.tracks import layers_of
    from stages.errors import InputError

    if all(clip.has(name) for name in layers_of(kind)):
        return clip
    if str(clip.path) not in place.given:
        clip = borrowed(clip, place.place_for(clip.path))
    console.note(f"{clip.id}: extracting {layers_of(kind)[0]}")
    if layers_of(kind) == ("landmarks",):
        from stages.extract_sketch import SketchOptions, extract

        outcome = extract(clip, SketchOptions(backend=backend, background="none", device=device))
    elif kind == "poses":
        from stages.extract_poses import PoseOptions
        from stages.extract_poses import extract as extract_poses

        outcome = extract_poses(clip, PoseOptions(device=device))
    elif kind == "segment":
        from stages.segment import SegmentOptions
        from stages.segment import extract as extract_labels

        outcome = extract_labels(clip, SegmentOptions(device=device))
    else:
        raise InputError(f"{clip.path} lacks a layer of {kind!r}, which cannot be made on the way", hint="see `fsv2v clip import --help`")
    console.warn_of(place.plain(str(clip.path)), outcome.notes)
    return open_clip(clip.path)


perceptual_option = click.option(
    "--perceptual",
    type=click.Choice(["auto", "squeezenet", "squeezenet-1.1", "vgg19", "none"]),
    default="auto",
    show_default=True,
    help="Feature network of the perceptual loss; auto: squeezenet where its weights are, else squeezenet-1.1 where its can be fetched "
    "(5 MB), else none; vgg19 for the paper's presets and the models that they made.",
)


def perceptual(asked: str, usual: str) -> str:
    """`asked`; of auto what it comes to where a recipe or a model has `usual`. When that is none, the user is told what it means."""
    from stages.perceptual import choose

    chosen = usual if asked == "auto" and not usual.startswith("squeezenet") else choose(asked)
    if chosen == "none":
        console.note("without a perceptual loss results are less sharp; `fsv2v weights list` says how to get its weights")
    return chosen


def perceptual_of(model: Model, asked: str = "auto") -> str:
    """What a model is adapted with."""
    return perceptual(asked, model.info.get("training", {}).get("perceptual", "squeezenet"))
