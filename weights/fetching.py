"""Atomic downloads: a file appears only when it is complete and checked.

The bytes stream into `.NAME.part` in the target folder; a broken transfer goes on where it stopped, in this attempt or in a later run.
The file gets its name only when its sha256 is right. One process at a time fetches a file; others wait for it and use what it got.
A file whose address ends in .bz2, unlike its name, is unpacked; the sha256 is that of the unpacked file.
"""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.errors import MissingRequirement

_BLOCK = 1 << 20
PACKED = ".bz2"


@dataclass(frozen=True)
class Wanted:
    """A file to download: its name, the accepted sha256 and its size in bytes (for display; the hash decides)."""

    name: str
    sha256: tuple[str, ...]
    bytes: int = 0


@dataclass(frozen=True)
class Patience:
    """Limits of a download: a transfer fails after `timeout` s without data; attempts are `pause` s apart, doubled each time."""

    attempts: int = 5
    timeout: float = 20.0
    pause: float = 1.0


PATIENT = Patience()


class _Broken(Exception):
    """The transfer failed in a way that another attempt may repair."""


class _Refused(Exception):
    """No connection, no such file, or another file: no further attempts at this address."""


def sha256_of(file: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(
    wanted: Wanted,
    addresses: list[str],
    folder: Path,
    patience: Patience = PATIENT,
    on_bytes: Callable[[int, int], None] | None = None,
) -> Path:
    """Download `wanted` from the first of `addresses` that has it into `folder` and return its path.

    Raises MissingRequirement with the reason of each address when none serves it, or when the folder cannot be written.
    """
    target = folder / wanted.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / f".{wanted.name}.lock"):
            if target.is_file() and sha256_of(target) in wanted.sha256:
                return target
            return _from_any(wanted, addresses, target, patience, on_bytes)
    except OSError as error:
        raise MissingRequirement(f"{wanted.name} cannot be written to {folder}: {error.strerror or error}") from error


def _from_any(wanted: Wanted, addresses: list[str], target: Path, patience: Patience, on_bytes: Callable[[int, int], None] | None) -> Path:
    reasons = []
    for address in addresses:
        try:
            return _from_one(wanted, address, target, patience, on_bytes)
        except (_Refused, _Broken) as reason:
            reasons.append(f"{address}: {reason}")
    raise MissingRequirement(f"{wanted.name} could not be fetched ({'; '.join(reasons)})")


def _from_one(wanted: Wanted, address: str, target: Path, patience: Patience, on_bytes: Callable[[int, int], None] | None) -> Path:
    packed = address.endswith(PACKED) and not wanted.name.endswith(PACKED)
    part = target.with_name(f".{wanted.name}{PACKED if packed else ''}.part")
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause * 2 ** (attempt - 1))
        resumed = part.is_file() and part.stat().st_size > 0
        try:
            _transfer(address, part, patience.timeout, wanted.bytes, on_bytes)
            whole = _unpacked(part, target, wanted.bytes) if packed else part
            _check(whole, part, wanted, resumed)
        except _Broken as broken:
            if attempt + 1 == patience.attempts:
                raise _Broken(f"{broken}, after {patience.attempts} attempts") from broken
        else:
            _publish(whole, target)
            part.unlink(missing_ok=True)
            return target
    raise _Broken("no attempt was made")


def _unpacked(part: Path, target: Path, expected: int) -> Path:
    """A hidden file beside `target` with the content of the bzip2 file `part`: as far as it can be read, and at most twice the expected
    bytes."""
    whole, left = target.with_name(f".{target.name}.unpacked"), 2 * expected + _BLOCK
    with bz2.open(part) as source, open(whole, "wb") as stream:
        while left > 0 and (block := _next_block(source)):
            stream.write(block[:left])
            left -= len(block)
        stream.flush()
        os.fsync(stream.fileno())
    return whole


def _next_block(source: bz2.BZ2File) -> bytes:
    """Empty at the end, and where the file is damaged: its hash will tell."""
    try:
        return source.read(_BLOCK)
    except (OSError, EOFError, ValueError):
        return b""


def _check(whole: Path, part: Path, wanted: Wanted, resumed: bool) -> None:
    """Remove a file with the wrong hash. If it was resumed from an earlier transfer, another attempt follows."""
    digest = sha256_of(whole)
    if digest in wanted.sha256:
        return
    whole.unlink()
    part.unlink(missing_ok=True)
    if resumed:
        raise _Broken("the remains of an earlier transfer did not fit")
    raise _Refused(f"it serves another file, with sha256 {digest}")


def _transfer(address: str, part: Path, timeout: float, expected: int, on_bytes: Callable[[int, int], None] | None) -> None:
    """Append the missing bytes to `part`. Raises _Broken when the connection ends early, _Refused when the server refuses."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "fsv2v", **({"Range": f"bytes={have}-"} if have else {})})
    try:
        with urllib.request.build_opener().open(request, timeout=timeout) as answer:  # urlopen would cache the first proxy
            if answer.status != 206:
                have = 0
            length = int(answer.headers.get("Content-Length") or 0)
            total = have + length if length else expected
            with open(part, "ab" if have else "wb") as stream:
                while block := answer.read1(_BLOCK):
                    stream.write(block)
                    have += len(block)
                    if expected and have > 2 * expected + _BLOCK:
                        raise _Refused(f"it serves more than twice the {expected} bytes that are expected")
                    if on_bytes is not None:
                        on_bytes(have, total)
                stream.flush()
                os.fsync(stream.fileno())
    except urllib.error.HTTPError as error:
        _judge_status(error, part)
    except urllib.error.URLError as error:
        raise _Refused(f"no connection: {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _Broken(f"the transfer broke off: {error}") from error
    if length and have < total:
        raise _Broken(f"the transfer ended after {have} of {total} bytes")


def _judge_status(error: urllib.error.HTTPError, part: Path) -> None:
    if error.code == 416:  # the part is at least as long as the file: start again
        part.unlink(missing_ok=True)
        raise _Broken("the remains of an earlier transfer did not fit") from error
    if error.code in (408, 425, 429) or error.code >= 500:
        raise _Broken(f"the server answered {error.code} {error.reason}") from error
    raise _Refused(f"the server answered {error.code} {error.reason}") from error


def _publish(part: Path, target: Path) -> None:
    target.unlink(missing_ok=True)  # a damaged one; some file systems do not rename over it
    os.rename(part, target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """A lock for one process at a time, which ends with the process. File systems without locks have none."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(lock, "wb") as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
