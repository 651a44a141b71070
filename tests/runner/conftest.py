"""Inputs and tasks for the tests of the runner."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import pytest

from stages.runner import ClipTask


@pytest.fixture(scope="session")
def stub_stages() -> ModuleType:
    """The module with the stub stages, which tests and workers can import."""
    return importlib.import_module("stub_stages")


@pytest.fixture
def inputs(make_tiny_video, tmp_path) -> Callable[..., list[str]]:
    """inputs("a", "b"): paths of tiny videos of these names."""

    def make(*names: str) -> list[str]:
        return [str(make_tiny_video(tmp_path / f"{name}.mp4")) for name in names]

    return make


@pytest.fixture
def task(stub_stages, tmp_path) -> Callable[..., ClipTask]:
    """task(b="die"): the stub stage, with a fault for each named input."""

    def make(**faults: str) -> ClipTask:
        log = tmp_path / "log"
        log.touch()
        options = stub_stages.StubOptions(str(log), tuple(f"{stem}={fault}" for stem, fault in faults.items()))
        return ClipTask("stub_stages:extract", options, str(tmp_path / "out"), False, "stub")

    return make
