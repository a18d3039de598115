# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
"""
The packet core: capture bytes -> flows, for every link type and tunnel that is common.

Four floors in one file, so that they inline into each other: records (pcap, pcapng packet blocks), decoding down to the
innermost packet, the flow table, and the first payload bytes of each direction. What is rare (a link type only scapy
knows, an IP fragment) is given to `slow`, which gives the decoded packet back to `add`: there is one flow table.

The same file runs under CPython and compiles to C (Cython's pure Python mode). Every access to memory is checked
against its buffer; the explicit length tests say what a *packet* holds, and are what decides between counted, cut and
malformed. Sums that may pass 64 bits are masked, so that both ways of running give the same numbers.

A flow ends after 120 s without a packet, when a new SYN opens its 5-tuple again, when the table is full, or with the
capture. There is no active limit: a connection that never pauses is one row. Connection states are those of RFC 9293 as
far as a bystander can tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

import numpy as np

try:
    import cython
except ImportError:  # users' machines: the stand-in runs the same file
    from vzflow.readers import _nocython as cython

from vzflow.flow.key import FlowKey
from vzflow.flow.lookups import FOREVER
from vzflow.flow.terms import RejectReason, Transport, TransportBasis
from vzflow.readers.packet import GENEVE_PORT, VXLAN_PORTS
from vzflow.readers.payload.facts import Facts, unknown
from vzflow.readers.payload.judge import WIREGUARD, judge_datagrams, judge_streams
from vzflow.readers.payload.stream import DATAGRAM_LIMIT, LIMIT, Stream

#: (record, time or None, link type, bytes, original length, on a loopback device)
Slow = Callable[[int, "int | None", int, bytes, int, bool], None]
#: (place in the keys, record or 0, first record of the row, what is known of who opened, index in BASES, whether
#: that is known by the row before, record that makes the hop uncertain or 0)
Traced = Callable[[int, int, int, int, int, bool, int], None]
#: (record, reason, detail, bytes) -> whether another one of this reason would be kept
Rejected = Callable[[int, RejectReason, str, bytes], bool]

#: Whether this file runs as machine code.
COMPILED = bool(cython.compiled)

#: Microseconds without a packet that end a flow. No active limit (design section 3).
IDLE = 120_000_000
#: Flows in the table, at most and to begin with: it grows while more than half of them are busy, so that what is used
#: stays in the processor's cache. Idle ones are kept for their initiators until their place is needed.
MAX_FLOWS = 500_000
FIRST_FLOWS = 1 << 16
#: Bytes of first payload held for all flows together; what does not fit is `unknown`, basis `pool_full`. As many bytes
#: of names that payload spelled are held too: then rows are written out.
PAYLOAD_POOL = 32 << 20
#: Interfaces of one section that are remembered.
MAX_INTERFACES = 1 << 16
#: Largest packet: no interface has a larger one (BIG TCP ends at 512 KiB), so a longer one is a length that lies.
MAX_PACKET = 1 << 20
#: Microseconds within which the copies of a packet pass all interfaces of a host. A retransmission may come sooner: it
#: is told apart by where it was seen (`_copy_of`), not by time.
COPY_WINDOW = 100_000

# Signed and unsigned 64-bit numbers.
Int = cython.typedef(cython.longlong)
Word = cython.typedef(cython.ulonglong)

# A function says which number it returns when it raises, none that it returns else: so whoever calls it need not ask
# Python after each call whether it did.

# What is a number in machine code; without this each would be a lookup by name.
cython.declare(
    MORE=Int, BLOCK=Int, DAMAGE=Int,
    KEY_WORDS=Int, A_HIGH=Int, A_LOW=Int, B_HIGH=Int,
    B_LOW=Int, PORTS=Int, HASH=Int,
    FLOW_WORDS=Int, FIRST=Int, LAST=Int, TOUCHED=Int,
    RECORD=Int, PACKETS=Int, BYTES=Int, PAYLOAD=Int,
    DUPLICATES=Int, FACTS=Int, FLAGS=Int, ISN=Int,
    END=Int, STREAMS=Int, TAKEN=Int, OPENER=Int, BASIS=Int,
    STATE=Int, HOP=Int, OUT_WORDS=Int, OUT_ROWS=Int,
    LIVE=Int, ALIAS=Int, OPENED=Int, RESET=Int,
    LOOPBACK=Int, WIRE=Int, UNMARKED=Int, TUNNEL=Int,
    SECOND_FIRST=Int, OPENER_KNOWN=Int, OPENER_SIDE=Int, BLIND=Int,
    POOL_FULL=Int, TRIED=Int, SYN_SEEN=Int, INHERITED=Int, OVER=Int, MAX_WINDOW=Int,
    BASIS_SHIFT=Int, SIDE_SHIFT=Int, ACKED=Int,
    FINNED=Int, RESETTED=Int, REFUSED=Int,
    CHUNK=Int, STREAM_LIMIT=Int, FIRST_DATAGRAM=Int, CHUNKS=Int,
    GAPS=Int, ACKS=Int, STREAM_WORDS=Int, BASE=Int,
    HAVE=Int, COUNTS=Int, MARKS=Int, AT_CHUNKS=Int,
    AT_GAPS=Int, AT_ACKS=Int, STARTED=Int, CUT=Int,
    BEYOND=Int, COPY_SLOTS=Int, COPY_WORDS=Int, COPY_PLACES=Int, COPY_WAYS=Int, C_PORTS=Int,
    C_MARK=Int, C_HEADER=Int, C_TIME=Int, C_SLOT=Int, C_PLACES=Int, C_COUNTS=Int, C_MOST=Int, C_VIA=Int, C_CONTENT=Int,
    TCP=Int, UDP=Int, ICMP=Int, ICMPV6=Int, SCTP=Int,
    GRE=Int, ESP=Int, AH=Int, ETHERIP=Int, L2TP=Int,
    MPLS=Int, FIN=Int, SYN=Int, RST=Int, ACK=Int,
    CUT_PACKET=cython.int, BAD_PACKET=cython.int, BAD_RECORD=cython.int,
    DECODED=cython.int, SKIP_ARP=cython.int, SKIP_NOT_IP=cython.int, REJECT=cython.int, SLOW=cython.int,
    ETHERNET=cython.int, NULL=cython.int, PPP=cython.int, LOOP=cython.int, SLL=cython.int, NFLOG=cython.int,
    SLL2=cython.int, ARPHRD_LOOPBACK=Int, NFLOG_PAYLOAD=Int, IPIP=Int,
    SIX_IN_FOUR=Int, FOUR_IN_SIX=Int, SIX_IN_SIX=Int, IN_MPLS=Int,
    IN_ETHERIP=Int, IN_GRE=Int, IN_GRE_KEY=Int, IN_VXLAN=Int,
    IN_GENEVE=Int, TUNNELS=cython.int, HEADERS=cython.int, EXTENSIONS=cython.int, EPHEMERAL=Int,
    LOW32=Int, HALF32=Int, TOP31=Int, ONES=Word, MIX1=Word, MIX2=Word, SIP0=Word, SIP1=Word, SIP2=Word, SIP3=Word,
    MAPPED=Word, SIDECAR=Word,
)  # fmt: skip

# Headers and tunnels in one packet beyond which it is an attack, not traffic.
HEADERS, EXTENSIONS, TUNNELS = 32, 256, 8

# Numbers of more than 31 bits would be Python's wherever they stood in an expression.
LOW32, HALF32, TOP31, ONES = 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFFFFFFFFFF
MIX1, MIX2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
#: SipHash's own (Aumasson and Bernstein, 2012): "somepseudorandomlygeneratedbytes".
SIP0, SIP1, SIP2, SIP3 = 0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573
#: What makes an IPv4 address an IPv4-mapped one, and the address from which Istio's sidecar (1.10 and later) reaches
#: its application, 127.0.0.6.
MAPPED, SIDECAR = 0xFFFF00000000, 0xFFFF7F000006

# What feed() stopped for.
MORE, BLOCK, DAMAGE = 0, 1, 2
STOPPED = ("more", "block", "damage")

# A flow's key: the two ends in canonical order, then ports, protocol and encapsulation in one word (16 bits each), and
# its hash.
KEY_WORDS = 6
A_HIGH, A_LOW, B_HIGH, B_LOW, PORTS, HASH = range(6)
# What is counted of a flow. Side 0 is the end that sorts first; -1 is "none" in times and sequence numbers.
FLOW_WORDS = 20
FIRST, LAST, TOUCHED, RECORD = 0, 1, 2, 3
PACKETS, BYTES, PAYLOAD = 4, 6, 8  # of side 0; of side 1 in the word after it
DUPLICATES, FACTS, FLAGS = 10, 11, 12
ISN, END, STREAMS = 13, 15, 17  # ISN and END of side 0; of side 1 in the word after it
TAKEN = 18  # of side 0's numbers after its SYN, how many side 1 acknowledged; then the other way
# What an emitted row has besides: side that opened, and indexes in BASES, STATES and HOPS.
OUT_WORDS = 24
OPENER, BASIS, STATE, HOP = 20, 21, 22, 23
#: Names of the words of a row in `out_flows`, and of one in `out_keys`.
ROW_FIELDS = (
    "first", "last", "touched", "record", "packets0", "packets1", "bytes0", "bytes1", "payload0", "payload1",
    "duplicates", "facts", "flags", "isn0", "isn1", "end0", "end1", "streams", "taken0", "taken1",
    "opener", "basis", "state", "hop",
)  # fmt: skip
KEY_FIELDS = ("high0", "low0", "high1", "low1", "ports", "hash")
BASES = ("syn", "request", "known_port", "first_seen")
STATES = (None, "midstream", "refused", "attempted", "reset", "established")
HOPS = ("wire", "loopback", "pod_internal", "outer_tunnel", "mixed")
#: Rows that wait to be taken.
OUT_ROWS = 16_384

# Flags of a flow.
LIVE = 1 << 0  # it has packets that are in no row yet; without it, only its initiator is remembered
ALIAS = 1 << 1  # the same packets under another encapsulation: FACTS is the slot that counts them
OPENED = 1 << 2  # a SYN or SYN-ACK was seen
RESET = 1 << 3
LOOPBACK = 1 << 4
WIRE = 1 << 5
UNMARKED = 1 << 6
TUNNEL = 1 << 7
SECOND_FIRST = 1 << 8  # side 1 sent the first packet
OPENER_KNOWN = 1 << 9
OPENER_SIDE = 1 << 10  # side 1 opened
BLIND = 1 << 11  # payload of a packet whose header was cut is not known
POOL_FULL = 1 << 14
TRIED = 1 << 15  # it was judged early, and nothing was proven
SYN_SEEN = 1 << 16  # a SYN proved who opened, not only its answer
INHERITED = 1 << 17  # who opened is known from the row before only
OVER = 1 << 18  # it was judged as a connection that had ended
BASIS_SHIFT = 12  # two bits: index in BASES
# Of each side: shifted by 24 + 8 * side.
SIDE_SHIFT = 24
ACKED, FINNED, RESETTED, REFUSED = 1, 2, 4, 8

# Facts that need no payload, at fixed places of the list of facts.
_FIXED = (
    unknown(TransportBasis.DATAGRAM),
    Facts(Transport.NONE, TransportBasis.NO_PAYLOAD),
    unknown(TransportBasis.MIDSTREAM),
    unknown(TransportBasis.CUT),
)
_AS_DATAGRAM, _AS_SILENT, _AS_MIDSTREAM, _AS_CUT = 1, 2, 3, 4
#: Different facts that are held once for all flows, and never let go: how many, and how long their names may be. Then
#: what each of the others takes besides its names.
MAX_SHARED_FACTS, SHARED_NAMES, OWN_FACTS = 65_536, 512, 256
#: What a judgement of incomplete bytes may say; with a full pool, the pool is the reason.
_INCOMPLETE = (
    TransportBasis.CUT, TransportBasis.UNRECOGNISED, TransportBasis.MIDSTREAM, TransportBasis.TLS_HANDSHAKE,
)  # fmt: skip

# The first bytes of one direction: where they lie in the pool, and which segments brought them.
CHUNK = 512
STREAM_LIMIT, FIRST_DATAGRAM = LIMIT, DATAGRAM_LIMIT
CHUNKS, GAPS, ACKS = 16, 10, 16
BASE, HAVE, COUNTS, MARKS = 0, 1, 2, 3
# Two chunks in a word, 31 bits each; a gap's begin and end and an acknowledgement's end before its 32-bit number.
AT_CHUNKS, AT_GAPS, AT_ACKS = 4, 12, 22
STREAM_WORDS = 38
STARTED, CUT, BEYOND = 1, 2, 4

#: Largest TCP window (RFC 7323 section 2.3).
MAX_WINDOW = 1 << 30

# Copies: the fingerprint of a packet, where it was seen, and which flow counted it.
COPY_SLOTS, COPY_WORDS, COPY_PLACES, COPY_WAYS = 65_536, 20, 6, 4
# Words 0 to 3 are the addresses; then ports and protocol, what else tells packets apart (two words), time, slot of the
# flow (below the generation of slots), places, how often each has seen it (8 bits each), the most of these, the
# encapsulation of the first, and its content.
C_PORTS, C_MARK, C_HEADER, C_TIME, C_SLOT, C_PLACES, C_COUNTS, C_MOST, C_VIA, C_CONTENT = (
    4,
    5,
    6,
    7,
    8,
    9,
    15,
    16,
    17,
    18,
)

# IANA protocol numbers, and TCP flags.
TCP, UDP, ICMP, ICMPV6, SCTP = 6, 17, 1, 58, 132
GRE, ESP, AH, ETHERIP, L2TP, MPLS = 47, 50, 51, 97, 115, 137
FIN, SYN, RST, ACK = 1, 2, 4, 16

# What decoding a packet came to.
DECODED, SKIP_ARP, SKIP_NOT_IP, REJECT, SLOW = 0, 1, 2, 3, 4

# LINKTYPE values.
ETHERNET, NULL, PPP, LOOP, SLL, NFLOG, SLL2 = 1, 0, 9, 108, 113, 239, 276
#: ARPHRD_LOOPBACK of Linux' if_arp.h, in SLL and SLL2 headers; NFULA_PAYLOAD of its nfnetlink_log.h.
ARPHRD_LOOPBACK, NFLOG_PAYLOAD = 772, 9

# Kinds of encapsulation, in the upper half of a word of `chain`; its number, if it has one, is in the lower half.
IPIP, SIX_IN_FOUR, FOUR_IN_SIX, SIX_IN_SIX, IN_MPLS, IN_ETHERIP, IN_GRE = 1, 2, 3, 4, 5, 6, 7
IN_GRE_KEY, IN_VXLAN, IN_GENEVE = 8, 9, 10
_TUNNEL_NAMES = ("", "ipip", "6in4", "4in6", "6in6", "mpls", "etherip", "gre", "gre", "vxlan", "geneve")

#: Ports that are registered or documented for a service and that nobody's outgoing connections use by default: SSH,
#: SMTP, DNS, HTTP, LDAP, HTTPS, NFS, etcd, MySQL, VXLAN, mDNS, LLMNR, PostgreSQL, Geneve, Redis, API server, HTTP
#: alternates, flannel's VXLAN, Prometheus, node-exporter, Elasticsearch, kubelet, kube-proxy, Istio's own, MongoDB.
_SERVICES = frozenset((
    22, 25, 53, 80, 389, 443, 636, 2049, 2379, 2380, 3306, 4789, 5353, 5355, 5432, 6081, 6379, 6443, 8080, 8443, 8472,
    9090, 9100, 9200, 9300, 10250, 10256, 15008, 15010, 15012, 15014, 15017, 15020, 15021, 15090, 15443, 27017,
))  # fmt: skip
#: Where Linux, and everyone since RFC 6056, takes the ports of its own outgoing connections from.
EPHEMERAL = 32_768

_NAMES = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMPV6: "icmpv6"}
_NUMBERS = {name: number for number, name in _NAMES.items()}
# Why a packet is rejected here.
CUT_PACKET, BAD_PACKET, BAD_RECORD = 0, 1, 2
_REJECTS = (RejectReason.TRUNCATED_PACKET, RejectReason.MALFORMED_PACKET, RejectReason.BAD_RECORD)


def protocol_name(number: int) -> str:
    """Return the `protocol` column for an IP protocol *number*."""
    return _NAMES.get(number, str(number))


def _zeros(count: int, code: str) -> memoryview:
    """Return *count* zeroed words (B: bytes, q and Q: 64 bits); the system gives memory when it is first touched."""
    return memoryview(np.zeros(count, code))


@cython.final
@cython.cclass
class Core:
    """
    Flows of one capture.

    Set the format (`set_pcap`, or `set_section` and `add_interface`), `feed` it bytes, give it what `slow` decoded with
    `add`, and end with `finish`. Rows lie in `out_keys` and `out_flows`, `rows` of them, whenever `flush` is called.

    Args:
        key: 16 bytes that nobody who writes packets knows: they key the hash of the flow table.
        slow: Called with (record, time or None, link type, bytes, length, loopback) for what is not decoded here.
        reject: Called with (record, reason, detail, bytes); once it returned false, that reason is only counted.
        flush: Called when rows have to be taken, which it ends with `taken`.
        max_flows, payload_pool: See the constants.
        vxlan_ports: UDP ports that carry VXLAN.
        all_slow: Decode nothing here: every packet is for `slow`.
    """

    # Input.
    buf: cython.const[cython.uchar][::1]
    big: cython.bint
    link: cython.int
    max_packet: Int
    idle: Int
    forever: Int
    copy_window: Word
    units_down: Int
    head_size: Int
    pcapng: cython.bint
    described: Int[::1]
    exact: list
    several: cython.bint
    read: Int
    in_flows: Int
    arps: Int
    not_ip: Int
    status: cython.int
    wrong: object
    all_slow: cython.bint
    slow: object
    reject: object
    flush: object
    vxlan: cython.uchar[::1]
    services: cython.uchar[::1]

    # The packet being decoded: its ends, and what is known of what it carries.
    s_high: Word
    s_low: Word
    d_high: Word
    d_low: Word
    protocol: cython.int
    sport: Int
    dport: Int
    length: Int
    pay_at: Int
    pay_end: Int
    pay_length: Int
    tcp_flags: Int
    seq: Int
    ack: Int
    opener: cython.int
    by_request: cython.bint
    loopback: cython.bint
    marked: cython.bint
    tunnel: cython.bint
    blind: cython.bint
    ident: Int
    via: Int
    chain: Word[::1]
    chained: cython.int
    last_chain: Word
    last_via: Int
    vias: list
    via_ids: dict
    failed: cython.int
    failure: object
    ended: cython.bint
    unkept: cython.uchar[::1]
    more: Int[::1]
    place: Word
    copies_possible: cython.bint

    # The flow table.
    keys: Word[::1]
    flows: Int[::1]
    table: Word[::1]
    mask: Word
    used: Int
    recent: Int
    finished: Int
    max_flows: Int
    room: Int
    now: Int
    key0: Word
    key1: Word
    probe: Word
    unmarked_loopback: Int
    out_memory: object
    out_keys: Word[::1]
    out_flows: Int[::1]
    rows: Int
    facts: list
    fact_numbers: dict
    own_facts: list
    own_bytes: Int
    row_bytes: Int
    own_max: Int
    spare_facts: list
    times: Int[::1]

    # First payload bytes.
    pool: cython.uchar[::1]
    scratch_memory: object
    scratch: cython.uchar[::1]
    streams: Int[::1]
    free_chunks: Int[::1]
    chunks_free: Int
    chunks_used: Int
    chunks_max: Int
    free_streams: Int[::1]
    streams_free: Int
    streams_used: Int

    # Copies.
    seen: Word[::1]
    generation: Word

    # What is traced.
    traced: Int
    wanted: Word[::1]
    told: object

    def __init__(
        self,
        key: bytes,
        slow: Slow,
        reject: Rejected,
        flush: Callable[[], None],
        *,
        max_flows: int = MAX_FLOWS,
        payload_pool: int = PAYLOAD_POOL,
        vxlan_ports: Iterable[int] = VXLAN_PORTS,
        all_slow: bool = False,
    ) -> None:
        if max_flows < 4:
            raise ValueError("a flow table needs room for four flows")
        self.buf = b""
        self.big = False
        self.link = -1
        self.max_packet = MAX_PACKET
        self.idle = IDLE
        self.forever = FOREVER
        self.copy_window = COPY_WINDOW
        self.units_down = 1
        self.head_size = 16
        self.pcapng = False
        self.described = _zeros(4 * (MAX_INTERFACES + 1), "q")
        self.exact = []
        self.several = False
        self.read = 0
        self.in_flows = 0
        self.arps = 0
        self.not_ip = 0
        self.status = MORE
        self.wrong = None
        self.all_slow = all_slow
        self.slow = slow
        self.reject = reject
        self.flush = flush
        ports = bytearray(65536)
        for port in vxlan_ports:
            ports[port] = 1
        ports[GENEVE_PORT] = 2
        self.vxlan = ports
        known = bytearray(65536)
        for port in _SERVICES:
            known[port] = 1
        self.services = known
        self.chain = _zeros(TUNNELS, "Q")
        self.chained = 0
        self.last_chain = 0
        self.last_via = 0
        self.vias = [None]
        self.via_ids = {None: 0}
        self.failed = 0
        self.failure = None
        self.ended = False
        self.unkept = bytearray(len(_REJECTS))
        self.more = _zeros(len(_REJECTS), "q")
        self.place = 0
        self.copies_possible = False
        self.keys = _zeros(KEY_WORDS * max_flows, "Q")
        self.flows = _zeros(FLOW_WORDS * max_flows, "q")
        self.max_flows = max_flows
        self._set_room(min(max_flows, FIRST_FLOWS))
        self.used = 0
        self.recent = -1
        self.finished = 0
        self.now = 0
        self.key0 = int.from_bytes(key[:8], "little")
        self.key1 = int.from_bytes(key[8:16], "little")
        self.probe = 0
        self.unmarked_loopback = 0
        self.out_memory = _zeros(KEY_WORDS * OUT_ROWS, "Q"), _zeros(OUT_WORDS * OUT_ROWS, "q")
        self.out_keys, self.out_flows = self.out_memory
        self.rows = 0
        self.facts = [None, *_FIXED]
        self.fact_numbers = {}
        self.own_facts = []
        self.own_bytes = 0
        self.row_bytes = 0
        self.own_max = payload_pool
        self.spare_facts = []
        self.times = _zeros(max_flows, "q")
        chunks = max(1, payload_pool // CHUNK)
        self.pool = _zeros(chunks * CHUNK, "B")
        self.scratch_memory = _zeros(STREAM_LIMIT, "B")
        self.scratch = self.scratch_memory
        self.streams = _zeros(STREAM_WORDS * chunks, "q")
        self.free_chunks = _zeros(chunks, "q")
        self.chunks_free = 0
        self.chunks_used = 0
        self.chunks_max = chunks
        self.free_streams = _zeros(chunks, "q")
        self.streams_free = 0
        self.streams_used = 0
        self.seen = _zeros((COPY_SLOTS + 1) * COPY_WORDS, "Q")
        self.generation = 1
        self.traced = 0
        self.wanted = _zeros(0, "Q")
        self.told = None
        self._no_packet()

    def trace(self, keys: Sequence[FlowKey], told: Traced) -> None:
        """
        Tell which packets are counted to the flows of *keys*, copies included, whichever way round they are.

        *told* is called with the place of a flow's key and the record for each of its packets; with record 0 when a row
        of it is complete, whose column `record` is then final. What is known of who opened is a number that changes
        with it, 0 for nothing.
        """
        self.told = told
        self.wanted = _zeros(KEY_WORDS * len(keys), "Q")
        for place, key in enumerate(keys):
            ends = sorted(((_address(key.ip), key.port), (_address(key.peer_ip), key.peer_port)))
            (one, port), (two, peer_port) = ends
            protocol = _NUMBERS[key.protocol] if key.protocol in _NUMBERS else int(key.protocol)
            words = one >> 64, one & ONES, two >> 64, two & ONES
            for i, word in enumerate(words):
                self.wanted[place * KEY_WORDS + i] = word
            number = protocol << 16 | self._via_number(key.via)
            self.wanted[place * KEY_WORDS + PORTS] = port << 48 | peer_port << 32 | number
        self.traced = len(keys)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _trace(self, slot: Int, record: Int) -> cython.int:
        f: Int = slot * FLOW_WORDS
        flags: Int = self.flows[f + FLAGS]
        opening: Int = 0
        w: Int
        i: Int
        if flags & OPENER_KNOWN:
            opening = flags & (OPENER_KNOWN | OPENER_SIDE | 3 << BASIS_SHIFT | INHERITED | SYN_SEEN)
        for i in range(self.traced):
            w = i * KEY_WORDS
            if self._is_at(
                slot, self.wanted[w], self.wanted[w + A_LOW], self.wanted[w + B_HIGH], self.wanted[w + B_LOW],
                self.wanted[w + PORTS],
            ):  # fmt: skip
                self.told(
                    i, record, self.flows[f + RECORD], opening, flags >> BASIS_SHIFT & 3, flags & INHERITED != 0,
                    self.unmarked_loopback if flags & UNMARKED else 0,
                )  # fmt: skip

    # ------------------------------------------------------------------------------------------------ the format

    def set_pcap(self, big: bool, units: int, head_size: int, link: int) -> None:
        """Say that what is fed are pcap records: byte order, time units a second, bytes of a record header, link."""
        self.pcapng = False
        self.big = big
        self.units_down = units // 1_000_000
        self.head_size = head_size
        self.link = link
        self.copies_possible = link in (SLL, SLL2)

    def set_section(self, big: bool) -> None:
        """Say that what is fed are blocks of a pcapng section of this byte order, without interfaces as yet."""
        self.pcapng = True
        self.big = big
        self.exact = []
        self.several = False

    def add_interface(self, link: int, snaplen: int, units: int, offset: int, loopback: bool) -> None:
        """Describe the next interface of the section: times count *units* a second from *offset* seconds."""
        at = 4 * len(self.exact)
        self.exact.append((units, offset))
        self.described[at] = link
        self.described[at + 1] = snaplen
        # By how much a time is to be divided; 0 where that is not enough.
        self.described[at + 2] = 0 if units % 1_000_000 or units > 10**12 or offset else units // 1_000_000
        self.described[at + 3] = 1 if loopback else 0
        self.several = len(self.exact) > 1

    def feed(self, buf: cython.const[cython.uchar][::1], pos: int, end: int) -> tuple[int, str]:
        """
        Take whole records from *buf*[*pos*:*end*].

        Returns:
            Where the first one that was not taken begins, and why: `more` bytes are needed; a `block` of a pcapng that
            holds no packet begins there; `damage`, of which `damage` tells.
        """
        if pos < 0 or end > len(buf) or pos > end:
            raise ValueError("bad range")
        self.buf = buf
        self.status = MORE
        pos = self._blocks(pos, end) if self.pcapng else self._records(pos, end)
        return pos, STOPPED[self.status]

    @property
    def damage(self) -> tuple[str, bytes]:
        """What is wrong where `feed` stopped with `damage`: detail, bytes."""
        return self.wrong

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Packets so far: read, counted in flows, ARP, and of other protocols than IP."""
        return self.read, self.in_flows, self.arps, self.not_ip

    def take_more(self) -> list[tuple[RejectReason, int]]:
        """Return, and forget, how many packets were rejected of which nothing was told, by reason."""
        found = [(reason, self.more[i]) for i, reason in enumerate(_REJECTS) if self.more[i]]
        for i in range(len(_REJECTS)):
            self.more[i] = 0
        return found

    @property
    def row_memory(self) -> tuple[memoryview, memoryview]:
        """Rows that wait to be taken: of KEY_FIELDS and of ROW_FIELDS, as 64-bit words."""
        n: Int = self.rows
        keys, flows = self.out_memory
        return keys[: n * KEY_WORDS], flows[: n * OUT_WORDS]

    def facts_of(self, index: int) -> Facts:
        """Return what the first payload bytes say, as the word `facts` of a row numbers it, until it is `taken`."""
        return self._facts(index)

    @cython.cfunc
    def _facts(self, index: Int) -> object:
        return self.facts[index] if index >= 0 else self.own_facts[-1 - index]

    @property
    def blind_flag(self) -> int:
        """The bit of the word `flags` that says that payload of some packets is not known."""
        return BLIND

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _records(self, pos: Int, end: Int) -> Int:
        head: Int = self.head_size
        micros: Int
        seconds: Int
        captured: Int
        length: Int
        after: Int
        while pos + head <= end:
            captured = self._u32(pos + 8)
            if captured > self.max_packet:
                self.status = DAMAGE
                self.wrong = (f"a packet of {captured} bytes", bytes(self.buf[pos : pos + head]))
                return pos
            after = pos + head + captured
            if after > end:
                break
            seconds = self._u32(pos)
            micros = self._u32(pos + 4)
            if self.units_down > 1:
                micros //= self.units_down
            length = self._u32(pos + 12)
            self.read += 1
            self._frame(
                self.read,
                seconds * 1_000_000 + micros,
                self.link,
                pos + head,
                after,
                self._bounded(length, captured),
                False,
            )
            pos = after
        return pos

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _blocks(self, pos: Int, end: Int) -> Int:
        kind: Int
        size: Int
        while pos + 8 <= end:
            kind = self._u32(pos)
            size = self._u32(pos + 4)
            if kind != 6 and kind != 2 and kind != 3:
                self.status = BLOCK
                return pos
            if size < 12 or size & 3 or size > self.max_packet + 65536:
                self.status = DAMAGE
                what = "a block" if size < 12 or size & 3 else "a packet or interface block"
                self.wrong = (f"{what} of {size} bytes", bytes(self.buf[pos : pos + 8]))
                return pos
            if pos + size > end:
                break
            if self._u32(pos + size - 4) != size:
                self.status = DAMAGE
                again = self._u32(pos + size - 4)
                self.wrong = (f"a block of {size} bytes that ends as one of {again}", b"")
                return pos
            self.read += 1
            self._packet_block(kind, pos + 8, pos + size - 4)
            pos += size
        return pos

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _packet_block(self, kind: Int, at: Int, end: Int) -> cython.int:
        """
        One packet of an enhanced (section 4.3), simple (4.4) or obsolete (A.1) packet block.

        A block whose inside contradicts itself costs that packet only: the next block is found all the same.
        """
        number: Int = 0
        high: Int = -1
        low: Int = 0
        captured: Int
        length: Int
        data: Int = at + (4 if kind == 3 else 20)
        time: Int = -1
        link: cython.int
        i: Int
        if data > end:
            return self._fault(at, end, -1, 0)
        if kind == 3:
            length = self._u32(at)
            captured = length
        else:
            number = self._u32(at) if kind == 6 else self._u16n(at)
            high = self._u32(at + 4)
            low = self._u32(at + 8)
            captured = self._u32(at + 12)
            length = self._u32(at + 16)
        if number >= len(self.exact):
            return self._fault(at, end, number, -1)
        i = 4 * number
        link = self.described[i]
        if kind == 3 and 0 < self.described[i + 1] < captured:
            captured = self.described[i + 1]
        if captured > end - data or captured > self.max_packet:
            return self._fault(at, end, number, captured)
        if high >= 0:
            if self.described[i + 2] > 0 and high < HALF32:
                time = (high << 32 | low) // self.described[i + 2]
                if time > self.forever:
                    time = -1
            else:
                units, offset = self.exact[number]
                exact = (int(high) << 32 | int(low)) * 1_000_000 // units + offset * 1_000_000
                time = exact if 0 <= exact <= FOREVER else -1
        if self.several:
            self.place = number + 1
        self.copies_possible = self.several or link in (SLL, SLL2)
        self._frame(
            self.read, time, link, data, data + captured, self._bounded(length, captured), self.described[i + 3] != 0
        )
        self.place = 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _bounded(self, length: Int, captured: Int) -> Int:
        """The original length, as far as it can be believed: at least what is there, at most what a packet can have."""
        if length > self.max_packet:
            length = self.max_packet
        return length if length > captured else captured

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _fault(self, at: Int, end: Int, number: Int, captured: Int) -> cython.int:
        """A packet block contradicts itself: it is too short, its interface is not described, or holds fewer bytes."""
        detail = None
        if self.unkept[BAD_RECORD] == 0:
            if number < 0:
                detail = f"a packet block of {end - at} bytes"
            elif captured < 0:
                detail = f"interface {number} is not described"
            else:
                detail = f"{captured} bytes captured in a block of {end - at}"
        return self._rejected(BAD_RECORD, detail, at, end)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _rejected(self, reason: cython.int, detail: object, at: Int, end: Int) -> cython.int:
        """Reject the packet being read; where nothing of it would be kept, nothing is made for it."""
        if self.unkept[reason] != 0:
            self.more[reason] += 1
        elif not self.reject(self.read, _REJECTS[reason], detail, bytes(self.buf[at:end])):
            self.unkept[reason] = 1

    # ------------------------------------------------------------------------------------------------ bytes

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _u8(self, p: Int) -> Int:
        return self.buf[p]

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _u16(self, p: Int) -> Int:
        high: Int = self.buf[p]
        return high << 8 | self.buf[p + 1]

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _u16n(self, p: Int) -> Int:
        """Two bytes in the byte order of the file."""
        first: Int = self.buf[p]
        second: Int = self.buf[p + 1]
        return first << 8 | second if self.big else second << 8 | first

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _n32(self, p: Int) -> Int:
        """Four bytes in network byte order."""
        a: Int = self.buf[p]
        b: Int = self.buf[p + 1]
        c: Int = self.buf[p + 2]
        return a << 24 | b << 16 | c << 8 | self.buf[p + 3]

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _u32(self, p: Int) -> Int:
        """Four bytes in the byte order of the file."""
        a: Int = self.buf[p]
        b: Int = self.buf[p + 1]
        c: Int = self.buf[p + 2]
        d: Int = self.buf[p + 3]
        return a << 24 | b << 16 | c << 8 | d if self.big else d << 24 | c << 16 | b << 8 | a

    @cython.cfunc
    @cython.inline
    @cython.exceptval(9, check=True)
    def _n64(self, p: Int) -> Word:
        high: Word = self._n32(p)
        low: Word = self._n32(p + 4)
        return high << 32 | low

    # ------------------------------------------------------------------------------------------------ decoding
    #
    # Positions: a layer begins at `p`; its captured bytes end at `e`, and `far` is where they would end uncut.

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _frame(
        self, record: Int, time: Int, link: cython.int, p: Int, e: Int, length: Int, loopback: cython.bint
    ) -> cython.int:
        """Decode one captured packet and count it, or say what became of it."""
        found: cython.int
        place: Word = self.place
        self.chained = 0
        self.via = 0
        self.loopback = loopback
        self.protocol = -1
        self.tunnel = False
        self.marked = link in (ETHERNET, SLL, SLL2)
        if self.copies_possible:
            # Where it was seen: packet type and device type, and in the newer header the interface. The address of who
            # put it on the link is for the sender to choose.
            if link == SLL and e - p >= 16:
                self.place ^= self._n32(p)
            elif link == SLL2 and e - p >= 20:
                self.place ^= self._n64(p + 4)
        found = SLOW if self.all_slow else self._link(link, p, e, p + length)
        if found != DECODED and found != SLOW and self.protocol >= 0 and found != SKIP_ARP:
            # A tunnel whose inside is no readable IP is counted as its own outside, so that no packet is overlooked.
            self.tunnel = True
            found = DECODED
        if found == DECODED:
            self._count(record, time)
        elif found == SLOW:
            self.slow(record, None if time < 0 else time, link, bytes(self.buf[p:e]), length, bool(loopback))
        elif found == SKIP_ARP:
            self.arps += 1
        elif found == SKIP_NOT_IP:
            self.not_ip += 1
        else:
            self._rejected(self.failed, self.failure, p, min(e, p + 512))
        self.place = place

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _short(self, p: Int, e: Int, far: Int, header: object) -> cython.int:
        """*header* is not whole: the capture cut it, or the packet itself ends too early."""
        self.failed = CUT_PACKET if max(e - p, 0) < max(far - p, 0) else BAD_PACKET
        if self.unkept[self.failed] == 0:
            self.failure = f"{'cut' if self.failed == CUT_PACKET else 'ends'} inside the {header}"
        return REJECT

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _malformed(self, detail: object) -> cython.int:
        self.failed = BAD_PACKET
        self.failure = detail
        return REJECT

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _link(self, link: cython.int, p: Int, e: Int, far: Int) -> cython.int:
        kind: Int
        if link == ETHERNET:
            return self._ethernet(p, e, far)
        if link == SLL:
            if e - p < 16:
                return self._short(p, e, far, "SLL header")
            self.loopback |= self._u16(p + 2) == ARPHRD_LOOPBACK
            return self._ethertype(self._u16(p + 14), p + 16, e, far)
        if link == SLL2:
            if e - p < 20:
                return self._short(p, e, far, "SLL2 header")
            self.loopback |= self._u16(p + 8) == ARPHRD_LOOPBACK
            return self._ethertype(self._u16(p), p + 20, e, far)
        if link in (NULL, LOOP):
            # An address family in the byte order of the machine that captured: AF_INET, then AF_INET6 of Linux, NetBSD
            # and OpenBSD, FreeBSD, macOS (description of LINKTYPE_NULL).
            if e - p < 4:
                return self._short(p, e, far, "loopback header")
            kind = self._n32(p)
            if kind & 0xFFFFFF == 0:
                kind = kind >> 24
            if kind == 2 or kind == 10 or kind == 24 or kind == 28 or kind == 30:
                return self._ip(p + 4, e, far)
            return SKIP_NOT_IP
        if link == PPP:
            if e - p >= 4 and self._u16(p) == 0xFF03:
                p += 2
            if e - p >= 2 and (self._u16(p) == 0x0021 or self._u16(p) == 0x0057):
                return self._ip(p + 2, e, far)
            return SLOW
        if link == NFLOG:
            return self._nflog(p, e, far)
        if link == 101 or link == 228 or link == 229 or link == 12 or link == 14:
            # RAW, IPV4, IPV6; 12 and 14 are DLT_RAW of older writers.
            return self._ip(p, e, far)
        return SLOW

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _nflog(self, p: Int, e: Int, far: Int) -> cython.int:
        """Linux NFLOG: family, version, resource id, then attributes in the capturing machine's byte order."""
        big: cython.bint = self.big
        at: Int
        size: Int
        kind: Int
        order: cython.int
        try:
            for order in range(2):
                self.big = order == 1
                at = p + 4
                while at + 4 <= e:
                    size = self._u16n(at)
                    kind = self._u16n(at + 2)
                    if size < 4:
                        break
                    if kind == NFLOG_PAYLOAD:
                        return self._ip(at + 4, min(e, at + size), at + size)
                    at += (size + 3) & ~3
        finally:
            self.big = big
        return self._short(p, e, far, "NFLOG attributes")

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _ethernet(self, p: Int, e: Int, far: Int) -> cython.int:
        if e - p < 14:
            return self._short(p, e, far, "Ethernet header")
        if self.chained == 0 and self._n64(p) == 0 and self._n32(p + 8) == 0:
            # Linux' loopback device has no addresses.
            self.loopback = True
        return self._ethertype(self._u16(p + 12), p + 14, e, far)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _ethertype(self, kind: Int, p: Int, e: Int, far: Int) -> cython.int:
        """What *kind* says follows: IP, tags before it, or something else."""
        left: cython.int = HEADERS - 1  # the link header before them is one
        while kind == 0x8100 or kind == 0x88A8 or kind == 0x9100:
            if e - p < 4:
                return self._short(p, e, far, "VLAN tag")
            kind = self._u16(p + 2)
            p += 4
            left -= 1
            if left == 0:
                return self._malformed(f"more than {HEADERS} link headers")
        if kind == 0x0800 or kind == 0x86DD:
            return self._ip(p, e, far)
        if kind == 0x0806:
            return SKIP_ARP
        if kind == 0x8847 or kind == 0x8848:
            return self._mpls(p, e, far)
        if kind == 0x8863 or kind == 0x8864 or kind == 0x6558 or kind == 0x8909:
            return SLOW
        if kind < 0x0600:
            # A length: LLC follows. Only SNAP carries IP.
            if e - p < 3 or self._u16(p) == 0xAAAA or kind < 5:
                return SLOW
            return SKIP_NOT_IP
        return SKIP_NOT_IP

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _mpls(self, p: Int, e: Int, far: Int) -> cython.int:
        labels: cython.int
        kind: Int
        for labels in range(HEADERS - 2):  # noqa: B007
            if e - p < 5:
                return SLOW
            p += 4
            if self._u8(p - 2) & 1:
                kind = self._u8(p) >> 4
                return self._ip(p, e, far) if kind == 4 or kind == 6 else SLOW
        return SLOW

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _ip(self, p: Int, e: Int, far: Int) -> cython.int:
        version: Int
        if p >= e:
            return self._short(p, e, far, "IP header")
        version = self._u8(p) >> 4
        if version == 4:
            return self._ipv4(p, e, far)
        if version == 6:
            return self._ipv6(p, e, far)
        return self._malformed(f"IP version {version}")

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _ipv4(self, p: Int, e: Int, far: Int) -> cython.int:
        header: Int
        length: Int
        sender: Word
        receiver: Word
        if e - p < 20:
            return self._short(p, e, far, "IPv4 header")
        header = (self._u8(p) & 15) * 4
        length = self._u16(p + 2)
        if length == 0:
            # A segment larger than 64 KiB before the card cuts it (BIG TCP, segmentation offload).
            length = far - p
        if header < 20 or length < header:
            return self._malformed(f"IPv4 header of {header} bytes in {length}")
        if e - p < header:
            return self._short(p, e, far, "IPv4 header")
        if self._u16(p + 6) & 0x3FFF:
            return SLOW
        sender = self._n32(p + 12)
        receiver = self._n32(p + 16)
        return self._upper(
            4, self._u8(p + 9), p + header, min(e, p + length), p + length, length, 0, MAPPED | sender, 0,
            MAPPED | receiver, self._u16(p + 4),
        )  # fmt: skip

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _ipv6(self, p: Int, e: Int, far: Int) -> cython.int:
        length: Int
        protocol: Int
        at: Int = p + 40
        left: cython.int = EXTENSIONS
        if e - p < 40:
            return self._short(p, e, far, "IPv6 header")
        length = self._u16(p + 4)
        protocol = self._u8(p + 6)
        # Zero: a jumbogram (RFC 2675) or, on a host's own capture, BIG TCP. 59 is "no next header".
        length = 40 + length if length or protocol == 59 else far - p
        far = p + length
        if e > far:
            e = far
        # Extension headers of the common form (RFC 8200 section 4, RFC 6275, 7401, 5533); AH and fragments differ.
        while (
            protocol == 0 or protocol == 43 or protocol == 60 or protocol == 44 or protocol == 135 or protocol == 139
            or protocol == 140 or protocol == AH
        ):  # fmt: skip
            if protocol == AH:
                # Others may follow it, so it is one of the chain.
                if not self._signed(at, e, far):
                    return REJECT
                protocol = self._u8(at)
                at += (self._u8(at + 1) + 2) * 4
            elif e - at < 8:
                return self._short(at, e, far, "IPv6 extension header")
            elif protocol == 44:
                # Offset 0 and nothing to follow is an atomic fragment: a whole datagram (RFC 6946).
                if self._u16(at + 2) & 0xFFF9:
                    return SLOW
                protocol = self._u8(at)
                at += 8
            else:
                protocol = self._u8(at)
                at += (self._u8(at + 1) + 1) * 8
            left -= 1
            if left == 0:
                return self._malformed(f"more than {EXTENSIONS} IPv6 headers")
        return self._upper(
            6, protocol, at, e, far, length, self._n64(p + 8), self._n64(p + 16), self._n64(p + 24),
            self._n64(p + 32), 0,
        )  # fmt: skip

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _signed(self, p: Int, e: Int, far: Int) -> cython.bint:
        """Whether an authentication header (RFC 4302) is whole: it hides nothing; a second one is nobody's traffic."""
        if e - p < 12:
            self._short(p, e, far, "authentication header")
            return False
        if self._u8(p) == AH:
            self._malformed("authentication header in an authentication header")
            return False
        return True

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _upper(
        self,
        version: cython.int,
        protocol: Int,
        p: Int,
        e: Int,
        far: Int,
        length: Int,
        s_high: Word,
        s_low: Word,
        d_high: Word,
        d_low: Word,
        ident: Int,
    ) -> cython.int:
        """
        What IP carries: a transport header, another packet, or something that is only counted.

        The packet is noted once its own headers are whole; then a tunnel is entered. So whatever goes wrong inside,
        what is noted is the innermost packet that could be read.
        """
        sport: Int = 0
        dport: Int = 0
        seq: Int = 0
        ack: Int = 0
        flags: Int = 0
        header: Int
        payload: Int = e
        pay_length: Int = 0
        opener: cython.int = 0
        blind: cython.bint = False
        if protocol == AH:
            if not self._signed(p, e, far):
                return REJECT
            protocol = self._u8(p)
            p += (self._u8(p + 1) + 2) * 4
        if protocol == TCP:
            if e - p < 14:
                # Snapped inside the header: the ports still say whose packet it is, and no more is known.
                if e - p < 4 or far - p < 20:
                    return self._short(p, e, far, "TCP header")
                sport = self._u16(p)
                dport = self._u16(p + 2)
                blind = True
            else:
                sport = self._u16(p)
                dport = self._u16(p + 2)
                seq = self._n32(p + 4)
                ack = self._n32(p + 8)
                header = (self._u8(p + 12) >> 4) * 4
                flags = self._u8(p + 13)
                if header < 20 or header > far - p:
                    return self._malformed(f"TCP header of {header} bytes in {max(far - p, 0)}")
                payload = min(e, p + header)
                pay_length = far - p - header
                if flags & (SYN | ACK | RST) == SYN:
                    opener = 1
                elif flags & (SYN | ACK | RST) == SYN | ACK:
                    opener = -1
        elif protocol == UDP:
            if e - p < 8:
                if e - p < 4 or far - p < 8:
                    return self._short(p, e, far, "UDP header")
                blind = True
                sport = self._u16(p)
                dport = self._u16(p + 2)
            else:
                sport = self._u16(p)
                dport = self._u16(p + 2)
                header = self._u16(p + 4)
                if 0 < header < 8:
                    return self._malformed(f"UDP length {header}")
                # Zero as in IP above.
                if header == 0 or header > far - p:
                    header = far - p
                far = p + header
                if e > far:
                    e = far
                payload = min(e, p + 8)
                pay_length = far - p - 8
        elif protocol == SCTP:
            if e - p < 4:
                return self._short(p, e, far, "SCTP header")
            sport = self._u16(p)
            dport = self._u16(p + 2)
            ack = self._n32(p + 8) if e - p >= 16 else 0
            seq = self._n32(p + 12) if e - p >= 16 else 0
        elif protocol in (ICMP, ICMPV6):
            if e <= p:
                return self._short(p, e, far, "ICMP header")
            # Echo request and reply (RFC 792, RFC 4443): who opened, +1 the sender, -1 the receiver.
            header = self._u8(p)
            if header == (8 if protocol == ICMP else 128):
                opener = 1
            elif header == (0 if protocol == ICMP else 129):
                opener = -1
            seq = self._n32(p) if e - p >= 8 else header
            ack = self._n32(p + 4) if e - p >= 8 else 0
        self.s_high = s_high
        self.s_low = s_low
        self.d_high = d_high
        self.d_low = d_low
        self.protocol = protocol
        self.sport = sport
        self.dport = dport
        self.length = length
        self.pay_at = payload
        self.pay_end = e
        self.pay_length = pay_length
        self.tcp_flags = flags
        self.seq = seq
        self.ack = ack
        self.opener = opener
        self.by_request = protocol != TCP
        self.blind = blind
        self.ident = ident
        self.via = self._via()
        if protocol == TCP or blind:
            return DECODED
        if protocol == UDP:
            if self.vxlan[dport] != 0:
                return self._overlay(payload, e, far)
            return DECODED
        if protocol in (ICMP, ICMPV6, SCTP):
            return DECODED
        return self._tunnelled(version, protocol, p, e, far)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _tunnelled(self, version: cython.int, protocol: Int, p: Int, e: Int, far: Int) -> cython.int:
        kind: Int
        flags: Int
        if protocol == 4 or protocol == 41:
            if protocol == 4:
                kind = IPIP if version == 4 else FOUR_IN_SIX
            else:
                kind = SIX_IN_FOUR if version == 4 else SIX_IN_SIX
            return self._ip(p, e, far) if self._within(kind, 0) else SKIP_NOT_IP
        if protocol == GRE:
            # RFC 2784, 2890. Version 1 (PPTP), source routes and rarer contents are scapy's.
            if e - p < 4:
                return SKIP_NOT_IP
            flags = self._u16(p)
            kind = self._u16(p + 2)
            if flags & 0x4FFF or not (kind == 0x0800 or kind == 0x86DD or kind == 0x6558 or kind == 0x8847):
                return SLOW
            p += 8 if flags & 0x8000 else 4
            if flags & 0x2000:
                if e - p < 4 or not self._within(IN_GRE_KEY, self._n32(p)):
                    return SKIP_NOT_IP
                p += 4
            elif not self._within(IN_GRE, 0):
                return SKIP_NOT_IP
            if flags & 0x1000:
                p += 4
            if kind == 0x6558:
                return self._ethernet(p, e, far)
            return self._mpls(p, e, far) if kind == 0x8847 else self._ip(p, e, far)
        if protocol == MPLS:
            return self._mpls(p, e, far) if self._within(IN_MPLS, 0) else SKIP_NOT_IP
        if protocol == ETHERIP:
            return self._ethernet(p + 2, e, far) if self._within(IN_ETHERIP, 0) else SKIP_NOT_IP
        # Whose inside nobody without the keys (ESP) or the session (L2TPv3) can read.
        return SKIP_NOT_IP if protocol in (ESP, L2TP) else DECODED

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _overlay(self, p: Int, e: Int, far: Int) -> cython.int:
        """VXLAN (RFC 7348) or Geneve (RFC 8926) behind a UDP port that carries it; else plain UDP."""
        first: Int
        kind: Int
        options: Int
        if e <= p:
            return DECODED
        first = self._u8(p)
        if self.vxlan[self.dport] == 1:
            if not first & 0x08:
                return DECODED
            if e - p < 8:
                return SKIP_NOT_IP
            if first & 0x04:
                return SLOW  # the generic protocol extension names what follows
            return self._ethernet(p + 8, e, far) if self._within(IN_VXLAN, self._n32(p + 4) >> 8) else SKIP_NOT_IP
        if first >= 0x40:
            return DECODED
        if e - p < 8:
            return SKIP_NOT_IP
        kind = self._u16(p + 2)
        options = (first & 0x3F) * 4
        if not (kind == 0x6558 or kind == 0x0800 or kind == 0x86DD):
            return SLOW
        if not self._within(IN_GENEVE, self._n32(p + 4) >> 8):
            return SKIP_NOT_IP
        p += 8 + options
        return self._ethernet(p, e, far) if kind == 0x6558 else self._ip(p, e, far)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _within(self, kind: Int, number: Int) -> cython.bint:
        """Enter a tunnel; false where there are too many of them already."""
        tunnel: Word = kind
        inner: Word = number
        if self.chained >= TUNNELS:
            return False
        self.chain[self.chained] = tunnel << 32 | inner
        self.chained += 1
        return True

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _via(self) -> Int:
        """Return the number of the encapsulation that the packet is in."""
        if self.chained == 0:
            return 0
        if self.chained == 1 and self.chain[0] == self.last_chain:
            return self.last_via
        return self._named_via()

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _named_via(self) -> Int:
        names = []
        i: cython.int
        for i in range(self.chained):
            word = self.chain[i]
            kind, number = int(word >> 32), int(word & LOW32)
            names.append(f"{_TUNNEL_NAMES[kind]}:{number}" if kind >= IN_GRE_KEY else _TUNNEL_NAMES[kind])
        found = self._via_number("/".join(names))
        if self.chained == 1:
            self.last_chain = self.chain[0]
            self.last_via = found
        return found

    def _via_number(self, name: str | None) -> int:
        number = self.via_ids.get(name)
        if number is None:
            number = len(self.vias)
            if number >= 0xFFFF and name != "...":
                # Nobody runs so many networks; who forges them shares one row, which says so.
                return self._via_number("...")
            self.vias.append(name)
            self.via_ids[name] = number
        return number

    def via_name(self, number: int) -> str | None:
        """Return the `via` column of a row whose key holds *number*."""
        return self.vias[number]

    def _no_packet(self) -> None:
        self.s_high = self.s_low = self.d_high = self.d_low = 0
        self.protocol = -1
        self.sport = self.dport = self.length = 0
        self.pay_at = self.pay_end = self.pay_length = 0
        self.tcp_flags = self.seq = self.ack = 0
        self.opener = 0
        self.by_request = self.loopback = self.marked = self.tunnel = self.blind = False
        self.ident = self.via = 0

    def add(self, record: int, time: int | None, packet: object) -> None:
        """
        Count a packet that was decoded elsewhere (`vzflow.readers.packet.Packet`).

        Args:
            record: Number of the packet in the capture, from 1.
            time: Microseconds since 1970, null when the capture has none.
            packet: The decoder's; a later fragment carries the key of its datagram's first.
        """
        held = self.buf
        copies = self.copies_possible
        key = packet.key
        self._no_packet()
        sender, receiver = _address(key.ip), _address(key.peer_ip)
        self.s_high, self.s_low = sender >> 64, sender & ONES
        self.d_high, self.d_low = receiver >> 64, receiver & ONES
        self.protocol = _NUMBERS.get(key.protocol, -1)
        if self.protocol < 0:
            self.protocol = int(key.protocol)
        self.sport, self.dport = key.port, key.peer_port
        self.length = packet.length
        self.buf = packet.payload
        self.pay_at, self.pay_end, self.pay_length = 0, len(packet.payload), packet.payload_length
        if packet.part:
            self.pay_end = 0  # counted, and not kept: it is not the beginning of anything
        self.ident = packet.ident
        self.seq, self.ack = packet.mark
        if packet.tcp is not None:
            self.tcp_flags, self.seq, self.ack = packet.tcp.flags, packet.tcp.seq, packet.tcp.ack
        self.opener = packet.opener
        self.by_request = self.protocol != TCP
        self.loopback, self.marked, self.tunnel = packet.loopback, packet.marked, packet.tunnel
        self.blind = packet.blind
        self.via = self._via_number(key.via)
        # Of a fragment that had to wait, nobody knows any more where it was seen.
        self.copies_possible = copies and record == self.read
        # Only a packet with a TCP header has its flags: a later fragment of one, or a blind one, has none.
        self._counted(record, -1 if time is None else time, packet.tcp is not None, not packet.part)
        self.copies_possible = copies
        self.buf = held

    # ------------------------------------------------------------------------------------------------ the flow table

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _count(self, record: Int, time: Int) -> cython.int:
        self._counted(record, time, self.protocol == TCP and not self.blind, True)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _counted(self, record: Int, time: Int, has_tcp: cython.bint, keep: cython.bint) -> cython.int:
        """Count the packet to its flow: *has_tcp* when its TCP header was read, *keep* when its payload may be kept."""
        k0: Word
        k1: Word
        k2: Word
        k3: Word
        k4: Word
        number: Word
        hash_: Word = 0
        side: cython.int
        slot: Int
        copied: Int = -1
        f: Int
        flags: Int
        own: cython.bint
        fresh: cython.bint = False
        sport: Word = self.sport
        dport: Word = self.dport
        self.in_flows += 1
        if time > self.now:
            self.now = time
        number = self.protocol
        number = number << 16 | self.via
        if self.s_high > self.d_high or (
            self.s_high == self.d_high and (self.s_low > self.d_low or (self.s_low == self.d_low and sport > dport))
        ):
            k0, k1, k2, k3 = self.d_high, self.d_low, self.s_high, self.s_low
            k4 = dport << 48 | sport << 32 | number
            side = 1
        else:
            k0, k1, k2, k3 = self.s_high, self.s_low, self.d_high, self.d_low
            k4 = sport << 48 | dport << 32 | number
            side = 0
        if self.copies_possible and time >= 0:
            copied = self._copy_of(time, k4 >> 32 << 32 | number >> 16, side)
        slot = self.recent
        if slot < 0 or not self._is_at(slot, k0, k1, k2, k3, k4):  # often it is the flow of the packet before
            hash_ = self._hash(k0, k1, k2, k3, k4)
            slot = self._find(k0, k1, k2, k3, k4, hash_)
        # A packet from an address to itself, or with a loopback address, never left its host.
        own = (self.s_low == self.d_low and self.s_high == self.d_high) or self._is_loopback(k0, k1)
        own = own or self._is_loopback(k2, k3)
        if copied >= 0 and self.flows[copied * FLOW_WORDS + FLAGS] & LIVE:
            f = copied * FLOW_WORDS
            self.flows[f + DUPLICATES] += 1
            self.flows[f + FLAGS] |= LOOPBACK if own or self.loopback else WIRE
            # Two networks stay apart whatever they carry; a tunnel and what goes in and out of it are one.
            if slot < 0 and (self.via == 0) != (self.keys[copied * KEY_WORDS + PORTS] & 0xFFFF == 0):
                self._alias(k0, k1, k2, k3, k4, hash_, copied)
            if self.traced:
                self._trace(copied, record)
            return 0
        if slot >= 0 and self.flows[slot * FLOW_WORDS + FLAGS] & ALIAS:
            slot = self.flows[slot * FLOW_WORDS + FACTS]
        if slot >= 0:
            f = slot * FLOW_WORDS
            flags = self.flows[f + FLAGS]
            if flags & LIVE == 0:
                self._renew(slot, record, side, True)
            elif has_tcp and self._reopens(f, side, time):
                self._emit(slot)
                self._renew(slot, record, side, False)
            elif time >= 0 and self.flows[f + LAST] >= 0 and time - self.flows[f + LAST] > self.idle:
                self._emit(slot)
                self._renew(slot, record, side, True)
        else:
            if self.used + 2 > self.room:
                self._make_room()
                slot = self._find(k0, k1, k2, k3, k4, hash_)  # finds the place for it again
            slot = self._insert(k0, k1, k2, k3, k4, hash_)
            self.flows[slot * FLOW_WORDS + FLAGS] = 0
            self._renew(slot, record, side, False)
        if self.copies_possible and time >= 0:
            number = slot + 1
            self.seen[self.probe + C_SLOT] = self.generation << 32 | number
        self.recent = slot
        f = slot * FLOW_WORDS
        self.flows[f + TOUCHED] = self.now
        if record < self.flows[f + RECORD]:
            self.flows[f + RECORD] = record
        if time >= 0:
            if self.flows[f + FIRST] < 0 or time < self.flows[f + FIRST]:
                self.flows[f + FIRST] = time
            if time > self.flows[f + LAST]:
                self.flows[f + LAST] = time
        flags = self.flows[f + FLAGS]
        if own and not self.marked and self.unmarked_loopback == 0:
            self.unmarked_loopback = record
        if own or self.loopback:
            flags |= LOOPBACK
        else:
            flags |= WIRE if self.marked else WIRE | UNMARKED
        if self.tunnel:
            flags |= TUNNEL
        if self.blind:
            flags |= BLIND
        self.flows[f + PACKETS + side] += 1
        self.flows[f + BYTES + side] += self.length
        self.flows[f + PAYLOAD + side] += self.pay_length
        # A SYN says more than an answer to one that was not seen, and a packet of this row more than the row before.
        if self.opener != 0 and (
            flags & OPENER_KNOWN == 0
            or (has_tcp and (flags & OPENED == 0 or (self.opener > 0 and flags & SYN_SEEN == 0)))
            or (not has_tcp and flags & INHERITED != 0)
        ):
            flags &= ~(OPENER_SIDE | 3 << BASIS_SHIFT | INHERITED)
            flags |= OPENER_KNOWN
            if self.by_request:
                flags |= 1 << BASIS_SHIFT
            if (self.opener > 0) == (side == 1):
                flags |= OPENER_SIDE
        if has_tcp and self.opener > 0:
            flags |= SYN_SEEN
        self.flows[f + FLAGS] = flags
        if self.traced:
            self._trace(slot, record)
        if has_tcp:
            fresh = (
                flags & OVER != 0
                and self.pay_length > 0
                and (0 < (self.seq + self.pay_length - self.flows[f + END + side]) & LOW32 < HALF32)
            )
            self._note_tcp(f, side)
            if fresh and self.flows[f + FACTS] != 0:
                self._unsettle(f)
        if keep and self.pay_length > 0 and self.flows[f + FACTS] == 0:
            self._keep_payload(slot, f, side, has_tcp)
            if has_tcp and self._both_full(f):
                self._settle(slot)
            elif self.flows[f + FLAGS] & TRIED == 0 and self.flows[f + STREAMS] >> 31 != 0:
                if has_tcp:
                    self._settle_early(slot, f)
                elif (
                    self.flows[f + STREAMS] & TOP31
                    and not self._asks_again(self._stream_of(f, 0))
                    and not self._asks_again(self._stream_of(f, 1))
                ):
                    self._settle(slot)  # the first datagram of each side is all that is looked at
        if (
            self.tcp_flags & (FIN | RST) and has_tcp and self.flows[f + STREAMS] != 0 and self.flows[f + FACTS] == 0
            and self._closed(f)
        ):  # fmt: skip
            self._settle(slot)
        if self.own_bytes - self.row_bytes > self.own_max // 2:
            self._let_go()

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _let_go(self) -> cython.int:
        """Put out the flows whose names no others share: payload may spell long ones, and other ones for each flow."""
        slot: Int
        for slot in range(self.used):
            if self.flows[slot * FLOW_WORDS + FLAGS] & LIVE and self.flows[slot * FLOW_WORDS + FACTS] < 0:
                self._emit(slot)

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=False)
    def _is_loopback(self, high: Word, low: Word) -> cython.bint:
        return high == 0 and (low == 1 or low >> 24 == 0xFFFF7F)

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=False)
    def _is_at(self, slot: Int, k0: Word, k1: Word, k2: Word, k3: Word, k4: Word) -> cython.bint:
        """Whether the flow of a slot has this key."""
        k: Int = slot * KEY_WORDS
        return (
            self.keys[k + PORTS] == k4 and self.keys[k + A_LOW] == k1 and self.keys[k + B_LOW] == k3
            and self.keys[k] == k0 and self.keys[k + B_HIGH] == k2
        )  # fmt: skip

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _find(self, k0: Word, k1: Word, k2: Word, k3: Word, k4: Word, hash_: Word) -> Int:
        """Return the slot of a key, or -1; where it would be put is the first free place after its hash."""
        place: Word = hash_ & self.mask
        tag: Word = hash_ >> 32
        entry: Word
        slot: Int
        while True:
            entry = self.table[place]
            if entry == 0:
                return -1
            if entry >> 32 == tag:
                slot = (entry & LOW32) - 1
                if self._is_at(slot, k0, k1, k2, k3, k4):
                    return slot
            place = (place + 1) & self.mask

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _insert(self, k0: Word, k1: Word, k2: Word, k3: Word, k4: Word, hash_: Word) -> Int:
        slot: Int = self.used
        k: Int = slot * KEY_WORDS
        self.keys[k] = k0
        self.keys[k + A_LOW] = k1
        self.keys[k + B_HIGH] = k2
        self.keys[k + B_LOW] = k3
        self.keys[k + PORTS] = k4
        self.keys[k + HASH] = hash_
        self.used += 1
        self._enter(slot, hash_)
        return slot

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _enter(self, slot: Int, hash_: Word) -> cython.int:
        place: Word = hash_ & self.mask
        number: Word = slot + 1
        while self.table[place] != 0:
            place = (place + 1) & self.mask
        self.table[place] = hash_ >> 32 << 32 | number

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _alias(self, k0: Word, k1: Word, k2: Word, k3: Word, k4: Word, hash_: Word, target: Int) -> cython.int:
        """From now on, packets under this key are packets of the flow *target*, seen on another leg of their way."""
        slot: Int
        if self.used + 2 > self.room:
            return 0
        slot = self._insert(k0, k1, k2, k3, k4, hash_)
        self._clear(slot, 0, 0)
        self.flows[slot * FLOW_WORDS + FLAGS] = ALIAS
        self.flows[slot * FLOW_WORDS + FACTS] = target

    @cython.cfunc
    @cython.exceptval(9, check=True)
    def _hash(self, k0: Word, k1: Word, k2: Word, k3: Word, k4: Word) -> Word:
        """
        SipHash-1-3 of the key words, two of them where both ends are IPv4.

        The secret key keeps whoever writes packets from choosing flows that collide.
        """
        v0: Word = self.key0 ^ SIP0
        v1: Word = self.key1 ^ SIP1
        v2: Word = self.key0 ^ SIP2
        v3: Word = self.key1 ^ SIP3
        w: Word = 0
        i: cython.int
        begin: cython.int = 0
        if k0 == 0 and k2 == 0 and k1 >> 32 == 0xFFFF and k3 >> 32 == 0xFFFF:
            begin = 3
            k3 = ((k1 << 32) & ONES) | (k3 & LOW32)
        for i in range(begin, 9):
            if i == 0:
                w = k0
            elif i == 1:
                w = k1
            elif i == 2:
                w = k2
            elif i == 3:
                w = k3
            elif i == 4:
                w = k4
            elif i == 5:
                w = 5 - begin
                w = w << 59  # the length in bytes, in the last byte of the last word
            else:
                w = 0
                if i == 6:
                    v2 ^= 0xFF
            v3 ^= w
            v0 = (v0 + v1) & ONES
            v1 = ((v1 << 13) & ONES | v1 >> 51) ^ v0
            v0 = (v0 << 32) & ONES | v0 >> 32
            v2 = (v2 + v3) & ONES
            v3 = ((v3 << 16) & ONES | v3 >> 48) ^ v2
            v0 = (v0 + v3) & ONES
            v3 = ((v3 << 21) & ONES | v3 >> 43) ^ v0
            v2 = (v2 + v1) & ONES
            v1 = ((v1 << 17) & ONES | v1 >> 47) ^ v2
            v2 = (v2 << 32) & ONES | v2 >> 32
            v0 ^= w
        return v0 ^ v1 ^ v2 ^ v3

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _clear(self, slot: Int, record: Int, flags: Int) -> cython.int:
        f: Int = slot * FLOW_WORDS
        i: cython.int
        for i in range(FLOW_WORDS):
            self.flows[f + i] = 0
        self.flows[f + FIRST] = -1
        self.flows[f + LAST] = -1
        self.flows[f + ISN] = -1
        self.flows[f + ISN + 1] = -1
        self.flows[f + END] = -1
        self.flows[f + END + 1] = -1
        self.flows[f + RECORD] = record
        self.flows[f + FLAGS] = flags

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _renew(self, slot: Int, record: Int, side: cython.int, goes_on: cython.bint) -> cython.int:
        """Begin a row; a flow that *goes_on* after a gap keeps its initiator, and how that was known."""
        before: Int = self.flows[slot * FLOW_WORDS + FLAGS]
        flags: Int = LIVE
        if goes_on:
            flags |= before & (OPENER_SIDE | 3 << BASIS_SHIFT) | OPENER_KNOWN | INHERITED
        if side == 1:
            flags |= SECOND_FIRST
        self._clear(slot, record, flags)

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=False)
    def _closed(self, f: Int) -> cython.bint:
        flags: Int = self.flows[f + FLAGS]
        both: Int = (FINNED << SIDE_SHIFT) | (FINNED << (SIDE_SHIFT + 8))
        return flags & RESET != 0 or flags & both == both

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _reopens(self, f: Int, side: cython.int, time: Int) -> cython.bint:
        """
        Whether a SYN or SYN-ACK begins another connection on the flow's 5-tuple.

        A SYN later than the end opens another one, whatever number it begins with: the sender chooses that. Else the
        same number is a retransmission, or a packet of a shuffled capture. Another number opens another connection if
        the old one is closed, or had carried payload already, so that its end was missed.
        """
        closed: cython.bint
        if self.opener == 0:
            return False
        closed = self._closed(f)
        if closed and self.opener > 0 and time >= 0 and self.flows[f + LAST] >= 0 and time > self.flows[f + LAST]:
            return True
        if self.seq == self.flows[f + ISN + side]:
            return False
        if closed:
            return True
        return (
            self.opener > 0 and self.flows[f + ISN + side] >= 0
            and (self.flows[f + PAYLOAD] > 0 or self.flows[f + PAYLOAD + 1] > 0)
        )  # fmt: skip

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _note_tcp(self, f: Int, side: cython.int) -> cython.int:
        peer: cython.int = 1 - side
        tcp: Int = self.tcp_flags
        flags: Int = self.flows[f + FLAGS]
        own: Int = flags >> (SIDE_SHIFT + 8 * side) & 0xFF
        other: Int = flags >> (SIDE_SHIFT + 8 * peer) & 0xFF
        begins: Int = 1 if tcp & SYN else 0
        end: Int
        silent: cython.bint
        if begins and not tcp & RST:
            flags |= OPENED
            self.flows[f + ISN + side] = self.seq
            self._open_stream(f, side)
        if not tcp & RST:
            end = (self.seq + begins + self.pay_length) & LOW32
            if self.flows[f + END + side] < 0 or begins or (end - self.flows[f + END + side]) & LOW32 < HALF32:
                self.flows[f + END + side] = end
            if tcp & ACK and not begins:
                own |= ACKED
        if tcp & FIN:
            # Who hangs up first on a connection where nobody said anything turns the other away.
            silent = self.flows[f + PAYLOAD] == 0 and self.flows[f + PAYLOAD + 1] == 0
            if silent and not own & FINNED and not other & FINNED:
                own |= REFUSED
            own |= FINNED
        if tcp & ACK and self.flows[f + ISN + peer] >= 0:
            end = (self.ack - self.flows[f + ISN + peer] - 1) & LOW32
            if self.flows[f + TAKEN + peer] < end < HALF32:
                self.flows[f + TAKEN + peer] = end
        if tcp & RST and self._believable(f, side):
            if not own & RESETTED:
                # Closing a connection that its own initiator left without a word is no refusal.
                left = other & RESETTED != 0 or (other & FINNED != 0 and self.flows[f + PAYLOAD + peer] == 0)
                if self.flows[f + PAYLOAD + side] == 0 and not left:
                    own |= REFUSED
            own |= RESETTED
            if not (own & FINNED and other & FINNED):
                flags |= RESET
        flags &= ~(cython.cast(Int, 0xFF) << (SIDE_SHIFT + 8 * side))
        self.flows[f + FLAGS] = flags | own << (SIDE_SHIFT + 8 * side)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _believable(self, f: Int, side: cython.int) -> cython.bint:
        """Whether a reset has a number that its receiver may heed, one in the window (RFC 5961 section 3)."""
        end: Int = self.flows[f + END + side]
        return end < 0 or (self.seq - end) & LOW32 <= MAX_WINDOW

    # ------------------------------------------------------------------------------------------------ rows

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _opener_of(self, slot: Int) -> Int:
        """Return the flags OPENER_SIDE and basis of a flow, guessed from its ports where no packet proved them."""
        flags: Int = self.flows[slot * FLOW_WORDS + FLAGS]
        ports: Word = self.keys[slot * KEY_WORDS + PORTS]
        protocol: Word = ports >> 16 & 0xFF
        first: cython.int = 1 if flags & SECOND_FIRST else 0
        one: Int = ports >> 48
        two: Int = ports >> 32 & 0xFFFF
        serves: cython.bint
        if flags & OPENER_KNOWN:
            return flags & (OPENER_SIDE | 3 << BASIS_SHIFT)
        if protocol in (TCP, UDP, SCTP):
            serves = self._serves(one, two)
            if serves != self._serves(two, one):
                return (OPENER_SIDE if serves else 0) | 2 << BASIS_SHIFT
        return (OPENER_SIDE if first else 0) | 3 << BASIS_SHIFT

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _serves(self, port: Int, other: Int) -> cython.bint:
        """Whether *port*, seen from *other*, is a service's: a known one, or a privileged against an ephemeral one."""
        return self.services[port] != 0 or (port < 1024 and other >= EPHEMERAL)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _emit(self, slot: Int) -> cython.int:
        """Put the flow's row where `flush` takes it from; its initiator stays remembered."""
        f: Int = slot * FLOW_WORDS
        k: Int = slot * KEY_WORDS
        o: Int
        i: cython.int
        flags: Int
        opener: Int
        tunnel: cython.bint
        if self.flows[f + FACTS] == 0:
            self._conclude(slot)
        if self.rows >= OUT_ROWS or self.row_bytes > self.own_max // 2:
            self.flush()
        if self.flows[f + FACTS] < 0:
            self.row_bytes += _names(self._facts(self.flows[f + FACTS])) + OWN_FACTS
        opener = self._opener_of(slot)
        flags = self.flows[f + FLAGS] & ~(OPENER_SIDE | 3 << BASIS_SHIFT) | opener | OPENER_KNOWN
        self.flows[f + FLAGS] = flags
        if self.traced:
            self._trace(slot, 0)
        self.flows[f + FLAGS] = flags & ~LIVE
        tunnel = flags & TUNNEL != 0
        if not tunnel and self.keys[k + PORTS] >> 16 & 0xFF == UDP:
            tunnel = self._facts(self.flows[f + FACTS]).app_protocol == WIREGUARD
        o = self.rows * KEY_WORDS
        for i in range(KEY_WORDS):
            self.out_keys[o + i] = self.keys[k + i]
        o = self.rows * OUT_WORDS
        for i in range(FLOW_WORDS):
            self.out_flows[o + i] = self.flows[f + i]
        self.out_flows[o + OPENER] = 1 if flags & OPENER_SIDE else 0
        self.out_flows[o + BASIS] = flags >> BASIS_SHIFT & 3
        self.out_flows[o + STATE] = self._state(f, flags, self.keys[k + PORTS] >> 16 & 0xFF)
        self.out_flows[o + HOP] = self._hop(k, flags, tunnel)
        self.flows[f + FACTS] = 0
        self.rows += 1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _state(self, f: Int, flags: Int, protocol: Word) -> Int:
        opener: cython.int = 1 if flags & OPENER_SIDE else 0
        responder: cython.int = 1 - opener
        if protocol != TCP:
            return 0
        if not flags & OPENED:
            return 1
        if flags >> (SIDE_SHIFT + 8 * responder) & REFUSED and self.flows[f + PAYLOAD + responder] == 0:
            return 2
        if self.flows[f + PACKETS + responder] == 0 and not flags >> (SIDE_SHIFT + 8 * opener) & ACKED:
            return 3
        return 4 if flags & RESET else 5

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _hop(self, k: Int, flags: Int, tunnel: cython.bint) -> Int:
        ports: Word = self.keys[k + PORTS]
        port: Word = ports >> 48 if flags & OPENER_SIDE else ports >> 32 & 0xFFFF
        if tunnel:
            return 3
        if (self.keys[k] == 0 and self.keys[k + A_LOW] == SIDECAR) or (
            self.keys[k + B_HIGH] == 0 and self.keys[k + B_LOW] == SIDECAR
        ):
            return 2
        if flags & LOOPBACK:
            if flags & WIRE:
                return 4
            # Istio redirects what a pod opens and accepts to these ports inside the pod. Whoever dials them of another
            # pod over the wire goes past its sidecar: that is no hop inside.
            return 2 if ports >> 16 & 0xFF == TCP and (port == 15001 or port == 15006) else 1
        return 4 if flags & UNMARKED and self.unmarked_loopback != 0 else 0

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _conclude(self, slot: Int) -> cython.int:
        """Give the flow its facts."""
        f: Int = slot * FLOW_WORDS
        flags: Int = self.flows[f + FLAGS]
        protocol: Word = self.keys[slot * KEY_WORDS + PORTS] >> 16 & 0xFF
        heard: cython.bint
        acked: cython.bint
        if protocol != TCP and protocol != UDP:
            self.flows[f + FACTS] = _AS_DATAGRAM
        elif self.flows[f + PAYLOAD] > 0 or self.flows[f + PAYLOAD + 1] > 0:
            self._settle(slot)
        elif flags & BLIND:
            self.flows[f + FACTS] = _AS_CUT
        elif protocol == TCP and not flags & OPENED:
            self.flows[f + FACTS] = _AS_MIDSTREAM
        else:
            # No payload was seen: none was sent, unless the capture lost some or heard one side only.
            heard = self.flows[f + PACKETS] > 0 and self.flows[f + PACKETS + 1] > 0
            acked = (flags >> SIDE_SHIFT | flags >> (SIDE_SHIFT + 8)) & ACKED != 0
            missed = protocol == TCP and ((not heard and acked) or self._sent(f, 0) > 0 or self._sent(f, 1) > 0)
            self.flows[f + FACTS] = _AS_CUT if missed else _AS_SILENT

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _settle(self, slot: Int) -> cython.int:
        """Draw the conclusions from the first payload bytes, and let go of them."""
        f: Int = slot * FLOW_WORDS
        facts = self._judged(slot, self._stream(f, 0), self._stream(f, 1))
        if self.flows[f + FLAGS] & POOL_FULL and facts.transport is Transport.UNKNOWN and facts.basis in _INCOMPLETE:
            facts = unknown(TransportBasis.POOL_FULL, facts.app_protocol)
        if self.ended:
            self.flows[f + FLAGS] |= OVER
        self._note_facts(f, facts)

    @cython.cfunc
    def _judged(self, slot: Int, first: object, second: object, early: cython.bint = False) -> object:
        """Judge the first bytes; `ended` says whether that was as of a connection after which nothing came."""
        f: Int = slot * FLOW_WORDS
        flags: Int = self.flows[f + FLAGS]
        over: cython.bint
        self.ended = False
        if self.keys[slot * KEY_WORDS + PORTS] >> 16 & 0xFF != TCP:
            return judge_datagrams(first, second)
        over = (flags >> SIDE_SHIFT | flags >> (SIDE_SHIFT + 8)) & (FINNED | RESETTED) != 0
        over = over and self.flows[f + PACKETS] > 0 and self.flows[f + PACKETS + 1] > 0 and not flags & BLIND
        self.ended = over and not early and self._all_there(f, 0) and self._all_there(f, 1)
        return judge_streams(first, second, ended=bool(self.ended))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _all_there(self, f: Int, side: cython.int) -> cython.bint:
        """Whether what is kept of a side is all it sent, as far as numbers tell."""
        s: Int = self._stream_of(f, side)
        have: Int = self.streams[s + HAVE] if s >= 0 else 0
        if self.flows[f + ISN + side] < 0:
            return True
        if have >= STREAM_LIMIT:
            return False
        if s >= 0 and self.streams[s + BASE] != (self.flows[f + ISN + side] + 1) & LOW32:
            return False
        return have >= self._sent(f, side)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _sent(self, f: Int, side: cython.int) -> Int:
        """Bytes that a side sent, by its numbers and by what the other acknowledged; 0 where its SYN is not known."""
        sent: Int = 0
        if self.flows[f + ISN + side] < 0:
            return 0
        if self.flows[f + END + side] >= 0:
            sent = (self.flows[f + END + side] - self.flows[f + ISN + side] - 1) & LOW32
            if sent >= HALF32:
                sent = 0
        sent = max(sent, self.flows[f + TAKEN + side])
        # A FIN takes a sequence number as a byte does.
        if sent > 0 and self.flows[f + FLAGS] >> (SIDE_SHIFT + 8 * side) & FINNED:
            sent -= 1
        return sent

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _note_facts(self, f: Int, facts: object) -> cython.int:
        names: Int = 0
        index = self.fact_numbers.get(facts)
        if index is None:
            names = _names(facts)
        if index is None and names <= SHARED_NAMES and len(self.fact_numbers) < MAX_SHARED_FACTS:
            index = len(self.facts)
            self.facts.append(facts)
            self.fact_numbers[facts] = index
        elif index is None:
            # Too many different ones, or too long: this one is kept until its row is taken.
            self.own_bytes += names + OWN_FACTS
            if self.spare_facts:
                index = self.spare_facts.pop()
                self.own_facts[index] = facts
            else:
                index = len(self.own_facts)
                self.own_facts.append(facts)
            index = -1 - index
        self.flows[f + FACTS] = index
        self._free_stream(f, 0)
        self._free_stream(f, 1)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _unsettle(self, f: Int) -> cython.int:
        """It was no end, since more came: what was concluded from there being no more does not hold."""
        index: Int = self.flows[f + FACTS]
        if self._facts(index).transport is not Transport.UNKNOWN:
            if index < 0:
                self.own_bytes -= _names(self.own_facts[-1 - index]) + OWN_FACTS
                self.own_facts[-1 - index] = None
                self.spare_facts.append(-1 - index)
            self.flows[f + FACTS] = _AS_CUT

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _settle_early(self, slot: Int, f: Int) -> cython.int:
        """
        Judge a connection by the first bytes of both sides, where nothing that follows can change what they prove.

        That spares memory for the others. TLS has to go on, and so has everything that is not proven to be in clear.
        """
        first: Int = self._stream_of(f, 0)
        second: Int = self._stream_of(f, 1)
        if first < 0 or second < 0 or self.streams[first + HAVE] == 0 or self.streams[second + HAVE] == 0:
            return 0
        self.flows[f + FLAGS] |= TRIED
        if self._begins_tls(first) or self._begins_tls(second):
            return 0
        # A later message of HTTP may open a tunnel or announce TLS.
        if self._begins_http(first) or self._begins_http(second):
            return 0
        one, two = self._stream(f, 0), self._stream(f, 1)
        facts = self._judged(slot, one, two, True)
        # The first request of HTTP/2 often comes after both sides sent their settings, and says whether it is gRPC.
        if facts.transport is Transport.PLAINTEXT and facts.app_protocol not in ("http", "http2"):
            self._note_facts(f, facts)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _begins_tls(self, s: Int) -> cython.bint:
        """Whether the first byte may be a TLS record's: change of cipher, alert, handshake, data."""
        kind: Int = self.pool[self._chunk(s, 0) * CHUNK]
        return 20 <= kind <= 23

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _begins_http(self, s: Int) -> cython.bint:
        """Whether a side begins with an answer of HTTP/1: `HTTP/1.`."""
        at: Int = self._chunk(s, 0) * CHUNK
        return (
            self.streams[s + HAVE] >= 7 and self.pool[at] == 72 and self.pool[at + 1] == 84
            and self.pool[at + 2] == 84 and self.pool[at + 3] == 80 and self.pool[at + 4] == 47
            and self.pool[at + 5] == 49 and self.pool[at + 6] == 46
        )  # fmt: skip

    def taken(self) -> None:
        """Say that the rows were taken."""
        i: Int
        index: Int
        for i in range(self.rows):
            index = self.out_flows[i * OUT_WORDS + FACTS]
            if index < 0:
                self.own_facts[-1 - index] = None
                self.spare_facts.append(-1 - index)
        self.own_bytes -= self.row_bytes
        self.row_bytes = 0
        self.rows = 0

    def finish(self) -> bool:
        """
        Put out the rows of flows that are left, as many as there is place for; nothing can be fed afterwards.

        Returns:
            Whether some are left still: call it again.
        """
        slot: Int
        while self.finished < self.used and self.rows < OUT_ROWS:
            slot = self.finished
            if self.flows[slot * FLOW_WORDS + FLAGS] & LIVE:
                self._emit(slot)
            self.finished += 1
        if self.rows:
            self.flush()
        return self.finished < self.used

    def _set_room(self, room: int) -> None:
        """Have a table for *room* flows, empty: at most half full, so that a search is short."""
        size = 8
        while size < 2 * room:
            size *= 2
        self.room = room
        self.mask = size - 1
        self.table = _zeros(size, "Q")

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _make_room(self) -> cython.int:
        """
        Put out idle flows, keeping their initiators, and make room for others.

        Where most flows are idle, a quarter of all that was silent for longest is forgotten; else the table grows; and
        when it may not, that quarter is put out.
        """
        slot: Int
        kept: Int = 0
        busy: Int = 0
        limit: Int = -1
        f: Int
        i: Int
        place: Word
        for slot in range(self.used):
            f = slot * FLOW_WORDS
            if self.flows[f + FLAGS] & LIVE:
                if self.now - self.flows[f + TOUCHED] > self.idle:
                    self._emit(slot)
                else:
                    busy += 1
            self.times[slot] = self.flows[f + TOUCHED]
        if 2 * busy > self.room and self.room < self.max_flows:
            self._set_room(min(2 * self.room, self.max_flows))
        else:
            limit = self._quantile(self.used, max(1, self.room // 4))
            for place in range(self.mask + 1):
                self.table[place] = 0
        for slot in range(self.used):
            f = slot * FLOW_WORDS
            if self.flows[f + FLAGS] & ALIAS:
                continue  # the next copy makes it again
            if self.flows[f + TOUCHED] <= limit:
                if self.flows[f + FLAGS] & LIVE:
                    self._emit(slot)
                continue
            if kept != slot:
                for i in range(FLOW_WORDS):
                    self.flows[kept * FLOW_WORDS + i] = self.flows[f + i]
                for i in range(KEY_WORDS):
                    self.keys[kept * KEY_WORDS + i] = self.keys[slot * KEY_WORDS + i]
            self._enter(kept, self.keys[kept * KEY_WORDS + HASH])
            kept += 1
        self.used = kept
        self.recent = -1
        self.generation += 1  # slots have moved: what `seen` says of them is of no use any more

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _quantile(self, count: Int, wanted: Int) -> Int:
        """Return the smallest value that at least *wanted* of the first *count* of `times` do not exceed."""
        low: Int = 0
        high: Int = 0
        middle: Int
        below: Int
        i: Int
        for i in range(count):
            if self.times[i] > high:
                high = self.times[i]
        while low < high:
            middle = (low + high) // 2
            below = 0
            for i in range(count):
                if self.times[i] <= middle:
                    below += 1
            if below >= wanted:
                high = middle
            else:
                low = middle + 1
        return low

    # ------------------------------------------------------------------------------------------------ first bytes

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _stream_of(self, f: Int, side: cython.int) -> Int:
        """Return where the stream of a side lies, or -1."""
        number: Int = self.flows[f + STREAMS] >> (31 * side) & TOP31
        return (number - 1) * STREAM_WORDS

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _chunk(self, s: Int, i: Int) -> Int:
        """Return the number of a stream's chunk *i*, or -1."""
        return (self.streams[s + AT_CHUNKS + i // 2] >> (31 * (i % 2)) & TOP31) - 1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _new_stream(self, f: Int, side: cython.int) -> Int:
        number: Int
        i: Int
        if self.streams_free > 0:
            self.streams_free -= 1
            number = self.free_streams[self.streams_free]
        elif self.streams_used < self.chunks_max:
            number = self.streams_used
            self.streams_used += 1
        else:
            return -1
        for i in range(AT_GAPS):  # what follows is read as far as COUNTS says
            self.streams[number * STREAM_WORDS + i] = 0
        self.streams[number * STREAM_WORDS + BASE] = -1
        self.flows[f + STREAMS] |= (number + 1) << (31 * side)
        return number * STREAM_WORDS

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _open_stream(self, f: Int, side: cython.int) -> cython.int:
        """Note a SYN: payload begins one after its number."""
        s: Int = self._stream_of(f, side)
        begin: Int = (self.seq + 1) & LOW32
        if s < 0:
            return 0  # most connections never need one before payload comes: ISN tells it then
        if self.streams[s + HAVE] > 0:
            if begin == self.streams[s + BASE]:
                self.streams[s + MARKS] |= STARTED
            return 0
        if begin != self.streams[s + BASE]:
            self.streams[s + COUNTS] &= ~0xFF
        self.streams[s + BASE] = begin
        self.streams[s + MARKS] |= STARTED

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _keep_payload(self, slot: Int, f: Int, side: cython.int, has_tcp: cython.bint) -> cython.int:
        s: Int
        if not has_tcp and self.keys[slot * KEY_WORDS + PORTS] >> 16 & 0xFF != UDP:
            return 0
        s = self._stream_of(f, side)
        if s < 0:
            s = self._new_stream(f, side)
            if s < 0:
                self._relieve(slot)
                s = self._new_stream(f, side)
            if s < 0:
                self.flows[f + FLAGS] |= POOL_FULL
                return 0
            if has_tcp and self.flows[f + ISN + side] >= 0:
                self.streams[s + BASE] = (self.flows[f + ISN + side] + 1) & LOW32
                self.streams[s + MARKS] |= STARTED
        if has_tcp:
            self._add_segment(slot, f, s)
        elif self.streams[s + HAVE] == 0 or self._asks_again(s):
            self.streams[s + HAVE] = 0
            self.streams[s + MARKS] |= STARTED
            self._append(slot, f, s, 0, FIRST_DATAGRAM, -1)
            self.streams[s + MARKS] &= ~(CUT | BEYOND)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _asks_again(self, s: Int) -> cython.bint:
        """
        Whether the datagram that is kept only asks for the hello once more, so that the next one is the answer.

        DTLS HelloVerifyRequest (RFC 6347 section 4.2.1) in a record of its own; Retry of QUIC 1 (RFC 9000 section
        17.2.5) and 2 (RFC 9369 section 3.2).
        """
        at: Int = self._chunk(s, 0) * CHUNK
        first: Int
        if self.streams[s + HAVE] < 14:
            return False
        first = self.pool[at]
        if first == 22:
            return self.pool[at + 1] == 0xFE and self.pool[at + 13] == 3
        if self.pool[at + 1] == 0 and self.pool[at + 2] == 0 and self.pool[at + 3] == 0 and self.pool[at + 4] == 1:
            return first & 0xF0 == 0xF0
        if self.pool[at + 1] == 0x6B and self.pool[at + 2] == 0x33 and self.pool[at + 3] == 0x43:
            return self.pool[at + 4] == 0xCF and first & 0xF0 == 0xC0
        return False

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _add_segment(self, slot: Int, f: Int, s: Int) -> cython.int:
        """Add a segment: in order, out of order, again, overlapping or cut; what was first captured stays."""
        first: Int = (self.seq + 1) & LOW32 if self.tcp_flags & SYN else self.seq
        at: Int
        have: Int
        captured: Int = self.pay_end - self.pay_at
        if self.streams[s + BASE] < 0:
            self.streams[s + BASE] = first
        at = (first - self.streams[s + BASE]) & LOW32
        if at > TOP31:
            at -= LOW32 + 1
        have = self.streams[s + HAVE]
        if at + self.pay_length <= have:
            return 0
        if at >= STREAM_LIMIT or have >= STREAM_LIMIT:
            self.streams[s + MARKS] |= BEYOND
            return 0
        if at <= have:
            if self._append(slot, f, s, at, STREAM_LIMIT, self.ack):
                self._join_gaps(s)
        elif self.streams[s + MARKS] & CUT or captured != self.pay_length:
            self.streams[s + MARKS] |= CUT
        else:
            self._add_gap(slot, f, s, at)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _append(self, slot: Int, f: Int, s: Int, at: Int, limit: Int, ack: Int) -> cython.bint:
        """Add what is new of the packet's payload, which begins at *at*; false if the pool has no room for it."""
        have: Int = self.streams[s + HAVE]
        captured: Int = self.pay_end - self.pay_at
        end: Int = min(at + captured, limit)
        if captured < self.pay_length:
            self.streams[s + MARKS] |= CUT
        if at + self.pay_length > limit:
            self.streams[s + MARKS] |= BEYOND
        if end <= have:
            return True
        if not self._write(slot, f, s, self.pay_at + have - at, have, end):
            self.streams[s + MARKS] |= CUT
            return False
        self.streams[s + HAVE] = end
        if ack >= 0:
            self._note_ack(s, end, ack)
        return True

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _note_ack(self, s: Int, end: Int, ack: Int) -> cython.int:
        """The segment that brought the bytes before *end* acknowledged *ack*; of too many, the later are not noted."""
        count: Int = self.streams[s + COUNTS] >> 8
        if count > 0 and self.streams[s + AT_ACKS + count - 1] & LOW32 == ack:
            self.streams[s + AT_ACKS + count - 1] = end << 32 | ack
        elif count < ACKS:
            self.streams[s + AT_ACKS + count] = end << 32 | ack
            self.streams[s + COUNTS] += 256

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _add_gap(self, slot: Int, f: Int, s: Int, at: Int) -> cython.int:
        """Keep a segment that came too early in its place; where another early one lies, that one stays."""
        count: Int = self.streams[s + COUNTS] & 0xFF
        end: Int = min(at + self.pay_length, STREAM_LIMIT)
        begin: Int = at
        i: Int
        low: Int
        high: Int
        for i in range(count):
            low = self.streams[s + AT_GAPS + i] >> 46
            high = self.streams[s + AT_GAPS + i] >> 32 & 0x3FFF
            if low <= begin < high:
                begin = high
            elif begin < low < end:
                end = low
                self.streams[s + MARKS] |= CUT  # what lies behind the early one is not kept
        if begin >= end:
            return 0
        if count >= GAPS or not self._write(slot, f, s, self.pay_at + begin - at, begin, end):
            self.streams[s + MARKS] |= CUT
            return 0
        # In order of their beginnings.
        i = count
        while i > 0 and self.streams[s + AT_GAPS + i - 1] >> 46 > begin:
            self.streams[s + AT_GAPS + i] = self.streams[s + AT_GAPS + i - 1]
            i -= 1
        self.streams[s + AT_GAPS + i] = begin << 46 | end << 32 | self.ack
        self.streams[s + COUNTS] += 1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _join_gaps(self, s: Int) -> cython.int:
        """Take over the early segments that what is there now reaches."""
        count: Int = self.streams[s + COUNTS] & 0xFF
        done: Int = 0
        gap: Int
        end: Int
        i: Int
        while done < count:
            gap = self.streams[s + AT_GAPS + done]
            if gap >> 46 > self.streams[s + HAVE]:
                break
            end = gap >> 32 & 0x3FFF
            if end > self.streams[s + HAVE]:
                self.streams[s + HAVE] = end
                self._note_ack(s, end, gap & LOW32)
            done += 1
        if done == 0:
            return 0
        for i in range(count - done):
            self.streams[s + AT_GAPS + i] = self.streams[s + AT_GAPS + done + i]
        self.streams[s + COUNTS] -= done

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _write(self, slot: Int, f: Int, s: Int, p: Int, begin: Int, end: Int) -> cython.bint:
        """Copy payload from *p* on to the places *begin* to *end* of a stream, not over what an early segment left."""
        chunk: Int
        place: Int
        stop: Int
        i: Int
        low: Int
        high: Int
        kept: Int = self.streams[s + COUNTS] & 0xFF
        skip: Int
        while begin < end:
            # An early segment that lies here already was captured first.
            skip = end
            for i in range(kept):
                low = self.streams[s + AT_GAPS + i] >> 46
                high = self.streams[s + AT_GAPS + i] >> 32 & 0x3FFF
                if low <= begin < high:
                    p += high - begin
                    begin = high
                    skip = end
                elif begin < low < skip:
                    skip = low
            if begin >= end:
                return True
            chunk = self._chunk(s, begin // CHUNK)
            if chunk < 0:
                chunk = self._new_chunk(slot, f)
                if chunk < 0:
                    return False
                i = begin // CHUNK
                self.streams[s + AT_CHUNKS + i // 2] |= (chunk + 1) << (31 * (i % 2))
            place = chunk * CHUNK + begin % CHUNK
            stop = min(skip, (begin // CHUNK + 1) * CHUNK)
            self._copy(place, p, stop - begin)
            p += stop - begin
            begin = stop
        return True

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.exceptval(-9, check=False)
    def _copy(self, place: Int, p: Int, count: Int) -> cython.int:
        """Copy payload into the pool: bounds are checked once for all bytes, so that they are copied many at a time."""
        source: cython.const[cython.uchar][::1] = self.buf
        target: cython.uchar[::1] = self.pool
        i: Int
        if count < 0 or p < 0 or place < 0 or p + count > len(source) or place + count > len(target):
            raise IndexError("payload beyond its buffer")
        for i in range(count):
            target[place + i] = source[p + i]
        return 0

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _new_chunk(self, slot: Int, f: Int) -> Int:
        if self.chunks_free == 0 and self.chunks_used >= self.chunks_max:
            self._relieve(slot)
        if self.chunks_free > 0:
            self.chunks_free -= 1
            return self.free_chunks[self.chunks_free]
        if self.chunks_used < self.chunks_max:
            self.chunks_used += 1
            return self.chunks_used - 1
        self.flows[f + FLAGS] |= POOL_FULL
        return -1

    @cython.cfunc
    def _stream(self, f: Int, side: cython.int) -> object:
        """Return the first bytes of a side."""
        s: Int = self._stream_of(f, side)
        marks: Int
        have: Int
        at: Int = 0
        size: Int
        i: Int
        if s < 0:
            begin = self.flows[f + ISN + side]
            base = None if begin < 0 else (begin + 1) & LOW32
            # Payload that no byte was kept of is payload that is not there.
            return Stream(b"", begin >= 0, self.flows[f + PAYLOAD + side] > 0, False, False, base, ())
        marks = self.streams[s + MARKS]
        have = self.streams[s + HAVE]
        while at < have:
            size = min(CHUNK, have - at)
            self._gather(at, self._chunk(s, at // CHUNK) * CHUNK, size)
            at += size
        acks = []
        for i in range(self.streams[s + COUNTS] >> 8):
            acks.append((self.streams[s + AT_ACKS + i] >> 32, self.streams[s + AT_ACKS + i] & LOW32))
        waiting = self.streams[s + COUNTS] & 0xFF != 0
        base = None if self.streams[s + BASE] < 0 else self.streams[s + BASE]
        data = self.scratch_memory[:have].tobytes()
        return Stream(data, marks & STARTED != 0, marks & CUT != 0, marks & BEYOND != 0, waiting, base, tuple(acks))

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.exceptval(-9, check=False)
    def _gather(self, at: Int, place: Int, count: Int) -> cython.int:
        """Copy from the pool to where the bytes of a stream come together; bounds as in `_copy`."""
        source: cython.uchar[::1] = self.pool
        target: cython.uchar[::1] = self.scratch
        i: Int
        if count < 0 or at < 0 or place < 0 or at + count > len(target) or place + count > len(source):
            raise IndexError("payload beyond its buffer")
        for i in range(count):
            target[at + i] = source[place + i]
        return 0

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _free_stream(self, f: Int, side: cython.int) -> cython.int:
        """Give back what held the first bytes of a side."""
        s: Int = self._stream_of(f, side)
        chunk: Int
        i: Int
        if s < 0:
            return 0
        for i in range(CHUNKS):
            chunk = self._chunk(s, i)
            if chunk >= 0:
                self.free_chunks[self.chunks_free] = chunk
                self.chunks_free += 1
        self.free_streams[self.streams_free] = s // STREAM_WORDS
        self.streams_free += 1
        self.flows[f + STREAMS] &= ~(TOP31 << (31 * side))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _both_full(self, f: Int) -> cython.bint:
        first: Int = self._stream_of(f, 0)
        second: Int = self._stream_of(f, 1)
        if first < 0 or second < 0:
            return False
        return self.streams[first + HAVE] >= STREAM_LIMIT and self.streams[second + HAVE] >= STREAM_LIMIT

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _relieve(self, current: Int) -> cython.int:
        """
        Make room in the pool: put out idle flows, then judge the half of the others that was silent for longest.

        Those are judged by what is there, as if the rest had not been captured; *current* is being counted.
        """
        slot: Int
        f: Int
        held: Int = 0
        limit: Int
        chunks: Int
        streams: Int
        for slot in range(self.used):
            f = slot * FLOW_WORDS
            if self.flows[f + STREAMS] == 0 or slot == current:
                continue
            if self.flows[f + FLAGS] & LIVE and self.now - self.flows[f + TOUCHED] > self.idle:
                self._emit(slot)
            else:
                self.times[held] = self.flows[f + TOUCHED]
                held += 1
        # Where the capture cut all payload, there are as many streams as there may be, and no chunk is used.
        chunks = self.chunks_max - self.chunks_used + self.chunks_free
        streams = self.chunks_max - self.streams_used + self.streams_free
        if min(chunks, streams) > self.chunks_max // 4 or held == 0:
            return 0
        limit = self._quantile(held, (held + 1) // 2)
        for slot in range(self.used):
            f = slot * FLOW_WORDS
            if self.flows[f + STREAMS] != 0 and slot != current and self.flows[f + TOUCHED] <= limit:
                self.flows[f + FLAGS] |= POOL_FULL
                self._settle(slot)

    # ------------------------------------------------------------------------------------------------ copies

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _copy_of(self, time: Int, ports: Word, side: cython.int) -> Int:
        """
        Return the slot of the flow that has counted this very packet already, on another interface, or -1.

        `tcpdump -i any` on a node sees a pod's packet on its veth, on the bridge or tunnel device, and once more inside
        the outer packet on the card. All copies have the same addresses, ports, IP length and identification, TCP
        numbers and flags, and content. So has a retransmission of IPv6, or of a sender that does not count
        identifications. The difference is the place: copies of one packet pass each place (interface, direction,
        encapsulation) once, and a packet sent again passes those where the first one was seen again. Of equal packets
        as many were sent as the busiest place has seen, whatever the order; every other sighting is a copy.
        """
        mark: Word = self.seq
        peer: Word = self.ack
        header: Word = self.ident
        now: Word = time
        content: Word = 0
        place: Word
        h: Word
        e: Word
        count: Word
        found: cython.bint = False
        i: Int
        n: Word
        via: Word = self.via
        length: Word = self.length
        flags: Word = self.tcp_flags
        self.probe = COPY_SLOTS * COPY_WORDS  # nobody's
        if self.protocol == TCP or self.protocol == UDP:
            if self.blind and self.ident == 0:
                return -1  # nothing tells it from the next one
            if self.pay_length > 0 and self.pay_end - self.pay_at == self.pay_length:
                content = self._content()
            if self.protocol == UDP and self.pay_end - self.pay_at >= 8:
                mark = self._n32(self.pay_at)
                peer = self._n32(self.pay_at + 4)
        elif self.protocol != ICMP and self.protocol != ICMPV6 and self.protocol != SCTP and self.ident == 0:
            return -1
        mark = mark << 32 | peer
        header = header << 48 | (length & 0xFFFFFF) << 16 | flags << 8 | side
        place = (self.place * MIX1 ^ (via + 1) * MIX2) & ONES
        # Not keyed: who makes these collide only has copies counted as packets.
        h = ((mark ^ (self.s_low << 7) & ONES ^ self.d_low) * MIX1) & ONES
        h = ((h ^ h >> 29 ^ header ^ ports) * MIX2) & ONES
        h = h >> 40 & (COPY_SLOTS - 1)
        e = h * COPY_WORDS
        for i in range(COPY_WAYS):
            n = (h ^ cython.cast(Word, i)) * COPY_WORDS
            found = self._is_copy(n, now, ports, mark, header, via, content)
            if found or self.seen[n + C_TIME] < self.seen[e + C_TIME]:
                e = n
            if found:
                break
        if found:
            for i in range(COPY_PLACES):
                n = e + C_PLACES + i
                if self.seen[n] == place or self.seen[n] == 0:
                    count = (self.seen[e + C_COUNTS] >> (8 * i) & 0xFF) + 1
                    if count > 0xFF:
                        break
                    self.seen[n] = place
                    self.seen[e + C_COUNTS] += cython.cast(Word, 1) << (8 * i)
                    if count <= self.seen[e + C_MOST]:
                        return (self.seen[e + C_SLOT] & LOW32) - 1
                    self.seen[e + C_MOST] = count
                    self.seen[e + C_TIME] = now
                    self.probe = e
                    return -1
        self.seen[e] = self.s_high
        self.seen[e + A_LOW] = self.s_low
        self.seen[e + B_HIGH] = self.d_high
        self.seen[e + B_LOW] = self.d_low
        self.seen[e + C_PORTS] = ports
        self.seen[e + C_MARK] = mark
        self.seen[e + C_HEADER] = header
        self.seen[e + C_TIME] = now
        self.seen[e + C_SLOT] = 0
        self.seen[e + C_PLACES] = place
        for i in range(1, COPY_PLACES):
            self.seen[e + C_PLACES + i] = 0
        self.seen[e + C_COUNTS] = 1
        self.seen[e + C_MOST] = 1
        self.seen[e + C_VIA] = via
        self.seen[e + C_CONTENT] = content
        self.probe = e
        return -1

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _is_copy(
        self, e: Word, now: Word, ports: Word, mark: Word, header: Word, via: Word, content: Word
    ) -> cython.bint:
        """Whether the packet is the one noted at *e*; of one that the capture length cut, content is not known (0)."""
        return (
            self.seen[e + C_SLOT] >> 32 == self.generation
            and self.seen[e + C_MARK] == mark
            and self.seen[e + C_HEADER] == header
            and self.seen[e + C_PORTS] == ports
            and self.seen[e] == self.s_high
            and self.seen[e + A_LOW] == self.s_low
            and self.seen[e + B_HIGH] == self.d_high
            and self.seen[e + B_LOW] == self.d_low
            and now < self.seen[e + C_TIME] + self.copy_window
            and now + self.copy_window > self.seen[e + C_TIME]
            # Two networks may carry equal packets; a tunnel and what goes in and out of it carry the same one.
            and (self.seen[e + C_VIA] == via or self.seen[e + C_VIA] == 0 or via == 0)
            and (self.seen[e + C_CONTENT] == content or self.seen[e + C_CONTENT] == 0 or content == 0)
        )

    @cython.cfunc
    @cython.exceptval(9, check=True)
    def _content(self) -> Word:
        """Return a number made of the payload and the secret key: nobody can make other payload with the same."""
        p: Int = self.pay_at
        h: Word = self.key0
        byte: Word
        while p + 8 <= self.pay_end:
            h = ((h ^ self._n64(p)) * MIX1) & ONES
            h ^= h >> 29
            p += 8
        while p < self.pay_end:
            byte = self.buf[p]
            h = ((h ^ byte) * MIX2) & ONES
            h ^= h >> 31
            p += 1
        return h | 1


def _names(facts: Any) -> int:  # noqa: ANN401 - Facts, which a function of C cannot say
    """Return how long the names are that payload spelled."""
    one, other = facts.principals
    return sum(len(name) for name in (facts.app_protocol, facts.tls_sni, facts.tls_alpn, one, other) if name)


def _address(text: str) -> int:
    """Return an address as 128 bits: IPv4 as its IPv4-mapped form."""
    address = ip_address(text)
    return int(address) if address.version == 6 else 0xFFFF << 32 | int(address)
