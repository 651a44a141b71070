"""Where the base of a delta is: the file to whose tensors finetuning added something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stages.errors import InputError, MissingRequirement
from stages.io.digests import file_sha256
from stages.models.files import Base
from weights import registry


def describe_base(base: Path, sha256: str, delta: Path) -> Base:
    """What a delta that is written to `delta` says about its base, a file with this sha256."""
    if (name := registry.name_of_digest(sha256)) is not None:
        return Base(sha256, name)
    try:
        path = os.path.relpath(base.absolute(), delta.absolute().parent)
    except ValueError:  # on another drive
        path = os.fspath(base.absolute())
    return Base(sha256, base.name, Path(path).as_posix())


def find_base(base: Base, delta: Path, given: Path | None = None) -> Path:
    """The file with the base's sha256: `given`, where it was when the delta was made, beside the delta, or among the weights.

    Those are the shipped ones, FSV2V_WEIGHTS_MIRROR and the cache; what the registry knows is fetched. Raises InputError when `given` is
    another file, MissingRequirement when it is nowhere; both say which file is wanted.
    """
    if given is not None:
        return _checked(given, base, delta)
    others = []
    for place in dict.fromkeys(_places(base, delta)):
        if place.is_file():
            if file_sha256(place) == base.sha256:
                return place
            others.append(f"{place} is another one")
    if (name := registry.name_of_digest(base.sha256)) is not None:
        return registry.path(name)
    raise MissingRequirement(
        "; ".join([f"{delta} is a change of {_wanted(base)}, which is not here", *others]),
        hint="Put that file beside it or into the folder that FSV2V_WEIGHTS_MIRROR names",
        code="base-missing",
    )


def _checked(given: Path, base: Base, delta: Path) -> Path:
    if not given.is_file():
        raise MissingRequirement(f"{given} is not there", hint=f"{delta} is a change of {_wanted(base)}: name that file")
    if (digest := file_sha256(given)) != base.sha256:
        raise InputError(f"{given} (sha256 {digest}) is not the base of {delta}", hint=f"It is a change of {_wanted(base)}")
    return given


def _wanted(base: Base) -> str:
    return f"the model {base.name} with the sha256 {base.sha256}"


def _places(base: Base, delta: Path) -> Iterator[Path]:
    name = Path(base.name).name
    if base.path:
        yield delta.parent / base.path
    yield delta.parent / name
    yield from (folder / name for folder in registry.folders())
