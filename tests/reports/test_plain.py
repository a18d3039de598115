"""Values as reports print them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vzflow.reports.plain import aligned, coloured, instant, json_text, printable, to_the_second

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment", [MOMENT, MOMENT.astimezone(timezone(timedelta(hours=9))), MOMENT.replace(tzinfo=None)], ids=str
)
def test_times_are_utc(moment):
    """A zone is converted; a time without one, which DuckDB gives for TIMESTAMP, is UTC and not the machine's."""
    assert instant(moment) == "2026-01-02T03:04:05.678901Z"
    assert to_the_second(moment) == "2026-01-02 03:04:05Z"


def test_no_time_is_a_dash():
    """As every absent value in a table."""
    assert (instant(None), to_the_second(None)) == ("-", "-")


def test_whole_seconds_keep_their_six_digits():
    """Columns of times line up, and sort as text."""
    assert instant(datetime(26, 1, 2, tzinfo=UTC)) == "0026-01-02T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None), (True, True), (10**30, 10**30), (1.5, 1.5), (float("nan"), "nan"), (float("-inf"), "-inf"),
        (Decimal("7"), 7), (Decimal("7.5"), 7.5), (date(2026, 1, 2), "2026-01-02"), (b"\x00\xff", "00ff"),
        ([None, MOMENT], [None, "2026-01-02T03:04:05.678901Z"]), ({"a": {"b": 1}}, {"a": {"b": 1}}),
        (timedelta(days=1), "1 day, 0:00:00"), ([("k", 1)], [["k", 1]]),
    ],
    ids=str,
)  # fmt: skip
def test_json_has_a_form_for_whatever_a_query_returns(value, written):
    """Integers stay numbers, nulls stay explicit; what JSON lacks is text."""
    assert json.loads(json_text([{"x": value}])) == [{"x": written}]


def test_columns_are_as_wide_as_their_widest_cell():
    """Numbers to the right, all else to the left, and no blanks at the end of a line."""
    assert aligned([("name", "n"), ("a", 5), ("long name", 12), (None, 7)]) == [
        "  name        n", "  a           5", "  long name  12", "  -           7",
    ]  # fmt: skip


def test_no_rows_are_no_lines():
    """And a header alone is one."""
    assert aligned([]) == []
    assert aligned([("a", "b")], indent=0) == ["a  b"]


def test_column_with_any_text_is_aligned_left():
    """Half a column of numbers is no column of numbers."""
    assert aligned([("n",), (5,), ("many",)], indent=0) == ["n", "5", "many"]


def test_ragged_rows_are_a_mistake():
    """A cell that went missing must not shift the others."""
    with pytest.raises(ValueError, match="zip"):
        aligned([("a", "b"), ("c",)])


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1))
def test_every_row_is_one_line_of_printable_text(rows):
    """Whatever a record says, it neither breaks the line nor reaches the terminal as a command."""
    lines = aligned(rows)
    assert len(lines) == len(rows)
    assert all(line.isprintable() for line in lines)


@given(st.text())
def test_printable_text_is_left_alone(text):
    """And what is escaped is escaped once."""
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert (shown == text) is text.isprintable()


def test_printable_reaches_into_every_depth():
    """Facts are nested."""
    assert printable({"a": ["\x1b[2J", ("\u202e", 1, None)]}) == {"a": ["\\x1b[2J", ("\\u202e", 1, None)]}


def test_colour_is_only_where_it_is_asked_for():
    """Reset at the end, so that it does not run on."""
    assert coloured("x", "high", on=True) == "\x1b[31mx\x1b[0m"
    assert coloured("x", "high", on=False) == "x"
