"""First bytes in order: what is complete, what answers what, and what is left behind a change of protocol."""

from vzflow.readers.payload.stream import LIMIT, Stream


def test_nothing_was_sent_unless_said_otherwise():
    """The defaults are those of a side that was not heard."""
    stream = Stream()
    assert (stream.data, stream.started, stream.complete, stream.full, stream.base) == (b"", False, True, False, None)


def test_anything_missing_makes_it_incomplete():
    """Cut, beyond the limit, or behind a gap: what is not there may have been anything."""
    assert Stream(b"x", started=True).complete
    assert not any(Stream(b"x", **{missing: True}).complete for missing in ("cut", "beyond", "waiting"))
    assert Stream(b"x" * LIMIT).full


def test_replies_are_what_was_sent_after_the_peers_bytes_had_arrived():
    """Acknowledgement numbers tell a reply from what was sent unasked."""
    client = Stream(b"hello", base=101)
    server = Stream(b"firstreply", base=10, acks=((5, 101), (10, 106)))
    assert server.replies(client, 5) == (5, 10)
    assert server.replies(client, 6) == (10, 10)
    assert server.replies(client, 0) == (0, 10)


def test_replies_across_the_wrap_of_sequence_numbers():
    """Numbers begin anywhere and go on from zero."""
    client = Stream(b"hello", base=0xFFFFFFFE)
    server = Stream(b"firstreply", base=10, acks=((5, 0xFFFFFFFE), (10, 3)))
    assert server.replies(client, 5) == (5, 10)


def test_segment_sent_again_does_not_make_a_reply_of_what_follows_it():
    """It carries a newer acknowledgement than the bytes behind it, which were sent before."""
    client = Stream(b"hello", base=101)
    server = Stream(b"lostunaskedreply", base=10, acks=((4, 106), (11, 101), (16, 106)))
    assert server.replies(client, 5) == (11, 16)


def test_without_numbers_nothing_is_a_reply():
    """A peer that was never heard, or segments that were not remembered."""
    assert Stream(b"data", base=10, acks=((4, 1),)).replies(Stream(), 0) == (0, 0)
    assert Stream(b"data", base=10).replies(Stream(b"x", base=1), 1) == (0, 0)


def test_stream_after_some_bytes_keeps_its_numbers():
    """What follows a change of protocol is judged like a connection of its own."""
    client = Stream(b"helloagain", started=True, cut=True, base=0xFFFFFFFC)
    server = Stream(b"firstreply", base=10, acks=((5, 1), (10, 6)))
    rest, answer = client.after(5), server.after(5)
    assert (rest.data, rest.started, rest.cut, rest.base) == (b"again", True, True, 1)
    assert (answer.data, answer.acks, answer.base) == (b"reply", ((5, 6),), 15)
    assert answer.replies(rest, 5) == (0, 5)
