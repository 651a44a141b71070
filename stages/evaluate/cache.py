"""A cache of feature statistics on disk, by the content of the frames and the identity of the network.

An entry is written under a hidden name and renamed, so several runs may compute the same one at once. A broken entry is computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.errors import READ_ERRORS, InputError, Sentence
from stages.evaluate.statistics import Statistics
from stages.io.files import write_atomically
from stages.io.reading import load_npz
from weights import registry

SCHEMA = "fsv2v.statistics/1"
Warn = Callable[[str], None]
"""Called with a sentence when the cache cannot be used."""


class Cache:
    """A `folder` of statistics; "" is the folder `fsv2v/statistics` in the user's cache folder."""

    def __init__(self, folder: str, warn: Warn) -> None:
        self.folder = Path(os.path.expanduser(folder)) if folder else registry.user_cache() / "statistics"
        self._warn = warn
        self._writable = True

    def path(self, **identity: str | int) -> Path:
        """The file of the entry that `identity` describes."""
        description = json.dumps({"schema": SCHEMA, **identity}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(description.encode()).hexdigest()}.npz"

    def read(self, path: Path) -> Statistics | None:
        """The entry. None when it does not exist. When it is broken, warn and return None."""
        try:
            return Statistics.from_arrays(load_npz(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (*READ_ERRORS, InputError) as problem:
            self._warn(f"the cached statistics {path} are broken and are computed again ({problem})")
            return None

    def write(self, path: Path, statistics: Statistics) -> None:
        """Write an entry. A cache that cannot be written costs time, not the result: there is one warning, and no further attempt."""
        if not self._writable:
            return
        data = io.BytesIO()
        np.savez(data, **statistics.arrays())  # type: ignore[arg-type]
        try:
            write_atomically(path, data.getvalue())
        except InputError as problem:
            self._writable = False
            self._warn(Sentence(f"statistics are not cached: {problem.message}", code="cache-unwritable"))
