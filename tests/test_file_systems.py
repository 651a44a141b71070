"""File systems of other kinds: without locks, without renaming over a file, with times of whole seconds, with links and devices."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from fsv2v_cli.hints import with_hint
from stages.errors import InputError
from stages.io.files import TEMPORARY_PREFIX, building_directory, building_file, discard, exclusive_lock, write_atomically


@pytest.fixture
def no_locks(monkeypatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def no_renaming_over(monkeypatch) -> None:
    """As some file systems in user space and on servers have it."""
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(source), None, str(target))
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "rename", refuse)


def test_without_locks_everything_is_made_and_no_lock_stays(no_locks, tmp_path):
    with exclusive_lock(tmp_path / "new" / "x"), exclusive_lock(tmp_path / "run", inside=True):
        write_atomically(tmp_path / "x", b"1")
        with building_directory(tmp_path / "y") as folder:
            (folder / "file").touch()
    discard(tmp_path / "y")
    assert os.listdir(tmp_path) == ["x"]


def test_without_locks_weights_are_fetched(no_locks, tmp_path):
    import hashlib

    from weights.fetching import RemoteFile, download

    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "a.bin").write_bytes(b"weights")
    wanted = RemoteFile("a.bin", (hashlib.sha256(b"weights").hexdigest(),))
    got = download(wanted, [(tmp_path / "mirror" / "a.bin").as_uri()], tmp_path / "cache")
    assert got.read_bytes() == b"weights"


def test_without_renaming_over_files_and_folders_are_replaced_all_the_same(no_renaming_over, tmp_path):
    for content in (b"old", b"new"):
        write_atomically(tmp_path / "file", content)
        with building_directory(tmp_path / "folder", replace=True) as folder:
            (folder / "x").write_bytes(content)
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "x").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_without_renaming_over_weights_that_are_damaged_are_fetched_again(no_renaming_over, tmp_path):
    import hashlib

    from weights.fetching import RemoteFile, download

    (tmp_path / "good.bin").write_bytes(b"weights")
    (tmp_path / "a.bin").write_bytes(b"damaged")
    wanted = RemoteFile("a.bin", (hashlib.sha256(b"weights").hexdigest(),))
    assert download(wanted, [(tmp_path / "good.bin").as_uri()], tmp_path).read_bytes() == b"weights"


def test_with_times_of_whole_seconds_weights_that_were_replaced_are_checked_again(tmp_path, monkeypatch):
    from weights import registry

    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    name = next(name for name, weight in registry.manifest().items() if not weight.shipped)
    digests = []
    for content in (b"one", b"two"):
        write_atomically(tmp_path / name, content)
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
        digests.append(registry.sha256(name))
    assert digests[0] != digests[1]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "disk" / "folder").mkdir(parents=True)
    for name in ("file", "folder"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    write_atomically(tmp_path / "file", b"new")
    with building_directory(tmp_path / "folder", replace=True) as folder:
        (folder / "x").touch()

    assert (tmp_path / "file").is_symlink() and (tmp_path / "folder").is_symlink()
    assert (tmp_path / "disk" / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path / "disk" / "folder") == ["x"]
    assert sorted(os.listdir(tmp_path)) == ["disk", "file", "folder"]


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path):
    """Root who wrote to /dev/null with -o would have lost it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe cannot be written: it is a device or a pipe"), building_file(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_a_lock_of_another_user_counts(tmp_path):
    """Its file cannot be opened for writing, even by root where the kernel protects files in folders for everyone."""
    from stages.errors import UsageError

    lock = tmp_path / ".x.lock"
    with lock.open("w") as other, pytest.MonkeyPatch.context() as patched:
        fcntl.flock(other, fcntl.LOCK_EX)
        opened = os.open
        patched.setattr(os, "open", lambda path, flags, *mode: _protected(opened, path, flags, *mode))
        with pytest.raises(UsageError, match="x is being made by another process"), exclusive_lock(tmp_path / "x"):
            pass


def _protected(opened, path, flags, *mode):
    if flags & os.O_RDWR:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return opened(path, flags, *mode)


def test_a_full_disk_for_temporary_files_is_told_as_that(tmp_path, monkeypatch):
    from stages.io.files import write_bytes

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    in_tmpdir = pytest.raises(InputError, match="another folder for temporary files in TMPDIR")
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder, in_tmpdir:
        write_bytes(Path(folder) / "absent" / "x", b"")
    with pytest.raises(InputError) as caught:
        write_bytes(tmp_path / "absent" / "x", b"")
    assert "another place with -o" in with_hint(str(caught.value))
