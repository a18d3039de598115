"""The line splitter that every log reader uses."""

import io

from hypothesis import given
from hypothesis import strategies as st

from vzflow.flow.errors import REJECT_KEEPS
from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import LINE_LIMIT, REJECTS_KEPT, Tally, lines


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
def test_every_line_is_yielded_or_counted(parts):
    """Nothing disappears silently."""
    found, tally = split(b"".join(part + b"\n" for part in parts))
    assert tally.read == len(parts) == len(found) + tally.skipped.total() + len(tally.rejects)


# Rejects.


def test_first_rejects_of_each_reason_are_kept_and_the_rest_is_counted():
    """A hostile file of a hundred million costs bounded memory, and nothing disappears."""
    tally = Tally(read=REJECTS_KEPT + 12)
    for number in range(REJECTS_KEPT + 2):
        tally.reject(number + 1, RejectReason.NOT_JSON, "why", b"raw")
    assert not tally.room_for(RejectReason.NOT_JSON)
    assert tally.room_for(RejectReason.BAD_RECORD)
    tally.reject(9, RejectReason.BAD_RECORD, "why")
    tally.reject_more(RejectReason.NOT_JSON, 9)
    assert len(tally.rejects) == REJECTS_KEPT + 1
    assert (tally.rejected, tally.balanced) == (REJECTS_KEPT + 12, True)
    assert tally.rejected_by_reason() == {"not_json": REJECTS_KEPT + 11, "bad_record": 1}
    *kept, rest = tally.told()
    assert kept == tally.rejects
    assert (rest.record, rest.reason, rest.records, rest.raw) == (None, RejectReason.NOT_JSON, 11, b"")
    assert rest.detail == "11 more like this; the first 1000 are kept"


def test_without_very_many_rejects_there_is_no_row_for_the_rest():
    """Each is told as it is."""
    tally = Tally()
    tally.reject(1, RejectReason.NOT_JSON, "why")
    tally.reject_more(RejectReason.BAD_RECORD, 0)
    assert tally.told() == tally.rejects


def test_damage_is_kept_however_many_rejects_there_were():
    """Where a file breaks is the one place that matters."""
    tally = Tally()
    for number in range(REJECTS_KEPT + 5):
        tally.read += 1
        tally.reject(number + 1, RejectReason.BAD_RECORD, "why")
    tally.stop(7777, RejectReason.BAD_RECORD, "it breaks here")
    assert (tally.rejects[-1].record, tally.damage, tally.balanced) == (7777, RejectReason.BAD_RECORD, True)
