"""Which flow the IP fragments of a datagram belong to: only the first of them holds the ports."""

from __future__ import annotations

from collections import OrderedDict

from vzflow.readers.packet import FragmentId, Packet

#: Datagrams whose first fragment is remembered, and later fragments that wait for theirs.
MAX_FRAGMENTED = 65_536
MAX_WAITING = 4_096
#: Microseconds. Fragments of one datagram arrive within a minute, else the receiver drops them (RFC 8200 section 4.5).
FRAGMENT_LIFE = 60_000_000

#: A packet with its record number and its time: microseconds since 1970, or null.
Held = tuple[int, int | None, Packet]


class Fragments:
    """
    Gives later fragments the ports of their first, whichever came first.

    Both what is remembered and what waits is bounded: the oldest makes room.
    """

    def __init__(self) -> None:
        self._firsts: OrderedDict[FragmentId, tuple[int | None, Packet]] = OrderedDict()
        self._waiting: OrderedDict[FragmentId, list[Held]] = OrderedDict()
        self._count = 0

    def sort(self, record: int, time: int | None, packet: Packet) -> tuple[list[Held], list[Held]]:
        """
        Take a packet of any kind.

        Returns:
            Packets that can be counted now, and later fragments whose first was not captured and cannot be waited for.
        """
        if packet.part:
            known = self._known(packet, time)
            return ([], self._hold(record, time, packet)) if known is None else ([(record, time, known)], [])
        if packet.fragment is None:
            return [(record, time, packet)], []
        early = self._begin(time, packet)
        ready = [(late, then, _joined(part, packet)) for late, then, part in early if not _apart(then, time)]
        return [(record, time, packet), *ready], [held for held in early if _apart(held[1], time)]

    def left(self) -> list[Held]:
        """Return, and forget, every fragment that still waits."""
        found = [held for group in self._waiting.values() for held in group]
        self._waiting.clear()
        return sorted(found, key=lambda held: held[0])

    def _known(self, packet: Packet, time: int | None) -> Packet | None:
        if packet.fragment is None or packet.fragment not in self._firsts:
            return None
        began, first = self._firsts[packet.fragment]
        return None if _apart(began, time) else _joined(packet, first)

    def _begin(self, time: int | None, first: Packet) -> list[Held]:
        """Remember the first fragment of a datagram; return those that came before it."""
        assert first.fragment is not None
        self._firsts[first.fragment] = (time, first._replace(payload=b""))
        self._firsts.move_to_end(first.fragment)
        if len(self._firsts) > MAX_FRAGMENTED:
            self._firsts.popitem(last=False)
        early = self._waiting.pop(first.fragment, [])
        self._count -= len(early)
        return early

    def _hold(self, record: int, time: int | None, packet: Packet) -> list[Held]:
        """Keep a fragment until its first one comes; return those that had to make room for it."""
        if packet.fragment is None:
            return [(record, time, packet)]
        self._waiting.setdefault(packet.fragment, []).append((record, time, packet))
        self._count += 1
        if self._count <= MAX_WAITING:
            return []
        _, oldest = self._waiting.popitem(last=False)
        self._count -= len(oldest)
        return oldest


def _apart(one: int | None, other: int | None) -> bool:
    """Whether fragments of these times are of two datagrams that only share their identification."""
    return one is not None and other is not None and abs(one - other) > FRAGMENT_LIFE


def _joined(packet: Packet, first: Packet) -> Packet:
    if first.carrier:
        return packet._replace(key=first.key, length=0, payload_length=0, tunnel=first.tunnel)
    return packet._replace(key=first.key, tunnel=first.tunnel)
