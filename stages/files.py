"""Work that is visible only when it is complete.

Everything is made under a hidden name beside its final one, `.NAME.XXXXXXXX.partial`, flushed to the disk and renamed.
The maker holds a lock while it lives, so that the next maker of the same name can tell leftovers of killed processes
from work in progress, and clear them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stages.errors import Fsv2vError, InProgress, InputError, ParametersDiffer, UsageError

try:
    import fcntl
except ImportError:  # not a POSIX system: leftovers are told by their age alone
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".partial"
_FRESH = ".new"
LOCK = ".lock"
TEMPORARY = "fsv2v-"
"""How the names of folders for temporary files begin."""
TEMPORARY_FULL = "It is a temporary file: free some space, or name another folder for them in TMPDIR"
_STALE_SECONDS = 24 * 3600
_SENTENCES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the disk is full or a file size limit is reached",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EISDIR: "a folder of this name is there",
    errno.EBUSY: "it is a mount point or in use",
}
_NO_REPLACING = (errno.EEXIST, errno.ENOTEMPTY, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that cannot rename a file over another one."""


@contextlib.contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Turns what the file system refuses into a InputError sentence about `target`."""
    try:
        yield
    except OSError as error:
        reason = _SENTENCES.get(error.errno or 0, error.strerror or str(error))
        raise InputError(f"{target} cannot be written: {reason}", hint=room_for(target)) from error


def room_for(target: Path) -> str:
    """What to do when `target` cannot be written."""
    passing = tempfile.tempdir is not None and str(target).startswith(os.path.join(tempfile.tempdir, TEMPORARY))
    return TEMPORARY_FULL if passing else "Choose another place with -o, or free some space"


@contextlib.contextmanager
def building_directory(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden directory that becomes `target` when the block ends well, and vanishes when it does not.

    With `replace` an existing `target` is swapped out in one step; without, FileExistsError is raised if another
    process finished it meanwhile.
    """
    with hidden_directory(target) as hidden:
        yield hidden
        with write_errors(target):
            _flush_tree(hidden)
            _publish(hidden, _real(target), replace)


@contextlib.contextmanager
def hidden_directory(target: Path) -> Iterator[Path]:
    """Yield a hidden directory beside `target` that is gone after the block."""
    with write_errors(target):
        real = _real(target)
        real.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(real)
        hidden = _hidden_name(real)
        hidden.mkdir()
    try:
        with _locked(hidden / LOCK, target):
            yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def building_file(target: Path) -> Iterator[Path]:
    """Yield the name of a hidden, empty file that replaces `target` when the block ends well."""
    with hidden_file(target) as hidden:
        yield hidden
        with write_errors(target):
            _flush(hidden)
            replace_file(hidden, _real(target))
            _flush(hidden.parent)


@contextlib.contextmanager
def hidden_file(target: Path) -> Iterator[Path]:
    """Yield the name of a hidden, empty file beside `target`, removed after the block. InputError for a device or a pipe."""
    with write_errors(target):
        real = _real(target)
        if real.exists() and not real.is_file():
            what = "a folder of this name is there" if real.is_dir() else "it is a device or a pipe, not a file"
            raise InputError(f"{target} cannot be written: {what}", hint="Choose another place with -o")
        real.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(real)
        hidden = _hidden_name(real)
    try:
        with _locked(hidden, target):
            yield hidden
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is there: the reason is the error that counts
            hidden.unlink()


def write_atomically(target: Path, data: bytes) -> None:
    """`target` holds either its old content or all of `data`, whenever the process is killed."""
    with building_file(target) as hidden, write_errors(target):
        hidden.write_bytes(data)


def replace_file(new: Path, target: Path) -> None:
    """Rename `new` to `target`, which it replaces. Where a file system cannot do both in one step, `target` is absent for an instant."""
    try:
        os.replace(new, target)
        return
    except OSError as error:
        if error.errno not in _NO_REPLACING or not target.is_file():
            raise
    old = _hidden_name(target)
    os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(old, target)
        raise
    old.unlink()


@contextlib.contextmanager
def alone(target: Path, *, inside: bool = False, refusal: type[Fsv2vError] = UsageError) -> Iterator[None]:
    """Make `target`, a file or a folder that need not exist yet, in this process only. Raises `refusal` while another one makes it.

    The lock is a hidden file beside `target`, or with `inside` in the folder itself. It is gone after the block, and what a killed process
    leaves locks nothing. There is no lock where the file system has none, and where nothing can be written, which the block reports.
    """
    real = _real(target)
    lock = real / LOCK if inside else real.with_name(f".{real.name}{LOCK}")
    new = not lock.parent.exists()
    try:
        descriptor = _hold(lock)
    except BlockingIOError as error:
        hint = "Wait for it, or choose another place with -o"
        refused = refusal(f"{target} is being made by another process", hint=hint)
        if isinstance(refused, InProgress):
            refused.target = target
        raise refused from error
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                lock.unlink()
            os.close(descriptor)
        if new:
            with contextlib.suppress(OSError):  # unless something was put into it
                lock.parent.rmdir()


