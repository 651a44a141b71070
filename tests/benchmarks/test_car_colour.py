"""The benchmark that measures whether a car keeps its colour, on streets whose colours over time are known by construction."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from streets import SIDE, street_maps, write_layers

from stages.clip import Clip, create_clip, open_clip
from stages.errors import InputError

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
FRAMES = 6
ROAD = np.array([40, 40, 40])


@pytest.fixture(scope="module")
def car_colour() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        import car_colour

        return car_colour


def draw_frames(first: np.ndarray, second: np.ndarray, size: int = SIDE) -> list[np.ndarray]:
    """The street with cars 7 and 9 in the given colours, [T, 3] each; `size` is a multiple of 64."""
    _, numbers = street_maps(FRAMES, step=2)
    frames = []
    for number, one, other in zip(numbers, first, second, strict=True):
        frame = np.empty((SIDE, SIDE, 3), np.uint8)
        frame[:], frame[number == 7], frame[number == 9] = ROAD, one, other
        frames.append(frame.repeat(size // SIDE, 0).repeat(size // SIDE, 1))
    return frames


def steady(red: int) -> np.ndarray:
    """A colour that does not change, [T, 3]."""
    return np.tile([red, 20, 60], (FRAMES, 1))


def alternating(amount: int) -> np.ndarray:
    """A colour [T, 3] whose red and green alternate by `amount` around their mean.

    The distance from the mean colour is amount * sqrt(2) in every frame.
    """
    swing = amount * np.array([1, -1] * (FRAMES // 2))
    return np.stack([150 + swing, 100 - swing, np.full(FRAMES, 60)], 1)


@pytest.fixture
def drive(tmp_path) -> Clip:
    """The colour of car 7 alternates by 3, that of car 9 by 9."""
    clip = create_clip(tmp_path / "drives" / "drive.clip", draw_frames(alternating(3), alternating(9)), storage="png")
    write_layers(clip, *street_maps(FRAMES, step=2))
    return open_clip(clip.path)


@pytest.mark.parametrize("size", [64, 128])
def test_the_deviation_of_each_car_is_that_of_the_drawn_colours(car_colour, drive, size):
    deviations = car_colour.deviations(iter(draw_frames(alternating(12), steady(90), size)), drive)
    assert [(one.number, one.frames) for one in deviations] == [(7, FRAMES), (9, FRAMES)]
    assert [one.result for one in deviations] == pytest.approx([12 * 2**0.5, 0])
    real = [3 * 2**0.5, 9 * 2**0.5]
    assert [one.real for one in deviations] == (pytest.approx(real) if size == SIDE else pytest.approx(real, rel=0.15))


def test_the_real_frames_as_the_result_have_the_same_deviation(car_colour, drive):
    assert all(one.result == one.real > 0 for one in car_colour.deviations(drive.frames(), drive))


def test_other_instances_and_cars_in_few_frames_do_not_count(car_colour, drive, tmp_path):
    labels, numbers = street_maps(FRAMES, step=2)
    labels[numbers == 9] = 0
    numbers[2:][numbers[2:] == 7] = 0
    other = create_clip(tmp_path / "other.clip", drive.frames(), storage="png")
    write_layers(other, labels, numbers)
    assert car_colour.deviations(drive.frames(), open_clip(other.path)) == []


def test_results_that_do_not_match_the_drive_are_refused(car_colour, drive, tmp_path):
    frames = draw_frames(steady(1), steady(2))
    for wrong in (frames[:-1], [*frames, frames[0]]):
        with pytest.raises(InputError, match=f"the drive has {FRAMES}"):
            car_colour.deviations(iter(wrong), drive)
    with pytest.raises(InputError, match="have no tram, only sky, road, car, fence"):
        car_colour.deviations(iter(frames), drive, "tram")
    bare = create_clip(tmp_path / "bare.clip", frames, storage="png")
    with pytest.raises(InputError, match="has no layer segment"):
        car_colour.deviations(iter(frames), bare)


def test_the_command_prints_the_ratio_over_all_instances(drive, tmp_path):
    """(12 + 6) / (3 + 9) = 1.5."""
    create_clip(tmp_path / "results" / "drive.clip", draw_frames(alternating(12), alternating(6)), storage="png")
    command: list[Any] = [sys.executable, PAPERS / "car_colour.py", "--drives", tmp_path / "drives", "--results", tmp_path / "results"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("real 8.49, ratio 1.50, goal 1.5: met") and done.stdout.count("drive car") == 2
    empty = subprocess.run([*command[:-1], tmp_path / "drives" / "drive.clip"], capture_output=True, text=True, check=False)
    assert empty.returncode == 1 and "contains neither clips nor videos" in empty.stderr and "Traceback" not in empty.stderr
