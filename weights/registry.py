"""The registry of weight files: shipped beside this module, in a mirror, in the cache, or fetched into the cache.

    FSV2V_WEIGHTS          the cache folder; default: fsv2v/weights in the user's cache folder, for a user without a home folder
                           fsv2v-UID/weights in the temporary folder
    FSV2V_WEIGHTS_MIRROR   a folder (or the http address of one) that is searched before the public address, for closed networks

Every file is checked against the sha256 in `manifest.toml`. Callers read weights without running code: safetensors, or
`torch.load(weights_only=True)`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stages.errors import MissingRequirement, UsageError
from weights.fetching import PATIENT, Patience, Wanted, download, sha256_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Weight:
    """One entry of the manifest. `sha256` lists every accepted content; `bytes` is the size of the first of them."""

    name: str
    what: str
    licence: str
    origin: str
    bytes: int
    sha256: tuple[str, ...]
    url: str
    shipped: bool
    card: str = ""

    def accepts(self, digest: str) -> bool:
        """Whether a content with this sha256 may be used. A shipped file without a recorded hash is accepted."""
        return digest in self.sha256 or (self.shipped and not self.sha256)


@dataclass(frozen=True)
class Found:
    """A weight file on this machine: `place` is shipped, mirror or cache."""

    path: Path
    place: str


@lru_cache(maxsize=1)
def manifest() -> dict[str, Weight]:
    """name -> entry, in the order of `manifest.toml`."""
    table = tomllib.loads((SHIPPED / "manifest.toml").read_text(encoding="utf-8"))
    entries = [Weight(**{**row, "sha256": tuple(row["sha256"])}) for row in table["weight"]]
    return {entry.name: entry for entry in entries}


def entry(name: str) -> Weight:
    """The entry of that name. Raises UsageError when there is none."""
    try:
        return manifest()[name]
    except KeyError:
        raise UsageError(f"There is no weight file named {name!r}", hint=f"Known: {', '.join(manifest())}") from None


def cache_folder() -> Path:
    """Where fetched files are kept; the folder need not exist yet."""
    if named := os.environ.get("FSV2V_WEIGHTS"):
        return _expanded(named)
    return user_cache() / "weights"


def user_cache() -> Path:
    """The folder of fsv2v in the user's cache folder; it need not exist yet."""
    variable = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    if named := os.environ.get(variable):
        return Path(named) / "fsv2v"
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the list of users, as in some containers
        return Path(tempfile.gettempdir()) / f"fsv2v-{os.getuid()}"
    folders = {"win32": Path("AppData", "Local"), "darwin": Path("Library", "Caches")}
    return home / folders.get(sys.platform, Path(".cache")) / "fsv2v"


def find(name: str) -> Found | None:
    """The file on this machine, unchecked; None if it has to be fetched."""
    weight = entry(name)
    if weight.shipped:
        path = SHIPPED / name
        return Found(path, "shipped") if path.is_file() else None
    mirror = _mirror()
    if mirror and not _is_address(mirror) and (path := _expanded(mirror) / name).is_file():
        return Found(path, "mirror")
    path = cache_folder() / name
    return Found(path, "cache") if path.is_file() else None


def named(digest: str) -> str | None:
    """The name of the entry that lists this sha256."""
    return next((name for name, weight in manifest().items() if digest in weight.sha256), None)


def folders() -> list[Path]:
    """Folders with weight files on this machine: shipped, mirror (if it is a folder) and cache. They need not exist."""
    mirror = _mirror()
    mirrors = [_expanded(mirror)] if mirror and not _is_address(mirror) else []
    return [SHIPPED, *mirrors, cache_folder()]


def available(name: str) -> bool:
    """Whether the file can be used without the network."""
    return find(name) is not None


def path(name: str) -> Path:
    """A checked file of this name, fetched into the cache if necessary.

    Raises MissingRequirement, with a hint, when it cannot be fetched or its content is not the expected one.
    """
    return fetch(name)


def sha256(name: str) -> str:
    """The sha256 of the file that `path` returns; that of the published file if there is none on this machine."""
    found = find(name)
    if found is not None:
        return digest(found.path)
    published = entry(name).sha256
    return published[0] if published else ""


def fetch(name: str, patience: Patience = PATIENT, on_bytes: Callable[[int, int], None] | None = None) -> Path:
    """As `path`; `on_bytes(done, total)` is called with the progress of a download. A damaged file in the cache is fetched again."""
    weight = entry(name)
    found = find(name)
    if found is not None and weight.accepts(digest(found.path)):
        return found.path
    if found is not None and found.place != "cache":
        raise MissingRequirement(f"{found.path} is damaged or another file: its sha256 is not in the manifest", hint=_REPAIR[found.place])
    addresses = _addresses(weight)
    if not addresses:
        raise _absent(weight, f"The weights {name} are not on this machine and have no public address")
    wanted = Wanted(name, weight.sha256, weight.bytes)
    try:
        return download(wanted, addresses, cache_folder(), patience, on_bytes)
    except MissingRequirement as problem:
        raise _absent(weight, problem.message) from problem


def problem(name: str) -> str:
    """Verify the file by its hash. Returns a sentence about the defect, or "". Raises MissingRequirement when it is not on this machine."""
    weight = entry(name)
    found = find(name)
    if found is None:
        raise _absent(weight, f"The weights {name} are not on this machine")
    now = sha256_of(found.path)
    if not weight.sha256:
        return f"the manifest records no sha256 for it (it has {now})"
    if now in weight.sha256:
        return ""
    return f"its sha256 is {now} and not {' or '.join(weight.sha256)}"


_REPAIR = {
    "shipped": "Install fsv2v again",
    "mirror": "Replace it in the folder that FSV2V_WEIGHTS_MIRROR names, or unset that variable",
}


def _expanded(folder: str) -> Path:
    """Expand a leading ~, unless the home folder is unknown."""
    return Path(os.path.expanduser(folder))


def _mirror() -> str:
    return os.environ.get("FSV2V_WEIGHTS_MIRROR", "")


def _is_address(mirror: str) -> bool:
    return mirror.startswith(("http://", "https://"))


def _addresses(weight: Weight) -> list[str]:
    if weight.shipped:
        return []
    mirrored = [f"{_mirror().rstrip('/')}/{weight.name}"] if _is_address(_mirror()) else []
    return mirrored + ([weight.url] if weight.url else [])


def _absent(weight: Weight, message: str) -> MissingRequirement:
    """The error for a file that is not on this machine."""
    if weight.shipped:
        return MissingRequirement(message, hint="It belongs to the package: install fsv2v again")
    by_hand = f"put the file into {cache_folder()}, or name a folder that has it in FSV2V_WEIGHTS_MIRROR"
    if weight.url:
        return MissingRequirement(message, hint=by_hand, code="weights-absent", facts={"name": weight.name})
    return MissingRequirement(message, hint=f"To use it, {by_hand}")


def digest(file: Path) -> str:
    """sha256 of a file, cached while its state is unchanged. The state includes more than times, which may be whole seconds."""
    state = file.stat()
    return _digest_of_state(str(file), (state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns))


@lru_cache(maxsize=64)
def _digest_of_state(file: str, state: tuple[int, ...]) -> str:
    return sha256_of(Path(file))
