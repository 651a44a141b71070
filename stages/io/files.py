"""Atomic output: files and folders that appear only when they are complete.

Everything is written under a hidden name beside its final one, `.NAME.XXXXXXXX.partial`, flushed to the disk and renamed.
The writing process holds a lock. So the next process that writes the same name can distinguish leftovers of killed processes, which it
removes, from work in progress.
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
except ImportError:  # not a POSIX system: leftovers are recognised by age only
    fcntl = None  # type: ignore[assignment]

_PARTIAL_SUFFIX = ".partial"
_NEW_SUFFIX = ".new"
LOCK_SUFFIX = ".lock"
TEMPORARY_PREFIX = "fsv2v-"
"""Prefix of folders for temporary files."""
TEMPORARY_FULL_HINT = "It is a temporary file: free some space, or name another folder for temporary files in TMPDIR"
_STALE_SECONDS = 24 * 3600
"""Age from which leftovers are removed on systems without locks."""
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the disk is full or a file size limit is reached",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EISDIR: "a folder of this name exists",
    errno.EBUSY: "it is a mount point or in use",
}
_CANNOT_REPLACE = (errno.EEXIST, errno.ENOTEMPTY, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems on which a rename cannot replace an existing file."""


@contextlib.contextmanager
def explain_write_errors(target: Path) -> Iterator[None]:
    """Convert errors of the file system into an InputError about `target` with the reason."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise unwritable_error(target, reason) from error


def unwritable_error(target: Path, reason: str) -> InputError:
    """The error for a file or folder that cannot be written."""
    message = f"{target} cannot be written: {reason}"
    if tempfile.tempdir is not None and str(target).startswith(os.path.join(tempfile.tempdir, TEMPORARY_PREFIX)):
        return InputError(message, hint=TEMPORARY_FULL_HINT)
    return InputError(message, code="output-unwritable")


@contextlib.contextmanager
def building_directory(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden directory that becomes `target` when the block succeeds, and is removed when it fails.

    With `replace`, an existing `target` is replaced in one step. Without it, InputError is raised from a FileExistsError if another process
    has finished `target` meanwhile.
    """
    with hidden_directory(target) as hidden:
        yield hidden
        with explain_write_errors(target):
            _flush_tree(hidden)
            _publish(hidden, _resolve_link(target), replace)


@contextlib.contextmanager
def hidden_directory(target: Path) -> Iterator[Path]:
    """Yield a hidden directory beside `target` that is removed after the block."""
    with explain_write_errors(target):
        real = _resolve_link(target)
        real.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(real)
        hidden = _hidden_name(real)
        hidden.mkdir()
    try:
        with _create_locked(hidden / LOCK_SUFFIX, target):
            yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def building_file(target: Path) -> Iterator[Path]:
    """Yield the name of a hidden, empty file that replaces `target` when the block succeeds."""
    with hidden_file(target) as hidden:
        yield hidden
        with explain_write_errors(target):
            _flush(hidden)
            replace_file(hidden, _resolve_link(target))
            _flush(hidden.parent)


@contextlib.contextmanager
def hidden_file(target: Path) -> Iterator[Path]:
    """Yield the name of a hidden, empty file beside `target`, removed after the block.

    Raises InputError if `target` is a folder, a device or a pipe.
    """
    with explain_write_errors(target):
        real = _resolve_link(target)
        if real.exists() and not real.is_file():
            reason = "a folder of this name exists" if real.is_dir() else "it is a device or a pipe, not a file"
            raise InputError(f"{target} cannot be written: {reason}", code="output-taken")
        real.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(real)
        hidden = _hidden_name(real)
    try:
        with _create_locked(hidden, target):
            yield hidden
    finally:
        with contextlib.suppress(OSError):  # the original error is the one to report
            hidden.unlink()


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file. It holds either its old content or all of `data`, even if the process is killed."""
    with building_file(target) as hidden, explain_write_errors(target):
        hidden.write_bytes(data)


def replace_file(new: Path, target: Path) -> None:
    """Rename `new` to `target`, which may exist. On file systems that cannot do this in one step, `target` is absent for an instant."""
    try:
        os.replace(new, target)
        return
    except OSError as error:
        if error.errno not in _CANNOT_REPLACE or not target.is_file():
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
def exclusive_lock(target: Path, *, inside: bool = False, error_type: type[Fsv2vError] = UsageError) -> Iterator[None]:
    """Let only this process write `target`, a file or a folder that need not exist yet. Raises `error_type` if another process does so.

    The lock is a hidden file beside `target`, or with `inside` in the folder itself. It is removed after the block. The lock of a killed
    process has no effect. Nothing is locked on file systems without locks, nor where no file can be written: there the block fails anyway.
    """
    real = _resolve_link(target)
    lock = real / LOCK_SUFFIX if inside else real.with_name(f".{real.name}{LOCK_SUFFIX}")
    parent_is_new = not lock.parent.exists()
    try:
        descriptor = _lock_file(lock)
    except BlockingIOError as error:
        error_to_raise = error_type(f"{target} is being made by another process", code="output-in-progress")
        if isinstance(error_to_raise, InProgress):
            error_to_raise.target = target
        raise error_to_raise from error
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                lock.unlink()
            os.close(descriptor)
        if parent_is_new:
            with contextlib.suppress(OSError):  # it is kept if it is not empty
                lock.parent.rmdir()


def wait_for_lock(target: Path) -> None:
    """Return when no other process holds the `exclusive_lock` of `target`."""
    real = _resolve_link(target)
    with contextlib.suppress(OSError), real.with_name(f".{real.name}{LOCK_SUFFIX}").open("rb") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_SH)


@contextlib.contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Keep other processes from discarding `path` during the block. Raises FileNotFoundError if one has just done so."""
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
    """Remove a folder in one step, unless another process holds its `shared_lock`."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        if fcntl and not _try_lock(descriptor):
            return
        hidden = _hidden_name(folder)
        os.rename(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _try_lock(descriptor: int) -> bool:
    """Lock a file or folder and return True, also on file systems without locks; False if another process holds a lock on it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def require_marker(target: Path, marker: bytes, what: str) -> None:
    """Raises ParametersDiffer if `target` exists without `marker` in its first 1024 bytes: it is not a `what` and must not be replaced."""
    if not target.exists():
        return
    try:
        with target.open("rb") as file:
            found = marker in file.read(1024)
    except OSError:
        found = False
    if not found:
        raise ParametersDiffer(f"{target} exists and is not a {what}, so it is not replaced", hint="Choose another place")


