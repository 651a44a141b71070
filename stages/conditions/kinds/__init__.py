"""The driving kinds, one file each. Adding one: a file with a `Kind`, and a line here; or an entry point of another package."""

from __future__ import annotations

from stages.clip import Clip
from stages.conditions.kinds import bodies, dense_bodies, edged_faces, faces, instance_streets, streets
from stages.conditions.kinds.kind import Kind
from stages.conditions.material import Material
from stages.conditions.tracks import Track
from stages.errors import InputError, UsageError
from stages.plugins import Registry

__all__ = [
    "Kind",
    "find",
    "find_material",
    "kinds",
    "layers_digest",
    "materials",
    "open_track",
    "register",
    "require_channels",
    "require_layers",
]

_KINDS = Registry(
    "fsv2v.kinds",
    Kind,
    (faces.KIND, faces.WITH_IRISES, edged_faces.KIND, bodies.KIND, dense_bodies.KIND, streets.KIND, instance_streets.KIND),
)


def register(kind: Kind) -> None:
    """Make a kind known by its name: models, datasets and synthesis then work with it as with the package's own."""
    _KINDS.register(kind)


def kinds() -> dict[str, Kind]:
    """All kinds by their names, those of other packages last."""
    return _KINDS.all()


def find(name: str) -> Kind:
    """The kind of a model. Raises UsageError for an unknown one."""
    if (kind := _KINDS.get(name)) is None:
        raise UsageError(f"{name!r} is no driving kind", hint=f"There are {', '.join(kinds())}")
    return kind


def materials() -> dict[str, type[Material]]:
    """What datasets keep, by the driving layer, in the order of `kinds`."""
    found: dict[str, type[Material]] = {}
    for kind in kinds().values():
        if kind.dataset is not None:
            found.setdefault(kind.layer, kind.dataset)
    return found


def find_material(layer: str) -> type[Material]:
    """What a dataset of a driving layer keeps. Raises UsageError when there are no such datasets."""
    known = materials()
    if layer not in known:
        raise UsageError(f"{layer!r} is no kind of dataset", hint=f"There are {', '.join(known)}")
    return known[layer]


def open_track(clip: Clip, name: str) -> Track:
    """The track of a clip for a model of a kind. Raises InputError when the clip lacks a layer, UsageError for an unknown kind."""
    require_layers(clip, name)
    return find(name).open(clip)


def require_layers(clip: Clip, name: str) -> None:
    """InputError when a clip lacks a layer that drives models of a kind."""
    kind = find(name)
    for layer in kind.layers:
        if not clip.has(layer):
            hint = kind.remedies.get(layer, "").format(clip.path)
            facts = {"clip": str(clip.path), "layer": layer}
            raise InputError(f"{clip.path} has no layer {layer!r}", hint=hint, code="layer-missing", facts=facts)


def require_channels(clip: Clip, found: int, wanted: int) -> None:
    """UsageError when a clip's semantic images have other channels than a model was made for: other labels, most of the time."""
    if found != wanted:
        hint = "Label maps must be of the table that the model was trained on; a recipe says how many labels (semantic_channels)"
        raise UsageError(f"the semantic images of {clip.path} have {found} channels, the model wants {wanted}", hint=hint)


def layers_digest(clip: Clip, name: str) -> str:
    """Digest of the layers that drive a model of this kind."""
    kind = find(name)
    digests = [clip.layer(layer).digest if clip.has(layer) else "" for layer in kind.layers]
    return "+".join([*digests, *(clip.layer(layer).digest for layer in kind.also_read if clip.has(layer))])
