"""The layer `flow`: extraction, skipped work, import and export."""

from __future__ import annotations

import os
import signal
import time
from fractions import Fraction

import numpy as np
import pytest

from stages.clip import create_clip, open_clip
from stages.clip.exporters import export
from stages.clip.importers import guess_layout, import_clips
from stages.clip.validate import validate
from stages.errors import InputError, MissingRequirement, ParametersDiffer, UsageError
from stages.extract_flow import FlowOptions, extract


def flows(clip) -> list[np.ndarray]:
    return [image.astype(np.float32) for image in clip.layer("flow").images()]


def confidences(clip) -> list[np.ndarray]:
    return list(clip.layer("flow_confidence").images())


def test_each_frame_has_its_flow_to_the_next_and_none_crosses_a_cut(moving_clip):
    outcome = extract(moving_clip, FlowOptions())
    assert (outcome.layer, outcome.status, outcome.frames, outcome.notes) == ("flow", "done", 5, {"cuts": 1})
    medians = [np.median(flow[8:-8, 8:-8], (0, 1)) for flow in flows(moving_clip)]
    assert np.abs(np.array(medians) - [(-3, 1), (-3, 1), (0, 0), (2, 0), (0, 0)]).max() < 0.3
    consistent = [image.mean() / 255 for image in confidences(moving_clip)]
    assert min(consistent[0], consistent[1], consistent[3]) > 0.85 and consistent[2] == consistent[4] == 0
    assert {int(value) for image in confidences(moving_clip) for value in np.unique(image)} == {0, 255}
    assert validate(moving_clip.path).errors == []


def test_a_second_run_is_skipped_and_another_network_is_refused_by_its_sha256(moving_clip, make_onnx):
    extract(moving_clip, FlowOptions())
    assert extract(moving_clip, FlowOptions(device="cpu")).status == "skipped"
    with pytest.raises(ParametersDiffer, match=r'backend: "dis" -> "onnx"; weights.network0.onnx: null -> "'):
        extract(moving_clip, FlowOptions(model=str(make_onnx())))
    assert extract(moving_clip, FlowOptions(model=str(make_onnx())), overwrite=True).status == "done"
    assert all((flow == (3, -1)).all() for flow in flows(moving_clip)[:2])
    assert [image.any() for image in confidences(moving_clip)] == [False] * 5, "a constant flow is not consistent forward and backward"


def test_a_missing_confidence_layer_is_made_again_without_changing_the_flow(moving_clip):
    extract(moving_clip, FlowOptions())
    before = moving_clip.layer("flow").meta
    (moving_clip.path / "flow_confidence" / "layer.json").unlink()
    assert extract(moving_clip, FlowOptions()).status == "done"
    assert moving_clip.layer("flow").meta == before and len(confidences(moving_clip)) == 5


def test_backend_and_network_must_fit_together(moving_clip, make_onnx, tmp_path):
    with pytest.raises(UsageError, match="The flow backend onnx needs a network"):
        extract(moving_clip, FlowOptions(backend="onnx"))
    with pytest.raises(UsageError, match="The flow backend dis has no network"):
        extract(moving_clip, FlowOptions(backend="dis", model=str(make_onnx())))
    with pytest.raises(MissingRequirement, match=r"absent\.onnx does not exist"):
        extract(moving_clip, FlowOptions(model=str(tmp_path / "absent.onnx")))


def test_a_network_whose_output_is_nan_is_an_error_and_leaves_no_layer(moving_clip, make_onnx, leftovers):
    with pytest.raises(InputError, match="NaN"):
        extract(moving_clip, FlowOptions(model=str(make_onnx(flow=(float("nan"), 0)))))
    assert moving_clip.layers() == ["frames"] and leftovers(moving_clip.path) == []


def test_the_flow_of_a_single_frame_is_zero(tmp_path):
    clip = create_clip(tmp_path / "one.clip", [np.zeros((20, 30, 3), np.uint8)])
    extract(clip, FlowOptions())
    assert not flows(clip)[0].any() and not confidences(clip)[0].any()


