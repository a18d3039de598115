"""What the compiled core says of a line of text is what one regular expression says; of every other line, nothing."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers.twin import interpreted

from vzflow.readers import line_core
from vzflow.readers.line_core import ADDRESS, COUNT, NOTHING, SKIP, TEXT, TIME, WHOLE

KEY = b"secretly"
ROWS = 16
FIRST = b"["
#: As in a format: a time in brackets, text between quotes, words, counts, addresses.
FIELDS = [
    (TIME, b'] "'), (TEXT, b'" '), (SKIP, b" "), (COUNT, b' "'), (SKIP, b'" '), (ADDRESS, b" "), (TEXT, b' "'),
    (ADDRESS, b'"'),
]  # fmt: skip
WORD, QUOTED = rb"[\x21\x23-\x7f]*", rb"[\x20\x21\x23-\x7f]*"
LINE = re.compile(
    rb"\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)\] "
    rb'"(%b)" %b (-|\d{1,18}) "%b" (%b) (%b) "(%b)"' % (QUOTED, WORD, QUOTED, WORD, WORD, QUOTED)
)
SPLIT = re.compile(rb"(\[[\x21\x23-\x5c\x5e-\x7f]*\]|[\d.]+):(\d{1,5})")
WRONG = [b'"', b" ", b"", b"\xff", b"\t", b":", b"]", b"0", b"\0" * 8, b"\t" + b"\0" * 7]
BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def cells(core, data, **limits):
    """(line, what is said of its fields or None) for the lines of *data*."""
    made = core.TextLines(KEY, FIRST, FIELDS, ROWS, **limits)
    found, at = [], 0
    while at < len(data):
        at = made.feed(data + bytes(8), at, len(data))
        plain, begins, ends = made.lines
        for row in range(len(plain)):
            said = [said_of(made, field, row) for field, (kind, _) in enumerate(FIELDS) if kind != SKIP]
            found.append((data[begins[row] : ends[row]], said if plain[row] else None))
    return found


def said_of(made, field, row):
    codes, texts = made.text(field)
    values, states = made.number(field)
    text = bytes(texts[codes[row] - 1]) if codes[row] else None
    return text, (int(values[row]) if states[row] == WHOLE else None), int(states[row])


def expected(line):
    """What the expression says of the same fields; nothing of a line that it does not fit."""
    match = LINE.fullmatch(line)
    if match is None:
        return None
    time, text, count, one, word, two = match.groups()
    try:
        since = (datetime.fromisoformat(time.decode()) - BEGIN) // timedelta(microseconds=1)
    except ValueError:
        return None
    if time[:2] == b"00" or time[:1] == b"9":  # where the ends of a flow may be beyond what a time can be
        return None
    number = (None, None, NOTHING) if count == b"-" else (None, int(count), WHOLE)
    return [(None, since, WHOLE), (text, None, 0), number, end_of(one), (word, None, 0), end_of(two)]


def end_of(text):
    match = SPLIT.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        return text, None, 0
    return match[1], int(match[2]), WHOLE


def printed(
    time="2026-01-02T03:04:05Z", text="GET", skip="x", count="1", free="a b", one="192.0.2.1:80", word="w", two="-"
):
    return f'[{time}] "{text}" {skip} {count} "{free}" {one} {word} "{two}"'.encode()


words = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), max_size=20)
texts = st.text(st.characters(codec="latin-1", exclude_characters="\n"), max_size=30) | words
times = st.datetimes().map(lambda t: t.isoformat() + "Z") | st.sampled_from([
    "2024-02-29T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00.1Z", "2000-02-29T23:59:59.999999Z",
    "2026-01-02T03:04:60Z", "2026-00-02T03:04:05Z", "2026-01-00T03:04:05Z", "2026-04-31T03:04:05Z",
    "2026-01-02T03:04:05",
])  # fmt: skip
ends = words | st.sampled_from(
    ["-", "10.0.0.1:80", "[::1]:65535", "10.0.0.1:65536", "[a", "1:2:3", ":1", "[]:0", "1.2:"]
)
counts = st.sampled_from(["0", "-", "", "007", "9" * 18, "9" * 19, "-1", "1x"]) | st.integers(0, 10**18 - 1).map(str)


@given(st.lists(st.builds(printed, times, texts, words, counts, texts, ends, words, ends), min_size=1, max_size=5))
@example([printed(one="10.0.0.1:1"), printed(one="10.0.0.12:1"), printed(one="10.0.0.1")])
@example([printed(text=""), printed(text="a"), printed(text="ab"), printed(text="a")])
@settings(max_examples=1000)
def test_a_line_is_read_as_the_expression_reads_it_or_left(lines):
    """What it leaves is what the expression does not fit, or what is too long, too large or not ASCII."""
    found = cells(line_core, b"\n".join(lines) + b"\n")
    assert found == [(line, expected(line)) for line in lines]


@pytest.mark.parametrize("seed", range(5))
def test_damaged_lines_are_told_alike_by_both_ways_of_running(seed):
    """The compiled core, and the same source under Python."""
    rng = random.Random(seed)
    lines = []
    for i in range(200):
        line = bytearray(
            printed(text=f"/{i % 7}", count=str(i), one=f"192.0.2.{i % 5}:{i}", free="x" * rng.randrange(20))
        )
        for _ in range(rng.choice([0, 0, 1, 2])):
            place = rng.randrange(len(line))
            line[place : place + rng.randrange(3)] = rng.choice(
                [b'"', b" ", b"", b"\xff", b"\t", b":", b"]", b"0", b"\0" * 8]
            )
        lines.append(bytes(line))
    data = b"\n".join(lines) + b"\n"
    found = cells(line_core, data)
    assert [line for line, _ in found] == lines
    assert found == [(line, expected(line)) for line in lines]
    assert sum(said is not None for _, said in found) > 50
    assert cells(interpreted("vzflow.readers.line_core"), data) == found


def test_texts_without_a_place_are_left_and_numbered_from_the_beginning_afterwards():
    """Memory is bounded, however many different texts a log holds."""
    lines = [printed(text=f"text {i}", one=f"192.0.2.{i}:1") for i in range(100)]
    found = cells(line_core, b"\n".join(lines) + b"\n", max_texts=12)
    assert [line for line, _ in found] == lines
    assert all(said is None or said == expected(line) for line, said in found)
    assert 0 < sum(said is None for _, said in found) < 40


def test_addresses_of_all_fields_are_numbered_together():
    """So that each is understood once."""
    made = line_core.TextLines(KEY, FIRST, FIELDS, ROWS)
    data = printed(one="192.0.2.1:80", two="192.0.2.1:90") + b"\n"
    made.feed(data + bytes(8), 0, len(data))
    assert made.text(5)[0].tolist() == made.text(7)[0].tolist() == [1]
    assert made.text(5)[1] == made.text(7)[1] == [b"192.0.2.1"]
