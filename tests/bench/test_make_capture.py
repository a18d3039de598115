"""Generated captures are what they claim: numbers of packets and flows, TCP's order and numbers, payload as read."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple

import pytest
from bench.make_capture import Options, written
from bench.messages import SCRIPTS
from readers.packet_support import ACK, FIN, SYN, read

SMALL = Options(packets=6_000, flows=200)


class Segment(NamedTuple):
    time: int
    source: bytes
    target: bytes
    seq: int
    ack: int
    flags: int
    size: int
    ident: int | None


def packets(data):
    """(microseconds, captured bytes, length) of each packet of a pcap."""
    at = 24
    while at < len(data):
        second, micro, captured, length = struct.unpack_from("<IIII", data, at)
        yield second * 1_000_000 + micro, data[at + 16 : at + 16 + captured], length
        at += 16 + captured


def segments(data):
    """TCP segments of an Ethernet capture by connection."""
    found = defaultdict(list)
    for time, frame, length in packets(data):
        six = frame[12:14] == b"\x86\xdd"
        ip = 54 if six else 34
        if frame[20 if six else 23] != 6:
            continue
        addresses = frame[22:54] if six else frame[26:34]
        half = len(addresses) // 2
        source, target = addresses[:half] + frame[ip : ip + 2], addresses[half:] + frame[ip + 2 : ip + 4]
        seq, ack, offset, flags = struct.unpack_from(">IIBB", frame, ip + 4)
        size = length - ip - (offset >> 4) * 4
        ident = None if six else int.from_bytes(frame[18:20])
        found[frozenset((source, target))].append(Segment(time, source, target, seq, ack, flags, size, ident))
    return found


@pytest.fixture(scope="module")
def small():
    return b"".join(written(SMALL))


def test_packets_flows_and_order_of_time(small):
    """As many packets and conversations as asked for, in order of time, each as long as its headers say."""
    told = list(packets(small))
    assert len(told) == SMALL.packets
    assert all(before[0] <= after[0] for before, after in pairwise(told))
    rows, tally = read(small)
    assert (tally.read, tally.in_flows, tally.rejects) == (SMALL.packets, SMALL.packets, [])
    assert len({(r["initiator_ip"], r["initiator_port"], r["protocol"]) for r in rows}) >= 0.98 * SMALL.flows
    assert all(len(frame) == length for _, frame, length in told)


def test_connections_open_number_and_end_as_tcp_does(small):
    """SYN, SYN-ACK, ACK; each SEQ is where its sender was, each ACK where the other is; FIN from both and an ACK."""
    connections = segments(small)
    assert len(connections) > 0.7 * SMALL.flows
    for told in connections.values():
        assert [s.flags for s in told[:3]] == [SYN, SYN | ACK, ACK]
        assert [s.flags for s in told[-3:]] == [FIN | ACK, FIN | ACK, ACK]
        assert [s.source == told[0].source for s in told[:3]] == [True, False, True]
        following = {}
        for s in told:
            assert s.seq == following.get(s.source, s.seq)
            assert s.ack == (following[s.target] if s.flags & ACK else 0)
            following[s.source] = (s.seq + s.size + bool(s.flags & SYN) + bool(s.flags & FIN)) % 2**32


def test_identifications_rise_by_one_for_each_sender(small):
    """Two packets in turn are never taken for copies of one."""
    for told in segments(small).values():
        for source in {s.source for s in told if s.ident is not None}:
            idents = [s.ident for s in told if s.source == source]
            assert all((after - before) % 2**16 == 1 for before, after in pairwise(idents))


def test_same_options_give_the_same_bytes_and_another_seed_others(small):
    """What is measured can be measured again."""
    assert b"".join(written(SMALL)) == small
    assert b"".join(written(Options(packets=6_000, flows=200, seed=2))) != small


def test_capture_length_cuts_the_same_packets(small):
    """Headers and lengths are those of the whole capture."""
    cut = list(packets(b"".join(written(Options(packets=6_000, flows=200, snaplen=96)))))
    whole = list(packets(small))
    assert [(time, length) for time, _, length in cut] == [(time, length) for time, _, length in whole]
    assert [len(frame) for _, frame, _ in cut] == [min(96, len(frame)) for _, frame, _ in whole]
    assert [frame[:42] for _, frame, _ in cut] == [frame[:42] for _, frame, _ in whole]


@pytest.mark.parametrize(
    "options",
    [SMALL, Options(6_000, 200, link="sll2"), Options(6_000, 200, vxlan=0.5), Options(6_000, 200, live=True)],
    ids=["ethernet", "sll2", "vxlan", "live"],
)
def test_vzflow_reads_what_the_scripts_say(options):
    """Every kind is recognised for what it is, whatever is around the packets."""
    rows, tally = read(b"".join(written(options)))
    assert (tally.in_flows, tally.rejects) == (options.packets, [])
    # What comes after a pause is a row of its own, without what was said before it.
    begun = {}
    for row in sorted(rows, key=lambda r: r["first_seen"]):
        begun.setdefault((row["initiator_ip"], row["initiator_port"]), row)
    ports = {port: script.name for script in SCRIPTS for port in script.ports}
    seen = Counter()
    for row in begun.values():
        kind = ports[row["responder_port"] or 0]
        seen[kind] += 1
        if kind.startswith("tls"):
            assert row["tls_sni"].startswith("outbound_.8080_._.")
            assert row["tls_alpn"] == "istio-http/1.1,istio,http/1.1"
            assert (row["tls_version"], row["transport_seen"]) == ("TLSv1.3", "tls")
        elif kind in ("http", "postgres", "mysql", "redis"):
            assert row["transport_seen"] == "plaintext", kind
    assert {"tls_pq", "http", "postgres", "redis"} <= set(seen)


def test_live_flows_are_all_alive_at_once():
    """Each begins in the first ten seconds and ends in the last ten of a minute."""
    rows, _ = read(b"".join(written(Options(packets=6_000, flows=500, live=True))))
    assert len(rows) == 500
    begin = min(r["first_seen"] for r in rows)
    assert max(r["first_seen"] for r in rows) - begin < 10_100_000
    assert min(r["last_seen"] for r in rows) - begin > 49_000_000


def test_too_few_packets_for_the_flows_are_refused():
    """A flow is never cut short."""
    with pytest.raises(SystemExit, match="need"):
        list(written(Options(packets=100, flows=100)))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is the judge")
def test_tshark_finds_no_fault_in_the_numbers(small, tmp_path):
    """No retransmission, no gap, no repeated ACK, no bad IPv4 checksum."""
    path = tmp_path / "small.pcap"
    path.write_bytes(small)
    faults = ["retransmission", "out_of_order", "lost_segment", "ack_lost_segment", "duplicate_ack", "keep_alive"]
    wanted = " or ".join([f"tcp.analysis.{fault}" for fault in faults] + ["ip.checksum.status == 0"])
    words = ["tshark", "-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-Y", wanted]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
