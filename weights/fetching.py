"""Atomic downloads: a file appears only when it is complete and checked.

The bytes are written to `.NAME.part` in the target folder. A transfer that breaks off is continued by a later attempt or a later run. The
file gets its name only after its sha256 has been checked. One process at a time fetches a file; others wait and use the fetched file.
If the address ends in .bz2 and the name does not, the file is unpacked; the sha256 is that of the unpacked file.
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
class RemoteFile:
    """A file to download: its name, the accepted sha256 hashes, and its approximate size in bytes."""

    name: str
    sha256: tuple[str, ...]
    bytes: int = 0


@dataclass(frozen=True)
class RetryPolicy:
    """How often a download is attempted.

    timeout: seconds without data after which an attempt fails; pause: seconds before the second attempt, doubled before each further one.
    """

    attempts: int = 5
    timeout: float = 20.0
    pause: float = 1.0


DEFAULT_RETRIES = RetryPolicy()


class _TransferError(Exception):
    """The transfer failed; another attempt may succeed."""


class _AddressError(Exception):
    """The address cannot be reached, does not have the file, or has a different file; it is not tried again."""


def sha256_of(file: Path) -> str:
    """The sha256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(
    file: RemoteFile,
    addresses: list[str],
    folder: Path,
    retries: RetryPolicy = DEFAULT_RETRIES,
    on_bytes: Callable[[int, int], None] | None = None,
) -> Path:
    """Download a file into `folder` from the first of `addresses` that has it, and return its path.

    on_bytes: called with the number of bytes so far and in total. Raises MissingRequirement, with a reason for each address, when none has
    the file, and when the folder cannot be written.
    """
    target = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / f".{file.name}.lock"):
            if target.is_file() and sha256_of(target) in file.sha256:
                return target
            return _download_from_any(file, addresses, target, retries, on_bytes)
    except OSError as error:
        raise MissingRequirement(f"{file.name} cannot be written to {folder}: {error.strerror or error}") from error


def _download_from_any(
    file: RemoteFile, addresses: list[str], target: Path, retries: RetryPolicy, on_bytes: Callable[[int, int], None] | None
) -> Path:
    reasons = []
    for address in addresses:
        try:
            return _download_from(file, address, target, retries, on_bytes)
        except (_AddressError, _TransferError) as reason:
            reasons.append(f"{address}: {reason}")
    raise MissingRequirement(f"{file.name} could not be fetched ({'; '.join(reasons)})")


def _download_from(file: RemoteFile, address: str, target: Path, retries: RetryPolicy, on_bytes: Callable[[int, int], None] | None) -> Path:
    packed = address.endswith(PACKED) and not file.name.endswith(PACKED)
    part = target.with_name(f".{file.name}{PACKED if packed else ''}.part")
    for attempt in range(retries.attempts):
        if attempt:
            time.sleep(retries.pause * 2 ** (attempt - 1))
        resumed = part.is_file() and part.stat().st_size > 0
        try:
            _transfer(address, part, retries.timeout, file.bytes, on_bytes)
            whole = _unpack(part, target, file.bytes) if packed else part
            _require_hash(whole, part, file, resumed)
        except _TransferError as error:
            if attempt + 1 == retries.attempts:
                raise _TransferError(f"{error}, after {retries.attempts} attempts") from error
        else:
            _publish(whole, target)
            part.unlink(missing_ok=True)
            return target
    raise _TransferError("no attempt was made")


def _unpack(part: Path, target: Path, expected: int) -> Path:
    """Unpack the bzip2 file `part` into a hidden file beside `target`, and return that file's path.

    Unpacking stops where `part` is damaged, and at about twice the `expected` bytes. The hash of the unpacked file is then wrong.
    """
    whole, remaining = target.with_name(f".{target.name}.unpacked"), 2 * expected + _BLOCK
    with bz2.open(part) as source, open(whole, "wb") as stream:
        while remaining > 0 and (block := _next_block(source)):
            stream.write(block[:remaining])
            remaining -= len(block)
        stream.flush()
        os.fsync(stream.fileno())
    return whole


def _next_block(source: bz2.BZ2File) -> bytes:
    """The next block; empty at the end and where the file is damaged."""
    try:
        return source.read(_BLOCK)
    except (OSError, EOFError, ValueError):
        return b""


def _require_hash(whole: Path, part: Path, file: RemoteFile, resumed: bool) -> None:
    """Raise an error and remove the files if the hash is wrong. resumed: `part` contains bytes of an earlier transfer, which may be the
    reason, so another attempt may succeed."""
    digest = sha256_of(whole)
    if digest in file.sha256:
        return
    whole.unlink()
    part.unlink(missing_ok=True)
    if resumed:
        raise _TransferError("an earlier, unfinished transfer was of another file")
    raise _AddressError(f"it serves another file, with sha256 {digest}")


def _transfer(address: str, part: Path, timeout: float, expected: int, on_bytes: Callable[[int, int], None] | None) -> None:
    """Append the missing bytes to `part`. Raises _TransferError when the connection ends early, _AddressError when the server refuses."""
    received = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "fsv2v", **({"Range": f"bytes={received}-"} if received else {})})
    try:
        with urllib.request.build_opener().open(request, timeout=timeout) as response:  # urlopen would cache the first proxy
            if response.status != 206:
                received = 0
            length = int(response.headers.get("Content-Length") or 0)
            total = received + length if length else expected
            with open(part, "ab" if received else "wb") as stream:
                while block := response.read1(_BLOCK):
                    stream.write(block)
                    received += len(block)
                    if expected and received > 2 * expected + _BLOCK:
                        raise _AddressError(f"it serves more than twice the {expected} bytes that are expected")
                    if on_bytes is not None:
                        on_bytes(received, total)
                stream.flush()
                os.fsync(stream.fileno())
    except urllib.error.HTTPError as error:
        _raise_for_status(error, part)
    except urllib.error.URLError as error:
        raise _AddressError(f"no connection: {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _TransferError(f"the transfer broke off: {error}") from error
    if length and received < total:
        raise _TransferError(f"the transfer ended after {received} of {total} bytes")


def _raise_for_status(error: urllib.error.HTTPError, part: Path) -> None:
    """Raises _TransferError if another attempt may succeed, else _AddressError."""
    if error.code == 416:  # the part is at least as long as the file: start again
        part.unlink(missing_ok=True)
        raise _TransferError("an earlier, unfinished transfer was of another file") from error
    if error.code in (408, 425, 429) or error.code >= 500:
        raise _TransferError(f"the server answered {error.code} {error.reason}") from error
    raise _AddressError(f"the server answered {error.code} {error.reason}") from error


def _publish(part: Path, target: Path) -> None:
    """Give the complete file its name."""
    target.unlink(missing_ok=True)  # a damaged file; some file systems do not rename over it
    os.rename(part, target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _lock(lock: Path) -> Iterator[None]:
    """Hold a lock, which also ends with the process, while the block runs. Without effect where locks are not supported."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(lock, "wb") as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
