"""docs/security.md: each item of its lists is checked by a test, which quotes it."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fsv2v_cli import console
from stages.clip import Producer, create_clip, open_clip, probe
from stages.clip.comments import read_comment
from stages.clip.exporters import export
from stages.clip.ffmpeg import executable
from stages.clip.flow_files import read_flow
from stages.clip.images import decode_image, read_image
from stages.clip.openpose import load_json
from stages.clip.pack import pack, unpack
from stages.errors import InputError, InvalidClip, MissingRequirement
from stages.models import load_model
from stages.models.files import save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from weights.fetching import RemoteFile, RetryPolicy, download

ROOT = Path(__file__).resolve().parents[1]
TESTED_IN_OTHER_FILES = {
    "Colons, percent signs and leading dashes in file names have no meaning.": "test_bad_input:test_names_can_have_special_characters",
    "A packed clip with file names that lead outside of it is refused.": "clip/test_pack:test_names_that_leave_the_folder_are_refused",
    "A packed clip with compressed members is refused.": "clip/test_pack:test_a_compressed_zip_is_refused",
    "Pickled objects are never loaded: PyTorch reads weights only.": "test_architecture:test_pickles_are_never_loaded_from_files",
    "Pickled arrays in an npz are never loaded.": "clip/test_flow_files:test_pickles_in_an_npz_are_never_loaded",
    "Weights with a wrong sha256 are never used.": "weights/test_fetching:test_a_wrong_file_is_refused_and_dropped",
}
"""Sentence -> a test in another file that checks it."""
QUOTED: list[str] = []
"""The sentences that tests in this file check."""


def checks(*sentences: str) -> Callable[[Any], Any]:
    """A decorator for the test that checks these sentences of the page."""
    QUOTED.extend(sentences)
    return lambda test: test


def claims() -> list[str]:
    """The items of the lists on the page."""
    items = re.findall(r"^\* (.+)$", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"), re.M)
    assert len(items) > 20
    return items


def test_every_sentence_of_the_page_has_a_test() -> None:
    assert sorted(claims()) == sorted([*QUOTED, *TESTED_IN_OTHER_FILES])


@pytest.mark.parametrize("test", TESTED_IN_OTHER_FILES.values())
def test_tests_in_other_files_exist(test: str) -> None:
    file, _, name = test.partition(":")
    assert f"\ndef {name}(" in (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")


def png(width: int, height: int) -> bytes:
    """A black PNG. If the size is large, only its header is valid."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = bytes(height * (width + 1)) if width * height < 10**6 else bytes(100)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def server():
    """A local socket to which nothing may connect; `accept` raises BlockingIOError if nothing did."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield listening


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A readable video beside the untrusted file, which must not be opened."""
    path = tmp_path / "secret.ts"
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.4"]
    subprocess.run([executable(), "-v", "error", *source, "-metadata", "comment=private", path], check=True)
    return path


def playlists(target: str) -> dict[str, str]:
    """File name -> a text that would make ffmpeg open `target`."""
    return {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {target}\n",
        "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet><Representation id="1" bandwidth="1">'
        f"<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "drawing.mp4": f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="{target}" width="9" height="9"/></svg>',
    }  # fmt: skip


@checks("A playlist (HLS, DASH, concat) or an SVG is refused, whatever its file name.")
@pytest.mark.parametrize("name", playlists(""))
def test_playlists_are_refused(name: str, secret: Path, tmp_path: Path) -> None:
    assert probe(secret).num_frames == 10
    (tmp_path / name).write_text(playlists(secret.name)[name])
    with pytest.raises(InputError, match="cannot be read as a video"):
        probe(tmp_path / name)


@checks("ffmpeg opens only files, never network addresses.")
@pytest.mark.parametrize("name", playlists(""))
def test_ffmpeg_opens_no_network_addresses(name: str, server: socket.socket, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
    (tmp_path / name).write_text(playlists(address)[name])
    with pytest.raises(InputError):
        probe(tmp_path / name)
    read_comment(tmp_path / name)
    with pytest.raises(BlockingIOError):
        server.accept()


@checks("Reading the comment in a video's metadata obeys the same rules.")
def test_reading_a_comment_opens_no_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.4", "-metadata", "comment=private"]
    subprocess.run([executable(), "-v", "error", *source, tmp_path / "secret.mkv"], check=True)
    assert read_comment(tmp_path / "secret.mkv") == "private"
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mkv\nfile_packet_metadata comment=x\n")
    commands: list[list[str]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: commands.append(command) or popen(command, **options))
    assert read_comment(tmp_path / "a.mp4") is None
    assert "-format_whitelist" in commands[0] and commands[0][commands[0].index("-protocol_whitelist") + 1] == "file,subfile"


@checks("Pillow reads PNG, JPEG, WebP, TIFF, BMP, PNM, GIF and AVIF only; EPS, for which it would run Ghostscript, is refused.")
def test_eps_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(InputError, match=r"a\.png is not an image that can be read"):
        read_image(tmp_path / "a.png")


@checks("An image of more than 16384 pixels on a side or 178 megapixels is refused before it is decoded.")
@pytest.mark.parametrize("size", [(100_000, 100_000), (16385, 1), (16000, 16000)])
def test_large_images_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(*size))
    with pytest.raises(InputError, match="at most"):
        read_image(tmp_path / "a.png")


