"""A real cluster of two nodes, one of which is killed: every clip is finished once, with the bytes of a local run."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.extract_sketch import SketchOptions
from stages.runner import ClipTask, run_over_clips

pytest.importorskip("ray")


@pytest.fixture
def cluster(stub_stages, monkeypatch):
    """Two nodes with one core each. Their files have a short path, because paths of sockets are limited to 107 bytes."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(stub_stages.__file__).parent), str(Path(__file__).parents[2])]))
    folder = tempfile.mkdtemp(prefix="fsv2v", dir="/tmp")
    settings: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20}
    cluster: Any = Cluster(initialize_head=True, head_node_args={**settings, "temp_dir": folder})
    cluster.second = cluster.add_node(**settings)
    yield cluster
    cluster.shutdown()
    assert _becomes_true(lambda: not processes_of(folder)), processes_of(folder)
    shutil.rmtree(folder)


@pytest.fixture
def videos(make_face_video, tmp_path):
    return [str(make_face_video(tmp_path / f"{index}.mp4", 15 + index)) for index in range(12)]


def test_after_the_death_of_a_node_every_clip_is_finished_once_with_the_same_bytes(
    cluster, stub_stages, fsv2v, videos, content, leftovers, tmp_path
):
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    options = SketchOptions(backend="dlib", background="none")
    hanging = stub_stages.HangOptions(str(nodes), cluster.second.node_id, options)
    task = ClipTask("stub_stages:sketch_or_hang", hanging, str(tmp_path / "on ray"))

    finished = []
    for report in run_over_clips(task, videos, engine="ray", address=cluster.address):
        finished.append(report)
        if len(finished) == 7:  # six of the first node, and one of the second, whose next call hangs
            assert _becomes_true(lambda: leftovers(tmp_path / "on ray"))
            cluster.remove_node(cluster.second, allow_graceful=False)

    assert Counter(report.source for report in finished) == Counter(videos)
    assert {(report.status, report.reason) for report in finished} == {("done", "")}
    local = fsv2v("extract-sketch", *videos, "-o", tmp_path / "local", "--backend", "dlib", "--background", "none", "--jobs", "2")
    assert local.exit_code == 0, local.stderr
    assert content(tmp_path / "on ray") == content(tmp_path / "local")
    assert leftovers(tmp_path / "on ray") == []
    workers = {int(pid) for log in nodes.iterdir() for pid in log.read_text().split()}
    assert _becomes_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def processes_of(folder: str) -> list[str]:
    """The command lines that name the folder of the cluster."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines += [line] if folder in (line := file.read_bytes().replace(b"\0", b" ").decode(errors="replace")) else []
    return lines


def _becomes_true(condition, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())
