"""Which packets of a capture a flow is made of: noted by the packet core itself, while it counts them once more."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vzflow.flow.key import FlowKey
from vzflow.readers.packet_core import BASES

_FIRST_SEEN = BASES.index("first_seen")


@dataclass(frozen=True)
class Traced:
    """
    The packets behind one row, as numbers in their capture, from 1.

    Args:
        packets: Those that were counted to it, copies included, in the order of counting.
        opener: An earlier packet of the same 5-tuple by which its initiator is known; null if its own show it.
        mixing: A packet of another flow by which the capture is known to mix loopback with unmarked interfaces; null if
            that does not matter here.
    """

    packets: array[int]
    opener: int | None = None
    mixing: int | None = None

    @property
    def needed(self) -> set[int]:
        """All packets without which the row would be another one."""
        return {*self.packets, *(n for n in (self.opener, self.mixing) if n is not None)}


@dataclass
class _Row:
    """What was told of a key since its last row."""

    packets: array[int] = field(default_factory=lambda: array("q"))
    opening: int = 0
    opener: int | None = None


class Trace:
    """
    Collects the packets of some rows of a capture.

    Args:
        rows: The recorded columns of rows whose source is a capture.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        wanted: dict[FlowKey, set[int]] = {}
        for row in rows:
            wanted.setdefault(_key(row), set()).add(row["record"])
        # A row is found under its ends, whichever of them opened.
        self.keys = list({frozenset((key, key.reverse())): key for key in wanted}.values())
        self._wanted = set().union(*wanted.values())
        self._open = [_Row() for _ in self.keys]
        #: By `record` of the row.
        self.found: dict[int, Traced] = {}

    @property
    def complete(self) -> bool:
        return len(self.found) == len(self._wanted)

    def tell(self, place: int, record: int, first: int, opening: int, basis: int, inherited: bool, mixing: int) -> None:
        """Take what the core tells (`Core.trace`)."""
        row = self._open[place]
        if record:
            row.packets.append(record)
            if opening and not inherited and opening != row.opening:
                row.opener = record
            row.opening = opening
            return
        if basis == _FIRST_SEEN and not inherited:
            row.opener = row.packets[0]
        if first in self._wanted:
            self.found[first] = Traced(row.packets, row.opener if inherited else None, mixing or None)
        self._open[place] = _Row(opener=row.opener)


def _key(row: Mapping[str, Any]) -> FlowKey:
    ends = (row["initiator_ip"], row["initiator_port"] or 0, row["responder_ip"], row["responder_port"] or 0)
    return FlowKey(row["protocol"], *ends, row["via"])
