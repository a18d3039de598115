"""Packets -> flows: who opened, how it ended, where it was seen, and that no packet is lost or counted twice."""

import io
import struct

import pytest
from readers.packet_support import (
    ACK,
    BEGIN,
    CLIENT,
    CONTEXT,
    FIN,
    PSH,
    RST,
    SECOND,
    SERVER,
    SYN,
    Talk,
    ethernet,
    ipv4,
    only,
    pcap_file,
    read,
    tcp,
    udp,
)
from readers.payload_support import alpn, answer_body, handshake, hello_body, record, server_name

from vzflow.readers import pcap
from vzflow.readers.base import Tally

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def ends(row):
    return row["initiator_ip"], row["initiator_port"], row["responder_ip"], row["responder_port"]


def test_sender_of_the_syn_is_the_initiator():
    """A handshake says who opened, and packets are counted from that side."""
    row = only(Talk().open().say(REQUEST).answer(ANSWER).close())
    assert ends(row) == (CLIENT, 40_000, SERVER, 8_000)
    assert (row["initiator_basis"], row["connection_state"]) == ("syn", "established")
    assert (row["packets_sent"], row["packets_received"]) == (5, 3)
    assert (row["bytes_sent"], row["bytes_received"]) == (5 * 40 + len(REQUEST), 3 * 40 + len(ANSWER))
    assert (row["payload_sent"], row["payload_received"]) == (len(REQUEST), len(ANSWER))
    assert (row["first_seen"], row["last_seen"]) == (BEGIN, BEGIN + 7_000)


def test_receiver_of_a_syn_ack_is_the_initiator_though_its_syn_was_missed():
    """A capture that starts between SYN and SYN-ACK still knows who opened."""
    talk = Talk().open().say(REQUEST)
    row = only(talk.frames[1:])
    assert ends(row) == (CLIENT, 40_000, SERVER, 8_000)
    assert (row["initiator_basis"], row["connection_state"]) == ("syn", "established")


@pytest.mark.parametrize(
    ("sport", "dport", "initiator", "basis"),
    [
        (45_000, 443, 45_000, "known_port"),
        (443, 45_000, 45_000, "known_port"),
        (3_306, 1_500, 1_500, "known_port"),
        (700, 45_000, 45_000, "known_port"),
        (700, 1_048, 700, "first_seen"),
        (45_000, 46_000, 45_000, "first_seen"),
        (53, 443, 53, "first_seen"),
    ],
)
def test_without_a_handshake_a_service_port_tells_the_responder_else_the_first_sender_opened(
    sport, dport, initiator, basis
):
    """The guess is marked as one, and made only when exactly one port is a service's."""
    row = only([(BEGIN, ethernet(ipv4(tcp(sport, dport, ACK | PSH, 5, 5, b"\x00\x01x"))))])
    assert (row["initiator_port"], row["initiator_basis"]) == (initiator, basis)
    assert row["connection_state"] == "midstream"


@pytest.mark.parametrize("first", ["request", "reply"])
def test_sender_of_an_echo_request_is_the_initiator_whichever_came_first(first):
    """ICMP has no ports, but a request names itself one."""
    request = ethernet(ipv4(b"\x08\0\0\0\0\x01\0\x01", protocol=1))
    reply = ethernet(ipv4(b"\0\0\0\0\0\x01\0\x01", SERVER, CLIENT, protocol=1))
    frames = [request, reply] if first == "request" else [reply, request]
    row = only([(BEGIN, frames[0]), (BEGIN + 1, frames[1])])
    assert ends(row) == (CLIENT, None, SERVER, None)
    assert (row["protocol"], row["initiator_basis"], row["connection_state"]) == ("icmp", "request", None)
    assert (row["payload_sent"], row["transport_seen"]) == (None, "unknown")