@pytest.mark.parametrize(("form", "step"), [("flo", 0), ("npz", 0), ("png", 1 / 64)])
def test_exported_flow_can_be_imported(form, step, moving_clip, tmp_path):
    extract(moving_clip, FlowOptions())
    folder = export(moving_clip, "flow", tmp_path / form, form)
    assert sorted(os.listdir(folder)) == [f"{index:06d}.{form}" for index in range(5)]
    bare = create_clip(tmp_path / "bare.clip", moving_clip.frames())

    [imported] = import_clips(folder, bare.path, "flow")

    valid = [image > 0 if form == "png" else np.ones_like(image, bool) for image in confidences(moving_clip)]
    pairs = zip(flows(moving_clip), flows(imported), valid, strict=True)
    assert max(np.abs(one - other)[mask].max(initial=0) for one, other, mask in pairs) <= step
    if form != "flo":
        assert all(map(np.array_equal, confidences(moving_clip), confidences(imported)))
    assert validate(imported.path).errors == []
    assert import_clips(folder, bare.path, "flow")[0].path == imported.path


def test_the_default_format_of_exported_flow_is_flo(moving_clip, tmp_path):
    extract(moving_clip, FlowOptions())
    folder = export(moving_clip, "flow", tmp_path / "out")
    assert (folder / "000000.flo").read_bytes().startswith(b"PIEH") and guess_layout(folder) == "flow"
    with pytest.raises(UsageError, match="cannot be exported as jpg"):
        export(moving_clip, "flow", tmp_path / "jpg", "jpg")


def test_the_last_frame_needs_no_file(moving_clip, tmp_path):
    extract(moving_clip, FlowOptions())
    folder = export(moving_clip, "flow", tmp_path / "out", "npz")
    (folder / "000004.npz").unlink()
    bare = create_clip(tmp_path / "bare.clip", moving_clip.frames())
    [imported] = import_clips(folder, bare.path, "flow")
    assert not flows(imported)[4].any() and not confidences(imported)[4].any() and confidences(imported)[3].any()


def test_flow_that_does_not_fit_its_clip_is_refused(moving_clip, tmp_path, leftovers):
    extract(moving_clip, FlowOptions())
    folder = export(moving_clip, "flow", tmp_path / "out")
    small = create_clip(tmp_path / "small.clip", [np.zeros((20, 30, 3), np.uint8)] * 5, fps=Fraction(25))
    short = create_clip(tmp_path / "short.clip", list(moving_clip.frames())[:3])
    with pytest.raises(InputError, match=r"000000\.flo is 128 x 96, but the frames of .*small.clip are 30 x 20"):
        import_clips(folder, small.path)
    with pytest.raises(InputError, match=r"holds flow from 5 frames to the next, but .*short.clip has 3 frames"):
        import_clips(folder, short.path)
    for out in (None, tmp_path / "absent.clip", tmp_path):
        with pytest.raises(UsageError, match=r"needs a clip that it belongs to"):
            import_clips(folder, out)
    assert small.layers() == short.layers() == ["frames"] and leftovers(tmp_path) == []


def test_flow_can_be_extracted_exported_and_imported_by_commands(fsv2v, moving_clip, make_onnx, tmp_path):
    network = make_onnx(flow=(0, 0))
    assert fsv2v("clip", "flow", moving_clip.path, "--backend", "onnx", "--model", network).lines == [str(moving_clip.path)]
    refused = fsv2v("clip", "flow", moving_clip.path)
    assert refused.exit_code == 3 and "--overwrite" in refused.stderr
    assert fsv2v("clip", "flow", moving_clip.path, "--overwrite").exit_code == 0
    out = tmp_path / "out"
    assert fsv2v("clip", "export", moving_clip.path, "--layer", "flow", "--format", "png", "-o", out).lines == [str(out)]
    bare = create_clip(tmp_path / "bare.clip", moving_clip.frames())
    assert fsv2v("clip", "import", out, "--layout", "flow", "-o", bare.path).lines == [str(bare.path)]
    assert bare.layers() == ["flow", "flow_confidence", "frames"]


def test_a_killed_run_leaves_no_layer_and_the_same_command_continues(fsv2v, tmp_path, make_face_video, visible_layers):
    command = ("clip", "flow", make_face_video(tmp_path / "face.mp4", 40), "-o")
    assert fsv2v(*command, tmp_path / "undisturbed.clip").exit_code == 0
    process = fsv2v.start(*command, tmp_path / "killed.clip")
    while not list(tmp_path.glob("killed.clip/.flow*/*.npz")) and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert visible_layers(tmp_path / "killed.clip") == ["frames"]
    assert fsv2v(*command, tmp_path / "killed.clip").exit_code == 0
    undisturbed, killed = (open_clip(tmp_path / name) for name in ("undisturbed.clip", "killed.clip"))
    assert all(undisturbed.layer(kind).digest == killed.layer(kind).digest for kind in ("flow", "flow_confidence"))
