"""Videos of every kind are read exactly: each frame once, in order, with its time."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numbered_frames import number_of

from stages.clip import as_clip, probe, read_frames
from stages.clip.ffmpeg import Media
from stages.clip.reader import decode
from stages.clip.validate import validate
from stages.errors import InputError, MissingRequirement

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_rate_of_30000_1001_is_read_exactly(video):
    info = probe(video)

    assert (info.fps, info.num_frames, info.timestamps) == (Fraction(30000, 1001), 100, None)
    assert (info.width, info.height, info.has_audio, info.rotation) == (64, 48, True, 0)


def test_every_frame_is_read_once_and_in_order(video):
    assert [number_of(frame) for frame in read_frames(video)] == list(range(100))


@pytest.mark.parametrize("start", [0, 1, 31, 32, 47, 48, 49, 72, 98, 99])
def test_reading_can_start_at_any_frame(video, start):
    assert [number_of(frame) for frame in read_frames(video, start, start + 2)] == list(range(100))[start : start + 2]


@pytest.mark.parametrize("rate", ["10", "15", "24000/1001", "25", "50", "60000/1001", "22.131"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov"])
def test_rates_and_seeks_are_exact_in_every_container(rate, suffix, media, video, ffmpeg):
    path = media / f"rate{rate.replace('/', '_')}.{suffix}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-r", rate, "-i", video.with_suffix(".rgb")]
    ffmpeg(*source, "-c:v", "libx264", "-crf", "12", path)
    info = probe(path)

    expected = Fraction(rate) if "." not in rate else Fraction(22131, 1000)
    assert (info.fps, info.num_frames, info.timestamps) == (expected, 100, None)
    assert [number_of(frame) for frame in read_frames(path, 60, 63)] == [60, 61, 62]


@pytest.fixture(scope="session")
def variable_rate_video(video, media, ffmpeg):
    """The numbered video with frames 0 to 20 at 30 per second and the others at 15 per second."""
    path = media / "variable.mp4"
    times = "setpts='(N+gt(N,20)*(N-20))/(30*TB)'"
    keep_times = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-video_track_timescale", "90000"]
    ffmpeg("-i", video, "-vf", times, *keep_times, "-an", path)
    return path


def test_the_times_of_a_variable_rate_are_exact(variable_rate_video):
    info = probe(variable_rate_video)

    assert info.timestamps is not None
    assert info.timestamps.time_base == Fraction(1, 90000)
    assert info.timestamps.ticks == tuple(3000 * (n + max(0, n - 20)) for n in range(100))
    assert info.timestamps.seconds(20) == Fraction(2, 3)
    assert 15 < info.fps < 30


def test_a_variable_rate_neither_drops_nor_repeats_frames(variable_rate_video):
    assert [number_of(frame) for frame in read_frames(variable_rate_video)] == list(range(100))
    assert [number_of(frame) for frame in read_frames(variable_rate_video, 70, 72)] == [70, 71]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotation_is_applied_and_the_size_is_that_of_the_shown_frame(angle, video, media, ffmpeg):
    path = media / f"rotated{angle}.mp4"
    ffmpeg("-display_rotation", str(angle), "-i", video, "-c", "copy", path)

    info = probe(path)
    frame = next(read_frames(path))

    assert info.rotation == angle
    assert (info.width, info.height) == ((64, 48) if angle == 180 else (48, 64))
    upright = np.rot90(frame, -angle // 90)  # ffmpeg's angle rotates the frame counter-clockwise
    assert number_of(np.ascontiguousarray(upright)) == 0
    assert frame.shape == (info.height, info.width, 3)


@pytest.mark.parametrize(
    ("name", "coding"),
    [
        ("odd_size.mp4", ["-vf", "crop=63:47:0:0:exact=1", "-c:v", "libx264", "-pix_fmt", "yuv444p"]),
        ("ten_bit.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"]),
        ("grey.mkv", ["-c:v", "ffv1", "-pix_fmt", "gray"]),
        ("grey16.mkv", ["-c:v", "ffv1", "-pix_fmt", "gray16le"]),
        ("alpha.mov", ["-c:v", "qtrle", "-pix_fmt", "argb"]),
        ("full_range.mp4", ["-c:v", "libx264", "-pix_fmt", "yuvj420p"]),
        ("vp9.webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]),
        ("mpeg1.mpg", ["-r", "25", "-c:v", "mpeg1video", "-q:v", "2"]),
        ("stream.ts", ["-c:v", "libx264"]),
        ("animated.gif", []),
    ],
)
def test_unusual_sources_are_read_completely(name, coding, video, media, ffmpeg):
    path = media / name
    ffmpeg("-i", video, "-an", "-frames:v", "40", *coding, path)

    info = probe(path)
    frames = list(read_frames(path))

    assert len(frames) == info.num_frames
    assert frames[0].shape == (info.height, info.width, 3)
    if name != "mpeg1.mpg":  # encoded at another rate, which changes the frames
        assert [number_of(frame) for frame in frames] == list(range(40))


OPEN_GOP = ["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=20:bframes=3:scenecut=0:b-pyramid=normal"]
ALT_REF = ["-auto-alt-ref", "1", "-lag-in-frames", "25", "-g", "20", "-b:v", "200k", "-cpu-used", "8", "-deadline", "good"]


@pytest.mark.parametrize(
    ("name", "coding"),
    [
        ("open_gop.mp4", OPEN_GOP),
        ("open_gop.mkv", OPEN_GOP),
        ("hevc.mp4", ["-c:v", "libx265", "-x265-params", "open-gop=1:keyint=20:bframes=4:log-level=none"]),
        ("hidden_frames.webm", ["-c:v", "libvpx", *ALT_REF]),
        ("superframes.webm", ["-c:v", "libvpx-vp9", *ALT_REF]),
        ("mpeg4.mov", ["-c:v", "mpeg4", "-bf", "2", "-g", "20", "-q:v", "2"]),
    ],
)
def test_counts_and_seeks_are_exact_with_reordered_and_hidden_frames(name, coding, video, media, ffmpeg):
    path = media / name
    ffmpeg("-i", video, "-an", *coding, path)

    assert probe(path).num_frames == 100
    assert [number_of(next(read_frames(path, index, index + 1))) for index in range(32, 100, 3)] == list(range(32, 100, 3))


def drop_vops(stream: bytes, chosen: set[int]) -> bytes:
    """Replace the chosen pictures (VOPs) of an MPEG-4 stream of 25 frames per second by "not coded" ones, as DivX and Xvid write."""
    starts = [match.start() for match in re.finditer(b"\0\0\1\xb6", stream)]
    parts = [stream[: starts[0]]]
    for index, (start, end) in enumerate(zip(starts, [*starts[1:], len(stream)], strict=True)):
        bits = "".join(f"{byte:08b}" for byte in stream[start + 4 : start + 12])
        end_of_time = bits.index("0", 2) + 2 + 5  # picture type, seconds passed, a marker, five bits of time
        header = bits[:end_of_time] + "100"  # a marker, not coded, stuffing
        header += "1" * (-len(header) % 8)
        parts.append(b"\0\0\1\xb6" + int(header, 2).to_bytes(len(header) // 8, "big") if index in chosen else stream[start:end])
    return b"".join(parts)


def count_with_opencv(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov"])
def test_pictures_that_are_marked_as_not_coded_are_not_frames(suffix, tmp_path, ffmpeg):
    coding = ["-c:v", "mpeg4", "-g", "12", "-bf", "0", "-q:v", "4", "-f", "m4v"]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", *coding, tmp_path / "whole.m4v")
    (tmp_path / "gaps.m4v").write_bytes(drop_vops((tmp_path / "whole.m4v").read_bytes(), {20, 21, 30}))
    path = tmp_path / f"gaps.{suffix}"
    ffmpeg("-r", "25", "-f", "m4v", "-i", tmp_path / "gaps.m4v", "-c", "copy", path)

    assert probe(path).num_frames == sum(1 for _ in read_frames(path)) == count_with_opencv(path) == 47
    assert validate(as_clip(path, tmp_path / "gaps.clip").path).errors == []


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_packet_without_a_picture_is_not_a_frame(suffix, video, tmp_path, ffmpeg):
    """The last slice that no other frame refers to becomes filler data of the same length."""
    ffmpeg("-i", video, "-an", "-c", "copy", "-movflags", "-faststart", tmp_path / "whole.mp4")
    data = bytearray((tmp_path / "whole.mp4").read_bytes())
    position, end = data.index(b"mdat") + 4, data.rindex(b"moov") - 4
    nal_header = 0
    while position < end:  # each unit: a length of 4 bytes, then a header, which is 0x01 if no other frame refers to the slice
        nal_header = position + 4 if data[position + 4] == 0x01 else nal_header
        position += 4 + int.from_bytes(data[position : position + 4], "big")
    data[nal_header] = 12  # filler data
    (tmp_path / "damaged.mp4").write_bytes(data)
    ffmpeg("-i", tmp_path / "damaged.mp4", "-c", "copy", tmp_path / f"copy.{suffix}")

    info = probe(tmp_path / f"copy.{suffix}")
    numbers = [number_of(frame) for frame in read_frames(tmp_path / f"copy.{suffix}")]

    assert info.num_frames == len(numbers) == 99
    assert info.timestamps is not None
    times = [float(info.timestamps.seconds(index)) for index in range(99)]
    assert times == pytest.approx([number * 1001 / 30000 for number in numbers], abs=0.001)


def test_frames_that_an_edit_list_hides_are_not_read(video, media, ffmpeg):
    path = media / "cut_without_coding.mp4"
    ffmpeg("-ss", "1.3", "-i", video, "-an", "-c", "copy", path)

    numbers = [number_of(frame) for frame in read_frames(path)]

    assert probe(path).num_frames == len(numbers)
    assert numbers == list(range(100 - len(numbers), 100))


def test_a_video_of_one_frame_keeps_its_rate(video, media, ffmpeg):
    path = media / "one.mp4"
    ffmpeg("-i", video, "-an", "-frames:v", "1", path)

    assert (probe(path).num_frames, probe(path).fps) == (1, Fraction(30000, 1001))


def test_without_ffmpeg_the_error_says_how_to_install_it(monkeypatch):
    from stages.clip import ffmpeg

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)

    with pytest.raises(MissingRequirement, match="pip install imageio-ffmpeg") as caught:
        ffmpeg.executable.__wrapped__()
    assert caught.value.exit_code == 4


def test_transparent_pixels_of_a_video_become_white(media, ffmpeg):
    path = media / "transparent.mov"
    ffmpeg("-f", "lavfi", "-i", "color=c=red@0.0:s=32x32:r=10:d=0.5,format=argb", "-c:v", "qtrle", path)

    assert np.all(next(read_frames(path)) == 255)


def test_a_colour_is_read_as_it_was_encoded(media, ffmpeg):
    path = media / "colour.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=c=0xC86432:s=64x64:r=10:d=0.5,format=rgb24", "-c:v", "libx264", "-crf", "5", path)

    assert np.abs(next(read_frames(path)).astype(int) - [0xC8, 0x64, 0x32]).max() <= 6


SKIN = (224, 172, 150)
"""A colour that differs between the matrices."""


def encode_skin(path, ffmpeg, size, matrix, tag, *options):
    """Write ten lossless frames of SKIN. matrix: from RGB to YCbCr; tag: the matrix that the file names, or "unknown"."""
    source = f"color=c=0x{bytes(SKIN).hex()}:s={size}:r=10:d=1,format=rgb24"
    coded = f"scale=out_color_matrix={matrix}:out_range=tv:flags=accurate_rnd,format=yuv444p,setparams=colorspace={tag}:range=tv"
    ffmpeg("-f", "lavfi", "-i", f"{source},{coded}", "-c:v", "libx264", "-qp", "0", *options, path)
    return path


@pytest.mark.parametrize("tag", ["tagged", "unknown"])
@pytest.mark.parametrize(("size", "matrix"), [("64x718", "bt601"), ("64x720", "bt709"), ("1280x64", "bt601")])
def test_an_untagged_video_of_720_or_more_lines_is_bt709(size, matrix, tag, tmp_path, ffmpeg):
    matrix_tag = {"bt601": "smpte170m"}.get(matrix, matrix)
    path = encode_skin(tmp_path / "colour.mp4", ffmpeg, size, matrix, matrix_tag if tag == "tagged" else tag)

    for frames in (read_frames(path), as_clip(path).frames(), iter([as_clip(path).frame(7)])):
        assert np.abs(next(frames)[9, 9].astype(int) - SKIN).max() <= 1


@pytest.mark.parametrize(("size", "matrix"), [("720x64", "bt601"), ("64x720", "bt709")])
def test_the_lines_of_a_rotated_video_are_counted_before_rotation(size, matrix, tmp_path, ffmpeg):
    path = encode_skin(tmp_path / "colour.mp4", ffmpeg, size, matrix, "unknown")
    ffmpeg("-display_rotation", "90", "-i", path, "-c", "copy", tmp_path / "rotated.mp4")

    assert np.abs(next(read_frames(tmp_path / "rotated.mp4"))[9, 9].astype(int) - SKIN).max() <= 1


def test_a_tag_counts_at_any_size(tmp_path, ffmpeg):
    path = encode_skin(tmp_path / "colour.mp4", ffmpeg, "64x720", "bt601", "smpte170m")

    assert np.abs(next(read_frames(path))[9, 9].astype(int) - SKIN).max() <= 1


BT709 = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
BT2020 = np.array([[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017], [0, 0.0280727, 1.0609851]])
P3 = np.array([[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]])
"""Columns: XYZ of red, green and blue for D65 (BT.709, BT.2020, SMPTE EG 432-1)."""


def pq(nits):
    """Light in cd/m2 -> signal from 0 to 1 (SMPTE ST 2084)."""
    power = (nits / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(nits):
    """Light in cd/m2 -> signal from 0 to 1 (ARIB STD-B67) for a display of 1000 cd/m2, whose system gamma is 1.2 (BT.2100)."""
    scene = nits / 1000 * (np.array([0.2627, 0.6780, 0.0593]) @ nits / 1000) ** ((1 - 1.2) / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def linear_from_srgb(rgb):
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def linear_from_bt709(rgb):
    return np.where(rgb < 0.081, rgb / 4.5, ((rgb + 0.099) / 1.099) ** (1 / 0.45))


def bt709_from_linear(linear):
    return np.where(linear < 0.018, linear * 4.5, 1.099 * linear**0.45 - 0.099)


def encode_10_bits(path, ffmpeg, rgb, matrix, primaries, transfer, weights):
    """Write forty tagged 10-bit frames of one colour. rgb: the signal, 0 to 1; weights: of red and blue in luma."""
    red, blue = weights
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    planes = (64 + 876 * luma, 512 + 448 * (rgb[2] - luma) / (1 - blue), 512 + 448 * (rgb[0] - luma) / (1 - red))
    raw = path.with_suffix(".yuv")
    raw.write_bytes(b"".join(np.full(64 * 64, round(plane), "<u2").tobytes() for plane in planes) * 40)
    tags = f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range=tv"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv444p10le", "-s", "64x64", "-r", "25", "-i", raw]
    ffmpeg(*source, "-vf", tags, "-c:v", "libx264", "-qp", "0", path)
    return path


BT2020_WEIGHTS = (0.2627, 0.0593)
"""Of red and blue in luma."""


@pytest.mark.parametrize("colour", [SKIN, (255, 255, 255), (30, 60, 20), (128, 128, 128)])
@pytest.mark.parametrize(("transfer", "curve"), [("smpte2084", pq), ("arib-std-b67", hlg)])
def test_hdr_white_of_203_nits_becomes_srgb_white_and_colours_are_kept(transfer, curve, colour, tmp_path, ffmpeg):
    nits = 203 * np.linalg.solve(BT2020, BT709 @ linear_from_srgb(np.array(colour) / 255))
    path = encode_10_bits(tmp_path / "hdr.mp4", ffmpeg, curve(nits), "bt2020nc", "bt2020", transfer, BT2020_WEIGHTS)

    clip = as_clip(path)
    for frame in (next(read_frames(path)), clip.frame(0), clip.frame(37)):
        assert np.abs(frame[9, 9].astype(int) - colour).max() <= 2


def test_light_above_203_nits_is_clipped(tmp_path, ffmpeg):
    path = encode_10_bits(tmp_path / "sun.mp4", ffmpeg, pq(np.full(3, 600.0)), "bt2020nc", "bt2020", "smpte2084", BT2020_WEIGHTS)

    assert next(read_frames(path))[9, 9].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("primaries", "xyz", "matrix", "weights"),
    [("bt2020", BT2020, "bt2020nc", BT2020_WEIGHTS), ("smpte432", P3, "bt709", (0.2126, 0.0722))],
)
def test_colours_of_wide_primaries_are_converted_to_those_of_bt709(primaries, xyz, matrix, weights, tmp_path, ffmpeg):
    signal = bt709_from_linear(np.linalg.solve(xyz, BT709 @ linear_from_bt709(np.array(SKIN) / 255)))
    path = encode_10_bits(tmp_path / "wide.mp4", ffmpeg, signal, matrix, primaries, "bt709", weights)

    assert np.abs(next(read_frames(path))[9, 9].astype(int) - SKIN).max() <= 2


def test_an_ffmpeg_that_cannot_convert_hdr_is_an_error(tmp_path, ffmpeg, monkeypatch):
    path = encode_10_bits(tmp_path / "hdr.mp4", ffmpeg, pq(np.full(3, 100.0)), "bt2020nc", "bt2020", "smpte2084", BT2020_WEIGHTS)
    monkeypatch.setattr(sys.modules[probe.__module__], "has_filter", lambda name: False)

    with pytest.raises(
        MissingRequirement, match=r"HDR or has a wide colour gamut, and this ffmpeg lacks the filter zscale\. Put an ffmpeg with"
    ):
        probe(path)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (45, 52), (60, 61)])
def test_a_change_of_the_frame_size_is_refused(start, stop, tmp_path, ffmpeg):
    """Fifty frames of 64 x 48 and then fifty of 96 x 96, joined as H.264 streams can be."""
    streams = b""
    for size in ("64x48", "96x96"):
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=2", "-c:v", "libx264", "-bf", "0", "-f", "h264", tmp_path / "part.h264")
        streams += (tmp_path / "part.h264").read_bytes()
    (tmp_path / "joined.h264").write_bytes(streams)
    ffmpeg("-r", "25", "-i", tmp_path / "joined.h264", "-c", "copy", tmp_path / "joined.mp4")

    assert sum(1 for _ in read_frames(tmp_path / "joined.mp4", 0, 50)) == 50
    hint = r"Encode it again and import the result: ffmpeg -i VIDEO NEW\.mp4"
    with pytest.raises(InputError, match=rf"the size of its frames changes\. {hint}"):
        list(read_frames(tmp_path / "joined.mp4", start, stop))


SPECIAL_NAMES = ["with space", 'it\'s "quoted"', "-dash", "Zoë 舞蹈", "100%d", "a:b,c;d", "$(x)`y`"]


@pytest.mark.parametrize("name", [f"{name}.mp4" for name in SPECIAL_NAMES])
def test_special_characters_in_a_name_have_no_effect(name, video, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)

    assert probe(name).num_frames == 100
    assert number_of(next(read_frames(name, 50))) == 50


def test_memory_does_not_grow_with_the_length_of_the_video(media, ffmpeg):
    """Two videos of 640 x 360, one ten times as long: reading them takes the same memory within 5 %."""
    peaks = []
    for frames in (60, 600):
        path = media / f"long{frames}.mp4"
        ffmpeg("-f", "lavfi", "-i", "testsrc=s=640x360:r=30", "-frames:v", str(frames), "-preset", "ultrafast", path)
        code = f"import resource; from stages.clip import read_frames; n = sum(1 for _ in read_frames({str(path)!r}));"
        code += " print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout.split()
        assert int(output[0]) == frames
        peaks.append(int(output[1]))

    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is an empty file"), (b"this is a text, not a video\n" * 50, "it is not a video"), (b"\0" * 5000, "cannot be read as a video")],
)
def test_a_file_that_is_not_a_video_is_named_with_the_reason(content, sentence, tmp_path):
    path = tmp_path / "thing.mp4"
    path.write_bytes(content)

    with pytest.raises(InputError, match=sentence) as caught:
        probe(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        probe(tmp_path / "nothing.mp4")
    with pytest.raises(InputError, match="is not a file"):
        probe(tmp_path)


def test_a_sound_file_is_refused(tmp_path, ffmpeg):
    path = tmp_path / "tone.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", path)

    with pytest.raises(InputError, match="holds no video"):
        probe(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("faststart", [True, False])
def test_a_truncated_mp4_is_refused(share, faststart, video, tmp_path, ffmpeg):
    whole = video
    if not faststart:
        whole = tmp_path / "index_last.mp4"
        ffmpeg("-i", video, "-c", "copy", whole)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])

    with pytest.raises(InputError, match="cut off|ends too early|ends after|cannot be read"):
        probe(cut)


def test_a_video_that_breaks_off_while_it_is_read_is_an_error(video, tmp_path):
    info = probe(video)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])

    with pytest.raises(InputError, match=r"ends after \d+ of 100 frames"):
        list(decode(Media(cut), info))


def test_a_playlist_cannot_make_ffmpeg_use_the_network(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n")

    with pytest.raises(InputError):
        probe(path)


@pytest.mark.parametrize("name", ["faces/lipnetgrid_bbaf2n.mpg", "people/mmaction2_ntu.avi", "people/mmaction2_demo_skeleton.mp4"])
def test_real_videos_have_as_many_frames_as_probing_says(name, real_media: Path):
    info = probe(real_media / name)

    assert sum(1 for _ in read_frames(real_media / name)) == info.num_frames
