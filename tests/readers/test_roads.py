"""The compiled core, the interpreted core and scapy are three roads to the same flows."""

import io
import random

import pytest
from readers import test_packet_scapy
from readers.packet_support import (
    BEGIN,
    CONTEXT,
    SECOND,
    SYN,
    ethernet,
    ipv4,
    ipv6,
    pcap_file,
    rows_of,
    tcp,
)
from readers.truth_support import content, names
from readers.twin import interpreted

from vzflow.readers import pcap
from vzflow.readers.base import Tally


def told(data, **options):
    """Everything a road says of a capture."""
    tally = Tally()
    rows = rows_of(pcap.read(io.BytesIO(data), CONTEXT, tally, **options))
    assert tally.balanced
    rejects = [(reject.record, reject.reason, reject.detail, reject.raw) for reject in tally.rejects]
    return rows, sorted(rejects), dict(tally.skipped), tally.read, tally.damage


def interpreted_core():
    return {"core": interpreted("vzflow.readers.packet_core")}


@pytest.mark.parametrize("name", names())
def test_interpreted_core_says_what_the_compiled_one_says(name):
    """Users without a compiler get the same flows, only later."""
    assert told(content(name), **interpreted_core()) == told(content(name))


@pytest.mark.parametrize("name", names())
def test_scapy_says_what_the_core_says(name):
    """Two decoders that share no code agree on every header."""
    assert told(content(name), all_slow=True) == told(content(name))


PACKETS = {
    name: (link_type, bytes(data))
    for name, (link_type, data) in {
        **test_packet_scapy.LINKS,
        **test_packet_scapy.SHORT,
        **{name: (101, outer) for name, (outer, _) in test_packet_scapy.TUNNELS.items()},
        **{name: (101, outer) for name, (outer, _) in test_packet_scapy.OUTSIDES.items()},
        **{name: (101, data) for name, data in test_packet_scapy.LIES.items()},
        **{f"authenticated_{name}": (101, data) for name, data in test_packet_scapy.AUTHENTICATED.items()},
    }.items()
}


def cuts(link_type, data):
    """A capture of *data* cut at every length: by the capture, then by whoever sent it."""
    frames = [(BEGIN + n, data[:n], len(data)) for n in range(len(data) + 1)]
    return pcap_file(frames + [(BEGIN + SECOND + n, data[:n]) for n in range(len(data))], link_type)


@pytest.mark.parametrize(("link_type", "data"), PACKETS.values(), ids=PACKETS.keys())
def test_every_road_says_the_same_of_a_packet_cut_anywhere(link_type, data):
    """Length tests guard a packet, not the buffer it lies in: one that is missing reads the neighbour."""
    told_by_core = told(cuts(link_type, data))
    assert told(cuts(link_type, data), **interpreted_core()) == told_by_core
    assert told(cuts(link_type, data), all_slow=True) == told_by_core


@pytest.mark.parametrize(("link_type", "data"), PACKETS.values(), ids=PACKETS.keys())
def test_every_road_says_the_same_of_a_packet_with_wrong_bytes(link_type, data):
    """Headers that lie are decided by the same rules everywhere."""
    chance = random.Random(len(data))
    frames = []
    for n in range(300):
        wrong = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 4))):
            if wrong:
                wrong[chance.randrange(len(wrong))] = chance.choice(
                    (0, 1, 4, 6, 0x45, 0x60, 0xFF, chance.randrange(256))
                )
        frames.append((BEGIN + n, bytes(wrong)))
    mutated = pcap_file(frames, link_type)
    told_by_core = told(mutated)
    assert told(mutated, **interpreted_core()) == told_by_core
    assert told(mutated, all_slow=True) == told_by_core


def nested(count):
    data = ipv4(tcp(40_000, 443, SYN))
    for _ in range(count):
        data = ipv4(data, protocol=4)
    return 101, data


def tagged(count):
    return 1, ethernet(b"\0\1\x81\0" * (count - 1) + b"\0\1\x08\0" + ipv4(tcp(40_000, 443, SYN)), 0x8100)


def labelled(count):
    return 1, ethernet(b"\0\1\0\1" * (count - 1) + b"\0\1\1\1" + ipv4(tcp(40_000, 443, SYN)), 0x8847)


def optioned(count):
    return 101, ipv6((b"\x3c\0" + b"\0" * 6) * (count - 1) + b"\x06\0" + b"\0" * 6 + tcp(1, 2, SYN), following=60)


@pytest.mark.parametrize(("make", "limit"), [(nested, 8), (tagged, 30), (labelled, 30), (optioned, 255)])
def test_every_road_ends_at_the_same_depth(make, limit):
    """Headers in headers are bounded, and what is beyond is the same gap or the same reject on every road."""
    whole = [told(pcap_file([(BEGIN, make(count)[1])], make(count)[0])) for count in (limit, limit + 1)]
    for count, said in zip((limit, limit + 1), whole, strict=True):
        link_type, data = make(count)
        assert told(pcap_file([(BEGIN, data)], link_type), **interpreted_core()) == said
        assert told(pcap_file([(BEGIN, data)], link_type), all_slow=True) == said
    assert [rows[0]["hop"] if rows else "rejected" for rows, *_ in whole] in (
        ["wire", "outer_tunnel"], ["wire", "rejected"])  # fmt: skip
