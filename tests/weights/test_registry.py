"""The registry of weights: where it finds a file, and how it checks the file."""

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
def empty_cache(monkeypatch, tmp_path):
    """A machine with an empty cache, no mirror and no network."""
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    return tmp_path / "cache"


def test_the_manifest_describes_every_file_completely():
    for name, weight in registry.manifest().items():
        assert weight.name == name
        assert weight.what and weight.licence and weight.origin
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in weight.sha256)
        assert weight.url == "" or weight.url.startswith("https://")
        assert weight.shipped or weight.sha256
        assert weight.shipped == bool(weight.card)


def test_a_hash_in_a_file_name_is_the_beginning_of_the_sha256():
    weight = registry.entry("vgg19-dcbb9e9d.pth")
    assert weight.sha256[0].startswith("dcbb9e9d")


@pytest.mark.parametrize("name", [name for name, weight in registry.manifest().items() if weight.shipped])
def test_shipped_files_are_those_of_the_manifest_and_have_a_card(name):
    weight = registry.entry(name)
    weight_file = registry.find(name)
    assert weight_file is not None and weight_file.location == "shipped"
    assert registry.problem(name) == ""
    assert weight_file.path.stat().st_size == weight.bytes
    assert (registry.SHIPPED / weight.card).is_file()


def test_the_mirror_folder_is_searched_first(shared, empty_cache, monkeypatch):
    assert not registry.available(NAME)
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(shared / "weights"))
    assert registry.available(NAME)
    assert registry.path(NAME) == shared / "weights" / NAME
    assert not empty_cache.exists()


def test_every_file_of_the_mirror_is_accepted(shared, empty_cache, monkeypatch):
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(shared / "weights"))
    for file in (shared / "weights").iterdir():
        assert registry.problem(file.name) == ""
        assert registry.sha256(file.name) == sha256_of(file)


def test_another_file_in_the_mirror_is_refused(empty_cache, monkeypatch, tmp_path):
    (tmp_path / NAME).write_bytes(b"something else")
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    with pytest.raises(MissingRequirement, match="its sha256 is not in the manifest"):
        registry.path(NAME)


def test_a_damaged_file_in_the_cache_is_never_used(empty_cache):
    empty_cache.mkdir()
    (empty_cache / NAME).write_bytes(b"damaged")
    assert registry.problem(NAME).startswith("its sha256 is ")
    with pytest.raises(MissingRequirement, match="could not be fetched"):
        registry.path(NAME)


def test_without_network_the_error_has_a_remedy(empty_cache):
    with pytest.raises(MissingRequirement) as caught:
        registry.path(NAME)
    assert (caught.value.code, caught.value.facts) == ("weights-absent", {"name": NAME})
    assert str(empty_cache) in str(caught.value) and "FSV2V_WEIGHTS_MIRROR" in str(caught.value)


def test_the_user_must_provide_a_file_without_a_public_address(empty_cache, monkeypatch):
    private = replace(registry.entry(NAME), url="")
    monkeypatch.setattr(registry, "manifest", lambda: {NAME: private})
    with pytest.raises(MissingRequirement, match="no public address.*put the file into"):
        registry.path(NAME)


def test_a_file_in_the_cache_is_used(shared, empty_cache):
    empty_cache.mkdir()
    (empty_cache / NAME).write_bytes((shared / "weights" / NAME).read_bytes())
    assert registry.path(NAME) == empty_cache / NAME


def test_the_error_for_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="face_landmarker.task"):
        registry.path("nope")


def test_the_default_cache_is_in_the_cache_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("FSV2V_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert registry.cache_folder() == tmp_path / "fsv2v" / "weights"


def test_a_user_without_a_home_folder_has_a_cache_in_the_temporary_folder(monkeypatch, tmp_path):
    """This happens in containers that run with an unknown user id."""
    for name in ("FSV2V_WEIGHTS", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert registry.cache_folder() == tmp_path / f"fsv2v-{os.getuid()}" / "weights"
    monkeypatch.setenv("FSV2V_WEIGHTS", "~/weights")
    assert registry.cache_folder() == Path("~/weights"), "a ~ that cannot be expanded is kept"


def test_a_shipped_file_without_a_recorded_hash_is_accepted():
    weight = replace(registry.entry("face_68_fsv2v.dat"), sha256=())
    assert weight.accepts("anything")
    assert not replace(weight, shipped=False).accepts("anything")


def test_the_weights_of_backends_are_in_the_manifest():
    from stages.backends import every_backend

    needed = {name for _, backend in every_backend() for name in backend.weights}
    assert needed <= set(registry.manifest())