STATES = {
    "lone_syn_is_attempted": (Talk().out(SYN), "attempted"),
    "repeated_syn_is_attempted": (Talk().out(SYN).out(SYN, seq=1_000), "attempted"),
    "syn_answered_by_rst_is_refused": (Talk().out(SYN).out(RST | ACK, back=True), "refused"),
    "request_answered_by_rst_is_refused": (Talk().open().say(REQUEST).out(RST, back=True), "refused"),
    "rst_after_payload_is_reset": (Talk().open().say(REQUEST).answer(ANSWER).out(RST, back=True), "reset"),
    "rst_of_the_initiator_is_reset": (Talk().open().out(RST), "reset"),
    "rst_after_both_fins_is_established": (Talk().open().say(REQUEST).answer(ANSWER).close().out(RST), "established"),
    "rst_after_the_initiator_left_without_a_word_is_no_refusal": (
        Talk().open().out(FIN | ACK).out(RST, back=True), "reset"),
    "responder_that_hangs_up_first_in_silence_refuses": (
        Talk().open().out(FIN | ACK, back=True).out(FIN | ACK), "refused"),
    "initiator_that_hangs_up_first_in_silence_is_established": (
        Talk().open().out(FIN | ACK).out(FIN | ACK, back=True), "established"),
    "silent_responder_that_took_payload_is_no_refusal": (
        Talk().open().say(b"log line").out(FIN | ACK, back=True).out(FIN | ACK), "established"),
}  # fmt: skip


@pytest.mark.parametrize(("talk", "state"), STATES.values(), ids=STATES.keys())
def test_connection_state(talk, state):
    """States are what a bystander can tell; refused only when the responder never sent payload."""
    assert only(talk)["connection_state"] == state


def test_gap_of_more_than_120_s_begins_a_row_that_keeps_the_initiator():
    """A continuation is not a new connection: without this an idle server's keepalive would look like the opener."""
    talk = Talk(sport=40_000, dport=41_000).open().say(b"\0one")
    talk.time += 121 * SECOND
    talk.answer(b"\0two")
    rows, _ = read(talk)
    assert [row["record"] for row in rows] == [1, 5]
    assert {ends(row) for row in rows} == {(CLIENT, 40_000, SERVER, 41_000)}
    assert {row["initiator_basis"] for row in rows} == {"syn"}
    assert [row["connection_state"] for row in rows] == ["established", "midstream"]
    assert [row["packets_received"] for row in rows] == [1, 1]


def test_gap_of_120_s_is_still_one_row():
    """The limit itself does not cut, so that two-minute timers give one row."""
    talk = Talk().open()
    talk.time = talk.frames[-1][0] + 120 * SECOND
    assert only(talk.say(REQUEST))["packets_sent"] == 3


def test_new_syn_after_a_close_is_another_connection():
    """A 5-tuple that is used again holds two exchanges, each with its own initiator and state."""
    first = Talk().open().say(REQUEST).answer(ANSWER).close()
    second = Talk(isn=77_000, peer_isn=88_000, time=first.time).out(SYN).out(RST | ACK, back=True)
    rows, _ = read(first.frames + second.frames)
    assert [(row["record"], row["connection_state"]) for row in rows] == [(1, "established"), (9, "refused")]


def test_the_other_end_may_open_the_next_connection():
    """After a close either side can dial; the initiator is not inherited by a new SYN."""
    first = Talk(sport=5_000, dport=6_000).open().close()
    second = Talk(client=SERVER, server=CLIENT, sport=6_000, dport=5_000, isn=5, peer_isn=6, time=first.time).open()
    rows, _ = read(first.frames + second.frames)
    assert [row["initiator_ip"] for row in rows] == [CLIENT, SERVER]


def test_repeated_syn_with_the_same_number_is_a_retransmission():
    """A SYN that a shuffled capture shows after the close does not open anything."""
    talk = Talk().open().close()
    talk.time = talk.frames[0][0] + 1
    assert only(talk.out(SYN, seq=1_000))["packets_sent"] == 5


def test_syn_after_the_close_opens_another_flow_whatever_its_number():
    """Its sender chooses port and number: what follows must not hide behind the handshake of the closed one."""
    first = Talk().open().close()
    second = Talk(time=first.time + 70_000_000).open().say(REQUEST)
    rows, _ = read(first.frames + second.frames)
    assert [row["transport_seen"] for row in rows] == ["none", "plaintext"]


