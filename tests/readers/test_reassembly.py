"""The first bytes of a direction, in order, whatever order they came in."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from vzflow.readers.reassembly import LIMIT, Stream

ROOM = 1 << 20


def filled(segments, isn=0xFFFFFFF0):
    """A stream that began with a SYN and got (offset, bytes) in this order."""
    stream = Stream()
    stream.open(isn)
    for at, data in segments:
        stream.add((isn + 1 + at) & 0xFFFFFFFF, data, len(data), 1, ROOM)
    return stream


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_cut_order_and_repetition_gives_the_bytes_that_were_sent(data):
    """Out of order, retransmitted, overlapping, and across the wrap of sequence numbers."""
    sent = data.draw(st.binary(min_size=1, max_size=300))
    cuts = sorted({0, len(sent), *data.draw(st.lists(st.integers(0, len(sent)), max_size=8))})
    parts = [(a, sent[a : min(b + data.draw(st.integers(0, 9)), len(sent))]) for a, b in pairwise(cuts)]
    order = data.draw(st.permutations(parts + data.draw(st.lists(st.sampled_from(parts), max_size=4))))
    stream = filled(order)
    assert bytes(stream.data) == sent
    assert stream.complete


def test_gap_keeps_what_is_before_it_and_is_not_complete():
    """A lost segment may have held anything: nothing behind it counts as the beginning."""
    stream = filled([(0, b"begin"), (10, b"behind")])
    assert (stream.data, stream.complete) == (b"begin", False)


def test_bytes_cut_by_the_capture_length_end_the_stream():
    """What was cut is missing for good, whatever follows."""
    stream = Stream()
    stream.open(0)
    stream.add(1, b"GET /", 100, 1, ROOM)
    stream.add(101, b"more", 4, 1, ROOM)
    assert (stream.data, stream.cut, stream.complete) == (b"GET /", True, False)


def test_what_was_captured_first_stays():
    """A later copy with other bytes cannot rewrite evidence."""
    assert filled([(0, b"abc"), (0, b"XYZde")]).data == b"abcde"


def test_no_more_than_the_limit_is_kept():
    """Bounded per direction, and it says that more was sent."""
    stream = filled([(at, b"x" * 1_000) for at in range(0, 20_000, 1_000)])
    assert (len(stream.data), stream.full, stream.beyond, stream.complete) == (LIMIT, True, True, False)


def test_segments_that_wait_are_bounded():
    """Thousands of pieces behind a gap cost no memory; the stream says it is cut."""
    stream = filled([(2 + 2 * n, b"x") for n in range(4_000)])
    assert stream.cut
    assert stream.data == b""


def test_no_room_keeps_nothing_and_says_so():
    """The pool is shared: what does not fit is missing, not empty."""
    stream = Stream()
    stream.open(0)
    assert stream.add(1, b"x" * 100, 100, 1, 50) == 0
    assert stream.cut


def test_kept_bytes_are_counted_exactly():
    """The pool would leak or overflow otherwise."""
    stream = Stream()
    stream.open(0)
    parts = [(10, b"late"), (0, b"0123456789"), (0, b"0123456789"), (14, b"!")]
    assert sum(stream.add(1 + at, data, len(data), 1, ROOM) for at, data in parts) == len(stream.data) == 15


def test_stream_without_a_syn_begins_where_the_capture_does():
    """Its first bytes are the middle of something, and it knows that."""
    stream = Stream()
    stream.add(777, b"middle", 6, 1, ROOM)
    assert (stream.data, stream.started) == (b"middle", False)
    stream.open(776)
    assert stream.started


def test_copy_that_begins_before_the_stream_does_adds_only_what_is_new():
    """In the middle of a connection the first segment seen need not be the lowest."""
    stream = Stream()
    stream.add(777, b"middle", 6, 1, ROOM)
    assert stream.add(775, b"xxmiddle!", 9, 1, ROOM) == 1
    assert (stream.data, stream.beyond) == (b"middle!", False)


def test_segment_is_known_to_come_after_what_it_acknowledges():
    """Which bytes a side had received when it sent others tells a reply from what was sent unasked."""
    client, server = filled([(0, b"hello")], isn=100), Stream()
    server.open(9)
    server.add(10, b"first", 5, 101, ROOM)
    server.add(15, b"reply", 5, 106, ROOM)
    assert server.replies(client, 5) == (5, 10)
    assert server.after(5).replies(client, 5) == (0, 5)
