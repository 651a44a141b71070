"""Finding the base of a delta: the model file to which the delta's differences are added."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stages.errors import InputError, MissingRequirement
from stages.io.digests import file_sha256
from stages.models.files import Base
from weights import registry


def describe_base(base: Path, sha256: str, delta: Path) -> Base:
    """The base as described in the header of a delta, whose file will be `delta`. sha256: that of the file `base`."""
    if (name := registry.name_of_digest(sha256)) is not None:
        return Base(sha256, name)
    try:
        path = os.path.relpath(base.absolute(), delta.absolute().parent)
    except ValueError:  # on another drive
        path = os.fspath(base.absolute())
    return Base(sha256, base.name, Path(path).as_posix())


def find_base(base: Base, delta: Path, chosen: Path | None = None, relation: str = "was finetuned from") -> Path:
    """The file with the base's sha256: `chosen`, if given, else the first that is found.

    The search covers the place where the base was when the delta was made, the folder of the delta, and the folders of weights (shipped,
    FSV2V_WEIGHTS_MIRROR, cache). What the registry knows is fetched. delta: the file that needs the base. relation: the words
    between `delta` and the base in messages.

    Raises InputError when `chosen` is another file, MissingRequirement when no file is found; both say which file is needed.
    """
    if chosen is not None:
        return _require_base(chosen, base, delta, relation)
    other_files = []
    for path in dict.fromkeys(_candidates(base, delta)):
        if path.is_file():
            if file_sha256(path) == base.sha256:
                return path
            other_files.append(f"{path} is another file")
    if (name := registry.name_of_digest(base.sha256)) is not None:
        return registry.path(name)
    raise MissingRequirement(
        "; ".join([f"{delta} {relation} {_describe(base)}, which was not found", *other_files]),
        hint="Put that file beside it or into the folder that FSV2V_WEIGHTS_MIRROR names",
        code="base-missing",
    )


def _require_base(path: Path, base: Base, delta: Path, relation: str) -> Path:
    if not path.is_file():
        raise MissingRequirement(f"{path} does not exist", hint=f"{delta} {relation} {_describe(base)}: name that file")
    if (digest := file_sha256(path)) != base.sha256:
        raise InputError(f"{path} (sha256 {digest}) is not the base of {delta}", hint=f"It {relation} {_describe(base)}")
    return path


def _describe(base: Base) -> str:
    return f"the model {base.name} with the sha256 {base.sha256}"


def _candidates(base: Base, delta: Path) -> Iterator[Path]:
    name = Path(base.name).name
    if base.path:
        yield delta.parent / base.path
    yield delta.parent / name
    yield from (folder / name for folder in registry.folders())
