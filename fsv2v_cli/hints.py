"""The hints of the command line: what to do about an error, in terms of options and commands.

The library does not know these options and commands. A sentence of the library may have a code, which selects a hint here, and facts,
which the hint may contain. The hint replaces that of the library; `{hint}` inserts the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stages.errors import Sentence

COMMAND_OF_LAYER = {
    "landmarks": "extract-sketch",
    "sketch": "extract-sketch",
    "poses": "extract-poses",
    "segment": "segment",
    "flow": "clip flow",
}
"""layer -> the command that makes it."""


def with_hint(text: str) -> str:
    """A sentence of the library with the hint of the command line; any other text is returned unchanged."""
    return f"{text.message}. {hint}" if isinstance(text, Sentence) and (hint := hint_for(text)) else text


def hint_for(sentence: Sentence) -> str:
    """The hint of the command line if there is one, else the hint of the library, which may be empty."""
    template = HINTS.get(sentence.code, "")
    try:
        hint = template.format(hint=sentence.hint, **sentence.facts) if isinstance(template, str) else template(sentence.facts)
    except (LookupError, TypeError, ValueError):  # a partial result may contain damaged facts
        hint = ""
    return hint or sentence.hint


def _layer_missing(facts: Mapping[str, Any]) -> str:
    if facts["layer"] == "densepose":
        return "Run DensePose, and import its IUV images with `fsv2v clip import --layout densepose`"
    return f"Make it with `fsv2v {COMMAND_OF_LAYER[facts['layer']]} {facts['clip']}`" if facts["layer"] in COMMAND_OF_LAYER else ""


def _no_driving_layer(facts: Mapping[str, Any]) -> str:
    return f"Run one of {', '.join(f'fsv2v {COMMAND_OF_LAYER[layer]}' for layer in facts['layers'] if layer in COMMAND_OF_LAYER)} first"


def _driving_without_layer(facts: Mapping[str, Any]) -> str:
    return f"Run `fsv2v {COMMAND_OF_LAYER[facts['layer']]}` on the driving clip, and name that with --driving"


def _no_face(facts: Mapping[str, Any]) -> str:
    suggestions = []
    for name in sorted({*facts["others"], *facts["find_smaller"]}, key=lambda name: (name not in facts["find_smaller"], name)):
        options = [f"--backend {name}"] if name in facts["others"] else []
        options += ["--face 0, which also looks for small faces"] if name in facts["find_smaller"] else []
        suggestions.append(" ".join(options))
    advice = f"Try {', or '.join(suggestions)}; or look" if suggestions else "Look"
    chosen = f" (face {facts['face']} was chosen; faces are numbered from the left, from 0)" if facts["face"].isdigit() else ""
    return f"{advice} at the clip with `fsv2v clip preview`{chosen}"


HINTS: Mapping[str, str | Callable[[Mapping[str, Any]], str]] = {
    # the path of the output
    "output-exists": "Replace it with --overwrite, or choose another path with -o",
    "output-differs": "Make it again with --overwrite, or choose another path with -o",
    "output-taken": "Choose another path with -o",
    "output-other": "Choose another path with -o, or remove the file",
    "export-other": "Choose another folder with -o",
    "output-unwritable": "Choose another path with -o, or free some space",
    "output-in-progress": "Wait for it, or choose another path with -o",
    "output-is-base": "Choose another -o, or write a whole model (--whole)",
    "export-differs": "Choose another folder with -o, or replace it with --overwrite; several clips in one command get a folder each",
    "other-shots": "Remove them, or choose another path with -o",
    # requirements
    "weights-absent": "Run `fsv2v weights fetch {name}` with an internet connection, or {hint}",
    "weights-to-fetch": "Run `fsv2v weights fetch {name}`",
    "package-missing": "Install fsv2v again, or see `fsv2v doctor`",
    "device-unusable": "`fsv2v doctor` lists the devices that can be used",
    "no-perceptual-loss": "`fsv2v weights list` shows where its weights come from",
    # clips and their layers
    "animation": "Make a clip of it: fsv2v clip import",
    "clip-packed": "Unpack it first: fsv2v clip unpack",
    "flow-without-clip": "Name the clip with -o NAME.clip; `fsv2v clip import VIDEO -o NAME.clip` makes one",
    "image-size-unknown": "Name the size with `fsv2v clip import --size WxH`, or the clip that they belong to with -o",
    "layer-imported-otherwise": "Choose another path with -o, or remove {layer}",
    "layer-missing": _layer_missing,
    "layer-to-import": "See `fsv2v clip import --help`",
    "layers-damaged": "Make the damaged layers again with --overwrite",
    "layout-ambiguous": "Name the right one with --layout",
    "no-shot": "Lower --min-seconds",
    "not-body-25": "If it is BODY_25B, use `fsv2v clip import --skeleton body_25b`; --skeleton body_25 takes it as it is",
    "poses-to-import": "Import them with `fsv2v clip import`",
    "wrong-label-table": "Name the right one with --table",
    # extraction
    "edits-of-persons": "Leave out --map",
    "label-edited-twice": "Leave out one --map",
    "labels-or-backend": "Leave out either --labels or --backend {backend}",
    "model-not-wanted": "Leave out --model, or choose --backend segformer",
    "model-without-backend": "Choose --backend {backends}",
    "no-face": _no_face,
    "no-label-maps": "Name their folder with --labels, or call it {usual}",
    "no-person": "Look at the clip with `fsv2v clip preview`; a person should be at least a fifth of the image high",
    "no-person-to-mask": "Import label maps with --labels instead",
    "nothing-detected": "`fsv2v clip preview` shows what was detected",
    "segformer-missing": "Run it again with an internet connection, or name a folder with --model",
    "flow-model-needed": "Name its file with --model FILE.onnx",
    "flow-model-unused": "Leave out either --model or --backend dis",
    # datasets and training
    "batch-too-small": "Use at most {batch} processes, or --batch-scale",
    "dataset-damaged": "Build the dataset again with --overwrite, or use another -o",
    "dataset-empty": "See the reasons above; `fsv2v clip preview` shows what was detected",
    "dataset-kind": "Train it with a recipe for {kind}; `fsv2v train --help` names them",
    "dataset-unusable": "Build the dataset again with --overwrite",
    "kind-unknown": "Install the package that adds the kind, or use another -o",
    "labels-differ": "A dataset has one label table: give it to all clips with `fsv2v segment --table` and `--map`, or build two datasets",
    "no-convergence": "Lower --learning-rate, use --float32, and look at the data with `fsv2v clip preview`",
    "no-dataset": "Make one with `fsv2v build-dataset CLIPS -o FOLDER`",
    "no-driving-layer": _no_driving_layer,
    "no-run": "Lower --min-frames, or check the {layer} with `fsv2v clip preview`",
    "run-damaged": "Use another -o, or begin again with --overwrite",
    "several-kinds": "Choose another one with --kind",
    "split-empty": "Build it from more subjects with `fsv2v build-dataset`",
    # models and synthesis
    "appearance-unknown": "Choose another label for it with `fsv2v segment --map`, or use --appearance LABEL=from:PICTURE",
    "frames-held": "`fsv2v clip preview` shows what was detected; another --backend may find more",
    "driving-of-subjects": "Give one --driving for all, or one for each --face",
    "group-not-pasted": "Give one photograph as --examples, without --size, --no-paste and --compare",
    "not-live": "Choose a face model with --model, or give a driving video",
    "option-not-live": "Leave out this option",
    "no-subjects": "Leave out --face",
    "paste-of-parts": "Leave out --paste, or leave out --show and --compare",
    "paste-without-subject": "Leave out --paste",
    "same-result": "Run it in a command of its own, with another folder after -o",
    "size-of-model": "Leave out --size and --paste",
    "span-outside": "Name an earlier time with --time",
    "subject-chosen": "Give the photograph in place of the clip, or choose with --face in `fsv2v extract-sketch`",
    "subject-twice": "Repeat --face with another number",
    "half-precision-fails": "With --precision fp32 each frame is computed only once",
    "retarget-of-faces": "Leave out --retarget",
    "retarget-without-film": "Name one video as --examples, or leave out --retarget",
    "retarget-alone": "Give one --driving and at most one --face, without --start",
    "retarget-shows-film": "Leave out --no-paste, --compare and --show",
    "retarget-keeps-pose": "Leave pose out of --strength and --part",
    "sound-of-driver": "Another sound can be added to the result with ffmpeg",
    "keypoints-fitted": "Use --normalize on or off for another choice",
    "own-size": "Use --size model to scale the clip instead",
    "pose-of-photograph": "Use --motion absolute to give it the driver's pose",
    "labels-of-another-model": "Give the clip the labels of the model with `fsv2v segment --table` and `--map`, or choose another --model",
    "model-makes-labels": "`fsv2v predict` uses such a model",
    "model-predicts-nothing": "With --model, name a model that `fsv2v train --preset future-street` made",
    "too-few-observed": "Choose more frames with --observed",
    "base-missing": "{hint}, or name it with --base",
    "instances-jump": "Import instance numbers that stay the same from frame to frame, or remove the layer instances: instances are then "
    "followed by their overlap",
    "model-not-found": "Name a .safetensors file or a run's folder with --model",
    "no-default-model": "Name one with --model, or extract landmarks",
    "not-a-model": "Name a model that `fsv2v train` made",
    "not-normalizable": "Use --normalize off",
    "run-without-model": "Continue the run with `fsv2v train ... -o {run}`",
    "view-missing": "Use --show {views}",
    "export-of-family": "Export a few-shot model, such as one that `fsv2v train --preset face-256` made",
    "export-of-variant": "Export a model with the settings of a shipped one",
    # evaluation
    "cache-unwritable": "Name another folder with --cache, or free some space",
    "crop-differs": "Make the result with --crop none, or crop the reference in the same way",
    "driving-shape": "Give the clip that drove the result as --driving; `fsv2v synthesize -o OUT.clip` keeps it",
    "driving-without-layer": _driving_without_layer,
    "features-not-finite": "Check the network with `fsv2v weights verify`",
    "no-partial-result": "`fsv2v evaluate ... -o PART.npz` writes one",
    "no-study-key": "The key is the file that `fsv2v evaluate study` wrote beside the site",
    "no-workers-left": "Use --max-failed 1 to count all answers",
    "parts-not-shared": "With --cache, name a folder that all nodes share",
    "reference-shape": "Crop the reference (and the example) as the result was cropped: `fsv2v build-dataset` writes such clips",
    "study-differs": "Use another -o, or --overwrite; then answers to the old study can no longer be scored",
    "study-in-videos": "Choose a path outside of it with -o",
    "study-key-in-site": "Choose a path outside of the site with --key",
    "study-key-missing": "Name the file with --key",
    # many inputs
    "out-of-memory": "Use fewer --jobs",
    "ray-not-chosen": "Add --engine ray",
    "worker-died": "Perhaps memory ran out; try fewer --jobs",
}
"""code of a sentence -> its hint: a template with the names of facts in braces, or a function of the facts."""
