"""The driving kinds, one file each. To add a kind, write a file with a `KIND` and list it here; other packages use an entry point."""

from __future__ import annotations

from stages.clip import Clip
from stages.conditions.kinds import bodies, dense_bodies, edged_faces, faces, instance_streets, streets
from stages.conditions.kinds.kind import Kind
from stages.conditions.source_clip import SourceClip
from stages.conditions.tracks import Track
from stages.errors import InputError, UsageError
from stages.plugins import Registry

__all__ = [
    "Kind",
    "find_kind",
    "find_source_clip_type",
    "kinds",
    "layers_digest",
    "open_track",
    "register",
    "require_channels",
    "require_layers",
    "source_clip_types",
]

_KINDS = Registry(
    "fsv2v.kinds",
    Kind,
    (faces.KIND, faces.WITH_IRISES, edged_faces.KIND, bodies.KIND, dense_bodies.KIND, streets.KIND, instance_streets.KIND),
)


def register(kind: Kind) -> None:
    """Add a kind to the registry. Models, datasets and synthesis can then use it by its name."""
    _KINDS.register(kind)


def kinds() -> dict[str, Kind]:
    """All kinds by name; those of other packages come last."""
    return _KINDS.all()


def find_kind(name: str) -> Kind:
    """The kind of this name. Raises UsageError if there is none."""
    if (kind := _KINDS.get(name)) is None:
        raise UsageError(f"{name!r} is no driving kind", hint=f"There are {', '.join(kinds())}")
    return kind


def source_clip_types() -> dict[str, type[SourceClip]]:
    """The type of source clip for each driving layer that has datasets, in the order of `kinds`."""
    types: dict[str, type[SourceClip]] = {}
    for kind in kinds().values():
        if kind.dataset is not None:
            types.setdefault(kind.layer, kind.dataset)
    return types


def find_source_clip_type(layer: str) -> type[SourceClip]:
    """The type of source clip for datasets of a driving layer. Raises UsageError when there are no such datasets."""
    types = source_clip_types()
    if layer not in types:
        raise UsageError(f"{layer!r} is no kind of dataset", hint=f"There are {', '.join(types)}")
    return types[layer]


def open_track(clip: Clip, name: str) -> Track:
    """The track of a clip for the kind `name`. Raises InputError when the clip lacks a layer, UsageError for an unknown kind."""
    require_layers(clip, name)
    return find_kind(name).open(clip)


def require_layers(clip: Clip, name: str) -> None:
    """Raises InputError when a clip lacks a layer that the kind `name` needs."""
    kind = find_kind(name)
    for layer in kind.layers:
        if not clip.has(layer):
            hint = kind.remedies.get(layer, "").format(clip.path)
            facts = {"clip": str(clip.path), "layer": layer}
            raise InputError(f"{clip.path} has no layer {layer!r}", hint=hint, code="layer-missing", facts=facts)


def require_channels(clip: Clip, found: int, expected: int) -> None:
    """Raises UsageError when the semantic images of a clip have another number of channels than the model expects.

    The usual reason is another label table.
    """
    if found != expected:
        hint = "Label maps must be of the table that the model was trained on; a recipe says how many labels (semantic_channels)"
        raise UsageError(f"the semantic images of {clip.path} have {found} channels, the model expects {expected}", hint=hint)


def layers_digest(clip: Clip, name: str) -> str:
    """Digests of the layers that drive a model of the kind `name`, joined by "+"."""
    kind = find_kind(name)
    digests = [clip.layer(layer).digest if clip.has(layer) else "" for layer in kind.layers]
    return "+".join([*digests, *(clip.layer(layer).digest for layer in kind.also_read if clip.has(layer))])
