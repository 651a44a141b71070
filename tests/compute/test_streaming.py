"""Pipelines: a function that runs in a thread ahead of its caller."""

from __future__ import annotations

import sys

import pytest

from stages.compute.streaming import SWITCH_SECONDS, map_in_thread


def test_results_are_in_order_and_paired_with_their_items():
    assert list(map_in_thread(lambda number: number**2, range(4))) == [(0, 0), (1, 1), (2, 4), (3, 9)]


def test_an_error_of_the_function_is_raised_in_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(map_in_thread(lambda number: 1 // number, [1, 0]))


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_the_last_of_overlapping_pipelines_restores_the_switch_interval(first_to_end: int):
    before = sys.getswitchinterval()
    pipelines = [map_in_thread(abs, range(3)), map_in_thread(abs, range(3))]
    for pipeline in pipelines:
        next(pipeline)
    list(pipelines[first_to_end])
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    list(pipelines[1 - first_to_end])
    assert sys.getswitchinterval() == pytest.approx(before) != SWITCH_SECONDS
