"""Packets cut out of a capture read back as the same flow: all that were counted to it, and no other."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import pytest
from readers.packet_support import (
    ACK,
    BEGIN,
    CLIENT,
    CONTEXT,
    PSH,
    SECOND,
    SERVER,
    Talk,
    enhanced,
    ethernet,
    interface,
    ipv4,
    option,
    pcap_file,
    section,
    tcp,
    udp,
)
from readers.test_copies import legs

from vzflow.flow.data import shipped
from vzflow.flow.errors import UnreadableInput
from vzflow.readers import pcap
from vzflow.readers.base import Tally
from vzflow.readers.cutting import cut, packets_of

SHARED = Path(__file__).resolve().parents[3] / "shared" / "samples" / "captures"
SLL2 = 276
#: Flows of one capture that are cut out.
MOST = 60


def rows(data):
    found = [row for batch in pcap.read(io.BytesIO(data), CONTEXT, Tally()) for row in batch.to_pylist()]
    return sorted(found, key=lambda row: row["record"])


def bare(row):
    return {key: value for key, value in row.items() if key != "record"}


def cut_out(data, row):
    """The capture of one row's packets, and what was traced."""
    traced = packets_of(io.BytesIO(data), CONTEXT, [row])[row["record"]]
    found = list(cut(io.BytesIO(data), traced.needed))
    assert [one.number for one in found] == sorted(traced.needed)
    assert all(data[one.offset : one.offset + len(one.raw)] == one.raw for one in found)
    return b"".join(one.before + one.raw for one in found), traced


def reads_back(data):
    """Every flow of a capture, cut out, is the same flow; returns what was traced of each."""
    found = []
    for row in rows(data)[:MOST]:
        alone, traced = cut_out(data, row)
        assert bare(row) in map(bare, rows(alone))
        found.append(traced)
    return found


def talks():
    """Two connections whose packets alternate."""
    one, two = Talk().open().say(b"GET / HTTP/1.1\r\n\r\n"), Talk(sport=40_001, time=BEGIN + 500).open()
    return sorted(one.frames + two.frames)


def test_of_two_connections_each_is_cut_out_alone():
    """Exactly the packets behind a flow are taken."""
    found = reads_back(pcap_file(talks()))
    assert [list(one.packets) for one in found] == [[1, 3, 5, 7], [2, 4, 6]]
    assert all(one.needed == set(one.packets) for one in found)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "units"), [(0xA1B2C3D4, 1_000_000), (0xA1B23C4D, 1_000_000_000)])
def test_times_keep_their_precision_and_bytes_their_order(order, magic, units):
    """A record is copied as it is, so nanoseconds stay nanoseconds."""
    data = pcap_file([(BEGIN + 7, frame) for _, frame in talks()], order=order, magic=magic, units=units)
    alone, _ = cut_out(data, rows(data)[1])
    assert alone[:24] == data[:24]
    reads_back(data)


def test_bytes_of_the_modified_format_go_along():
    """Kuznetzov's record header is longer."""
    reads_back(pcap_file(talks(), magic=0xA1B2CD34, extra=b"\0" * 8))


def test_interfaces_stand_before_the_packets_that_need_them():
    """Link types, resolutions and names of interfaces are in blocks of their own."""
    fast = interface(1, options=option(9, b"\x09") + option(2, b"eth0"))
    frames = talks()
    blocks = [enhanced(time * 1000, frame, 1) for time, frame in frames[1::2]]
    loop = [enhanced(time, frame[14:], 0) for time, frame in frames[::2]]
    mixed = b"".join(block for pair in zip(loop, blocks, strict=False) for block in pair)
    found = reads_back(section() + interface(101, options=option(2, b"lo")) + fast + mixed)
    assert len(found) == 2


def test_sections_start_over():
    """Each section has its own interfaces and byte order."""
    frames = talks()
    first = section() + interface() + b"".join(enhanced(time, frame) for time, frame in frames[:4])
    second = section(">") + interface(order=">")
    second += b"".join(enhanced(time, frame, order=">") for time, frame in frames[4:])
    reads_back(first + second)


def test_copies_on_other_interfaces_go_along():
    """A flow's `duplicates` are packets behind it, inside a tunnel and out of it."""
    data = pcap_file(legs(ipv4(tcp(40_000, 8_000, PSH | ACK, 5, 6, b"x"))), SLL2)
    (traced,) = reads_back(data)
    assert len(traced.packets) == rows(data)[0]["duplicates"] + 1 > 2


