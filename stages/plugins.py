"""Backends, metrics, driving kinds and generator families of other installed packages, found by their entry points.

A package declares them in its metadata; in a `pyproject.toml`, for example:

    [project.entry-points."fsv2v.metrics"]
    sharpness = "their_package.sharpness:METRIC"

Listing the names does not import the packages, so that a broken package cannot break `--help`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from stages.errors import MissingRequirement

__all__ = ["EntryPoint", "Registry", "describe_entry_point", "find_entry_points", "load", "load_or_warn"]

log = logging.getLogger(__name__)


def find_entry_points(group: str, reserved: Collection[str] = ()) -> dict[str, EntryPoint]:
    """Name -> entry point of the group, in the order of the names.

    An entry point is left out with a warning if its name is in `reserved` or was used by another package.
    """
    entries: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        if entry.name in reserved or entry.name in entries:
            owner = describe_entry_point(entries[entry.name]) if entry.name in entries else "fsv2v"
            _warn_once(f"{describe_entry_point(entry)} is ignored: {owner} has the same name")
        else:
            entries[entry.name] = entry
    return entries


def load(entry: EntryPoint, types: type | tuple[type, ...]) -> Any:
    """The object of an entry point, an instance of `types`. Raises MissingRequirement, which names the package, if this fails."""
    try:
        loaded = entry.load()
    except Exception as error:  # another package's code, which may raise anything
        raise MissingRequirement(f"{describe_entry_point(entry)} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, types):
        names = " or ".join(type_.__name__ for type_ in (types if isinstance(types, tuple) else (types,)))
        raise MissingRequirement(f"{describe_entry_point(entry)} cannot be used: {entry.value} is no {names}")
    return loaded


def load_or_warn(entry: EntryPoint, types: type | tuple[type, ...]) -> Any | None:
    """As `load`, but returns None when it fails, and logs a warning once per process."""
    try:
        return load(entry, types)
    except MissingRequirement as problem:
        _warn_once(str(problem))
        return None


def describe_entry_point(entry: EntryPoint) -> str:
    """The entry point and the package that declares it, for messages."""
    package = f"the package {entry.dist.name}" if entry.dist else "an unknown package"
    return f"{entry.name} ({entry.group}) of {package}"


class Named(Protocol):
    """An object with a name."""

    @property
    def name(self) -> str: ...


Record = TypeVar("Record", bound=Named)


class Registry(Generic[Record]):
    """Records by name: built-in ones, those that were registered, and those of installed packages, which are loaded when first needed."""

    def __init__(self, group: str, record_type: type[Record], builtin: Iterable[Record]) -> None:
        self._group, self._record_type = group, record_type
        self._records = {record.name: record for record in builtin}
        self._searched = False

    def register(self, record: Record) -> None:
        """Add a record; it replaces one with the same name."""
        self._records[record.name] = record

    def get(self, name: str) -> Record | None:
        """The record of this name, None if there is none."""
        return self._records.get(name) or self.all().get(name)

    def all(self) -> dict[str, Record]:
        """All records. A package that cannot be loaded, or whose record has a name that is taken, is left out with a warning."""
        if not self._searched:
            self._searched = True
            for entry in find_entry_points(self._group).values():
                record = load_or_warn(entry, self._record_type)
                if record is not None and self._records.setdefault(record.name, record) is not record:
                    _warn_once(f"{describe_entry_point(entry)} is ignored: another record is named {record.name}")
        return dict(self._records)


@cache
def _warn_once(text: str) -> None:
    """Log each warning once per process."""
    log.warning(text)
