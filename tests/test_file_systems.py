"""Unusual file systems: without locks, without replacing by rename, with times in whole seconds, with links and devices."""

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
def no_replacing(monkeypatch) -> None:
    """Renaming cannot replace an existing file, as on some network file systems."""
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(source), None, str(target))
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "rename", refuse)


def test_without_locks_files_are_written_and_no_lock_file_is_left(no_locks, tmp_path):
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
    file = RemoteFile("a.bin", (hashlib.sha256(b"weights").hexdigest(),))
    path = download(file, [(tmp_path / "mirror" / "a.bin").as_uri()], tmp_path / "cache")
    assert path.read_bytes() == b"weights"


def test_files_and_folders_are_replaced_even_if_rename_cannot_do_it(no_replacing, tmp_path):
    for content in (b"old", b"new"):
        write_atomically(tmp_path / "file", content)
        with building_directory(tmp_path / "folder", replace=True) as folder:
            (folder / "x").write_bytes(content)
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "x").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_damaged_weights_are_replaced_even_if_rename_cannot_do_it(no_replacing, tmp_path):
    import hashlib

    from weights.fetching import RemoteFile, download

    (tmp_path / "good.bin").write_bytes(b"weights")
    (tmp_path / "a.bin").write_bytes(b"damaged")
    file = RemoteFile("a.bin", (hashlib.sha256(b"weights").hexdigest(),))
    assert download(file, [(tmp_path / "good.bin").as_uri()], tmp_path).read_bytes() == b"weights"


def test_replaced_weights_are_checked_again_even_with_the_same_time(tmp_path, monkeypatch):
    from weights import registry

    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    name = next(name for name, weight in registry.manifest().items() if not weight.shipped)
    digests = []
    for content in (b"one", b"two"):
        write_atomically(tmp_path / name, content)
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
        digests.append(registry.sha256(name))
    assert digests[0] != digests[1]


def test_the_target_of_a_link_is_replaced_and_the_link_kept(tmp_path):
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
    """Otherwise `-o /dev/null` by root would replace the device."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe cannot be written: it is a device or a pipe"), building_file(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_a_lock_of_another_user_is_respected(tmp_path):
    """The lock file of another user cannot be opened for writing; in shared folders the kernel may refuse even root."""
    from stages.errors import UsageError

    lock = tmp_path / ".x.lock"
    with lock.open("w") as other, pytest.MonkeyPatch.context() as patched:
        fcntl.flock(other, fcntl.LOCK_EX)
        original = os.open
        patched.setattr(os, "open", lambda path, flags, *mode: _open_without_writing(original, path, flags, *mode))
        with pytest.raises(UsageError, match="x is being made by another process"), exclusive_lock(tmp_path / "x"):
            pass


def _open_without_writing(original, path, flags, *mode):
    if flags & os.O_RDWR:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return original(path, flags, *mode)


def test_the_hint_for_a_full_disk_distinguishes_temporary_files(tmp_path, monkeypatch):
    from stages.io.files import write_bytes

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    in_tmpdir = pytest.raises(InputError, match="another folder for temporary files in TMPDIR")
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder, in_tmpdir:
        write_bytes(Path(folder) / "absent" / "x", b"")
    with pytest.raises(InputError) as caught:
        write_bytes(tmp_path / "absent" / "x", b"")
    assert "another path with -o" in with_hint(str(caught.value))
