"""
Writes a capture of made-up cluster traffic for measurements: `python -m bench.make_capture OUT --packets N --flows F`.

The same options and seed give the same file. Times, directions, sizes, SEQ and ACK of all packets are planned first
(about 45 bytes a packet), then the packets are written in order of time, a chunk at a time.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.headers import ACK, FIN, LINK_TYPES, NODE, PSH, SYN, Headers, Layout
from bench.messages import NO_MESSAGE, SCRIPTS, SERVICES, TLS_DATA, Message, Protocol, Side

#: 2025-10-09T08:53:20Z in microseconds.
BEGIN = 1_760_000_000_000_000
SECOND = 1_000_000
#: Packets planned and written at a time.
PLANNED, WRITTEN = 1 << 19, 1 << 16
#: Flows begin within this many seconds; this share of them pauses once, for longer than anyone's idle limit.
SPREAD, PAUSING, PAUSE = 3000, 0.03, 400 * SECOND
#: Seconds in which all flows of a `--live` capture begin, and end.
LIVE_EDGE, LIVE_SPAN = 10, 60
#: Shares of packets after the script without data, and with a full segment; the rest is between. Mean packet: 536 B.
EMPTY, FULL = 0.43, 0.325
#: Packets of a connection before and after what it carries: handshake and end.
OPENING, CLOSING = 3, 3

_PACKET = np.dtype([
    ("time", "i8"), ("flow", "u4"), ("seq", "u4"), ("ack", "u4"), ("size", "u2"), ("ident", "u2"), ("message", "i2"),
    ("flags", "u1"), ("side", "u1"),
])  # fmt: skip


@dataclass(frozen=True)
class Options:
    """
    What is to be made.

    Args:
        snaplen: Captured bytes of a packet; null for all of them.
        link: Key of LINK_TYPES.
        vxlan: Share of flows between nodes that travel in VXLAN.
        live: All flows are alive at once: they begin in the first ten seconds and end in the last ten of a minute.
        pods: Addresses.
    """

    packets: int = 10_000_000
    flows: int = 250_000
    snaplen: int | None = None
    link: str = "ethernet"
    vxlan: float = 0.0
    live: bool = False
    pods: int = 2000
    seed: int = 1


class Library:
    """The messages of all scripts, numbered, and for each kind and service which of them follow each other."""

    def __init__(self) -> None:
        steps = [[script.steps(name) for name in SERVICES] for script in SCRIPTS]
        self.lengths = np.array([len(of_kind[0]) for of_kind in steps])
        self.messages: list[Message] = []
        #: By kind, service and step; by kind and step.
        self.message = np.full((len(SCRIPTS), len(SERVICES), self.lengths.max()), NO_MESSAGE, np.int16)
        self.side = np.zeros((len(SCRIPTS), self.lengths.max()), np.uint8)
        for kind, of_kind in enumerate(steps):
            for service, told in enumerate(of_kind):
                for step, (side, message) in enumerate(told):
                    self.message[kind, service, step] = len(self.messages)
                    self.side[kind, step] = side
                    self.messages.append(message)
        self.sizes = np.array([len(m) for m in self.messages])


class Flows:
    """One entry a flow in each array; the columns a packet's headers need are named as in `Headers`."""

    def __init__(self, options: Options, library: Library, random: np.random.Generator) -> None:
        count = options.flows
        self.kind = random.choice(len(SCRIPTS), count, p=[s.share for s in SCRIPTS]).astype(np.uint8)
        self.protocol = np.array([s.protocol for s in SCRIPTS], np.uint8)[self.kind]
        self.six = random.random(count) < 0.05
        tunnelled = random.random(count) < options.vxlan
        # No two flows share client and port, so that each is a conversation of its own.
        turn = random.permutation(count)
        self.client = (turn % options.pods).astype(np.uint32)
        self.client_port = (32_768 + turn // options.pods).astype(np.uint16)
        server = (options.pods * random.random(count) ** 2).astype(np.uint32)
        self.server = np.where(server == self.client, (server + 1) % options.pods, server)
        self.vxlan = tunnelled & (self.client // NODE != self.server // NODE)
        self.service = (self.server % len(SERVICES)).astype(np.uint8)
        ports = np.array([[s.ports[n % len(s.ports)] for n in range(len(SERVICES))] for s in SCRIPTS], np.uint16)
        self.server_port = ports[self.kind, self.service]
        self.first_seq = random.integers(0, 1 << 32, (2, count), np.uint32)
        self.first_ident = random.integers(0, 1 << 16, (2, count), np.uint16)
        self.packets = self._packets(options, library, random)
        self._times(options, random)

    def _packets(self, options: Options, library: Library, random: np.random.Generator) -> np.ndarray:
        """Packets of each flow: what its script needs, and a heavy tail of what is left for connections."""
        tcp = self.protocol == Protocol.TCP
        packets = library.lengths[self.kind] + np.where(tcp, OPENING + CLOSING, 0)
        packets[self.protocol == Protocol.ICMP] = 4
        left = options.packets - int(packets.sum())
        if left < 0 or not tcp.any():
            raise SystemExit(f"{options.flows} flows need {int(packets.sum())} packets or more, and one connection")
        weight = np.where(tcp, random.pareto(1.1, options.flows) + 0.1, 0)
        packets += (weight / weight.sum() * left).astype(np.int64)
        short = options.packets - int(packets.sum())
        packets[np.nonzero(tcp)[0]] += np.bincount(np.arange(short) % tcp.sum(), minlength=tcp.sum())
        return packets

    def _times(self, options: Options, random: np.random.Generator) -> None:
        """Begin, span of what is not sent at once, and one long pause; microseconds."""
        count, self.live = options.flows, options.live
        if options.live:
            self.begin = (random.random(count) * LIVE_EDGE * SECOND).astype(np.int64)
            self.span = (LIVE_SPAN - random.random(count) * LIVE_EDGE) * SECOND - self.begin
            self.pause = np.zeros(count, np.int64)
        else:
            self.begin = (random.random(count) * SPREAD * SECOND).astype(np.int64)
            self.span = random.exponential(30 * SECOND, count)
            self.pause = np.where((random.random(count) < PAUSING) & (self.packets > 8), PAUSE, 0)


def plan(options: Options, library: Library, flows: Flows, random: np.random.Generator) -> np.ndarray:
    """All packets, flow by flow, in _PACKET."""
    packets = np.empty(options.packets, _PACKET)
    ends = np.cumsum(flows.packets)
    first = 0
    while first < options.flows:
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + PLANNED)))
        packets[before : ends[last - 1]] = _planned(flows, library, np.arange(first, last), random)
        first = last
    return packets


