"""Videos that fsv2v writes have the exact rate and size and synchronous sound, and are complete or absent."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_frames import number_of, numbered_frame
from sound import sound_onset

from stages.clip import VideoWriter, as_clip, probe, read_frames
from stages.clip.audio import find_sound
from stages.clip.ffmpeg import Media
from stages.errors import InputError, UsageError

REPOSITORY = Path(__file__).resolve().parents[2]


def write_video(path, frames, fps=Fraction(30000, 1001), **options):
    """Write a video and return what probing finds in it."""
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width, height, fps, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return probe(path)


@pytest.mark.parametrize("fps", ["30000/1001", "25", "10", "22131/1000"])
def test_rate_and_frames_are_exact(fps, tmp_path):
    info = write_video(tmp_path / "out.mp4", [numbered_frame(index) for index in range(40)], Fraction(fps))

    assert (info.fps, info.num_frames, info.pix_fmt) == (Fraction(fps), 40, "yuv420p")
    assert [number_of(frame) for frame in read_frames(tmp_path / "out.mp4")] == list(range(40))


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (63, 48), (1, 1), (2, 2)])
def test_odd_sizes_are_kept(size, tmp_path):
    info = write_video(tmp_path / "odd.mp4", [np.full((size[1], size[0], 3), 90, np.uint8)] * 3)

    assert (info.width, info.height) == size
    assert info.pix_fmt == ("yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p")


@pytest.mark.parametrize("height", [480, 720])
def test_colours_are_kept(height, tmp_path):
    colour = np.full((height, 64, 3), (200, 100, 50), np.uint8)
    write_video(tmp_path / "colour.mp4", [colour] * 3)

    assert np.abs(next(read_frames(tmp_path / "colour.mp4")).astype(int) - colour).max() <= 3


@pytest.mark.parametrize(("size", "tag"), [((64, 718), "smpte170m"), ((64, 720), "bt709"), ((63, 721), "bt709"), ((720, 64), "smpte170m")])
def test_matrix_primaries_and_transfer_are_tagged(size, tag, tmp_path):
    from stages.clip.ffmpeg import executable

    write_video(tmp_path / "out.mp4", [np.full((size[1], size[0], 3), 90, np.uint8)] * 3)

    command = [executable(), "-i", tmp_path / "out.mp4", "-vf", "showinfo", "-f", "null", "-"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert f"color_range:tv color_space:{tag} color_primaries:{tag} color_trc:{tag}" in listing


@pytest.mark.parametrize("height", [480, 720])
def test_a_copy_of_an_untagged_video_has_the_same_ycbcr_values(height, tmp_path, ffmpeg):
    """The luma is 172, Cb 113 and Cr 152."""
    source = f"color=c=gray:s=64x{height}:r=10:d=1,format=yuv420p,geq=lum=172:cb=113:cr=152,setparams=colorspace=unknown"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-qp", "0", tmp_path / "in.mp4")
    write_video(tmp_path / "out.mp4", list(read_frames(tmp_path / "in.mp4")), Fraction(10))

    ffmpeg("-i", tmp_path / "out.mp4", "-frames:v", "1", "-pix_fmt", "yuv444p", "-f", "rawvideo", tmp_path / "out.yuv")
    planes = np.fromfile(tmp_path / "out.yuv", np.uint8).reshape(3, -1).astype(int)
    assert np.abs(planes - [[172], [113], [152]]).max() <= 1


def test_the_index_precedes_the_frames(tmp_path):
    write_video(tmp_path / "out.mp4", [numbered_frame(0)] * 3)
    data = (tmp_path / "out.mp4").read_bytes()

    assert data.index(b"moov") < data.index(b"mdat")


def test_the_same_frames_give_the_same_bytes(tmp_path, video):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, [numbered_frame(index) for index in range(20)], audio_from=video)

    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def sound_packets(path: Path) -> list[str]:
    """The checksums of the packets of sound."""
    from stages.clip.ffmpeg import executable

    command = [executable(), "-v", "error", "-i", f"file:{path}", "-map", "0:a:0", "-c", "copy", "-f", "framecrc", "-"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split(",")[5].strip() for line in lines if not line.startswith("#")]


def test_sound_is_copied_without_encoding_it_again(video, tmp_path):
    info = write_video(tmp_path / "out.mp4", list(read_frames(video)), audio_from=video)

    assert info.has_audio
    copied = sound_packets(tmp_path / "out.mp4")
    assert copied == sound_packets(video)[: len(copied)]
    assert abs(len(copied) - len(sound_packets(video))) <= 2


def test_sound_ends_with_the_frames(video, tmp_path):
    write_video(tmp_path / "short.mp4", [numbered_frame(index) for index in range(30)], audio_from=video)

    assert abs(len(sound_packets(tmp_path / "short.mp4")) * 1024 / 44100 - 1.0) < 0.1


def test_frames_after_the_end_of_the_sound_are_kept(tmp_path, ffmpeg):
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.5", "-c:a", "aac", tmp_path / "short.m4a")
    info = write_video(tmp_path / "out.mp4", [numbered_frame(index) for index in range(90)], audio_from=tmp_path / "short.m4a")

    assert (info.num_frames, info.has_audio) == (90, True)


@pytest.mark.parametrize("coding", [["-c:a", "pcm_s16le"], ["-c:a", "libvorbis"]])
def test_sound_that_mp4_cannot_contain_becomes_aac(coding, video, tmp_path, ffmpeg):
    ffmpeg("-i", video, "-c:v", "copy", *coding, tmp_path / "source.mkv")
    write_video(tmp_path / "out.mp4", [numbered_frame(0)] * 30, audio_from=tmp_path / "source.mkv")

    stream = find_sound(Media(tmp_path / "out.mp4"))
    assert stream is not None
    assert stream.codec == "aac"


def sound_samples(path: Path) -> np.ndarray:
    """The sound of a file, int16, mono, at 44.1 kHz."""
    from stages.clip.ffmpeg import executable

    command = [executable(), "-v", "error", "-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar", "44100", "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("through_a_clip", [False, True])
def test_alac_keeps_every_sample(through_a_clip, suffix, tmp_path, ffmpeg):
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=2"]
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=2", *tone, "-c:v", "libx264", "-c:a", "alac", tmp_path / "alac.mp4")
    source = as_clip(tmp_path / "alac.mp4") if through_a_clip else tmp_path / "alac.mp4"

    write_video(tmp_path / f"out.{suffix}", list(read_frames(tmp_path / "alac.mp4")), Fraction(25), audio_from=source)

    assert np.array_equal(sound_samples(tmp_path / f"out.{suffix}"), sound_samples(tmp_path / "alac.mp4"))
    sound = find_sound(Media(tmp_path / f"out.{suffix}"))
    assert sound is not None and sound.codec == "alac"


@pytest.mark.parametrize("through_a_clip", [False, True])
def test_sound_stays_synchronous_with_the_frames(through_a_clip, tmp_path, ffmpeg):
    """A tone starts one second after the first frame, in a source whose video starts 0.4 s after its sound."""
    late_video = tmp_path / "late.mkv"
    images = ["-itsoffset", "0.4", "-f", "lavfi", "-i", "color=c=gray:s=32x32:r=25:d=2"]
    tone = ["-f", "lavfi", "-i", "aevalsrc=if(gt(t\\,1.4)\\,0.8*sin(3000*t)\\,0):d=2.4"]
    ffmpeg(*images, *tone, "-map", "0", "-map", "1", "-c:v", "libx264", "-c:a", "aac", late_video)
    source = as_clip(late_video, late_video.parent) if through_a_clip else late_video
    assert probe(late_video).start == pytest.approx(0.4, abs=0.03)

    write_video(tmp_path / "out.mp4", list(read_frames(late_video)), Fraction(25), audio_from=source)

    assert sound_onset(tmp_path / "out.mp4") == pytest.approx(1.0, abs=0.04)


def test_a_source_without_sound_gives_a_silent_video(small_clip, tmp_path):
    assert not write_video(tmp_path / "out.mp4", [numbered_frame(0)] * 3, audio_from=small_clip).has_audio


def test_an_exception_while_writing_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "out.mp4", 64, 48, Fraction(25)) as writer:
        writer.write(numbered_frame(0))
        raise RuntimeError("the model broke")

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_ffmpeg_starts_ends_ffmpeg_and_leaves_no_file(signal_number, tmp_path, monkeypatch):
    started = []

    class InterruptedPopen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
            os.kill(os.getpid(), signal_number)  # as Ctrl-C would at this moment

    before = signal.signal(signal_number, signal.default_int_handler)
    monkeypatch.setattr(subprocess, "Popen", InterruptedPopen)
    try:
        with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.mp4", 64, 64, Fraction(25)):
            pass
    finally:
        signal.signal(signal_number, before)
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert list(tmp_path.iterdir()) == []


def test_an_old_video_stays_when_its_replacement_fails(tmp_path):
    write_video(tmp_path / "out.mp4", [numbered_frame(7)] * 3)
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "out.mp4", 64, 48, Fraction(25)) as writer:
        writer.write(numbered_frame(0))
        raise RuntimeError("the model broke")

    assert number_of(next(read_frames(tmp_path / "out.mp4"))) == 7


@pytest.mark.parametrize("frame", [np.zeros((47, 64, 3), np.uint8), np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.float32)])
def test_a_frame_of_another_shape_is_refused(frame, tmp_path):
    with pytest.raises(InputError, match="must be uint8"), VideoWriter(tmp_path / "out.mp4", 64, 48, Fraction(25)) as writer:
        writer.write(frame)
    assert os.listdir(tmp_path) == []


def test_a_video_without_a_frame_is_refused(tmp_path):
    with pytest.raises(InputError, match="got no frame"), VideoWriter(tmp_path / "out.mp4", 64, 48, Fraction(25)):
        pass
    assert os.listdir(tmp_path) == []


def test_an_unknown_file_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.mp4"):
        VideoWriter(tmp_path / "out.xyz", 64, 48, Fraction(25))


@pytest.mark.parametrize("name", ["-dash.mp4", 'Zoë\'s "舞蹈" 100%d.mp4'])
def test_special_characters_in_a_name_have_no_effect(name, tmp_path, monkeypatch, video):
    monkeypatch.chdir(tmp_path)

    assert write_video(name, [numbered_frame(3)] * 3, audio_from=video).num_frames == 3


def run_with_file_size_limit(code: str, max_bytes: int) -> subprocess.CompletedProcess[str]:
    """Run Python code that cannot write files of more than `max_bytes`, as on a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, preexec_fn=limit, check=False)


