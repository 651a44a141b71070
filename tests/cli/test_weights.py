"""fsv2v weights list|fetch|verify, with a local server as the mirror."""

from __future__ import annotations

import functools
import http.server
import json
import threading

import pytest

from weights import registry

NAME = "face_landmarker.task"


@pytest.fixture
def mirror_address(shared):
    """The address of a local server with the files of the mirror."""

    class SilentHandler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SilentHandler, directory=shared / "weights"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def without_cache(tmp_path):
    """Environment variables for an empty cache, no mirror and no network."""
    return {"FSV2V_WEIGHTS": str(tmp_path / "cache"), "FSV2V_WEIGHTS_MIRROR": "", "https_proxy": "http://127.0.0.1:9"}


def test_list_prints_the_path_of_each_file(fsv2v, without_cache):
    records = {record["name"]: record for record in map(json.loads, fsv2v("weights", "list", "--json", env=without_cache).lines)}
    assert list(records) == list(registry.manifest())
    assert records[NAME]["place"] == "absent" and records[NAME]["path"] is None
    plain = fsv2v("weights", "list", env=without_cache)
    assert [line.split()[0] for line in plain.lines] == list(records)


def test_fetch_puts_a_file_into_the_cache_and_prints_its_path(fsv2v, without_cache, mirror_address, tmp_path):
    env = {**without_cache, "FSV2V_WEIGHTS_MIRROR": mirror_address}
    result = fsv2v("weights", "fetch", NAME, env=env)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.lines == [str(tmp_path / "cache" / NAME)]
    assert fsv2v("weights", "verify", NAME, env=without_cache).lines == [f"{NAME}: sound"]


def test_fetch_without_network_gives_exit_code_4_and_a_remedy(fsv2v, without_cache):
    result = fsv2v("weights", "fetch", NAME, env=without_cache)
    assert result.exit_code == 4
    assert result.stdout == "" and "no connection" in result.stderr and "FSV2V_WEIGHTS_MIRROR" in result.stderr
    [record] = map(json.loads, fsv2v("weights", "fetch", "--json", NAME, env=without_cache).lines)
    assert (record["name"], record["status"]) == (NAME, "failed") and "no connection" in record["reason"]


def test_fetch_replaces_a_damaged_file(fsv2v, without_cache, mirror_address, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_bytes(b"damaged")
    damaged = fsv2v("weights", "verify", NAME, env=without_cache)
    assert damaged.exit_code == 4
    assert "its sha256 is" in damaged.stderr and "fsv2v weights fetch" in damaged.stderr
    assert fsv2v("weights", "fetch", NAME, env={**without_cache, "FSV2V_WEIGHTS_MIRROR": mirror_address}).exit_code == 0
    assert fsv2v("weights", "verify", "--json", NAME, env=without_cache).lines == [
        json.dumps({"name": NAME, "status": "done", "reason": ""})
    ]


def test_an_unknown_name_is_a_usage_error(fsv2v):
    assert fsv2v("weights", "fetch", "nope").exit_code == 2