def _planned(flows: Flows, library: Library, which: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The packets of some flows."""
    counts = flows.packets[which]
    starts = np.cumsum(counts) - counts
    flow = np.repeat(which, counts)
    packet = np.zeros(len(flow), _PACKET)
    nth = np.arange(len(flow)) - np.repeat(starts, counts)
    to_end = np.repeat(counts, counts) - 1 - nth
    kind, tcp = flows.kind[flow], flows.protocol[flow] == Protocol.TCP
    step = nth - np.where(tcp, OPENING, 0)
    scripted = (step >= 0) & (step < library.lengths[kind])
    opening, closing = tcp & (nth < OPENING), tcp & (to_end < CLOSING)
    later = ~(scripted | opening | closing)

    spoken = np.where(scripted, step, 0)
    said = np.where(scripted, library.message[kind, flows.service[flow], spoken], NO_MESSAGE)
    packet["flow"] = flow
    packet["side"] = np.select(
        [scripted, opening, closing, tcp],
        [library.side[kind, spoken], nth == 1, to_end == 1, random.random(len(flow)) < 0.55],
        default=nth & 1,
    )
    packet["size"] = np.where(scripted, library.sizes[said], np.where(later, _later_sizes(flows, flow, random), 0))
    tls = np.array([s.tls for s in SCRIPTS])[kind]
    packet["message"] = np.where(tls & later & (packet["size"] > 0), TLS_DATA, said)
    flags = np.where(nth < 2, SYN, 0) | np.where(to_end.astype(np.uint8) - 1 < 2, FIN, 0)
    flags |= np.where(nth > 0, ACK, 0) | np.where(packet["size"] > 0, PSH, 0)
    packet["flags"] = np.where(tcp, flags, 0)
    _number(packet, flows, starts, counts)

    slow = later | (tcp & (to_end == CLOSING - 1)) | (flows.live & ~tcp)
    packet["time"] = _times(flows, which, starts, counts, slow & (nth > 0), random)
    return packet


def _later_sizes(flows: Flows, flow: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Bytes of data in packets after the script: none, some, or as much as fits."""
    shape = random.random(len(flow), np.float32)
    full = 1448 - 20 * flows.six[flow] - 50 * flows.vxlan[flow]
    some = random.integers(6, 400, len(flow), np.uint16)
    sizes = np.where(shape < EMPTY, 0, np.where(shape < 1 - FULL, some, full))
    return np.where(flows.protocol[flow] == Protocol.ICMP, 56, sizes)


def _number(packet: np.ndarray, flows: Flows, starts: np.ndarray, counts: np.ndarray) -> None:
    """SEQ and ACK as the two ends count them: SYN and FIN take a number each; identifications rise for each sender."""
    flow, side = packet["flow"], packet["side"]
    taken = packet["size"] + (packet["flags"] & SYN != 0) + (packet["flags"] & FIN != 0)
    sent, idents = [], []
    for of_side in Side:
        mine = side == of_side
        for amounts, told in ((np.where(mine, taken, 0), sent), (mine.astype(np.int64), idents)):
            running = np.cumsum(amounts, dtype=np.int64) - amounts
            told.append(running - np.repeat(running[starts], counts))
    numbers = [(flows.first_seq[of_side][flow] + sent[of_side]).astype(np.uint32) for of_side in Side]
    packet["seq"] = np.where(side == Side.CLIENT, numbers[0], numbers[1])
    packet["ack"] = np.where(packet["flags"] & ACK, np.where(side == Side.CLIENT, numbers[1], numbers[0]), 0)
    packet["ident"] = flows.first_ident[side, flow] + np.where(side == Side.CLIENT, idents[0], idents[1])


def _times(
    flows: Flows, which: np.ndarray, starts: np.ndarray, counts: np.ndarray, slow: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Microseconds: packets follow at once, except the slow ones, which fill their flow's span unevenly."""
    gap = random.exponential(1.0, len(slow))
    waits = np.where(slow, gap, 0)
    total = np.maximum(np.add.reduceat(waits, starts), 1e-9)
    gap = np.where(slow, waits * np.repeat(flows.span[which] / total, counts), 400 * gap)
    gap[starts] = 0
    gap[starts + counts // 2] += flows.pause[which]
    passed = np.cumsum(gap)
    passed -= np.repeat(passed[starts], counts)
    return BEGIN + np.repeat(flows.begin[which], counts) + passed.astype(np.int64)


def written(options: Options) -> Iterator[memoryview]:
    """The capture's bytes, a chunk of packets at a time."""
    random = np.random.default_rng(options.seed)
    library = Library()
    flows = Flows(options, library, random)
    packets = plan(options, library, flows, random)
    order = np.argsort(packets["time"], kind="stable").astype(np.uint32)
    snaplen = options.snaplen or 262_144
    yield memoryview(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, LINK_TYPES[options.link]))
    noise = np.frombuffer(random.bytes(1 << 24), np.uint8)
    headers = Headers(options.link, flows)
    buffer = np.empty(0, np.uint8)
    for begin in range(0, options.packets, WRITTEN):
        chunk = packets[order[begin : begin + WRITTEN]]
        header = headers.sizes(chunk)
        length = header + chunk["size"]
        captured = np.minimum(length, snaplen)
        ends = np.cumsum(captured + 16)
        at = ends - captured - 16
        if len(buffer) < ends[-1]:
            buffer = np.empty(int(ends[-1] * 1.1), np.uint8)
        _fill(buffer[: ends[-1]], noise, int(random.integers(0, len(noise))))
        for message in np.unique(chunk["message"][chunk["message"] >= 0]):
            _say(buffer, library.messages[message], at + 16 + header, snaplen - header, chunk["message"] == message)
        for layout, those in headers.layouts(chunk):
            _head(buffer, layout, headers, chunk[those], at[those], length[those], captured[those])
        yield memoryview(buffer[: ends[-1]])


def _fill(buffer: np.ndarray, noise: np.ndarray, begin: int) -> None:
    """Random bytes everywhere: *noise* from *begin* on, again and again."""
    done = 0
    while done < len(buffer):
        part = noise[begin : begin + len(buffer) - done]
        buffer[done : done + len(part)] = part
        done, begin = done + len(part), 0


def _say(buffer: np.ndarray, message: Message, at: np.ndarray, room: np.ndarray, those: np.ndarray) -> None:
    """Put the fixed bytes of *message* at *at* of each of *those* packets, as far as it has *room*."""
    where = np.nonzero(np.frombuffer(message.known, np.uint8))[0]
    data = np.frombuffer(message.data, np.uint8)
    for size in np.unique(room[those]):
        kept = where[where < size]
        begins = at[those & (room == size)]
        buffer[begins[:, None] + kept] = data[kept]


def _head(
    buffer: np.ndarray, layout: Layout, headers: Headers, chunk: np.ndarray, at: np.ndarray, length: np.ndarray,
    captured: np.ndarray,
) -> None:  # fmt: skip
    """Put record headers and packet headers of one layout; the shortest capture length of them is never passed."""
    rows = headers.rows(layout, chunk)
    rows["record"]["second"], rows["record"]["micro"] = np.divmod(chunk["time"], SECOND)
    rows["record"]["captured"], rows["record"]["length"] = captured, length
    data = rows.view(np.uint8).reshape(len(rows), -1)
    data = data[:, : 16 + captured.min()]
    buffer[at[:, None] + np.arange(data.shape[1])] = data


def make(path: Path, options: Options) -> None:
    """Write a capture to *path*; a file of that name appears only when it is whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as out:
        for chunk in written(options):
            out.write(chunk)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a capture of made-up cluster traffic.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--packets", type=int, default=Options.packets)
    parser.add_argument("--flows", type=int, default=Options.flows)
    parser.add_argument("--snaplen", type=int, help="captured bytes of a packet; all without it")
    parser.add_argument("--link", choices=sorted(LINK_TYPES), default=Options.link)
    parser.add_argument("--vxlan", type=float, default=Options.vxlan, help="share of flows, if between nodes")
    parser.add_argument("--live", type=int, metavar="FLOWS", help="so many flows, all alive at once")
    parser.add_argument("--pods", type=int, default=Options.pods)
    parser.add_argument("--seed", type=int, default=Options.seed)
    given = vars(parser.parse_args())
    path, live = given.pop("path"), given.pop("live")
    options = Options(**given | ({"flows": live} if live else {}), live=live is not None)
    make(path, options)


if __name__ == "__main__":
    main()
