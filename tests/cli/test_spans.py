"""Spans of time on the command line."""

from __future__ import annotations

import pytest

from fsv2v_cli.spans import time_span
from stages.errors import UsageError


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (None, (None, None)),
        ("12.5-20", (12.5, 20)),
        ("1:30-2:00", (90, 120)),
        ("1:02:03.25-1:02:04", (3723.25, 3724)),
        ("10-", (10, None)),
        ("-10", (None, 10)),
        ("90-1:40", (90, 100)),
    ],
)
def test_a_span_is_two_times_of_which_one_may_be_left_out(text, span):
    assert time_span(text) == span


@pytest.mark.parametrize("text", ["", "-", "1:30", "12", "a-b", "1:75-2:00", "1:60:00-", "1-2-3", "-1--2", "1e3-", "nan-"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="is not a span of time"):
        time_span(text)
