"""fsv2v weights list|fetch|verify, with a server on this machine as the mirror."""

from __future__ import annotations

import functools
import http.server
import json
import threading

import pytest

from weights import registry

NAME = "face_landmarker.task"


@pytest.fixture
def served(shared):
    """The address of a server that has the mirror's files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=shared / "weights"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def empty(tmp_path):
    """The environment of a machine with nothing but what is shipped, and no network."""
    return {"FSV2V_WEIGHTS": str(tmp_path / "cache"), "FSV2V_WEIGHTS_MIRROR": "", "https_proxy": "http://127.0.0.1:9"}


def test_list_says_where_each_file_is(fsv2v, empty):
    records = {record["name"]: record for record in map(json.loads, fsv2v("weights", "list", "--json", env=empty).lines)}
    assert list(records) == list(registry.manifest())
    assert records[NAME]["place"] == "absent" and records[NAME]["path"] is None
    plain = fsv2v("weights", "list", env=empty)
    assert [line.split()[0] for line in plain.lines] == list(records)


def test_fetch_puts_a_file_into_the_cache_and_prints_where(fsv2v, empty, served, tmp_path):
    env = {**empty, "FSV2V_WEIGHTS_MIRROR": served}
    result = fsv2v("weights", "fetch", NAME, env=env)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.lines == [str(tmp_path / "cache" / NAME)]
    assert fsv2v("weights", "verify", NAME, env=empty).lines == [f"{NAME}: sound"]


def test_fetch_without_network_ends_with_4_and_says_what_to_do(fsv2v, empty):
    result = fsv2v("weights", "fetch", NAME, env=empty)
    assert result.exit_code == 4
    assert result.stdout == "" and "no connection" in result.stderr and "FSV2V_WEIGHTS_MIRROR" in result.stderr
    [record] = map(json.loads, fsv2v("weights", "fetch", "--json", NAME, env=empty).lines)
    assert (record["name"], record["status"]) == (NAME, "failed") and "no connection" in record["reason"]


def test_fetch_replaces_a_damaged_file(fsv2v, empty, served, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_bytes(b"damaged")
    damaged = fsv2v("weights", "verify", NAME, env=empty)
    assert damaged.exit_code == 4
    assert "its sha256 is" in damaged.stderr and "fsv2v weights fetch" in damaged.stderr
    assert fsv2v("weights", "fetch", NAME, env={**empty, "FSV2V_WEIGHTS_MIRROR": served}).exit_code == 0
    assert fsv2v("weights", "verify", "--json", NAME, env=empty).lines == [json.dumps({"name": NAME, "status": "done", "reason": ""})]


def test_an_unknown_name_is_usage(fsv2v):
    assert fsv2v("weights", "fetch", "nope").exit_code == 2