def test_a_full_disk_is_named_and_no_file_is_left(tmp_path):
    code = f"""
import numpy as np
from fractions import Fraction
from stages.clip import VideoWriter
from stages.errors import InputError
noise = np.random.default_rng(0)
try:
    with VideoWriter({str(tmp_path / "out.mp4")!r}, 320, 240, Fraction(25)) as writer:
        for _ in range(120):
            writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8))
except InputError as error:
    print(error)
"""
    result = run_with_file_size_limit(code, 200_000)

    assert "cannot be written: the disk is full" in result.stdout, result.stderr
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(InputError, match="cannot be written"), VideoWriter(tmp_path / "file" / "out.mp4", 64, 48, Fraction(25)):
        pass
    with pytest.raises(InputError, match="cannot be written"), VideoWriter("/proc/out.mp4", 64, 48, Fraction(25)):
        pass


def test_the_next_writer_removes_the_leftovers_of_a_killed_one(tmp_path):
    code = f"""
import os, signal
import numpy as np
from fractions import Fraction
from stages.clip import VideoWriter
with VideoWriter({str(tmp_path / "out.mp4")!r}, 64, 48, Fraction(25)) as writer:
    writer.write(np.zeros((48, 64, 3), np.uint8))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "out.mp4").exists()

    time.sleep(1)  # the orphaned ffmpeg ends by itself at the end of its input

    write_video(tmp_path / "out.mp4", [numbered_frame(1)] * 3)

    assert os.listdir(tmp_path) == ["out.mp4"]
