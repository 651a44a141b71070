"""Subjects of a clip are chosen once, and followed across gaps but not across cuts."""

from __future__ import annotations

import numpy as np
import pytest

from stages.errors import UsageError
from stages.tracking.tracker import Detections, Subject, follow, parse_choice


def subject_at(x: float, size: float = 40.0, y: float = 100.0) -> Subject:
    """A square subject with one point at its centre."""
    box = np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2], np.float32)
    return Subject(box, np.array([[x, y, 1]], np.float32))


def track_xs(frames: list[list[Subject]], choice: str | int, cuts: tuple[int, ...] = (), fps: float = 4) -> list[list[float | None]]:
    """The x of the subject in each slot of each frame; None if it is absent."""
    detections = (Detections(subjects, index in cuts, None) for index, subjects in enumerate(frames))
    tracks = follow(detections, choice, 1, fps, 400, 200)
    return [[float(x) if present else None for x, present in zip(t.points[:, 0, 0], t.points[:, 0, 2], strict=True)] for t in tracks]


def test_the_largest_subject_is_kept_when_another_becomes_larger() -> None:
    frames = [[subject_at(50, 60), subject_at(300, 40)]] * 4 + [[subject_at(50, 60), subject_at(300, 90)]] * 3
    assert track_xs(frames, "largest") == [[50]] * 7


def test_a_false_detection_in_the_first_frame_is_not_followed() -> None:
    frames = [[subject_at(300, 30)]] + [[subject_at(50, 60)]] * 5
    assert track_xs(frames, "largest") == [[None]] + [[50]] * 5


def test_another_subject_is_not_chosen_during_a_short_gap() -> None:
    both, other = [subject_at(50, 60), subject_at(300, 40)], [subject_at(300, 40)]
    assert track_xs([both, both, other, other, both], "largest") == [[50], [50], [None], [None], [50]]


def test_another_subject_is_chosen_after_a_second_or_a_cut() -> None:
    both, other = [subject_at(50, 60), subject_at(300, 40)], [subject_at(300, 40)]
    assert track_xs([both] + [other] * 6, "largest", fps=4)[-1] == [300]
    assert track_xs([both, other], "largest", cuts=(1,)) == [[50], [300]]


def test_subjects_can_be_chosen_by_centre_and_by_number_from_the_left() -> None:
    frames = [[subject_at(350, 80), subject_at(190, 30), subject_at(60, 50)]] * 2
    assert track_xs(frames, "center") == [[190]] * 2
    assert track_xs(frames, 0) == [[60]] * 2
    assert track_xs(frames, "2") == [[350]] * 2
    assert track_xs(frames, 3) == [[None]] * 2


def test_subjects_keep_their_slots_while_they_move_and_while_one_is_missing() -> None:
    frames = (
        [[subject_at(50 + 5 * t), subject_at(300 - 5 * t)] for t in range(3)] + [[subject_at(280)]] + [[subject_at(70), subject_at(275)]]
    )
    assert track_xs(frames, "all") == [[50, 300], [55, 295], [60, 290], [None, 280], [70, 275]]


def test_duplicate_detections_count_once() -> None:
    assert track_xs([[subject_at(50, 60), subject_at(52, 58)]], "all") == [[50]]


def test_an_invalid_choice_is_refused() -> None:
    assert parse_choice("3") == 3
    for wrong in ("tallest", "-1", -1):
        with pytest.raises(UsageError, match="not a choice of subjects"):
            parse_choice(wrong)


def walker(x: float, y: float = 100.0, height: float = 80.0, phase: float = 0.0) -> Subject:
    """A person of five points whose legs swing."""
    swing = 0.2 * height * np.sin(phase)
    points = np.array([(0, -0.5), (0, 0), (0.2, -0.1), (swing / height, 0.5), (-swing / height, 0.5)], np.float32) * height
    points = np.concatenate([points + (x, y), np.ones((5, 1))], axis=1).astype(np.float32)
    return Subject(np.array([x - 20, y - height / 2, x + 20, y + height / 2], np.float32), points)


def ys_of_slots(frames: list[list[Subject]]) -> list[set[float]]:
    """The y coordinates of the people in each slot. People walk horizontally, so a slot that follows one person has one y."""
    detections = (Detections(subjects, False, None) for subjects in frames)
    heights: dict[int, set[float]] = {}
    for track in follow(detections, "all", 5, 25, 1000, 400):
        for slot, (points, identity) in enumerate(zip(track.points, track.identity, strict=True)):
            if identity >= 0:
                heights.setdefault(slot, set()).add(round(float(points[1, 1])))
    return list(heights.values())


def test_two_people_who_cross_keep_their_identities() -> None:
    frames = [[walker(100 + 8 * t, 100, phase=t / 2), walker(500 - 8 * t, 112, phase=t / 3)] for t in range(50)]
    assert ys_of_slots(frames) == [{100}, {112}]


def test_two_people_who_cross_and_hide_each_other_keep_their_identities() -> None:
    frames = [[walker(100 + 8 * t, 100, phase=t / 2), walker(500 - 8 * t, 112, phase=t / 3)] for t in range(50)]
    for t in range(20, 31):
        del frames[t][1]
    assert ys_of_slots(frames) == [{100}, {112}]


def test_ten_people_who_cross_keep_their_identities() -> None:
    random = np.random.default_rng(1)
    starts, speeds = random.uniform(50, 900, 10), random.choice([-6.0, -4.0, 4.0, 6.0], 10)
    walks = list(enumerate(zip(starts, speeds, strict=True)))
    frames = [[walker(start + speed * t, 80 + 14 * person, phase=t / 3 + person) for person, (start, speed) in walks] for t in range(40)]
    for subjects in frames:
        random.shuffle(subjects)
    assert sorted(map(sorted, ys_of_slots(frames))) == [[80 + 14 * person] for person in range(10)]


def test_two_people_with_overlapping_boxes_are_two() -> None:
    assert len(ys_of_slots([[walker(100), walker(112, phase=1.5)]])) == 2