def wait_for(target: Path) -> None:
    """Return when no other process makes `target` by `alone`."""
    real = _real(target)
    with contextlib.suppress(OSError), real.with_name(f".{real.name}{LOCK}").open("rb") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_SH)


@contextlib.contextmanager
def using(path: Path) -> Iterator[None]:
    """Work on what is at `path`: until the block ends no other process discards it. FileNotFoundError when one has just done so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if fcntl:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(errno.ENOENT, "was removed by another process", str(path))
        yield
    finally:
        os.close(descriptor)


def discard(folder: Path) -> None:
    """Remove a folder, which disappears in one step, unless another process is `using` it."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        if fcntl and not _lock_now(descriptor):
            return
        hidden = _hidden_name(folder)
        os.rename(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _lock_now(descriptor: int) -> bool:
    """Whether no other process holds the file or folder. There are file systems without locks, where none does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def require_own(target: Path, mark: bytes, what: str) -> None:
    """ParametersDiffer when something is at `target` that has not `mark` near its beginning: it is no `what`, and is not replaced."""
    if not target.exists():
        return
    try:
        with target.open("rb") as file:
            own = mark in file.read(1024)
    except OSError:
        own = False
    if not own:
        raise ParametersDiffer(f"{target} is there and is no {what}, so it is not replaced", hint="Choose another place")


def clear_leftovers(target: Path) -> None:
    """Remove hidden work on `target` whose maker is dead."""
    for name in os.listdir(target.parent):
        if name.startswith(f".{target.name}.") and name.endswith((_SUFFIX, _SUFFIX + _FRESH)):
            hidden = target.parent / name
            if _abandoned(hidden):
                shutil.rmtree(hidden, ignore_errors=True) if hidden.is_dir() else hidden.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file inside a hidden directory; whoever publishes the directory flushes it."""
    with write_errors(path):
        path.write_bytes(data)


def _real(target: Path) -> Path:
    """What a link leads to: links stay, and what they lead to is replaced."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _hidden_name(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(4)}{_SUFFIX}"


@contextlib.contextmanager
def _locked(path: Path, target: Path) -> Iterator[None]:
    """Hold a lock on the file `path`, which appears when it is locked already, so that nobody takes it for a leftover."""
    fresh = path.with_name(path.name + _FRESH)
    with write_errors(target):
        descriptor = os.open(fresh, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if fcntl:
            with contextlib.suppress(OSError):  # a file system without locks: leftovers are told by age
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with write_errors(target):
            os.rename(fresh, path)
        yield
    finally:
        os.close(descriptor)


def _hold(lock: Path) -> int | None:
    """The open file `lock`, locked; None where there are no locks. BlockingIOError when another process holds it."""
    for _ in range(100 if fcntl else 0):
        descriptor = None
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _open_lock(lock)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                held, descriptor = descriptor, None
                return held
        except BlockingIOError:
            raise
        except FileNotFoundError:  # removed in this moment by the one that held it, or never to be had, as below /proc
            pass
        except OSError:
            if descriptor is not None:  # a file system without locks
                lock.unlink(missing_ok=True)
            return None
        finally:
            if descriptor is not None:
                os.close(descriptor)
    return None


def _open_lock(lock: Path) -> int:
    """That of another user can only be read."""
    try:
        return os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
    except PermissionError:
        return os.open(lock, os.O_RDONLY)


def _abandoned(hidden: Path) -> bool:
    lock = hidden / LOCK if hidden.is_dir() else hidden
    try:
        age = time.time() - hidden.stat().st_mtime
    except OSError:
        return False
    if hidden.name.endswith(_FRESH) or not lock.exists():
        return age > 60  # made this moment, or left by a maker that died before it could lock
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        if fcntl is None:
            return age > _STALE_SECONDS
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return age > _STALE_SECONDS
    finally:
        os.close(descriptor)


def _flush_tree(root: Path) -> None:
    """Several files at a time: the disk joins flushes that wait together."""
    folders = [Path(folder) for folder, _, _ in os.walk(root)]
    files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(_flush, files))
    for folder in folders:
        _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # file systems that cannot flush a directory
            raise
    finally:
        os.close(descriptor)


def _publish(hidden: Path, target: Path, replace: bool) -> None:
    (hidden / LOCK).unlink(missing_ok=True)
    if replace and target.exists():
        _exchange(hidden, target)
    else:
        try:
            os.rename(hidden, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise FileExistsError(errno.EEXIST, "was finished by another process meanwhile", str(target)) from error
            raise
    _flush(target.parent)


def _exchange(hidden: Path, target: Path) -> None:
    """Swap two directories in one step where the system can (Linux); otherwise `target` is absent for an instant."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        here, exchange = -100, 2
        if libc.renameat2(here, os.fsencode(hidden), here, os.fsencode(target), exchange) == 0:
            return
    except (AttributeError, OSError, TypeError):
        pass
    old = _hidden_name(target)
    os.rename(target, old)
    os.rename(hidden, target)
    shutil.rmtree(old, ignore_errors=True)
