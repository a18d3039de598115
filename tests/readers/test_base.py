"""The line splitter that every log reader uses."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from vzflow.flow.errors import REJECT_KEEPS
from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import LINE_LIMIT, Tally, lines


def split(data: bytes) -> tuple[list[tuple[int, bytes]], Tally]:
    tally = Tally()
    return list(lines(io.BytesIO(data), tally)), tally


def test_lines_keep_their_number_although_blank_ones_are_skipped():
    """A record is found again by its line number in the file, so skipped lines count."""
    found, tally = split(b"one\n\n   \r\nfour\r\nfive")
    assert found == [(1, b"one"), (4, b"four"), (5, b"five")]
    assert tally.read == 5
    assert tally.skipped == {SkipReason.BLANK_LINE: 2}


def test_line_over_the_limit_is_one_reject_and_the_next_line_is_read():
    """A line without end must not fill memory, nor take what follows with it."""
    found, tally = split(b"x" * (3 * LINE_LIMIT) + b"\nnext\n")
    assert found == [(2, b"next")]
    assert [(r.record, r.reason, len(r.raw)) for r in tally.rejects] == [(1, RejectReason.LINE_TOO_LONG, REJECT_KEEPS)]


def test_line_over_the_limit_at_the_end_of_the_input_is_rejected():
    """The last line may lack its newline."""
    found, tally = split(b"x" * (LINE_LIMIT + 5))
    assert found == []
    assert (tally.read, len(tally.rejects)) == (1, 1)


@given(st.lists(st.binary(max_size=20).filter(lambda b: b"\n" not in b)))
@settings(deadline=None)
def test_every_line_is_yielded_or_counted(parts):
    """Nothing disappears silently."""
    found, tally = split(b"".join(part + b"\n" for part in parts))
    assert tally.read == len(parts) == len(found) + tally.skipped.total() + len(tally.rejects)