def test_new_syn_over_a_connection_whose_end_was_missed_is_another_connection():
    """Payload went over the old one, so its first bytes must not be taken for those of the new."""
    first = Talk().open().say(REQUEST)
    second = Talk(isn=500_000, peer_isn=600_000, time=first.time).open().say(b"\0\1binary")
    rows, _ = read(first.frames + second.frames)
    assert [row["transport_seen"] for row in rows] == ["plaintext", "unknown"]


def test_late_syn_in_a_shuffled_capture_still_names_the_initiator():
    """Taps with several queues deliver out of order; the SYN proves who opened wherever it comes."""
    frames = Talk(sport=40_000, dport=41_000).open().say(REQUEST).answer(ANSWER).frames
    row = only([frames[4], frames[3], *frames[:3]])
    assert (row["initiator_port"], row["initiator_basis"], row["packets_sent"]) == (40_000, "syn", 3)


def test_record_and_times_are_the_first_and_last_of_the_flow():
    """`record` leads back to the packet in the capture."""
    other = ethernet(ipv4(udp(1, 2, b"x"), protocol=17))
    rows, _ = read([(BEGIN, other), *Talk(time=BEGIN + 5).open().frames])
    assert [(row["record"], row["protocol"]) for row in rows] == [(1, "udp"), (2, "tcp")]


def test_half_of_a_translated_exchange_keeps_what_joins_it_to_the_other():
    """Seen where only one way is translated yet: the request goes to the pod, the reply comes from the Service."""
    pod = Talk(dport=8_080).open().say(REQUEST).answer(ANSWER).close()
    service = Talk(server="10.96.0.10", dport=80).open().say(REQUEST).answer(ANSWER).close()
    back = [1, 4, 6]
    frames = [service.frames[n] if n in back else frame for n, frame in enumerate(pod.frames)]
    rows, _ = read(frames)
    assert [ends(row) for row in rows] == [(CLIENT, 40_000, SERVER, 8_080), (CLIENT, 40_000, "10.96.0.10", 80)]
    assert [(row["packets_sent"], row["packets_received"]) for row in rows] == [(5, 0), (0, 3)]
    assert {(row["initiator_basis"], row["connection_state"]) for row in rows} == {("syn", "established")}
    assert [(row["first_seen"], row["last_seen"]) for row in rows] == [
        (BEGIN, BEGIN + 7_000), (BEGIN + 1_000, BEGIN + 6_000)]  # fmt: skip


def test_equal_addresses_in_two_overlays_are_two_exchanges():
    """Two tenants may use one range: each has its initiator, its state and its bytes."""

    def overlay(number):
        inside = struct.pack("!II", 0x08000000, number << 8)
        return lambda ip: ethernet(ipv4(udp(5, 4_789, inside + ethernet(ip)), "172.18.0.2", "172.18.0.3", protocol=17))

    one = Talk(link=overlay(1)).open().say(REQUEST).answer(ANSWER).close()
    two = Talk(link=overlay(2), time=BEGIN + 1).out(SYN).out(RST | ACK, back=True)
    rows, _ = read(sorted(one.frames + two.frames))
    assert [(row["via"], row["connection_state"], row["packets_sent"], row["packets_received"]) for row in rows] == [
        ("vxlan:1", "established", 5, 3), ("vxlan:2", "refused", 1, 1)]  # fmt: skip


def test_payload_of_a_syn_is_payload():
    """TCP fast open (RFC 7413): the request comes with the SYN, and again behind it where it was not taken."""
    taken = Talk().out(SYN, REQUEST).out(SYN | ACK, back=True).answer(ANSWER)
    refused = Talk().out(SYN, REQUEST)
    refused.sent = 1
    refused.out(SYN | ACK, back=True).say(REQUEST).answer(ANSWER)
    for talk, payload in ((taken, len(REQUEST)), (refused, 2 * len(REQUEST))):
        row = only(talk)
        assert (row["initiator_basis"], row["payload_sent"], row["payload_received"]) == ("syn", payload, len(ANSWER))
        assert (row["transport_seen"], row["app_protocol"]) == ("plaintext", "http")