def test_later_fragments_go_along_whichever_came_first():
    """Only the first fragment holds the ports."""
    whole = udp(5_000, 53, b"q" * 100)
    first, last = ipv4(whole[:64], protocol=17, part=0x2000), ipv4(whole[64:], protocol=17, part=8)
    other = ipv4(udp(5_001, 53, b"other"), protocol=17, ident=2)
    frames = [(BEGIN + n, ethernet(ip)) for n, ip in enumerate([last, other, first])]
    found = reads_back(pcap_file(frames))
    assert sorted(list(one.packets) for one in found) == [[2], [3, 1]]


def test_row_after_a_gap_brings_the_packet_that_shows_who_opened():
    """It is known from the row before only, so that row's SYN is needed too, and told apart."""
    talk = Talk().open()
    talk.time += 200 * SECOND
    talk.say(b"later").answer(b"much")
    begun, later = reads_back(pcap_file(talk.frames))
    assert (list(begun.packets), begun.opener) == ([1, 2, 3], None)
    assert (list(later.packets), later.opener) == ([4, 5], 1)


def test_row_after_a_gap_without_a_syn_brings_the_first_packet():
    """Who sent first is all that is known, and it was the other side."""
    answer = ipv4(tcp(9_999, 9_998, PSH | ACK, 1, 1, b"a"), SERVER, CLIENT)
    ask = ipv4(tcp(9_998, 9_999, PSH | ACK, 1, 2, b"b"))
    frames = [(BEGIN, ethernet(ask)), (BEGIN + 200 * SECOND, ethernet(answer))]
    _, later = reads_back(pcap_file(frames))
    assert (list(later.packets), later.opener) == ([2], 1)


def test_capture_that_mixes_loopback_stays_uncertain_when_cut():
    """Without the packet that shows the mixture, plaintext would be proven by what proves nothing."""
    clear = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    wire = [(time, frame[14:]) for time, frame in Talk().open().say(clear).frames]
    inside = ipv4(tcp(1_000, 2_000, PSH | ACK, 1, 1, b"x"), "127.0.0.1", "127.0.0.1")
    data = pcap_file([*wire, (BEGIN + SECOND, inside)], 101)
    row = rows(data)[0]
    assert row["hop"] == "mixed"
    (traced, _) = reads_back(data)
    assert traced.mixing == len(wire) + 1


def test_rows_of_one_5_tuple_are_told_apart():
    """A port is used again; each row has its own packets."""
    again = Talk(time=BEGIN + SECOND, isn=500_000).open()
    data = pcap_file([*Talk().open().close().frames, *again.frames])
    found = packets_of(io.BytesIO(data), CONTEXT, rows(data))
    assert {record: list(one.packets) for record, one in found.items()} == {1: [1, 2, 3, 4, 5, 6], 7: [7, 8, 9]}


def test_what_comes_after_damage_is_not_cut():
    """Whole packets before the damage are, as they are read."""
    data = pcap_file(talks())
    reads_back(data[:-5])
    assert [one.number for one in cut(io.BytesIO(data[:-5]), {6, 7})] == [6]


def test_nothing_is_cut_out_of_what_is_no_capture():
    """An error, or nothing; never something."""
    assert list(cut(io.BytesIO(b"no capture at all, and long enough"), {1})) == []
    with pytest.raises(UnreadableInput):
        packets_of(io.BytesIO(b"no capture at all, and long enough"), CONTEXT, [])


def test_huge_lengths_end_the_search():
    """A block or record that claims gigabytes is damage, and is not read."""
    record = struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30)
    assert list(cut(io.BytesIO(pcap_file([]) + record), {1})) == []
    block = struct.pack("<II", 6, 1 << 30)
    assert list(cut(io.BytesIO(section() + interface() + block + b"\0" * 64), {1})) == []


def test_every_flow_of_the_sample_capture_reads_back():
    """The property, on real packets."""
    assert len(reads_back((shipped("sample_captures") / "verrazzano.pcap").read_bytes())) == 30


@pytest.mark.skipif(not SHARED.exists(), reason="captures of other projects are not part of this one")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.pcap*")) or [None], ids=lambda p: p and p.name)
def test_every_flow_of_other_captures_reads_back(path):
    """Tunnels, fragments, interfaces, byte orders and link types as others wrote them."""
    data = path.read_bytes()
    reads_back(gzip.decompress(data) if path.suffix == ".gz" else data)
