"""Rows of the packet core -> a batch of flows, a column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vzflow.flow.batch import batch_of_columns, numbered
from vzflow.flow.schema import COUNT, FLOW_SCHEMA, PORT, TEXT, TIME
from vzflow.flow.terms import Action, Hop, Reporter, Source, Transport, TransportBasis
from vzflow.readers.base import Context
from vzflow.readers.packet_core import BASES, HOPS, KEY_FIELDS, ROW_FIELDS, STATES, Core, protocol_name
from vzflow.readers.payload.facts import Facts

_Words = npt.NDArray[Any]
_KEY = np.dtype([(name, "u8") for name in KEY_FIELDS])
_ROW = np.dtype([(name, "i8") for name in ROW_FIELDS])
_TCP, _UDP, _SCTP = 6, 17, 132
_OCTETS = pa.array([str(n) for n in range(256)], TEXT)
#: Columns that are taken from the facts as they are.
_OF_FACTS = ("app_protocol", "tls_version", "tls_sni", "tls_alpn", "tls_resumed", "client_certificate")


def batch_of(core: Core, context: Context) -> pa.RecordBatch:
    """Return the rows that wait in *core* as one batch of FLOW_SCHEMA. At least one must wait."""
    key_memory, row_memory = core.row_memory
    keys, rows = np.frombuffer(key_memory, _KEY), np.frombuffer(row_memory, _ROW)
    second = rows["opener"] == 1
    protocol = (keys["ports"] >> 16 & 0xFFFF).astype(np.int32)
    columns = _constants(context, len(rows))
    columns |= _ends(keys, protocol, second)
    columns |= _counts(rows, protocol, second, core.blind_flag)
    columns |= _protection(core, rows, second)
    columns |= {
        "record": pa.array(rows["record"], COUNT),
        "first_seen": _times(rows["first"]),
        "last_seen": _times(rows["last"]),
        "protocol": _named(protocol, protocol_name),
        "via": _named((keys["ports"] & 0xFFFF).astype(np.int32), core.via_name),
        "initiator_basis": _picked(BASES, rows["basis"]),
        "connection_state": _picked(STATES, rows["state"]),
        "hop": _picked(HOPS, rows["hop"]),
    }
    return batch_of_columns(columns, len(rows))


def _constants(context: Context, count: int) -> dict[str, pa.Array]:
    texts = {
        "segment": context.segment, "source": Source.PCAP.value, "reporter": Reporter.TAP.value,
        "reporter_name": context.reporter_name, "cluster": context.cluster, "action": Action.UNKNOWN.value,
    }  # fmt: skip
    return {name: numbered([text], np.zeros(count, np.int32)) for name, text in texts.items()} | {
        "connections": pa.repeat(pa.scalar(1, COUNT), count)
    }


def _ends(keys: _Words, protocol: _Words, second: _Words) -> dict[str, pa.Array]:
    portless = ~np.isin(protocol, (_TCP, _UDP, _SCTP))
    one, two = (keys["ports"] >> 48).astype(np.int32), (keys["ports"] >> 32 & 0xFFFF).astype(np.int32)
    high = np.concatenate(
        [np.where(second, keys["high1"], keys["high0"]), np.where(second, keys["high0"], keys["high1"])]
    )
    low = np.concatenate([np.where(second, keys["low1"], keys["low0"]), np.where(second, keys["low0"], keys["low1"])])
    addresses = _addresses(high, low)
    return {
        "initiator_ip": addresses[: len(keys)],
        "initiator_port": pa.array(np.where(second, two, one), PORT, mask=portless),
        "responder_ip": addresses[len(keys) :],
        "responder_port": pa.array(np.where(second, one, two), PORT, mask=portless),
    }


def _addresses(high: _Words, low: _Words) -> pa.Array:
    """Return canonical text of addresses given as two words each; IPv4 comes as its IPv4-mapped form."""
    four = (high == 0) & (low >> 32 == 0xFFFF)
    if four.all():
        numbers, place = np.unique(low.astype(np.uint32), return_inverse=True)
        return pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), _dotted(numbers))
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    begins = np.flatnonzero(np.concatenate([[True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])]))
    place = np.empty(len(order), np.int64)
    place[order] = np.repeat(np.arange(len(begins)), np.diff([*begins, len(order)]))
    dotted = _dotted(low[begins].astype(np.uint32)).to_pylist()
    texts = [
        dotted[i] if mapped else _six(int(high[at]), int(low[at]))
        for i, (at, mapped) in enumerate(zip(begins, four[order][begins], strict=True))
    ]
    return numbered(texts, place)


@lru_cache(1 << 16)
def _six(high: int, low: int) -> str:
    return str(IPv6Address(high << 64 | low))


def _dotted(numbers: _Words) -> pa.Array:
    octets = [_OCTETS.take(pa.array(numbers >> shift & 0xFF)) for shift in (24, 16, 8, 0)]
    return pc.binary_join_element_wise(*octets, ".")


def _counts(rows: _Words, protocol: _Words, second: _Words, blind_flag: int) -> dict[str, pa.Array]:
    # Other protocols have no payload that could be protected; of a packet cut inside its header it is not known.
    unknown = ((protocol != _TCP) & (protocol != _UDP)) | (rows["flags"] & blind_flag != 0)
    columns = {"duplicates": pa.array(rows["duplicates"], COUNT)}
    for what in ("packets", "bytes", "payload"):
        one, two = rows[f"{what}0"], rows[f"{what}1"]
        mask = unknown if what == "payload" else None
        columns[f"{what}_sent"] = pa.array(np.where(second, two, one), COUNT, mask=mask)
        columns[f"{what}_received"] = pa.array(np.where(second, one, two), COUNT, mask=mask)
    return columns


def _protection(core: Core, rows: _Words, second: _Words) -> dict[str, pa.Array]:
    """Most flows share what is known of them: texts are made once for all that have the same facts and hop."""
    distinct, place = np.unique(rows["facts"] * len(HOPS) + rows["hop"], return_inverse=True)
    known = [(core.facts_of(code // len(HOPS)), HOPS[code % len(HOPS)]) for code in distinct.tolist()]
    seen = [_as_seen(facts, hop) for facts, hop in known]
    made = {name: [getattr(facts, name) for facts, _ in known] for name in _OF_FACTS}
    made |= {"transport_seen": [transport for transport, _ in seen], "transport_seen_basis": [why for _, why in seen]}
    columns = {
        name: numbered(values, place) if FLOW_SCHEMA.field(name).type == TEXT
        else pa.array(values, FLOW_SCHEMA.field(name).type).take(pa.array(place))
        for name, values in made.items()
    }  # fmt: skip
    sides = [[facts.principals[side] for facts, _ in known] for side in (0, 1)]
    # Twice as many as there are facts: as they are, and turned round.
    turned = place + len(known) * second
    columns["initiator_principal"] = numbered(sides[0] + sides[1], turned)
    columns["responder_principal"] = numbered(sides[1] + sides[0], turned)
    return columns


def _as_seen(facts: Facts, hop: str) -> tuple[Transport, TransportBasis]:
    """Clear text proves something about the wire only where it was seen on the wire."""
    if hop == Hop.WIRE:
        return facts.transport, facts.basis
    if hop == Hop.OUTER_TUNNEL:
        return Transport.UNKNOWN, TransportBasis.TUNNEL
    if facts.transport is not Transport.PLAINTEXT:
        return facts.transport, facts.basis
    return Transport.UNKNOWN, TransportBasis.HOP_UNCERTAIN if hop == Hop.MIXED else TransportBasis.NOT_ON_WIRE


def _times(micros: _Words) -> pa.Array:
    return pa.array(micros, COUNT, mask=micros < 0).cast(TIME)


def _picked(names: Sequence[str | None], codes: _Words) -> pa.Array:
    return numbered(names, codes)


def _named(numbers: _Words, name: Any) -> pa.Array:  # noqa: ANN401 - a function of one of the numbers
    distinct, place = np.unique(numbers, return_inverse=True)
    return numbered([name(int(n)) for n in distinct], place)