HELLO = record(22, handshake(1, hello_body(0x0303, server_name(b"orders.shop"), alpn(b"h2", b"http/1.1"))))
CUT_AT = len(HELLO) // 2
#: Beginnings and ends of the segments that bring a ClientHello, in the order in which they come.
SEGMENTS = {
    "in_order": [(0, CUT_AT), (CUT_AT, None)],
    "out_of_order": [(CUT_AT, None), (0, CUT_AT)],
    "first_sent_again": [(0, CUT_AT), (0, CUT_AT), (CUT_AT, None)],
    "second_sent_again": [(CUT_AT, None), (0, CUT_AT), (CUT_AT, None)],
    "sent_again_in_other_segments": [(CUT_AT, None), (0, CUT_AT - 20), (CUT_AT - 40, CUT_AT + 20), (0, None)],
}


@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS.keys())
def test_client_hello_is_one_however_its_segments_come(segments):
    """A post-quantum hello takes two, and any network may turn them round or have them sent again."""
    talk = Talk().open()
    for begin, end in segments:
        talk.out(PSH | ACK, HELLO[begin:end], seq=1_001 + begin)
    row = only(talk)
    assert (row["tls_sni"], row["tls_alpn"]) == ("orders.shop", "h2,http/1.1")
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "tls_handshake")
    assert row["payload_sent"] == sum(len(HELLO[begin:end]) for begin, end in segments)


LOOPBACK = b"\0" * 12


def arphrd(kind):
    return lambda ip: b"\0\0" + kind.to_bytes(2, "big") + b"\0\6" + b"\0" * 8 + b"\x08\0" + ip


HOPS = {
    "ethernet_is_wire": (Talk(), 1, "wire"),
    "zero_addresses_are_loopback": (Talk(link=lambda ip: ethernet(ip, addresses=LOOPBACK)), 1, "loopback"),
    "loopback_address_is_loopback": (Talk(server="127.0.0.1"), 1, "loopback"),
    "address_to_itself_is_loopback": (Talk(server=CLIENT), 1, "loopback"),
    "arphrd_772_is_loopback": (Talk(link=arphrd(772)), 113, "loopback"),
    "arphrd_1_is_wire": (Talk(link=arphrd(1)), 113, "wire"),
    "sidecar_address_is_pod_internal": (Talk(client="127.0.0.6"), 1, "pod_internal"),
    "sidecar_inbound_port_on_loopback_is_pod_internal": (Talk(link=arphrd(772), dport=15_006), 113, "pod_internal"),
    "sidecar_outbound_port_on_loopback_is_pod_internal": (Talk(server="127.0.0.1", dport=15_001), 1, "pod_internal"),
    "sidecar_inbound_port_of_another_pod_is_wire": (Talk(dport=15_006), 1, "wire"),
    "sidecar_port_of_the_initiator_proves_nothing": (Talk(sport=15_006), 1, "wire"),
}


@pytest.mark.parametrize(("talk", "link_type", "hop"), HOPS.values(), ids=HOPS.keys())
def test_hop(talk, link_type, hop):
    """Clear text inside a pod is by design; the hop keeps it apart from the wire."""
    talk.frames.clear()
    row = only(talk.open().say(REQUEST).frames, link_type)
    assert row["hop"] == hop
    expected = ("plaintext", "clear_protocol") if hop == "wire" else ("unknown", "not_on_wire")
    assert (row["transport_seen"], row["transport_seen_basis"]) == expected


def test_flow_seen_on_loopback_and_wire_is_mixed_and_proves_no_plaintext():
    """`-i any` in a pod shows both hops under one 5-tuple."""
    frames = Talk(link=arphrd(772)).open().frames + Talk(link=arphrd(1)).out(ACK | PSH, REQUEST, seq=1_001).frames
    row = only(frames, 113)
    assert (row["hop"], row["transport_seen"], row["transport_seen_basis"]) == ("mixed", "unknown", "hop_uncertain")


