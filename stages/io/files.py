"""Atomic output: files and folders that appear only when they are complete.

Everything is written under a hidden name beside its final one, `.NAME.XXXXXXXX.partial`, flushed to the disk and renamed.
The process that writes it holds a lock, so that the next writer of the same name can distinguish leftovers of killed processes from work in
progress, and remove them.
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
except ImportError:  # not a POSIX system: leftovers are recognised by their age alone
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".partial"
_FRESH = ".new"
LOCK = ".lock"
TEMPORARY = "fsv2v-"
"""Prefix of folders for temporary files."""
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
    errno.EISDIR: "a folder of this name exists",
    errno.EBUSY: "it is a mount point or in use",
}
_NO_REPLACING = (errno.EEXIST, errno.ENOTEMPTY, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems that cannot rename a file over another one."""


@contextlib.contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Turn errors of the file system into an InputError about `target`."""
    try:
        yield
    except OSError as error:
        reason = _SENTENCES.get(error.errno or 0, error.strerror or str(error))
        raise unwritable(target, reason) from error


def unwritable(target: Path, reason: str) -> InputError:
    """The error for a file or folder that cannot be written."""
    message = f"{target} cannot be written: {reason}"
    if tempfile.tempdir is not None and str(target).startswith(os.path.join(tempfile.tempdir, TEMPORARY)):
        return InputError(message, hint=TEMPORARY_FULL)
    return InputError(message, code="output-unwritable")


@contextlib.contextmanager
def building_directory(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden directory that becomes `target` when the block succeeds, and is removed when it fails.

    With `replace` an existing `target` is replaced in one step; without, FileExistsError is raised if another process has finished it
    meanwhile.
    """
    with hidden_directory(target) as hidden:
        yield hidden
        with write_errors(target):
            _flush_tree(hidden)
            _publish(hidden, _real(target), replace)


@contextlib.contextmanager
def hidden_directory(target: Path) -> Iterator[Path]:
    """Yield a hidden directory beside `target` that is removed after the block."""
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
    """Yield the name of a hidden, empty file that replaces `target` when the block succeeds."""
    with hidden_file(target) as hidden:
        yield hidden
        with write_errors(target):
            _flush(hidden)
            replace_file(hidden, _real(target))
            _flush(hidden.parent)


@contextlib.contextmanager
def hidden_file(target: Path) -> Iterator[Path]:
    """Yield the name of a hidden, empty file beside `target`, removed after the block. Raises InputError for a device or a pipe."""
    with write_errors(target):
        real = _real(target)
        if real.exists() and not real.is_file():
            what = "a folder of this name exists" if real.is_dir() else "it is a device or a pipe, not a file"
            raise InputError(f"{target} cannot be written: {what}", code="output-taken")
        real.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(real)
        hidden = _hidden_name(real)
    try:
        with _locked(hidden, target):
            yield hidden
    finally:
        with contextlib.suppress(OSError):  # the original error is the one to report
            hidden.unlink()


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file. It holds either its old content or all of `data`, even if the process is killed."""
    with building_file(target) as hidden, write_errors(target):
        hidden.write_bytes(data)


def replace_file(new: Path, target: Path) -> None:
    """Rename `new` to `target` and replace it. On file systems that cannot do this in one step, `target` is absent for an instant."""
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
    """Lock `target`, a file or a folder that need not exist yet, for this process. Raises `refusal` while another process holds it.

    The lock is a hidden file beside `target`, or with `inside` in the folder itself. It is removed after the block; that of a killed
    process has no effect. There is no lock on file systems without locks, and where nothing can be written, which the block then reports.
    """
    real = _real(target)
    lock = real / LOCK if inside else real.with_name(f".{real.name}{LOCK}")
    new = not lock.parent.exists()
    try:
        descriptor = _hold(lock)
    except BlockingIOError as error:
        refused = refusal(f"{target} is being made by another process", code="output-in-progress")
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
            with contextlib.suppress(OSError):  # it is kept if it is not empty
                lock.parent.rmdir()


def wait_for(target: Path) -> None:
    """Return when no other process holds `target` by `alone`."""
    real = _real(target)
    with contextlib.suppress(OSError), real.with_name(f".{real.name}{LOCK}").open("rb") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_SH)


@contextlib.contextmanager
def using(path: Path) -> Iterator[None]:
    """Protect `path` from being discarded by other processes during the block. Raises FileNotFoundError when one has just done so."""
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
    """Lock a file or folder. Returns False when another process holds it; file systems without locks count as not held."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def require_own(target: Path, mark: bytes, what: str) -> None:
    """Raises ParametersDiffer when an existing `target` lacks `mark` near its beginning: it is not a `what`, and is not replaced."""
    if not target.exists():
        return
    try:
        with target.open("rb") as file:
            own = mark in file.read(1024)
    except OSError:
        own = False
    if not own:
        raise ParametersDiffer(f"{target} exists and is not a {what}, so it is not replaced", hint="Choose another place")


def clear_leftovers(target: Path) -> None:
    """Remove hidden leftovers of `target` from processes that have ended."""
    for name in os.listdir(target.parent):
        if name.startswith(f".{target.name}.") and name.endswith((_SUFFIX, _SUFFIX + _FRESH)):
            hidden = target.parent / name
            if _abandoned(hidden):
                shutil.rmtree(hidden, ignore_errors=True) if hidden.is_dir() else hidden.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file inside a hidden directory, without flushing: publishing the directory flushes it."""
    with write_errors(path):
        path.write_bytes(data)


def _real(target: Path) -> Path:
    """The target of a link: links are kept, and their targets replaced."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _hidden_name(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(4)}{_SUFFIX}"


@contextlib.contextmanager
def _locked(path: Path, target: Path) -> Iterator[None]:
    """Hold a lock on the file `path`, which is locked before it appears, so that no process takes it for a leftover."""
    fresh = path.with_name(path.name + _FRESH)
    with write_errors(target):
        descriptor = os.open(fresh, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if fcntl:
            with contextlib.suppress(OSError):  # a file system without locks: leftovers are recognised by age
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with write_errors(target):
            os.rename(fresh, path)
        yield
    finally:
        os.close(descriptor)


def _hold(lock: Path) -> int | None:
    """The open file `lock`, locked; None on file systems without locks. Raises BlockingIOError when another process holds it."""
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
        except FileNotFoundError:  # just removed by its holder, or cannot exist, as below /proc
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
    """Open a lock file, for reading only if it belongs to another user."""
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
        return age > 60  # just created, or left by a process that died before it could lock
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
    """Flush all files below `root`, several at a time, which the disk can combine."""
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
    """Exchange two directories, on Linux in one step; elsewhere `target` is absent for an instant."""
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
