"""pcap and pcapng: every header users have, and the exact place of damage."""

import gzip
import io
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.packet_support import (
    ACK,
    BEGIN,
    CONTEXT,
    SECOND,
    SYN,
    Talk,
    block,
    enhanced,
    ethernet,
    interface,
    ipv4,
    only,
    option,
    pcap_file,
    read,
    rows_of,
    section,
    tcp,
    udp,
)

from vzflow.flow.batch import checked
from vzflow.flow.errors import UnreadableInput
from vzflow.flow.schema import FLOW_SCHEMA
from vzflow.readers import pcap
from vzflow.readers.base import Tally

TALK = Talk().open().say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer(b"HTTP/1.1 204 No Content\r\n\r\n").close().frames
SHORT = TALK[:3]
FRAME = ethernet(ipv4(tcp(40_000, 8_000, SYN)))
PLAIN = pcap_file(TALK)
NG = section() + interface() + b"".join(enhanced(time, data) for time, data in TALK)


def test_a_capture_becomes_batches_of_the_flow_schema():
    """The reader's contract with the store."""
    (batch,) = pcap.read(io.BytesIO(PLAIN), CONTEXT, Tally())
    assert checked(batch).cast(FLOW_SCHEMA).schema.equals(FLOW_SCHEMA)
    (row,) = batch.to_pylist()
    assert (row["segment"], row["cluster"], row["source"], row["reporter"], row["action"], row["duplicates"]) == (
        CONTEXT.segment, "here", "pcap", "tap", "unknown", 0)  # fmt: skip


HEADERS = {
    "little_endian_microseconds": pcap_file(TALK),
    "big_endian_microseconds": pcap_file(TALK, order=">"),
    "little_endian_nanoseconds": pcap_file(TALK, magic=0xA1B23C4D, units=1_000_000_000),
    "big_endian_nanoseconds": pcap_file(TALK, order=">", magic=0xA1B23C4D, units=1_000_000_000),
    "kuznetzov": pcap_file(TALK, magic=0xA1B2CD34, extra=b"\0" * 8),
    "kuznetzov_big_endian": pcap_file(TALK, order=">", magic=0xA1B2CD34, extra=b"\0" * 8),
    "frame_checksum_flag": pcap_file(TALK, link_type=1 | 0x24000000),
    "pcapng_little_endian": NG,
    "pcapng_big_endian": section(">")
    + interface(order=">")
    + b"".join(enhanced(time, data, order=">") for time, data in TALK),
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS.keys())
def test_every_header_gives_the_same_flow(data):
    """Byte order and resolution are the writer's business, not the flow's."""
    assert pcap.recognises(data[:64])
    assert only(data) == only(PLAIN)


@pytest.mark.parametrize(
    "head", [b"", b'{"a": 1}', b"snoop\0\0\0\0\0\0\2", b"\x1f\x8b\x08\0", b"\n\r\r\nsome text in mail"]
)
def test_other_beginnings_are_not_recognised(head):
    """What is not a capture is left to the readers of other formats."""
    assert not pcap.recognises(head)