@checks(
    "A frame of a clip or a KITTI flow file of such a size is refused, too.", "A frame of a clip that is neither PNG nor JPEG is refused."
)
def test_large_frames_and_flow_files_are_refused(tmp_path: Path) -> None:
    assert decode_image(png(30, 20), "a", 1).shape == (20, 30)
    for data in (png(16385, 1), png(16000, 16000), b"BM" + bytes(60), b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff" + bytes(20)):
        with pytest.raises(InvalidClip, match="not a PNG or JPEG, damaged, or larger than"):
            decode_image(data, "a", 1)
    (tmp_path / "a.png").write_bytes(png(16000, 16000))
    with pytest.raises(InputError, match="too large"):
        read_flow(tmp_path / "a.png")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    clip = create_clip(tmp_path / "a.clip", iter(np.zeros((2, 16, 16, 3), np.uint8)))
    with clip.writing("poses", Producer("x"), {}, {"skeleton": "BODY_25"}) as layer:
        people = np.ones((2, 1, 25, 3), np.float32)
        layer.arrays(keypoints=people, boxes=np.ones((2, 1, 4), np.float32), track_id=np.zeros((2, 1), np.int32))
    return clip.path


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@checks("A symbolic link in a packed clip is unpacked as an ordinary file.")
def test_a_symbolic_link_is_unpacked_as_a_file(clip: Path, tmp_path: Path) -> None:
    packed = pack(clip)
    link = zipfile.ZipInfo("etc")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(link, "/etc")
    out = unpack(packed, tmp_path / "out.clip")
    assert (out / "etc").read_bytes() == b"/etc" and not (out / "etc").is_symlink()


@checks("A clip whose id is a path is refused, because files are named after the id.")
@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/b", "..", "a\0b"])
def test_ids_that_are_paths_are_refused(name: str, clip: Path, tmp_path: Path) -> None:
    change(clip / "clip.json", id=name)
    with pytest.raises(InvalidClip, match='"id" must be a name'):
        export(open_clip(clip), "poses", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.clip"]


@checks("A layer with a storage other than png, jpg, flow, reference or video is refused.")
def test_unknown_storage_is_refused(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(png(16, 16))
    (clip / "frames" / "000000.x").mkdir()
    change(clip / "frames" / "layer.json", storage="x/../../../outside.png")
    with pytest.raises(InvalidClip, match="not one of png, jpg, flow, reference, video"):
        open_clip(clip).frame(0)


@checks("A video is packed with a clip only if it has the sha256 that is recorded in the clip.")
def test_a_file_that_is_not_the_video_of_the_clip_is_not_packed(clip: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_bytes(b"a private key")
    change(clip / "clip.json", source={"path": str(private), "sha256": "0", "bytes": 13})
    change(clip / "frames" / "layer.json", storage="reference", video={})
    with pytest.raises(InputError, match="its sha256 differs"):
        pack(clip)
    assert not clip.with_suffix(".zip").exists()


@checks("A compressed npz that would unpack to more than 256 MiB is refused.")
def test_a_large_npz_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("flow.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (8192, 4097, 2)})
        for _ in range(257):
            member.write(bytes(1 << 20))
    assert (tmp_path / "a.npz").stat().st_size < 2 << 20
    with pytest.raises(InputError, match="more than 256 MiB"):
        read_flow(tmp_path / "a.npz")


@checks("JSON of more than 256 MiB is refused.", "JSON that is nested a million levels deep is refused.")
def test_large_and_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "long.json").open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(InputError, match="larger than 256 MiB"):
        load_json(tmp_path / "long.json")
    (tmp_path / "deep.json").write_bytes(b"[" * 10**6)
    with pytest.raises(InputError, match="is not JSON"):
        load_json(tmp_path / "deep.json")


@checks("A JPEG that claims more than 512 pixels per byte is refused, because Huffman coding cannot store that many.")
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_fewer_bytes_than_its_size_needs_is_refused(progressive: bool, tmp_path: Path) -> None:
    import resource

    path = tmp_path / "a.jpg"
    Image.new("L", (4096, 4096)).save(path, progressive=progressive, optimize=True)  # an image of one colour needs the fewest bytes
    data = path.read_bytes()
    assert read_image(path).shape == decode_image(data, "a", 3).shape == (4096, 4096, 3)
    frame = re.search(rb"\xff[\xc0\xc2]\0\x0b\x08", data)
    assert frame
    path.write_bytes(data[: frame.end()] + struct.pack(">HH", 9750, 14218) + data[frame.end() + 4 : 3000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="far fewer bytes"):
        read_image(path)
    with pytest.raises(InvalidClip, match="not a readable image"):
        decode_image(path.read_bytes(), "a", 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10, "in KiB"


@checks("A model whose header is longer than its file is refused.")
def test_a_model_with_a_header_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 10 << 30) + b"{}")
    with pytest.raises(InputError, match="is not a readable model"):
        load_model(tmp_path / "a.safetensors")


@checks(
    "A model whose configuration describes a much larger network than the file contains is refused before memory is allocated.",
    "A model whose configuration has a number above 16384, a list of more than 16, or a layer with no channels is refused.",
)
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"channels": (8, 8, 4096, 4096)}, "larger than what the file holds"),  # several GB
        ({"channels": (10**6,) * 4}, "at most 16 numbers, from 1 to 16384"),
        ({"channels": (8, 8, 0, 16)}, "from 1 to 16384"),
        ({"flow_blocks": 10**9}, "from 0 to 16384"),
        ({"flow_channels": (8,) * 17}, "at most 16 numbers"),
        ({"adaptive_levels": 100}, "does not fit"),
    ],
)
def test_a_model_with_an_excessive_configuration_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    import resource

    state = FewShotGenerator(PRESETS["tiny"]).state_dict()
    save_model(tmp_path / "m.safetensors", state, replace(PRESETS["tiny"], **config), {"step": 1})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "m.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10, "in KiB"


