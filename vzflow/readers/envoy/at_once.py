"""
Plain lines of one format, many at once.

What a line means is asked for once for each combination of what can matter: the texts, and of addresses and numbers
only what `flow_of` can tell apart (is it there, is it 0, is it of this host, which are equal, is it the port of
tunnels). The question is a line with stand-ins; where its flow has a stand-in, each row gets a value of its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from vzflow.flow.schema import FLOW_SCHEMA
from vzflow.flow.schema import TEXT as TEXT_TYPE
from vzflow.flow.terms import SkipReason
from vzflow.readers import bulk
from vzflow.readers.base import Parsed, Unusable
from vzflow.readers.bulk import ANSWER, MARK, MAX_HELD, Answers, Columns, Numbering, Words
from vzflow.readers.envoy.format import Field, TextLayout, absent, check_server_name
from vzflow.readers.envoy.line import KINDS_OF_CLUSTERS, PATHS, address_of, kind_of_cluster
from vzflow.readers.envoy.meaning import TUNNEL_PORT
from vzflow.readers.envoy.operators import COLUMNS, Shape
from vzflow.readers.envoy.template import text_of
from vzflow.readers.line_core import ADDRESS, COUNT, SKIP, TEXT, TIME, WHOLE, JsonLines, Lines, TextLines
from vzflow.readers.log_lines import invalid
from vzflow.readers.values import is_loopback

#: Columns that are read as numbers, and what stands in for one that is not 0.
_COUNTS = {"bytes_received": 1_000_003, "bytes_sent": 1_000_033, "duration": 1_000_037}
#: Of these only the kind matters; of an authority, whether it is a text (only a CONNECT request's says something).
_BY_KIND = ("upstream_cluster", "upstream_cluster_raw", "authority")
#: What stands in for each kind, a name of none and for no name.
_SHOWN_CLUSTERS = (*(kind or "?" for kind in KINDS_OF_CLUSTERS), None)
#: How fields are named that fill no column.
UNREAD = "#"
#: Not read in lines of text, where it is one: it only matters in a CONNECT request, whose line is left.
_UNREAD = (None, "authority")
#: Formats with one of these columns are not read at once: it may hold a time, an address, or quotes.
_FOREIGN = re.compile(r".*_port|.*_without_port|emit_time|x_forwarded_client_cert")

#: How lines begin that nobody takes for wrapped ones.
_NO_WRAPPING = re.compile(r"[a-z0-9.-]*[^a-z0-9.\-/{\[]")

_BEGIN = datetime(2001, 2, 3, tzinfo=UTC)
_DURATION = timedelta(milliseconds=_COUNTS["duration"])
#: Milliseconds after which it is not sure here that a time can hold the end.
_LONGEST = 10**13

#: The columns of a flow that are each row's own, by what they hold.
_IPS = ("initiator_ip", "responder_ip", "dialled_ip")
_PORTS = ("initiator_port", "responder_port", "dialled_port")
_BYTES = ("bytes_sent", "bytes_received", "payload_sent", "payload_received")
_TIMES = ("first_seen", "last_seen")

#: Source of a count that is 0 whatever was logged.
_ZERO = -1
#: What stands in place of an address: no column, nothing, a path, an IP address with a port, something else.
_MISSING, _NOTHING, _PATH, _IP, _OTHER = range(5)
#: Bits of a part of a combination, and what an address takes of one, by itself and by its number if it is this host's.
_BITS, _END_BITS, _OWN_BITS = 21, 7, 10

Texts = dict[str, str | None]


class EnvoyLines:
    """
    The Form of a format.

    Args:
        core: Takes the lines apart.
        kinds: Column -> what the core reads it as, in the order of its fields. The time is `start_time`. Names that
            begin with UNREAD are no columns, but may make a line one that is left.
        fixed: Columns whose value the format implies.
        said: (column, text as the core gives it) -> what it says. Raises Unusable.
        flow_of: Columns -> their flow, or why there is none. Raises Unusable.
    """

    def __init__(
        self,
        core: Lines,
        kinds: Mapping[str, int],
        fixed: Mapping[str, str | None],
        said: Callable[[str, bytes], str | None],
        flow_of: Callable[[Texts], Parsed],
    ) -> None:
        self.core = core
        self._fixed, self._said, self._flow_of = fixed, said, flow_of
        self._place = {name: place for place, name in enumerate(kinds)}
        self._addresses = [name for name, kind in kinds.items() if kind == ADDRESS]
        self._counts = [name for name, kind in kinds.items() if kind == COUNT]
        self._texts = [name for name, kind in kinds.items() if kind == TEXT]
        self.forget()

    def forget(self) -> None:
        self._held = 0
        self._stages: list[Numbering] = []
        self._answers = Answers()
        self._ips = _Ips()
        self._ends = _OfCodes((-1, 0, _MISSING))
        self._kinds = {n: _OfCodes((0,)) for n in self._texts if n in _BY_KIND or n.startswith(UNREAD)}

    def fits(self) -> Words:
        fits: Words = self.core.number(self._place["start_time"])[1] == WHOLE
        return fits

    def columns(self, rows: Words) -> tuple[Columns, Words]:
        if self._held > MAX_HELD:
            self.forget()
        found = self._found(rows)
        good = found.good(self._counts)
        if not good.any():
            return {}, good
        found = found.only(good)
        numbers, new = self._combinations(found)
        if len(new):
            self._answers.add([self._answer(found.of(place)) for place in new.tolist()])
        says = self._answers.good(numbers)
        good[good] = says
        found, numbers = found.only(says), numbers[says]
        columns = self._answers.columns(numbers)
        marks = self._answers.marks(numbers)
        for name in (*_IPS, *_PORTS, *_BYTES, *_TIMES):
            if MARK + name in marks:
                columns[name] = self._own(name, marks[MARK + name], found)
        return columns, good

    def _found(self, rows: Words) -> _Found:
        codes = [self._codes(name, rows) for name in self._texts]
        counts = [[part[rows] for part in self.core.number(self._place[name])] for name in self._counts]
        ends = [self._end(name, rows) for name in self._addresses]
        values, states = _table(counts, 2, len(rows))
        kinds, ips, ports, owns = _table(ends, 4, len(rows))
        begins = self.core.number(self._place["start_time"])[0][rows]
        return _Found(np.array(codes, np.int64).reshape(-1, len(rows)), values, states, kinds, ips, ports, owns, begins)

    def _codes(self, name: str, rows: Words) -> Words:
        """Return the number of a text in each row; of a cluster's name, of its kind; -1 is no such text."""
        codes: Words
        codes, texts = self.core.text(self._place[name])
        if name in self._kinds:
            return self._kinds[name].of(codes[rows], texts, partial(self._kind_of, name))[0]
        return codes[rows]

    def _kind_of(self, name: str, text: bytes) -> tuple[int]:
        try:
            said = self._said(name, text)
        except Unusable:
            return (-1,)
        if name not in _BY_KIND:
            return (1,)
        return (len(_SHOWN_CLUSTERS) if said is None else KINDS_OF_CLUSTERS.index(kind_of_cluster(said)) + 1,)

    def _end(self, name: str, rows: Words) -> tuple[Words, ...]:
        """Return of an address in each row what it is, the number of its IP, its port, and its number if it is own."""
        (codes, texts), (ports, states) = self.core.text(self._place[name]), self.core.number(self._place[name])
        split = states[rows] == WHOLE
        ips, owns, others = self._ends.of(codes[rows], texts, partial(self._of_end, name))
        kinds = np.where(split, np.where(ips >= 0, _IP, _OTHER), others)
        return kinds, np.where(split, ips, -1), ports[rows], np.where(split, owns, 0)

    def _of_end(self, name: str, text: bytes) -> tuple[int, int, int]:
        """Return what a text says if a port follows it (IP, number if it is own), and what it is if none does."""
        with suppress(ValueError):
            ip, own = self._ips.of(address_of(text.decode() + ":1").ip)
            if ip >= 0:
                return ip, own, _OTHER
        with suppress(Unusable, ValueError):  # what is before a port is no JSON
            said = self._said(name, text)
            if said is None or said.startswith(PATHS):
                return -1, 0, _NOTHING if said is None else _PATH
        return -1, 0, _OTHER

    def _combinations(self, found: _Found) -> tuple[Words, Words]:
        """Return the number of each row's combination, and the rows where a new one comes first."""
        parts = [*found.codes, _packed(found.of_counts(), 2)]
        for table, bits in ((found.of_ends(), _END_BITS), (found.owns, _OWN_BITS)):
            many = _BITS // bits
            parts += [_packed(table[first : first + many], bits) for first in range(0, len(table), many)]
        while len(parts) % 2 == 0:
            parts.append(np.zeros(len(found.begins), np.int64))
        numbers, new = parts[0], np.zeros(0, np.int64)
        for stage in range(len(parts) // 2):
            if stage == len(self._stages):
                self._stages.append(Numbering())
            key = numbers << 2 * _BITS | parts[2 * stage + 1] << _BITS | parts[2 * stage + 2]
            numbers, new = self._stages[stage].of(key)
        return numbers, new

    def _answer(self, one: _Found) -> Mapping[str, Any] | None:
        """Return what a line like *one* says: columns, and marks for those that are each row's own."""
        self._held += ANSWER
        try:
            columns = self._stand_in(one)
            self._held += sum(len(text or "") for text in columns.values())
            if columns.get("method") == "CONNECT":
                return None
            flow = self._flow_of(columns)
            return _marked(flow, self._sources(one)) if isinstance(flow, dict) else None
        except Unusable:
            return None

    def _stand_in(self, one: _Found) -> Texts:
        columns: Texts = {"start_time": _BEGIN.isoformat(), **self._fixed}
        for name, code in zip(self._texts, one.codes.tolist(), strict=True):
            if name in _BY_KIND:
                columns |= {name: _SHOWN_CLUSTERS[code - 1]} if code else {}
            elif code and not name.startswith(UNREAD):
                columns[name] = self._said(name, self.core.text(self._place[name])[1][code - 1])
        for name, state, value in zip(self._counts, one.states.tolist(), one.values.tolist(), strict=True):
            if state:
                columns[name] = None if state != WHOLE else str(_COUNTS[name] if value else 0)
        for place, (name, kind) in enumerate(zip(self._addresses, one.kinds.tolist(), strict=True)):
            if kind != _MISSING:
                columns[name] = {_NOTHING: None, _PATH: PATHS[0]}.get(kind, self._shown(one, place))
        return columns

    def _shown(self, one: _Found, place: int) -> str:
        ip, port = self._stand_in_end(one, place)
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

    def _stand_in_end(self, one: _Found, place: int) -> tuple[str, int]:
        """Return the IP and port that stand in: an own IP for itself, equal ones for equal ones."""
        ip, port = int(one.ips[place]), int(one.ports[place])
        first = one.ips.tolist().index(ip)
        return (
            self._ips.texts[ip] if one.owns[place] else f"198.18.0.{first + 1}",
            port if port in (0, TUNNEL_PORT) else 40_001 + place,
        )

    def _sources(self, one: _Found) -> dict[str, dict[Any, int]]:
        """Return of each kind of own column what stands in, and from 1 the place where each row's value is."""
        ends = [(place, *self._stand_in_end(one, place)) for place in np.flatnonzero(one.kinds == _IP).tolist()]
        counts = {
            _COUNTS[name] if value else 0: place + 1
            for place, (name, state, value) in enumerate(zip(self._counts, one.states, one.values, strict=True))
            if state == WHOLE and name != "duration"
        }
        counts.setdefault(0, _ZERO)
        ips = {ip: place + 1 for place, ip, _ in ends}
        ports = {port: place + 1 for place, _, port in ends}
        times = {_BEGIN: 1, _BEGIN + _DURATION * bool(one.lasts(self._counts)): 2}
        stands = ((_IPS, ips), (_PORTS, ports), (_BYTES, counts), (_TIMES, times))
        return {name: places for names, places in stands for name in names}

    def _own(self, name: str, sources: Words, found: _Found) -> pa.Array:
        """Return a column of which each row has its own value, taken from one of several sources; 0 is null."""
        kind, at = FLOW_SCHEMA.field(name).type, np.arange(len(sources))
        if name in _TIMES:
            lasts = found.lasts(self._counts)
            return pa.array(found.begins + np.where(sources == 2, lasts * 1000, 0), mask=sources == 0).cast(kind)
        table = found.ips if name in _IPS else found.ports if name in _PORTS else found.values
        values = table[np.maximum(sources - 1, 0), at] if len(table) else np.zeros(len(at), np.int64)
        if name in _IPS:
            return self._ips.column(np.where(sources > 0, values, -1))
        return pa.array(np.where(sources == _ZERO, 0, values), mask=sources == 0).cast(kind)


class _Found(NamedTuple):
    """
    What stands in rows, or in one: of each text its number, of each count its value and what it is, of each address
    what it is, the number of its IP (or -1), its port, and its own number if it is this host's; then the time.
    """

    codes: Words
    values: Words
    states: Words
    kinds: Words
    ips: Words
    ports: Words
    owns: Words
    begins: Words

    def of(self, rows: Any) -> _Found:  # noqa: ANN401 - one row, or several
        return _Found(*(part[..., rows] for part in self))

    def only(self, good: Words) -> _Found:
        return self if good.all() else self.of(np.flatnonzero(good))

    def good(self, counts: list[str]) -> Words:
        good: Words = (self.codes >= 0).all(0) & (self.kinds != _OTHER).all(0) & (self.owns >= 0).all(0)
        return good & (self.lasts(counts) < _LONGEST)

    def lasts(self, counts: list[str]) -> Words:
        """Return the durations, in milliseconds."""
        lasts: Words = self.values[counts.index("duration")] if "duration" in counts else np.zeros_like(self.begins)
        return lasts

    def of_counts(self) -> Words:
        """Return what matters of the counts."""
        return np.where(self.states == WHOLE, np.where(self.values == 0, 2, 3), self.states)

    def of_ends(self) -> Words:
        """Return what matters of the addresses: what they are, which of the ports that matter, and which are equal."""
        ports = np.where(self.ports == 0, 0, np.where(self.ports == TUNNEL_PORT, 1, 2))
        first = np.zeros_like(self.ips)
        for place in range(len(self.ips)):
            for before in reversed(range(place + 1)):
                first[place] = np.where(self.ips[before] == self.ips[place], before, first[place])
        said: Words = self.kinds | ports << 2 | np.where(self.kinds == _IP, first, 0) << 4
        return said


class _OfCodes:
    """What numbered texts say, as numbers: asked once for each."""

    def __init__(self, nothing: tuple[int, ...]) -> None:
        self._known = [nothing]
        self._table: Words = np.array(self._known, np.int64)

    def of(self, codes: Words, texts: list[bytes], ask: Callable[[bytes], tuple[int, ...]]) -> list[Words]:
        """Return the parts of what the texts of *codes* say; 0 is no text."""
        if len(texts) >= len(self._known):
            self._known += [ask(text) for text in texts[len(self._known) - 1 :]]
            self._table = np.array(self._known, np.int64)
        return list(self._table[codes].T)


class _Ips:
    """Canonical IP addresses, numbered from 0; those of the host itself also from 1, -1 if they are too many."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, tuple[int, int]] = {}
        self._owns = 0
        self._column = pa.array([], TEXT_TYPE)

    def of(self, ip: str | None) -> tuple[int, int]:
        if ip is None:
            return -1, 0
        if ip not in self._numbers:
            own = 0
            if is_loopback(ip):
                self._owns += 1
                own = self._owns if self._owns < 1 << _OWN_BITS else -1
            self._numbers[ip] = len(self.texts), own
            self.texts.append(ip)
        return self._numbers[ip]

    def column(self, numbers: Words) -> pa.Array:
        """Return the addresses by their numbers, null for -1."""
        if len(self._column) != len(self.texts):
            self._column = pa.array(self.texts, TEXT_TYPE)
        return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32), mask=numbers < 0), self._column)


def _table(fields: Sequence[Sequence[Words]], parts: int, rows: int) -> list[Words]:
    """Return of each part of the fields a table, a row of it for each field."""
    return [np.array([field[part] for field in fields], np.int64).reshape(-1, rows) for part in range(parts)]


def _packed(parts: Words, bits: int) -> Words:
    packed: Words = np.zeros(parts.shape[1:], np.int64)
    for part in parts:
        packed = packed << bits | part
    return packed


def _marked(flow: Mapping[str, Any], sources: Mapping[str, Mapping[Any, int]]) -> Mapping[str, Any] | None:
    """Return a flow with marks for the columns that are each row's own; null if one holds what stands for nothing."""
    said: dict[str, Any] = {}
    for name, value in flow.items():
        if name not in sources:
            said[name] = value
        elif value is not None and value not in sources[name]:
            return None
        else:
            said[MARK + name] = 0 if value is None else sources[name][value]
    return said


# -- of text --------------------------------------------------------------------------------------------------------


def form_of_text(layout: TextLayout, flow_of: Callable[[Texts], Parsed], wrapping: bytes = b"") -> EnvoyLines | None:
    """Return how plain lines of *layout* are read at once, in the *wrapping* of `Lines`; null if they are not."""
    parts = layout.plain
    if parts is None or "start_time" not in layout.columns or parts.clocks:
        return None
    if any(_FOREIGN.fullmatch(column) for column in layout.columns):
        return None
    times = [field.shape is Shape.TIME for field in parts.fields]
    if sum(times) > 1 or not (wrapping or _NO_WRAPPING.match(parts.first) or (parts.first == "[" and times[0])):
        return None
    befores = (parts.first, *parts.literals)
    kinds = {
        field.column or f"{UNREAD}{place}": _kind(field, quoted=before.endswith('"') and after.startswith('"'))
        for place, (field, before, after) in enumerate(zip(parts.fields, befores, parts.literals, strict=False))
    }
    patterns = {
        name: re.compile(field.printed.encode(), re.ASCII) for name, field in zip(kinds, parts.fields, strict=True)
    }

    def said(name: str, text: bytes) -> str | None:
        if not patterns[name].fullmatch(text):
            raise invalid(name, text.decode())
        if name == "requested_server_name":
            check_server_name(text)
        return absent(text.decode())

    fields = [(kind, literal.encode()) for kind, literal in zip(kinds.values(), parts.literals, strict=True)]
    core = TextLines(os.urandom(8), parts.first.encode(), fields, bulk.ROWS, wrapping=wrapping)
    return EnvoyLines(core, kinds, layout.fixed, said, flow_of)


def _kind(field: Field, *, quoted: bool) -> int:
    """Return what a field is read as; what is not read is passed over if it may be whatever the core passes over."""
    if field.column in _COUNTS:
        return COUNT
    if field.shape is Shape.TIME:
        return TIME
    if field.column is not None and field.shape is Shape.ADDRESS:
        return ADDRESS
    unread = field.column in _UNREAD
    word = field.shape in (Shape.CHOSEN, Shape.TOKEN) and not quoted
    return SKIP if unread and (field.shape is Shape.FREE or word) else TEXT


# -- of JSON --------------------------------------------------------------------------------------------------------

#: Keys with which a JSON line is left: what is wrapped, of a shipper, a message of several, or has other addresses.
_FOREIGN_KEYS = (
    "kubernetes", "log", "httpLogs", "http_logs", "tcpLogs", "tcp_logs", "resourceLogs", "x_forwarded_client_cert",
    *sorted(column for column in COLUMNS if _FOREIGN.fullmatch(column)),
)  # fmt: skip


def form_of_json(flow_of: Callable[[Texts], Parsed], wrapping: bytes = b"") -> EnvoyLines:
    """Return how plain lines in Istio's JSON keys are read at once, in the *wrapping* of `Lines`."""
    kinds = {name: _kind_of_key(name) for name in sorted(COLUMNS - {*_FOREIGN_KEYS})}
    kinds |= dict.fromkeys(_FOREIGN_KEYS, TEXT)

    def flow(columns: Texts) -> Parsed:
        return SkipReason.NOT_ACCESS_LOG if columns.keys() & set(_FOREIGN_KEYS) else flow_of(columns)

    core = JsonLines(os.urandom(8), list(kinds.items()), bulk.ROWS, once=True, wrapping=wrapping)
    return EnvoyLines(core, kinds, {}, lambda name, text: text_of(name, json.loads(text)), flow)


def _kind_of_key(name: str) -> int:
    if name == "start_time":
        return TIME
    return COUNT if name in _COUNTS else ADDRESS if name.endswith("_address") or name == "upstream_host" else TEXT
