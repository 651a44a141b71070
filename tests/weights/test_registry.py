"""Where a weight file is taken from, and that it is checked before it is handed out."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from stages.errors import MissingRequirement, UsageError
from weights import registry
from weights.fetching import sha256_of

NAME = "face_landmarker.task"


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """A machine with an empty cache, no mirror and no network."""
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    return tmp_path / "cache"


def test_the_manifest_says_everything_about_every_file():
    for name, weight in registry.manifest().items():
        assert weight.name == name
        assert weight.what and weight.licence and weight.origin
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in weight.sha256)
        assert weight.url == "" or weight.url.startswith("https://")
        assert weight.shipped or weight.sha256
        assert weight.shipped == bool(weight.card)


def test_a_hash_prefix_in_a_file_name_is_that_of_the_file():
    weight = registry.entry("vgg19-dcbb9e9d.pth")
    assert weight.sha256[0].startswith("dcbb9e9d")


@pytest.mark.parametrize("name", [name for name, weight in registry.manifest().items() if weight.shipped])
def test_shipped_files_are_those_of_the_manifest_and_have_a_card(name):
    weight = registry.entry(name)
    found = registry.find(name)
    assert found is not None and found.place == "shipped"
    assert registry.problem(name) == ""
    assert found.path.stat().st_size == weight.bytes
    assert (registry.SHIPPED / weight.card).is_file()


def test_a_mirror_folder_is_looked_in_first(shared, empty, monkeypatch):
    assert not registry.available(NAME)
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(shared / "weights"))
    assert registry.available(NAME)
    assert registry.path(NAME) == shared / "weights" / NAME
    assert not empty.exists()


def test_every_file_of_the_mirror_is_accepted(shared, empty, monkeypatch):
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(shared / "weights"))
    for file in (shared / "weights").iterdir():
        assert registry.problem(file.name) == ""
        assert registry.sha256(file.name) == sha256_of(file)


def test_another_file_in_the_mirror_is_refused(empty, monkeypatch, tmp_path):
    (tmp_path / NAME).write_bytes(b"something else")
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    with pytest.raises(MissingRequirement, match="its sha256 is not in the manifest"):
        registry.path(NAME)


def test_a_damaged_file_of_the_cache_is_never_handed_out(empty):
    empty.mkdir()
    (empty / NAME).write_bytes(b"damaged")
    assert registry.problem(NAME).startswith("its sha256 is ")
    with pytest.raises(MissingRequirement, match="could not be fetched"):
        registry.path(NAME)


def test_without_network_it_says_what_to_do(empty):
    with pytest.raises(MissingRequirement) as caught:
        registry.path(NAME)
    assert (caught.value.code, caught.value.facts) == ("weights-absent", {"name": NAME})
    assert str(empty) in str(caught.value) and "FSV2V_WEIGHTS_MIRROR" in str(caught.value)


def test_a_file_without_public_address_is_asked_of_the_user(empty, monkeypatch):
    private = replace(registry.entry(NAME), url="")
    monkeypatch.setattr(registry, "manifest", lambda: {NAME: private})
    with pytest.raises(MissingRequirement, match="no public address.*put the file into"):
        registry.path(NAME)


def test_a_file_in_the_cache_is_used(shared, empty):
    empty.mkdir()
    (empty / NAME).write_bytes((shared / "weights" / NAME).read_bytes())
    assert registry.path(NAME) == empty / NAME


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(UsageError, match="face_landmarker.task"):
        registry.path("nope")


def test_the_default_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FSV2V_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert registry.cache_folder() == tmp_path / "fsv2v" / "weights"


def test_a_user_without_a_home_folder_has_a_cache_in_the_temporary_folder(monkeypatch, tmp_path):
    """As in containers that run under a number that is in no list of users."""
    for name in ("FSV2V_WEIGHTS", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert registry.cache_folder() == tmp_path / f"fsv2v-{os.getuid()}" / "weights"
    monkeypatch.setenv("FSV2V_WEIGHTS", "~/weights")
    assert registry.cache_folder() == Path("~/weights"), "a name that cannot be expanded is only a name"


def test_a_shipped_file_without_a_recorded_hash_is_taken_as_installed():
    weight = replace(registry.entry("face_68_fsv2v.dat"), sha256=())
    assert weight.accepts("anything")
    assert not replace(weight, shipped=False).accepts("anything")


def test_what_backends_need_is_in_the_manifest():
    from stages.backends import every_backend

    needed = {name for _, backend in every_backend() for name in backend.weights}
    assert needed <= set(registry.manifest())