def clear_leftovers(target: Path) -> None:
    """Remove hidden leftovers of `target` from processes that have ended."""
    for name in os.listdir(target.parent):
        if name.startswith(f".{target.name}.") and name.endswith((_PARTIAL_SUFFIX, _PARTIAL_SUFFIX + _NEW_SUFFIX)):
            hidden = target.parent / name
            if _is_abandoned(hidden):
                shutil.rmtree(hidden, ignore_errors=True) if hidden.is_dir() else hidden.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in a hidden directory. It is not flushed here, but with the whole directory."""
    with explain_write_errors(path):
        path.write_bytes(data)


def _resolve_link(target: Path) -> Path:
    """`target`, or for a link the path that it leads to: the link is kept, and that path is replaced."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _hidden_name(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(4)}{_PARTIAL_SUFFIX}"


@contextlib.contextmanager
def _create_locked(path: Path, target: Path) -> Iterator[None]:
    """Create the file `path` and lock it for the block. It is locked before it gets its name, so that nobody takes it for a leftover."""
    new_path = path.with_name(path.name + _NEW_SUFFIX)
    with explain_write_errors(target):
        descriptor = os.open(new_path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if fcntl:
            with contextlib.suppress(OSError):  # a file system without locks: leftovers are recognised by age
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with explain_write_errors(target):
            os.rename(new_path, path)
        yield
    finally:
        os.close(descriptor)


def _lock_file(lock: Path) -> int | None:
    """Create and lock the file `lock`. Returns its descriptor, None on file systems without locks.

    Raises BlockingIOError when another process holds the lock.
    """
    for _ in range(100 if fcntl else 0):
        descriptor = None
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _open_lock(lock)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                locked, descriptor = descriptor, None
                return locked
        except BlockingIOError:
            raise
        except FileNotFoundError:  # its holder has just removed it, or no file can be created here, as in /proc
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
    """Open a lock file: for reading and writing, or read-only if it belongs to another user."""
    try:
        return os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
    except PermissionError:
        return os.open(lock, os.O_RDONLY)


def _is_abandoned(hidden: Path) -> bool:
    """Whether the process that has created `hidden` has ended."""
    lock = hidden / LOCK_SUFFIX if hidden.is_dir() else hidden
    try:
        age = time.time() - hidden.stat().st_mtime
    except OSError:
        return False
    if hidden.name.endswith(_NEW_SUFFIX) or not lock.exists():
        return age > 60  # created a moment ago, or left by a process that died before it locked the file
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
    """Flush all files below `root`, in parallel, so that the disk can combine writes."""
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
    (hidden / LOCK_SUFFIX).unlink(missing_ok=True)
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
    """Exchange two directories, on Linux in one step; elsewhere `target` is absent for an instant."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        at_fdcwd, rename_exchange = -100, 2
        if libc.renameat2(at_fdcwd, os.fsencode(hidden), at_fdcwd, os.fsencode(target), rename_exchange) == 0:
            return
    except (AttributeError, OSError, TypeError):
        pass
    old = _hidden_name(target)
    os.rename(target, old)
    os.rename(hidden, target)
    shutil.rmtree(old, ignore_errors=True)
