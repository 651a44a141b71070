"""A weight file is either complete and checked, or absent, whatever the server and the network do.

Each test sets the behaviour of a local server.
"""

from __future__ import annotations

import bz2
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stages.errors import MissingRequirement
from weights.fetching import RemoteFile, RetryPolicy, download

CONTENT = bytes(range(256)) * 8192  # 2 MiB
FILE = RemoteFile("a.bin", (hashlib.sha256(CONTENT).hexdigest(),), len(CONTENT))
FAST_RETRIES = RetryPolicy(attempts=4, timeout=0.5, pause=0.01)


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under every path. Each request uses one of `behaviours`, until none is left; then requests succeed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.behaviours: list[str] = []
        self.requested_ranges: list[str | None] = []  # the Range header of each request
        self.ranges = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/a.bin"

    def handle_error(self, request, client_address) -> None:
        pass  # clients that disconnect are expected


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        requested = self.headers.get("Range")
        self.server.requested_ranges.append(requested)
        behaviour = self.server.behaviours.pop(0) if self.server.behaviours else "success"
        if behaviour.isdecimal():
            self.send_error(int(behaviour))
            return
        begin = int(requested.removeprefix("bytes=").rstrip("-")) if requested and self.server.ranges else 0
        content = self.server.content[::-1] if behaviour == "wrong" else self.server.content
        self.send_response(206 if requested and self.server.ranges else 200)
        if behaviour != "no length":
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if behaviour == "truncated":
            self.wfile.write(content[begin : begin + 700_000])
        elif behaviour in ("stalled", "slow"):
            self.wfile.write(content[begin : begin + 700_000])
            self.wfile.flush()
            time.sleep(3 if behaviour == "stalled" else 0.3)
            self.wfile.write(content[begin + 700_000 :])
        else:
            self.wfile.write(content[begin:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    running = Server()
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def test_a_file_is_fetched(server, tmp_path):
    path = download(FILE, [server.address], tmp_path / "new" / "cache", FAST_RETRIES)
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["a.bin"]


def test_an_existing_file_is_not_requested_again(server, tmp_path):
    download(FILE, [server.address], tmp_path, FAST_RETRIES)
    download(FILE, [server.address], tmp_path, FAST_RETRIES)
    assert len(server.requested_ranges) == 1


def test_progress_is_reported(server, tmp_path):
    progress: list[tuple[int, int]] = []
    download(FILE, [server.address], tmp_path, FAST_RETRIES, lambda done, total: progress.append((done, total)))
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


@pytest.mark.parametrize("behaviour", ["truncated", "stalled"])
def test_an_interrupted_transfer_is_resumed(server, tmp_path, behaviour):
    server.behaviours = [behaviour, behaviour]
    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT
    assert server.requested_ranges == [None, "bytes=700000-", "bytes=1400000-"]


def test_a_server_without_ranges_sends_the_file_again(server, tmp_path):
    server.behaviours, server.ranges = ["truncated"], False
    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT


def test_a_slow_server_is_not_asked_twice(server, tmp_path):
    server.behaviours = ["slow"]
    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT
    assert len(server.requested_ranges) == 1


def test_a_server_need_not_send_the_length(server, tmp_path):
    server.behaviours = ["no length"]
    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_temporary_errors_of_the_server_are_retried(server, tmp_path, status):
    server.behaviours = [status, status]
    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT


def test_permanent_errors_of_the_server_are_reported_in_a_sentence(server, tmp_path):
    server.behaviours = ["500"] * 4
    with pytest.raises(MissingRequirement, match="the server answered 500 .* after 4 attempts"):
        download(FILE, [server.address], tmp_path, FAST_RETRIES)
    assert visible(tmp_path) == []


def test_an_absent_file_is_requested_once(server, tmp_path):
    server.behaviours = ["404"]
    with pytest.raises(MissingRequirement, match="the server answered 404"):
        download(FILE, [server.address], tmp_path, FAST_RETRIES)
    assert len(server.requested_ranges) == 1
    assert visible(tmp_path) == []


def test_a_wrong_file_is_refused_and_dropped(server, tmp_path):
    server.behaviours = ["wrong"]
    with pytest.raises(MissingRequirement, match="it serves another file, with sha256"):
        download(FILE, [server.address], tmp_path, FAST_RETRIES)
    assert visible(tmp_path) == []
    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT


def test_the_next_address_is_tried(server, tmp_path):
    server.behaviours = ["404"]
    other = server.address.replace("a.bin", "b.bin")
    assert download(FILE, [server.address, other], tmp_path, FAST_RETRIES).read_bytes() == CONTENT


def test_without_network_the_error_is_immediate(tmp_path):
    started = time.monotonic()
    with pytest.raises(MissingRequirement, match="no connection"):
        download(FILE, ["http://127.0.0.1:9/a.bin"], tmp_path, RetryPolicy())
    assert time.monotonic() - started < 1


PACKED = bz2.compress(CONTENT[: len(CONTENT) // 2]) + bz2.compress(
    CONTENT[len(CONTENT) // 2 :]
)  # two streams, as parallel compressors write them


def test_a_packed_file_is_unpacked(server, tmp_path):
    server.content = PACKED
    path = download(FILE, [f"{server.address}.bz2"], tmp_path, FAST_RETRIES)
    assert path.read_bytes() == CONTENT
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".a.bin.lock", "a.bin"], "no other file is left"


@pytest.mark.parametrize("left", [PACKED[:100], b"x" * 100, PACKED, PACKED + b"x"], ids=range(4))
def test_a_partial_packed_file_of_an_earlier_run_is_used_if_it_is_valid(server, tmp_path, left):
    server.content = PACKED
    (tmp_path / ".a.bin.bz2.part").write_bytes(left)
    assert download(FILE, [f"{server.address}.bz2"], tmp_path, FAST_RETRIES).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content",
    [b"no bzip2 file", PACKED[:200], PACKED[:200] + b"x" * 50, bz2.compress(CONTENT[::-1]), bz2.compress(bytes(1 << 26))],
    ids=["another format", "truncated", "damaged", "another file", "too large"],
)
def test_a_wrong_packed_file_is_refused_and_dropped(server, tmp_path, content):
    server.content = content
    with pytest.raises(MissingRequirement, match="it serves another file, with sha256"):
        download(FILE, [f"{server.address}.bz2"], tmp_path, FAST_RETRIES)
    assert [entry.name for entry in tmp_path.iterdir()] == [".a.bin.lock"]


@pytest.mark.parametrize("left", [CONTENT[:1000], b"x" * 1000, CONTENT, CONTENT + b"x", b"x" * len(CONTENT)], ids=range(5))
def test_a_partial_file_of_an_earlier_run_is_used_if_it_is_valid(server, tmp_path, left):
    (tmp_path / ".a.bin.part").write_bytes(left)
    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT
    assert visible(tmp_path) == ["a.bin"]


FETCH = f"""
import sys
from pathlib import Path
from weights.fetching import RetryPolicy, RemoteFile, download
download(RemoteFile("a.bin", ({FILE.sha256[0]!r},)), [sys.argv[1]], Path(sys.argv[2]), RetryPolicy(timeout=5))
"""


def start_fetch(address: str, folder: Path) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen([sys.executable, "-c", FETCH, address, str(folder)], env={**os.environ, "PYTHONPATH": root})


def test_a_killed_fetch_leaves_no_visible_file_and_the_next_one_resumes(server, tmp_path):
    server.behaviours = ["stalled"]
    process = start_fetch(server.address, tmp_path)
    part = tmp_path / ".a.bin.part"
    while not (part.is_file() and part.stat().st_size > 0):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert visible(tmp_path) == []

    assert download(FILE, [server.address], tmp_path, FAST_RETRIES).read_bytes() == CONTENT
    assert server.requested_ranges[1] is not None and server.requested_ranges[1].startswith("bytes=")


def test_several_processes_fetch_a_file_once(server, tmp_path):
    server.behaviours = ["slow"]
    processes = [start_fetch(server.address, tmp_path) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(server.requested_ranges) == 1
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_reported_in_a_sentence(server):
    with pytest.raises(MissingRequirement, match="a.bin cannot be written to /proc"):
        download(FILE, [server.address], Path("/proc/cache"), FAST_RETRIES)


def test_a_full_disk_is_reported_in_a_sentence(server):
    with pytest.raises(MissingRequirement, match="cannot be written"):
        download(RemoteFile("full", FILE.sha256), [server.address], Path("/dev/full"), FAST_RETRIES)