def test_unmarked_link_that_also_shows_loopback_cannot_prove_plaintext():
    """Raw IP does not tell interfaces apart: once loopback is among them, any flow may be a hop inside the pod."""
    inside = Talk(link=bytes, server="127.0.0.1").open()
    outside = Talk(link=bytes, sport=40_001, time=inside.time).open().say(REQUEST)
    rows, _ = read(inside.frames + outside.frames, 101)
    assert [(row["hop"], row["transport_seen"]) for row in rows] == [("loopback", "none"), ("mixed", "unknown")]
    assert only(Talk(link=bytes).open().say(REQUEST).frames, 101)["transport_seen"] == "plaintext"


def test_no_payload_is_none():
    """A connection where nothing was said needed no protection."""
    row = only(Talk().open().close())
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("none", "no_payload")


def test_no_payload_is_unknown_where_it_may_have_been_missed():
    """A capture that began late, lost packets or heard one side cannot say that nothing was said."""
    middle = only([(BEGIN, ethernet(ipv4(tcp(40_000, 8_000, ACK, 1, 1))))])
    assert (middle["transport_seen"], middle["transport_seen_basis"]) == ("unknown", "midstream")
    lost = Talk().open()
    lost.sent += 500
    assert only(lost.close())["transport_seen_basis"] == "cut"
    one_side = [frame for index, frame in enumerate(Talk().open().close().frames) if index in (0, 2, 3)]
    assert only(one_side)["transport_seen_basis"] == "cut"


