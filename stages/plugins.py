"""Backends, metrics, driving kinds and generator families of other installed packages, found by their entry points.

A package declares them in its metadata; in a `pyproject.toml`, for example:

    [project.entry-points."fsv2v.metrics"]
    sharpness = "their_package.sharpness:METRIC"

Listing the names imports nothing of such a package, so that one that is broken cannot break `--help`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from stages.errors import MissingRequirement

__all__ = ["EntryPoint", "Registry", "described", "found", "load", "load_or_warn"]

log = logging.getLogger(__name__)


def found(group: str, taken: Collection[str] = ()) -> dict[str, EntryPoint]:
    """Name -> entry point of the group, in the order of the names.

    An entry point whose name is in `taken`, or that another package has used, is left out with a warning.
    """
    entries: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        if entry.name in taken or entry.name in entries:
            owner = described(entries[entry.name]) if entry.name in entries else "fsv2v"
            _warn(f"{described(entry)} is ignored: {owner} has the same name")
        else:
            entries[entry.name] = entry
    return entries


def load(entry: EntryPoint, kinds: type | tuple[type, ...]) -> Any:
    """The object of an entry point, an instance of `kinds`. Raises MissingRequirement, which names the package, when there is none."""
    try:
        loaded = entry.load()
    except Exception as error:  # another package's code, which may raise anything
        raise MissingRequirement(f"{described(entry)} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, kinds):
        names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise MissingRequirement(f"{described(entry)} cannot be used: {entry.value} is no {names}")
    return loaded


def load_or_warn(entry: EntryPoint, kinds: type | tuple[type, ...]) -> Any | None:
    """As `load`, but None and one warning in a process when it fails."""
    try:
        return load(entry, kinds)
    except MissingRequirement as problem:
        _warn(str(problem))
        return None


def described(entry: EntryPoint) -> str:
    """For messages: the entry point and the package that declares it."""
    package = f"the package {entry.dist.name}" if entry.dist else "an unknown package"
    return f"{entry.name} ({entry.group}) of {package}"


class Named(Protocol):
    """A record that knows its name."""

    @property
    def name(self) -> str: ...


Record = TypeVar("Record", bound=Named)


class Registry(Generic[Record]):
    """Records by their names: the package's own, those that were registered, and those of installed packages, loaded when first needed."""

    def __init__(self, group: str, record: type[Record], own: Iterable[Record]) -> None:
        self._group, self._record = group, record
        self._known = {each.name: each for each in own}
        self._searched = False

    def register(self, record: Record) -> None:
        """Make a record known, in place of another one of its name."""
        self._known[record.name] = record

    def get(self, name: str) -> Record | None:
        return self._known.get(name) or self.all().get(name)

    def all(self) -> dict[str, Record]:
        """All records. A package that cannot be loaded, or whose record has a name that is taken, is left out with a warning."""
        if not self._searched:
            self._searched = True
            for entry in found(self._group).values():
                record = load_or_warn(entry, self._record)
                if record is not None and self._known.setdefault(record.name, record) is not record:
                    _warn(f"{described(entry)} is ignored: another record is named {record.name}")
        return dict(self._known)


@cache
def _warn(text: str) -> None:
    """Log a warning the first time that it is given."""
    log.warning(text)