@checks("A download ends when it is more than twice as long as expected.")
def test_a_download_that_is_too_long_ends(tmp_path: Path) -> None:
    import http.server
    import threading

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    self.wfile.write(bytes(1 << 20))
            except OSError:
                pass

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Endless) as endless_server:
        threading.Thread(target=endless_server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{endless_server.server_port}/w"
        with pytest.raises(MissingRequirement, match="more than twice the 1000 bytes"):
            download(RemoteFile("w", ("0" * 64,), 1000), [address], tmp_path, RetryPolicy(1))
        endless_server.shutdown()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 << 20


CONTROL_CHARACTERS = "a\x1b]0;owned\x07\n\u202egpj.mp4"


@checks("Control characters in names and texts appear as escapes in messages.")
def test_control_characters_are_escaped_in_messages(capsys: pytest.CaptureFixture[str]) -> None:
    console.error(f"{CONTROL_CHARACTERS} does not exist")
    assert capsys.readouterr().err == "fsv2v: error: a\\x1b]0;owned\\x07\\x0a\\x202egpj.mp4 does not exist\n"


@checks("Data on stdout is escaped only if stdout is a terminal; a pipe or a file receives the original bytes.")
def test_data_is_escaped_only_on_a_terminal() -> None:
    program = [sys.executable, "-c", f"from fsv2v_cli import console; console.emit({CONTROL_CHARACTERS!r})"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(program, capture_output=True, env=environment).stdout == os.fsencode(CONTROL_CHARACTERS) + b"\n"
    controller, terminal = pty.openpty()
    subprocess.run(program, stdout=terminal, env=environment, check=True)
    os.close(terminal)
    output = os.read(controller, 1000)
    os.close(controller)
    assert output == b"a\\x1b]0;owned\\x07\\x0a\\x202egpj.mp4\r\n"


@checks("Names in a report page, and the question in a study page, cannot break out of the page's script.")
def test_names_are_escaped_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.evaluate import report
    from stages.evaluate.measure import Score
    from stages.evaluate.study.key import Key
    from stages.evaluate.study.site import StudyOptions, page

    markup = "</script><script>alert(1)</script>"
    report.write_report(tmp_path / "r.html", [Score(markup, "", "psnr", "dB", "higher", 30.0, 2)])
    study = page(Key("s", ("a", "b"), (), (), {}), {}, StudyOptions(question=markup))
    for text in ((tmp_path / "r.html").read_text(), study):
        assert "alert(1)" in text and "<script>alert" not in text