UNREADABLE = {
    "empty": b"",
    "text": b"this is not a capture, it is some text",
    "cut_header": PLAIN[:23],
    "other_version": PLAIN[:4] + b"\x09\0" + PLAIN[6:],
    "cut_section_header": NG[:27],
    "pcapng_version_2": NG[:12] + b"\2\0" + NG[14:],
    "section_that_ends_otherwise": NG[:24] + b"\0\0\0\0" + NG[28:],
    "unknown_byte_order": NG[:8] + b"\1\2\3\4" + NG[12:],
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_damaged_file_header_is_unreadable_and_names_the_file(data):
    """Without a header nothing can be trusted: exit 3, and nothing of it is stored."""
    tally = Tally()
    with pytest.raises(UnreadableInput, match=r"^test\.pcap: not a capture"):
        list(pcap.read(io.BytesIO(data), CONTEXT, tally))
    assert tally.read == 0


def whole_packets(data, sizes, header):
    """How many packets lie whole in the first bytes, and whether those end exactly after one."""
    at, count = header, 0
    for size in sizes:
        if at + size > len(data):
            break
        at, count = at + size, count + 1
    return count, at == len(data)


@pytest.mark.parametrize(
    ("data", "header", "sizes"),
    [
        (pcap_file(SHORT), 24, [16 + len(frame) for _, frame in SHORT]),
        (NG[: 28 + 20 + 3 * 88], 48, [32 + (len(frame) + 3) // 4 * 4 for _, frame in SHORT]),
    ],
    ids=["pcap", "pcapng"],
)
def test_capture_cut_anywhere_keeps_what_is_whole_and_names_the_rest(data, header, sizes):
    """A capture that ran out of disk is still evidence, up to its last whole packet and no further."""
    for end in range(header, len(data) + 1):
        rows, tally = read(data[:end])
        count, clean = whole_packets(data[:end], sizes, header)
        assert sum(row["packets_sent"] + row["packets_received"] for row in rows) == count
        if clean:
            assert (tally.read, tally.damage) == (count, None)
        else:
            (reject,) = tally.rejects
            assert (tally.read, tally.damage) == (count + 1, "truncated_file")
            assert (reject.record, reject.reason) == (count + 1, "truncated_file")


def test_cut_between_section_and_interface_is_damage_not_an_error():
    """Every cut after the section header leaves a balanced tally."""
    for end in range(28, 48):
        rows, tally = read(NG[:end])
        assert (rows, tally.read) == ([], 0 if end == 28 else 1)


def test_gzip_that_ends_early_keeps_what_is_whole():
    """A compressed capture is cut at other places; its whole packets count all the same."""
    packed = gzip.compress(pcap_file(TALK), mtime=0)
    for end in range(60, len(packed)):
        tally = Tally()
        try:
            rows = rows_of(pcap.read(gzip.GzipFile(fileobj=io.BytesIO(packed[:end])), CONTEXT, tally))
        except UnreadableInput:
            assert tally.read == 0
            continue
        assert tally.balanced
        assert tally.damage == "truncated_file"
        assert sum(row["packets_sent"] + row["packets_received"] for row in rows) == tally.in_flows
    assert tally.in_flows == len(TALK)


def test_gzip_with_a_wrong_checksum_is_named():
    """All packets came out, but the stream says they are not what went in."""
    packed = bytearray(gzip.compress(pcap_file(TALK), mtime=0))
    packed[-8] ^= 1
    tally = Tally()
    rows_of(pcap.read(gzip.GzipFile(fileobj=io.BytesIO(bytes(packed))), CONTEXT, tally))
    assert (tally.damage, tally.in_flows, tally.read) == ("bad_compression", len(TALK), len(TALK) + 1)


class Pipe(io.RawIOBase):
    """Gives *most* bytes at a time, as a slow pipe may."""

    def __init__(self, data, most=1):
        self.data = io.BytesIO(data)
        self.most = most

    def readinto(self, buffer):
        return self.data.readinto(memoryview(buffer)[: self.most])


def test_a_pipe_that_gives_bytes_one_by_one_is_read_the_same():
    """Short reads are not the end of the file."""
    assert rows_of(pcap.read(Pipe(PLAIN), CONTEXT, Tally())) == read(PLAIN)[0]


@pytest.mark.parametrize("captured", [(1 << 20) + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_packet_longer_than_any_can_be_is_damage_and_is_not_read(captured):
    """A length that lies must not fill memory; the packets before it stay."""
    data = pcap_file(SHORT) + struct.pack("<IIII", 0, 0, captured, captured) + b"x" * 100
    _, tally = read(data)
    assert (tally.damage, tally.read, tally.in_flows) == ("bad_record", 4, 3)


def test_captured_length_above_the_original_loses_nothing():
    """Some writers pad; the packet is readable all the same."""
    row = only([(BEGIN, FRAME + b"\0" * 16, len(FRAME))])
    assert (row["bytes_sent"], row["packets_sent"]) == (40, 1)


def test_original_length_that_lies_does_not_become_a_byte_count():
    """A segment without an IP length takes the frame's, as far as it can be believed."""
    frame = ethernet(ipv4(tcp(40_000, 8_000, ACK, payload=b"\0" * 100), length=0))
    assert only([(BEGIN, frame, 200)])["bytes_sent"] == 186
    assert only([(BEGIN, frame, 0xFFFFFFFF)])["bytes_sent"] <= 1 << 20


def test_packet_cut_by_the_capture_length_is_counted_with_its_real_size():
    """96 bytes of each packet are enough for exact byte counts."""
    frames = [(time, data[:60], len(data)) for time, data in TALK]
    cut, whole = only(frames), only(TALK)
    counts = ("packets_sent", "bytes_sent", "payload_sent", "packets_received", "bytes_received", "payload_received")
    assert [cut[name] for name in counts] == [whole[name] for name in counts]
    assert (cut["transport_seen"], cut["transport_seen_basis"]) == ("unknown", "cut")


@pytest.mark.parametrize(
    ("resolution", "stamp"),
    [(None, BEGIN), (3, BEGIN // 1_000), (9, BEGIN * 1_000 + 999), (0x80 | 20, (BEGIN << 20) // SECOND)],
)
def test_each_interface_has_its_own_time_resolution(resolution, stamp):
    """Powers of ten and of two, microseconds when nothing is said; fractions are cut off, not rounded."""
    options = b"" if resolution is None else option(9, bytes([resolution]))
    row = only(section() + interface() + interface(options=options) + enhanced(stamp, FRAME, number=1))
    assert row["first_seen"] == BEGIN


def test_interface_time_offset_is_added():
    """Writers may count seconds from another day."""
    data = section() + interface(options=option(14, struct.pack("<q", 1_600_000_000))) + enhanced(0, FRAME)
    assert only(data)["first_seen"] == 1_600_000_000 * SECOND


def test_time_that_no_calendar_holds_is_null():
    """A stamp of all ones is no time; the packet is kept without one."""
    row = only(section() + interface(options=option(9, b"\0")) + enhanced((1 << 64) - 1, FRAME))
    assert (row["first_seen"], row["last_seen"], row["packets_sent"]) == (None, None, 1)


def test_simple_packet_block_has_no_time_and_the_first_interface():
    """Packets without a time are kept; they take the snapshot length of interface 0."""
    data = section() + interface(snaplen=60) + block(3, struct.pack("<I", 500) + FRAME + b"\0" * 6)
    row = only(data)
    assert (row["first_seen"], row["packets_sent"]) == (None, 1)
    with_times = data + enhanced(BEGIN, FRAME)
    assert (only(with_times)["first_seen"], only(with_times)["packets_sent"]) == (BEGIN, 2)


def test_obsolete_packet_block_is_read():
    """Old Wireshark wrote them."""
    head = struct.pack("<HHIIII", 0, 0, BEGIN >> 32, BEGIN & 0xFFFFFFFF, len(FRAME), len(FRAME))
    assert only(section() + interface() + block(2, head + FRAME))["first_seen"] == BEGIN


def test_new_section_has_its_own_byte_order_and_interfaces():
    """Joined files need not be of one machine."""
    data = section() + interface() + enhanced(BEGIN, FRAME)
    data += section(">") + interface(order=">", options=option(9, b"\3", ">"))
    data += enhanced((BEGIN + SECOND) // 1_000, FRAME, order=">")
    row = only(data)
    assert (row["packets_sent"], row["last_seen"] - row["first_seen"]) == (2, SECOND)


def test_blocks_without_packets_are_no_records():
    """Name resolution, statistics, secrets and unknown blocks are passed over, however long."""
    data = section() + interface() + block(4, b"x" * 10) + block(0x0BAD, b"y" * 200_000) + enhanced(BEGIN, FRAME)
    _, tally = read(data + block(5, b"z" * 12))
    assert (tally.read, tally.in_flows) == (1, 1)


@pytest.mark.parametrize(
    "bad",
    [
        enhanced(BEGIN, FRAME, number=7),
        block(6, b"\0" * 8),
        block(6, struct.pack("<IIIII", 0, 0, 0, 5_000, 5_000) + FRAME),
        block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFFF, 5) + FRAME),
        block(3, b""),
    ],
    ids=["unknown_interface", "short_block", "captured_beyond_the_block", "captured_4_gib", "short_simple_block"],
)
def test_packet_block_that_contradicts_itself_costs_only_that_packet(bad):
    """The next block is found by the block's own length, so the rest of the file is still used."""
    rows, tally = read(section() + interface() + enhanced(BEGIN, FRAME) + bad + enhanced(BEGIN + 1, FRAME))
    assert [(r.record, r.reason.value) for r in tally.rejects] == [(2, "bad_record")]
    assert (rows[0]["packets_sent"], tally.damage) == (2, None)


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack("<II", 6, 0),
        struct.pack("<II", 6, 13),
        struct.pack("<II", 6, 0xFFFFFFFC),
        block(1, b"\0\0"),
        block(9, b"abcd")[:-4] + b"\1\0\0\0",
        block(0x0A0D0D0A, b"\1\2\3\4" + b"\0" * 12),
    ],
    ids=["zero_length", "odd_length", "4_gib", "short_interface", "two_lengths", "section_of_no_byte_order"],
)
def test_block_whose_end_cannot_be_known_is_damage(bad):
    """Guessing where the next block begins would invent packets."""
    rows, tally = read(section() + interface() + enhanced(BEGIN, FRAME) + bad + enhanced(BEGIN, FRAME))
    assert (rows[0]["packets_sent"], tally.damage, tally.rejects[0].record) == (1, "bad_record", 2)


def test_interface_named_lo_is_loopback():
    """A capture in a pod names its interfaces; a loopback device need not have zero addresses in the file."""
    data = section() + interface(options=option(2, b"lo")) + enhanced(BEGIN, FRAME)
    assert only(data)["hop"] == "loopback"


def test_link_type_nobody_knows_rejects_each_packet_by_name():
    """The file is whole, its packets cannot be used: that is counted, not raised."""
    rows, tally = read([(BEGIN, FRAME), (BEGIN, FRAME)], link_type=147)
    assert (rows, [r.reason.value for r in tally.rejects]) == ([], ["unknown_link_type"] * 2)


def test_arp_and_other_protocols_are_skipped_by_name():
    """They are no flows, and they are not lost: the tally names them."""
    arp = ethernet(struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + b"\0" * 20, 0x0806)
    _, tally = read([(BEGIN, arp), (BEGIN, ethernet(b"\2\7\4", 0x88CC)), (BEGIN, FRAME)])
    assert (dict(tally.skipped), tally.in_flows) == ({"arp": 1, "not_ip": 1}, 1)


def test_where_a_read_ends_never_changes_the_flows():
    """A pipe may give any number of bytes at a time; records and blocks lie across."""
    frames = [(BEGIN + n * 40 * SECOND, ethernet(ipv4(udp(1_000 + n % 7, 53, b"?"), protocol=17))) for n in range(60)]
    for size in (7, 100, 1_000):
        assert rows_of(pcap.read(Pipe(pcap_file(frames), size), CONTEXT, Tally())) == read(frames)[0]


def test_capture_cut_in_two_at_an_idle_gap_gives_the_same_totals():
    """Rotated captures tell the same story as one long one."""
    later = Talk(time=BEGIN + 500 * SECOND, isn=50_000).open().say(b"\0more")
    counts = ("packets_sent", "bytes_sent", "packets_received", "bytes_received", "payload_sent")
    whole, _ = read(TALK + later.frames)
    parts = read(TALK)[0] + read(later.frames)[0]
    assert [[row[name] for name in counts] for row in whole] == [[row[name] for name in counts] for row in parts]


@settings(max_examples=150)
@given(tail=st.binary(max_size=400), header=st.sampled_from([PLAIN[:24], NG[:48], PLAIN, NG]))
def test_random_bytes_after_a_valid_header_raise_nothing(tail, header):
    """Hostile or broken files end in a balanced tally, never in a traceback."""
    rows, tally = read(header + tail)
    assert sum(row["packets_sent"] + row["packets_received"] for row in rows) == tally.in_flows


@settings(max_examples=300)
@given(
    seed=st.sampled_from([PLAIN, NG]),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_flipped_bytes_raise_nothing_but_unreadable_input(seed, edits):
    """Wherever the damage is, each packet ends in a flow, a skip or a reject."""
    data = bytearray(seed)
    for at, value in edits:
        data[at % len(data)] = value
    tally = Tally()
    try:
        list(pcap.read(io.BytesIO(bytes(data)), CONTEXT, tally))
    except UnreadableInput:
        assert tally.read == 0
    assert tally.balanced


@settings(max_examples=50)
@given(st.permutations(list(range(len(TALK)))))
def test_reordered_packets_are_all_counted(order):
    """A shuffled capture loses no packet and invents none."""
    rows, tally = read([(BEGIN, TALK[index][1]) for index in order])
    assert sum(row["packets_sent"] + row["packets_received"] for row in rows) == len(TALK) == tally.in_flows


def test_importing_the_reader_does_not_import_scapy():
    """`vzflow --help` knows the formats and must start at once."""
    code = "import sys, vzflow.readers.pcap; sys.exit('scapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
