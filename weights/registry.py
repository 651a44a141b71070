"""The registry of weight files, which are shipped beside this module, or lie in a mirror or in the cache, or are fetched into the cache.

    FSV2V_WEIGHTS          the cache folder; default: fsv2v/weights in the user's cache folder, or fsv2v-UID/weights in the temporary folder
                           for a user without a home folder
    FSV2V_WEIGHTS_MIRROR   a folder, or its http address, that is searched before the public address, for networks without internet access

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
from weights.fetching import DEFAULT_RETRIES, RemoteFile, RetryPolicy, download, sha256_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Weight:
    """One entry of the manifest. sha256: the hashes of all accepted versions of the file; bytes: the size of the first version."""

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
        """Whether a file with this sha256 may be used. A shipped file without a hash in the manifest is accepted."""
        return digest in self.sha256 or (self.shipped and not self.sha256)


@dataclass(frozen=True)
class Found:
    """A weight file on this machine: `location` is shipped, mirror or cache."""

    path: Path
    location: str


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
    """The folder for fetched files; it need not exist yet."""
    if folder := os.environ.get("FSV2V_WEIGHTS"):
        return _expand_home(folder)
    return user_cache() / "weights"


def user_cache() -> Path:
    """The folder of fsv2v in the user's cache folder; it need not exist yet."""
    variable = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    if folder := os.environ.get(variable):
        return Path(folder) / "fsv2v"
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the list of users, as in some containers
        return Path(tempfile.gettempdir()) / f"fsv2v-{os.getuid()}"
    folders = {"win32": Path("AppData", "Local"), "darwin": Path("Library", "Caches")}
    return home / folders.get(sys.platform, Path(".cache")) / "fsv2v"


def find(name: str) -> Found | None:
    """The file on this machine; None if it has to be fetched. Its hash is not checked."""
    weight = entry(name)
    if weight.shipped:
        path = SHIPPED / name
        return Found(path, "shipped") if path.is_file() else None
    mirror = _mirror()
    if mirror and not _is_address(mirror) and (path := _expand_home(mirror) / name).is_file():
        return Found(path, "mirror")
    path = cache_folder() / name
    return Found(path, "cache") if path.is_file() else None


def name_of_digest(digest: str) -> str | None:
    """The name of the file with this sha256, if it is in the manifest."""
    return next((name for name, weight in manifest().items() if digest in weight.sha256), None)


def folders() -> list[Path]:
    """Folders with weight files on this machine: shipped, mirror (if it is a folder) and cache. They need not exist."""
    mirror = _mirror()
    mirrors = [_expand_home(mirror)] if mirror and not _is_address(mirror) else []
    return [SHIPPED, *mirrors, cache_folder()]


def available(name: str) -> bool:
    """Whether the file can be used without a download."""
    return find(name) is not None


def path(name: str) -> Path:
    """The path of the file, which is fetched into the cache if necessary, and whose hash is checked.

    Raises MissingRequirement, with a hint, when it cannot be fetched or its hash is wrong.
    """
    return fetch(name)


def sha256(name: str) -> str:
    """The sha256 of the file on this machine, or of the published file if there is none on this machine."""
    found = find(name)
    if found is not None:
        return cached_sha256(found.path)
    published = entry(name).sha256
    return published[0] if published else ""


def fetch(name: str, retries: RetryPolicy = DEFAULT_RETRIES, on_bytes: Callable[[int, int], None] | None = None) -> Path:
    """As `path`. on_bytes: called with the number of bytes so far and in total. A damaged file in the cache is fetched again."""
    weight = entry(name)
    found = find(name)
    if found is not None and weight.accepts(cached_sha256(found.path)):
        return found.path
    if found is not None and found.location != "cache":
        raise MissingRequirement(
            f"{found.path} is damaged or another file: its sha256 is not in the manifest", hint=_REPAIR_HINTS[found.location]
        )
    addresses = _addresses(weight)
    if not addresses:
        raise _absence_error(weight, f"The weights {name} are not on this machine and have no public address")
    file = RemoteFile(name, weight.sha256, weight.bytes)
    try:
        return download(file, addresses, cache_folder(), retries, on_bytes)
    except MissingRequirement as problem:
        raise _absence_error(weight, problem.message) from problem


def problem(name: str) -> str:
    """Check the hash of the file. Returns a sentence about the defect, or "". Raises MissingRequirement when it is not on this machine."""
    weight = entry(name)
    found = find(name)
    if found is None:
        raise _absence_error(weight, f"The weights {name} are not on this machine")
    digest = sha256_of(found.path)
    if not weight.sha256:
        return f"the manifest records no sha256 for it (it has {digest})"
    if digest in weight.sha256:
        return ""
    return f"its sha256 is {digest} and not {' or '.join(weight.sha256)}"


_REPAIR_HINTS = {
    "shipped": "Install fsv2v again",
    "mirror": "Replace it in the folder of the variable FSV2V_WEIGHTS_MIRROR, or unset the variable",
}


def _expand_home(folder: str) -> Path:
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


def _absence_error(weight: Weight, message: str) -> MissingRequirement:
    """The error for a file that is not on this machine."""
    if weight.shipped:
        return MissingRequirement(message, hint="It belongs to the package: install fsv2v again")
    by_hand = f"put the file into {cache_folder()}, or set FSV2V_WEIGHTS_MIRROR to a folder that has it"
    if weight.url:
        return MissingRequirement(message, hint=by_hand, code="weights-absent", facts={"name": weight.name})
    return MissingRequirement(message, hint=f"To use it, {by_hand}")


def cached_sha256(file: Path) -> str:
    """The sha256 of a file, cached until its size, inode or times change. Times alone may have a resolution of whole seconds."""
    state = file.stat()
    return _digest_of_state(str(file), (state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns))


@lru_cache(maxsize=64)
def _digest_of_state(file: str, state: tuple[int, ...]) -> str:
    return sha256_of(Path(file))
