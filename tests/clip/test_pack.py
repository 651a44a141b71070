"""A packed clip is one uncompressed zip, which is read without unpacking."""

from __future__ import annotations

import multiprocessing
import os
import zipfile

import numpy as np
import pytest
from numbered_frames import number_of, numbered_frame

from stages.clip import Producer, VideoWriter, as_clip, create_clip, open_clip, probe
from stages.clip.pack import pack, unpack
from stages.clip.validate import validate
from stages.errors import InputError, InvalidClip, ParametersDiffer


@pytest.fixture
def packed(clip):
    """The zip of the numbered clip with a layer `mask`; it contains the source video."""
    with clip.writing("mask", Producer("test"), {}) as layer:
        for _ in range(100):
            layer.image(np.zeros((48, 64), np.uint8))
    return pack(clip.path)


def test_a_packed_clip_is_read_without_unpacking(packed, tmp_path):
    clip = open_clip(packed)

    assert packed == tmp_path / "numbered.zip"
    assert clip.layers() == ["audio", "frames", "mask"]
    assert [number_of(frame) for frame in clip.frames(60, 63)] == [60, 61, 62]
    assert number_of(clip.frame(99)) == 99
    assert clip.layer("mask").image(7).shape == (48, 64)
    assert validate(packed).errors == []


def test_a_video_can_take_its_sound_from_a_packed_clip(packed, tmp_path):
    clip = open_clip(packed)
    with VideoWriter(tmp_path / "out.mp4", 64, 48, clip.fps, audio_from=clip) as writer:
        for frame in clip.frames(0, 40):
            writer.write(frame)

    assert probe(tmp_path / "out.mp4").has_audio


def test_the_zip_is_uncompressed_and_its_bytes_depend_only_on_the_clip(packed, clip, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    os.utime(clip.path / "clip.json", (0, 0))

    assert pack(clip.path, tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_unpacking_restores_the_clip(packed, clip, tmp_path):
    restored = open_clip(unpack(packed, tmp_path / "restored.clip"))

    assert restored.meta == clip.meta
    assert {kind: restored.layer(kind).digest for kind in restored.layers()} == {kind: clip.layer(kind).digest for kind in clip.layers()}
    assert validate(restored.path).errors == []
    assert pack(restored.path).read_bytes() == packed.read_bytes()


def test_packing_again_changes_nothing_and_another_zip_is_replaced_only_with_overwrite(packed, clip, small_clip):
    before = packed.stat().st_mtime_ns
    assert pack(clip.path) == packed
    assert packed.stat().st_mtime_ns == before

    with pytest.raises(ParametersDiffer, match="is not this clip"):
        pack(small_clip.path, packed)
    assert pack(small_clip.path, packed, overwrite=True) == packed
    assert open_clip(packed).num_frames == 6


def test_no_layer_can_be_added_to_a_packed_clip(packed):
    with pytest.raises(InputError, match="is packed and cannot be added to"), open_clip(packed).writing("sketch", Producer("test"), {}):
        pass


def test_a_packed_clip_with_another_output_folder_is_unpacked_there(packed, tmp_path):
    clip = as_clip(packed, tmp_path / "work")

    assert clip.path == tmp_path / "work" / "numbered.clip"
    assert number_of(clip.frame(3)) == 3


def put_frame_numbers(clip, queue):
    """Read the numbers of all frames and put them into a queue. Runs in another process."""
    queue.put([number_of(clip.frame(index)) for index in range(6)])


def test_forked_workers_do_not_disturb_each_other(small_clip):
    clip = open_clip(pack(small_clip.path))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=put_frame_numbers, args=(clip, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    results = [queue.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()

    assert results == [list(range(6))] * 3


def write_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside", "frames/../../outside", "a\\..\\b", "C:/outside", "frames//x"])
def test_names_that_leave_the_folder_are_refused(name, small_clip, tmp_path):
    text = (small_clip.path / "clip.json").read_bytes()
    path = write_zip(tmp_path / "evil.zip", [("clip.json", text), (name, b"x")])

    with pytest.raises(InvalidClip, match="unsafe name"):
        unpack(path, tmp_path / "out" / "evil.clip")
    assert not (tmp_path / "out").exists()


def test_a_compressed_zip_is_refused(small_clip, tmp_path):
    bomb = [("clip.json", (small_clip.path / "clip.json").read_bytes()), ("frames/000000.png", b"0" * 10_000_000)]
    path = write_zip(tmp_path / "bomb.zip", bomb, zipfile.ZIP_DEFLATED)

    with pytest.raises(InvalidClip, match="compressed"):
        unpack(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(small_clip, tmp_path):
    text = (small_clip.path / "clip.json").read_bytes()

    with pytest.raises(InvalidClip, match="a name twice"):
        unpack(write_zip(tmp_path / "evil.zip", [("clip.json", text), ("clip.json", text)]))


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_truncated_zip_is_refused(share, packed, tmp_path):
    cut = tmp_path / "cut.zip"
    cut.write_bytes(packed.read_bytes()[: int(packed.stat().st_size * share)])

    with pytest.raises(InvalidClip, match="neither a clip directory nor a packed clip"):
        open_clip(cut)


def test_validation_finds_a_flipped_bit(small_clip):
    path = pack(small_clip.path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\x89PNG") + 60] ^= 1
    path.write_bytes(data)

    assert any("damaged" in error for error in validate(path).errors)


@pytest.mark.parametrize("fault", ["flipped", "cut"])
def test_a_damaged_packed_frame_is_named(fault, small_clip):
    path = pack(small_clip.path)
    clip = open_clip(path)
    data = bytearray(path.read_bytes())
    if fault == "flipped":
        data[data.index(b"\x89PNG") + 60] ^= 1
    path.write_bytes(data if fault == "flipped" else data[: data.index(b"\x89PNG") + 60])

    with pytest.raises(InvalidClip, match=r"small\.zip: frames/\S+ is damaged: (its checksum is wrong|the zip ends)"):
        clip.frame(0)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_packed_clips_keep_no_file_open(small_clip):
    path = pack(small_clip.path)
    before = len(os.listdir("/proc/self/fd"))
    clips = [open_clip(path) for _ in range(20)]
    assert [number_of(clip.frame(2)) for clip in clips] == [2] * 20
    assert len(os.listdir("/proc/self/fd")) == before


def test_packing_a_packed_clip_and_unpacking_an_unpacked_one_are_refused(packed, clip):
    with pytest.raises(InputError, match="packed already"):
        pack(packed)
    with pytest.raises(InputError, match="is not packed"):
        unpack(clip.path)


def test_clips_may_have_names_that_are_not_ascii(tmp_path):
    clip = create_clip(tmp_path / "Zoë's 舞蹈.clip", [numbered_frame(4)])

    assert number_of(open_clip(pack(clip.path)).frame(0)) == 4
    assert unpack(tmp_path / "Zoë's 舞蹈.zip", tmp_path / "-x.clip").is_dir()