def fragments(ident=7, size=64):
    """A UDP datagram of three fragments."""
    whole = udp(40_000, 9_999, b"x" * (size * 3 - 8))
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    return [
        ethernet(ipv4(part, protocol=17, ident=ident, part=number * size // 8 | (0x2000 if number < 2 else 0)))
        for number, part in enumerate(parts)
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_fragments_count_to_the_flow_of_the_first_in_any_order(order):
    """Only the first fragment holds ports; the others are the same datagram's bytes."""
    parts = fragments()
    row = only([(BEGIN + n, parts[index]) for n, index in enumerate(order)])
    assert (row["record"], row["packets_sent"], row["bytes_sent"]) == (1, 3, 3 * 84)
    assert row["payload_sent"] == 3 * 64 - 8


def test_fragment_without_its_first_is_rejected_by_name():
    """Nothing disappears: it has no ports, so it is no flow."""
    rows, tally = read([(BEGIN, fragments()[1])])
    assert rows == []
    assert [(r.record, r.reason.value) for r in tally.rejects] == [(1, "lone_fragment")]


def test_fragment_of_a_later_datagram_with_the_same_id_is_not_counted_to_the_old_one():
    """Identification has 16 bits and comes round; after a minute it is another datagram."""
    parts = fragments()
    _, tally = read([(BEGIN, parts[0]), (BEGIN + 61 * SECOND, parts[1])])
    assert [r.reason.value for r in tally.rejects] == ["lone_fragment"]


def test_fragments_that_wait_are_bounded():
    """Orphans cannot fill memory: the oldest make room and are rejected, all of them in the end."""
    frames = [(BEGIN + n, fragments(ident=n)[1]) for n in range(5_000)]
    rows, tally = read(frames)
    assert (rows, tally.rejected) == ([], 5_000)


def datagram(port, payload=b"?", at=0):
    return BEGIN + at, ethernet(ipv4(udp(port, 9, payload), protocol=17))


def test_full_table_writes_out_the_flow_silent_for_longest():
    """Memory is bounded whatever the number of flows; a flow that comes again continues in a new row."""
    rows, tally = read([datagram(port, at=n) for n, port in enumerate((1, 2, 1, 3, 4, 2))], max_flows=4)
    assert [(row["initiator_port"], row["packets_sent"]) for row in rows] == [(1, 2), (2, 1), (3, 1), (4, 1), (2, 1)]
    assert tally.in_flows == 6


def test_full_table_keeps_the_initiators_of_idle_flows():
    """Making room for new flows must not turn round a connection that goes on after a pause."""
    old = Talk(sport=41_000, dport=42_000).open().say(b"\0one")
    crowd = [datagram(port, at=130 * SECOND + port) for port in range(1, 5)]
    goes_on = Talk(sport=41_000, dport=42_000, time=BEGIN + 131 * SECOND, sent=5, received=1).answer(b"\0two")
    rows, _ = read(old.frames + crowd[:2] + goes_on.frames + crowd[2:], max_flows=6)
    talked = [row for row in rows if row["protocol"] == "tcp"]
    assert [(row["initiator_port"], row["initiator_basis"]) for row in talked] == [(41_000, "syn")] * 2


@pytest.mark.parametrize("max_flows", [4, 7, 100])
def test_no_packet_is_lost_however_small_the_table(max_flows):
    """Rows that make room are rows."""
    frames = [datagram(1 + n * 7 % 31, at=n * SECOND) for n in range(200)]
    rows, tally = read(frames, max_flows=max_flows)
    assert sum(row["packets_sent"] + row["packets_received"] for row in rows) == tally.in_flows == 200


QUERY = bytes.fromhex("000101000001000000000000") + b"\x01a\0\0\1\0\1"
#: Bytes of payload that the smallest pool holds.
POOL = 512


def test_payload_that_does_not_fit_the_pool_is_unknown_not_plaintext():
    """Reassembly memory is bounded; what was not kept proves nothing, and says so."""
    frames = Talk().open().say(REQUEST[:-2] + b"Cookie: " + b"a" * POOL + b"\r\n\r\n").frames
    assert only(frames)["transport_seen"] == "plaintext"
    (row,), _ = read(frames, payload_pool=POOL)
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "pool_full")
    assert row["payload_sent"] == len(REQUEST) + POOL + 10


def test_flow_judged_early_to_make_room_in_the_pool_says_so_where_it_is_undecided():
    """Half a hello is no proof; that the other half was not waited for is the pool's doing."""
    half = Talk(sport=40_001).open().say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 32)
    other = Talk(sport=40_002, time=half.time).open().say(REQUEST)
    rows, _ = read(half.frames + other.frames, payload_pool=POOL)
    assert [row["transport_seen_basis"] for row in rows] == ["pool_full", "clear_protocol"]


def test_payload_pool_is_given_back_when_a_flow_ends():
    """A long capture never runs out of room because of flows that are over."""
    frames = [datagram(1_000 + n, QUERY, at=n * 200 * SECOND) for n in range(50)]
    rows, _ = read(frames, payload_pool=POOL)
    assert {row["transport_seen"] for row in rows} == {"plaintext"}


def test_streams_whose_bytes_were_cut_make_room_in_the_pool_too():
    """They use no memory of the pool, and are as many as there may be: the next flow is judged all the same."""
    pool = 16 * POOL
    busy = [Talk(sport=1_000 + n).open().say(b"\0opaque") for n in range(5)]
    frames = [frame for talk in busy for frame in talk.frames]
    frames += [frame for talk in busy for frame in talk.close().frames[4:]]
    cut = [Talk(sport=2_000 + n).open().say(b"\0opaque").frames for n in range(16)]
    frames += [(time, data[:54], len(data)) for talk in cut for time, data in talk]
    rows, _ = read(frames + Talk(sport=3_000).open().say(REQUEST).frames, payload_pool=pool)
    (row,) = (row for row in rows if row["initiator_port"] == 3_000)
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("plaintext", "clear_protocol")


def test_names_that_payload_spells_are_bounded():
    """Another long name in each flow must not fill memory: rows are written out before the table is full."""
    frames = []
    for n in range(60):
        hello = hello_body(0x0303, server_name(b"%04d" % n + b"\1" * 1_000))
        talk = Talk(sport=1_000 + n, time=BEGIN + n * 10_000).open()
        talk.say(record(22, handshake(1, hello))).answer(record(22, handshake(2, answer_body(0x0303)))).close()
        frames += talk.frames
    pool = 1 << 16
    batches = list(pcap.read(io.BytesIO(pcap_file(frames)), CONTEXT, Tally(), payload_pool=pool))
    names = [sum(map(len, filter(None, batch["tls_sni"].to_pylist()))) for batch in batches]
    counted = [sum(batch[way].to_pylist()) for batch in batches for way in ("packets_sent", "packets_received")]
    assert (sum(counted), sum(names)) == (len(frames), 60 * (4 + 4 * 1_000))
    assert max(names) < pool


def test_networks_that_are_more_than_anybody_runs_share_a_row():
    """What travelled in a forged one is still counted, and says so."""
    frames = []
    for n in range(65_540):
        inside = struct.pack("!II", 0x08000000, n << 8) + ethernet(ipv4(udp(7, 9, b"?"), protocol=17))
        frames.append((BEGIN + n, ipv4(udp(7, 4789, inside), protocol=17)))
    rows, _ = read(frames, 101)
    assert [row["via"] for row in rows[-3:]] == ["vxlan:65532", "vxlan:65533", "..."]
    assert sum(row["packets_sent"] for row in rows) == len(frames)


def test_header_cut_after_its_ports_counts_and_proves_nothing():
    """A short capture length leaves ports; whether there was payload is then not known, so not `none`."""
    frames = [(time, data[:40], len(data)) for time, data in Talk().open().say(REQUEST).answer(ANSWER).frames]
    row = only(frames)
    assert (row["packets_sent"], row["packets_received"]) == (3, 2)
    assert (row["payload_sent"], row["payload_received"]) == (None, None)
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "cut")


