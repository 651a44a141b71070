"""A weight file is either there, whole and checked, or not there, whatever the server and the network do.

The server is a real one on this machine; each test says how it behaves.
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
WANTED = RemoteFile("a.bin", (hashlib.sha256(CONTENT).hexdigest(),), len(CONTENT))
EAGER = RetryPolicy(attempts=4, timeout=0.5, pause=0.01)


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under every path; `behaviours` are used up one per request, then it behaves well."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.behaviours: list[str] = []
        self.asked: list[str | None] = []  # the Range header of each request
        self.ranges = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/a.bin"

    def handle_error(self, request, client_address) -> None:
        pass  # clients that leave are what these tests are about


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        behaviour = self.server.behaviours.pop(0) if self.server.behaviours else "well"
        if behaviour.isdecimal():
            self.send_error(int(behaviour))
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        content = self.server.content[::-1] if behaviour == "wrong" else self.server.content
        self.send_response(206 if wanted and self.server.ranges else 200)
        if behaviour != "no length":
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if behaviour == "truncated":
            self.wfile.write(content[begin : begin + 700_000])
        elif behaviour in ("stalled", "trickling"):
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


def test_a_file_is_fetched_whole(server, tmp_path):
    path = download(WANTED, [server.address], tmp_path / "new" / "cache", EAGER)
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["a.bin"]


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    download(WANTED, [server.address], tmp_path, EAGER)
    download(WANTED, [server.address], tmp_path, EAGER)
    assert len(server.asked) == 1


def test_progress_is_told(server, tmp_path):
    told: list[tuple[int, int]] = []
    download(WANTED, [server.address], tmp_path, EAGER, lambda done, total: told.append((done, total)))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("behaviour", ["truncated", "stalled"])
def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path, behaviour):
    server.behaviours = [behaviour, behaviour]
    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=700000-", "bytes=1400000-"]


def test_a_server_that_cannot_go_on_in_the_middle_begins_again(server, tmp_path):
    server.behaviours, server.ranges = ["truncated"], False
    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT


def test_a_slow_server_is_waited_for(server, tmp_path):
    server.behaviours = ["trickling"]
    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_server_that_tells_no_length_will_do(server, tmp_path):
    server.behaviours = ["no length"]
    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_a_passing_trouble_of_the_server_is_waited_out(server, tmp_path, status):
    server.behaviours = [status, status]
    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT


def test_a_lasting_trouble_is_a_sentence(server, tmp_path):
    server.behaviours = ["500"] * 4
    with pytest.raises(MissingRequirement, match="the server answered 500 .* after 4 attempts"):
        download(WANTED, [server.address], tmp_path, EAGER)
    assert visible(tmp_path) == []


def test_a_file_that_is_not_there_is_asked_for_once(server, tmp_path):
    server.behaviours = ["404"]
    with pytest.raises(MissingRequirement, match="the server answered 404"):
        download(WANTED, [server.address], tmp_path, EAGER)
    assert len(server.asked) == 1
    assert visible(tmp_path) == []


def test_a_wrong_file_is_refused_and_dropped(server, tmp_path):
    server.behaviours = ["wrong"]
    with pytest.raises(MissingRequirement, match="it serves another file, with sha256"):
        download(WANTED, [server.address], tmp_path, EAGER)
    assert visible(tmp_path) == []
    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT


def test_the_next_address_is_tried(server, tmp_path):
    server.behaviours = ["404"]
    other = server.address.replace("a.bin", "b.bin")
    assert download(WANTED, [server.address, other], tmp_path, EAGER).read_bytes() == CONTENT


def test_without_network_nobody_waits(tmp_path):
    begun = time.monotonic()
    with pytest.raises(MissingRequirement, match="no connection"):
        download(WANTED, ["http://127.0.0.1:9/a.bin"], tmp_path, RetryPolicy())
    assert time.monotonic() - begun < 1


PACKED = bz2.compress(CONTENT[: len(CONTENT) // 2]) + bz2.compress(CONTENT[len(CONTENT) // 2 :])  # as parallel packers write it


def test_a_packed_file_is_unpacked(server, tmp_path):
    server.content = PACKED
    path = download(WANTED, [f"{server.address}.bz2"], tmp_path, EAGER)
    assert path.read_bytes() == CONTENT
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".a.bin.lock", "a.bin"], "nothing else is left"


@pytest.mark.parametrize("left", [PACKED[:100], b"x" * 100, PACKED, PACKED + b"x"], ids=range(4))
def test_what_an_earlier_run_left_of_a_packed_file_is_used_if_it_fits(server, tmp_path, left):
    server.content = PACKED
    (tmp_path / ".a.bin.bz2.part").write_bytes(left)
    assert download(WANTED, [f"{server.address}.bz2"], tmp_path, EAGER).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content",
    [b"no bzip2 file", PACKED[:200], PACKED[:200] + b"x" * 50, bz2.compress(CONTENT[::-1]), bz2.compress(bytes(1 << 26))],
    ids=["another format", "cut short", "damaged", "another file", "far too large"],
)
def test_a_wrong_packed_file_is_refused_and_dropped(server, tmp_path, content):
    server.content = content
    with pytest.raises(MissingRequirement, match="it serves another file, with sha256"):
        download(WANTED, [f"{server.address}.bz2"], tmp_path, EAGER)
    assert [entry.name for entry in tmp_path.iterdir()] == [".a.bin.lock"]


@pytest.mark.parametrize("left", [CONTENT[:1000], b"x" * 1000, CONTENT, CONTENT + b"x", b"x" * len(CONTENT)], ids=range(5))
def test_what_an_earlier_run_left_is_used_if_it_fits(server, tmp_path, left):
    (tmp_path / ".a.bin.part").write_bytes(left)
    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT
    assert visible(tmp_path) == ["a.bin"]


FETCH = f"""
import sys
from pathlib import Path
from weights.fetching import RetryPolicy, RemoteFile, download
download(RemoteFile("a.bin", ({WANTED.sha256[0]!r},)), [sys.argv[1]], Path(sys.argv[2]), RetryPolicy(timeout=5))
"""


def start_fetch(address: str, folder: Path) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen([sys.executable, "-c", FETCH, address, str(folder)], env={**os.environ, "PYTHONPATH": root})


def test_a_killed_fetch_leaves_nothing_visible_and_the_next_one_finishes(server, tmp_path):
    server.behaviours = ["stalled"]
    process = start_fetch(server.address, tmp_path)
    part = tmp_path / ".a.bin.part"
    while not (part.is_file() and part.stat().st_size > 0):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert visible(tmp_path) == []

    assert download(WANTED, [server.address], tmp_path, EAGER).read_bytes() == CONTENT
    assert server.asked[1] is not None and server.asked[1].startswith("bytes=")


def test_several_processes_fetch_a_file_once(server, tmp_path):
    server.behaviours = ["trickling"]
    processes = [start_fetch(server.address, tmp_path) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(server.asked) == 1
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_a_sentence(server):
    with pytest.raises(MissingRequirement, match="a.bin cannot be written to /proc"):
        download(WANTED, [server.address], Path("/proc/cache"), EAGER)


def test_a_full_disk_is_a_sentence(server):
    with pytest.raises(MissingRequirement, match="cannot be written"):
        download(RemoteFile("full", WANTED.sha256), [server.address], Path("/dev/full"), EAGER)