def test_times_that_run_backwards_do_not_split_a_flow():
    """Merged captures are not always in order; totals and span stay right."""
    frames = Talk().open().say(REQUEST).frames
    frames[2] = (frames[2][0] - 300 * SECOND, frames[2][1])
    row = only(frames)
    assert row["packets_sent"] == 3
    assert row["first_seen"] == BEGIN + 2_000 - 300 * SECOND


RETRY = b"\xf0\0\0\0\x01\x08" + b"d" * 8 + b"\x08" + b"s" * 8 + b"token" + b"t" * 16
INITIAL = b"\xc0\0\0\0\x01\x08" + b"s" * 8 + b"\x08" + b"d" * 8 + b"\0" + b"\x44\xb0" + b"e" * 1_200


@pytest.mark.parametrize(
    ("answers", "transport"), [([INITIAL], "tls"), ([RETRY], "unknown"), ([RETRY, INITIAL], "tls")]
)
def test_datagram_that_only_asks_again_makes_room_for_the_answer(answers, transport):
    """A server that wants proof of the client's address first would else never be seen to answer."""
    frames = [(BEGIN, ethernet(ipv4(udp(50_000, 443, INITIAL), protocol=17)))]
    for n, answer in enumerate(answers):
        frames.append((BEGIN + 2 * n + 1, ethernet(ipv4(udp(443, 50_000, answer), SERVER, CLIENT, protocol=17))))
        frames.append((BEGIN + 2 * n + 2, ethernet(ipv4(udp(50_000, 443, INITIAL), protocol=17))))
    row = only(frames)
    assert (row["transport_seen"], row["transport_seen_basis"]) == (transport, "quic")


def test_syn_outranks_an_answer_that_somebody_only_pretended():
    """A client that first sends a SYN-ACK of its own must not turn the verdict's direction round."""
    talk = Talk(sport=40_000, dport=41_000)
    fake = (BEGIN - 5, ethernet(ipv4(tcp(40_000, 41_000, SYN | ACK, 7, 7))))
    row = only([fake, *talk.open().say(REQUEST).frames])
    assert (row["initiator_port"], row["initiator_basis"]) == (40_000, "syn")


def test_echo_request_of_the_other_end_after_a_pause_opens_the_next_row():
    """Who asked is told by the request itself, not by the row before."""
    ask = [ethernet(ipv4(b"\x08\0\0\0\0\x01\0\x01", *ends, protocol=1)) for ends in ((), (SERVER, CLIENT))]
    rows, _ = read([(BEGIN, ask[0]), (BEGIN + 300 * SECOND, ask[1])])
    assert [row["initiator_ip"] for row in rows] == [CLIENT, SERVER]


@pytest.mark.parametrize("last", [RST, FIN | ACK])
def test_payload_that_was_only_acknowledged_was_sent(last):
    """The capture lost it: nobody can say that nothing was said."""
    talk = Talk().open()
    talk.sent += 500
    row = only(talk.out(ACK, back=True).out(last, back=last != RST))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "cut")


GREETING, EHLO, OFFER, CHANGE = b"220 mail\r\n", b"EHLO a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"STARTTLS\r\n"


def mail():
    return Talk(dport=25).open().answer(GREETING).say(EHLO)


def test_end_after_which_more_comes_was_none():
    """A reset that its receiver does not heed must not make clear text of what goes on as TLS."""
    talk = mail().out(RST, seq=12_345).answer(OFFER).say(CHANGE).answer(b"220 go on\r\n")
    assert only(talk)["transport_seen"] == "unknown"
    heeded = mail().out(RST).answer(OFFER).say(CHANGE).answer(b"220 go on\r\n")
    assert only(heeded)["transport_seen"] == "unknown"
    early = Talk(dport=25).open().answer(GREETING).out(FIN | ACK, back=True).say(EHLO)
    early.received -= 1
    assert only(early.answer(OFFER).say(CHANGE).answer(b"220 go on\r\n"))["transport_seen"] == "unknown"


def test_bytes_sent_again_do_not_make_up_for_lost_ones():
    """What counts is whether every number was seen, not how many bytes were."""
    talk = mail()
    for _ in range(4):
        talk.out(PSH | ACK, EHLO, seq=talk.isn + 1)
    talk.sent += len(CHANGE)  # the capture lost it
    talk.answer(OFFER).out(FIN | ACK).out(FIN | ACK, back=True).out(ACK)
    assert only(talk)["transport_seen"] == "unknown"


def test_tail_of_a_segment_around_an_early_one_is_not_taken_for_nothing():
    """What cannot be kept is missing, so the connection is not complete."""
    talk = Talk(dport=25).open().answer(GREETING)
    text = EHLO + CHANGE + b"\x16\x03\x01 a hello"
    for begin, end in ((4, 6), (2, len(text)), (0, 2)):
        talk.out(PSH | ACK, text[begin:end], seq=talk.isn + 1 + begin)
    talk.sent += len(text)
    talk.answer(OFFER).out(FIN | ACK).out(FIN | ACK, back=True)
    assert only(talk)["transport_seen"] == "unknown"


def test_fragment_that_waited_too_long_is_of_another_datagram():
    """Identifications come round; a first fragment an hour later is not its own."""
    parts = fragments()
    rows, tally = read([(BEGIN, parts[1]), (BEGIN + 3600 * SECOND, parts[0])])
    assert [reject.reason.value for reject in tally.rejects] == ["lone_fragment"]
    assert [row["packets_sent"] for row in rows] == [1]


ASKS = b"CONNECT shop:443 HTTP/1.1\r\n\r\n"
PROXIED = (
    Talk().open().say(ASKS).answer(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    .say(ASKS[:-2] + b"Proxy-Authorization: Basic eA==\r\n\r\n").answer(b"HTTP/1.1 200 OK\r\n\r\n")
    .say(b"\x16\x03\x01")
)  # fmt: skip
UPGRADED = (
    Talk().open().say(REQUEST).answer(ANSWER)
    .say(b"OPTIONS * HTTP/1.1\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n")
    .answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n").say(b"\x16\x03\x01")
)  # fmt: skip


@pytest.mark.parametrize("talk", [PROXIED, UPGRADED], ids=["proxied", "upgraded"])
def test_http_that_becomes_something_else_by_a_later_message_is_not_plaintext(talk):
    """A proxy that asks for a password first is ordinary; what goes through it then may be TLS."""
    row = only(talk)
    assert (row["app_protocol"], row["transport_seen"]) == ("http", "unknown")


def test_side_that_goes_on_after_the_other_has_hung_up_is_still_judged_by_its_beginning():
    """Half-closed connections are ordinary; what was proven from the first bytes does not rest on an end."""
    talk = Talk().open().say(REQUEST).answer(ANSWER)
    for _ in range(6):
        talk.answer(b"x" * 1_460)
    talk.out(FIN | ACK, back=True)
    for _ in range(12):
        talk.say(b"y" * 1_460)
    row = only(talk)
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("plaintext", "clear_protocol")
