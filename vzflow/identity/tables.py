"""Intervals -> the small lookup tables that queries join; their columns are declared in `flow/lookups.py`."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from ipaddress import ip_network
from typing import Any, NamedTuple

import pyarrow as pa
from blake3 import blake3

from vzflow.flow.errors import UsageProblem
from vzflow.flow.key import address_key
from vzflow.flow.lookups import FOREVER, IDENTITY
from vzflow.identity.intervals import Interval
from vzflow.identity.party import Party, Traits, profile_of
from vzflow.identity.timeline import Timeline, timeline

#: Ranges that mean the same everywhere. Sources: RFC 1122 (0.0.0.0, 127/8), 4291 (::, ::1, fe80::/10, ff00::/8),
#: 3927 (169.254/16), 5771 (224/4), 919 (255.255.255.255), 1918 and 6598 (private, carrier NAT), 4193 (fc00::/7);
#: IANA's special-purpose registries for what is not globally reachable, and used inside: this network, benchmarking
#: (198.18/15), protocol assignments (192.0.0/24), class E (240/4, which clouds give to pods), discard (100::/64) and
#: the deprecated site-local (fec0::/10). The documentation ranges stand for public addresses, as in documentation.
WELL_KNOWN = (
    ("0.0.0.0/32", "link_local"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link_local"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "multicast"),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("100.64.0.0/10", "private"),
    ("0.0.0.0/8", "private"),
    ("192.0.0.0/24", "private"),
    ("198.18.0.0/15", "private"),
    ("240.0.0.0/4", "private"),
    ("100::/64", "private"),
    ("fec0::/10", "private"),
    ("::/128", "link_local"),
    ("::1/128", "loopback"),
    ("fe80::/10", "link_local"),
    ("ff00::/8", "multicast"),
    ("fc00::/7", "private"),
)


class Range(NamedTuple):
    """A configured range: what is not a pod, node or Service there goes by *name*."""

    name: str
    cidr: str


class _Block(NamedTuple):
    """One CIDR as integers of `address_key`; of equal blocks the one later in rank wins."""

    lo: int
    hi: int
    rank: int
    kind: str
    name: str


def tables(objects: pa.Table, clusters: Sequence[str], ranges: Iterable[Range] = ()) -> dict[str, pa.Table]:
    """
    Return every table of `flow.lookups.IDENTITY`, in its schema, sorted.

    Args:
        objects: Rows of `snapshot.OBJECT_SCHEMA`, of any number of snapshots; may be empty.
        clusters: Clusters of the flows to be classified: the well-known and configured ranges hold in each, also
            where no snapshot is.
        ranges: Configured ranges, the same for every cluster. The most specific range wins, and of equal ones the
            configured one.

    Raises:
        UsageProblem: A configured range is not a CIDR.
    """
    found = timeline(objects)
    everywhere = sorted({*clusters, *found.clusters})
    configured = list(ranges)
    named = {Traits(c, "range").party(f"range:{r.name}"): r.name for c in everywhere for r in configured}
    parties = {p.id: p for p in (*found.parties.values(), *named)}
    sets: dict[str, tuple[str, ...]] = {}
    address_range = [row for c in everywhere for row in _address_ranges(c, found, configured)]
    public = [row for c in everywhere for row in _public(c, found, configured, sets)]
    rows: dict[str, list[dict[str, Any]]] = {
        **_of_parties(parties.values(), found),
        "party_address_term": [
            {"party_id": party, "term": term}
            for party, term in (*found.terms, *((p.id, f"range:{name}") for p, name in named.items()))
        ],
        "pods_listed": [
            {"cluster": cluster, "listed_at": since, "known_until": until}
            for cluster, since, until in found.pods_listed
        ],
        "policy_known": [{"cluster": cluster} for cluster in found.policy_known],
        "holding": [
            {"cluster": cluster, "address": address} | _interval(i, sets)
            for (cluster, address), intervals in found.addresses.items()
            for i in intervals
        ],
        "endpoint": [
            {"cluster": key[0], "address": key[1], "protocol": key[2], "port": key[3]}
            | {"target_port": i.target_port, "service": i.service, "basis": i.basis}
            | _interval(i, sets)
            for key, intervals in found.endpoints.items()
            for i in intervals
        ],
        "named": [
            {"cluster": cluster, "key": key} | _interval(i, sets)
            for (cluster, key), intervals in found.names.items()
            for i in intervals
        ]
        + public,
        "contested": [
            {"cluster": cluster, "address": address, "valid_from": cut.since, "valid_to": cut.until}
            | {"lost": _without_uid(cut.lost), "kept": _without_uid(cut.kept)}
            for (cluster, address), cuts in found.cuts.items()
            for cut in cuts
        ],
        "set_member": [{"set_id": s, "party_id": party} for s, members in sets.items() for party in members],
        "address_range": address_range,
    }
    return {name: _sorted(rows[name], schema) for name, schema in IDENTITY.items()}


def _without_uid(holder: str) -> str:
    return holder.rpartition("/")[0]


def _sorted(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    table = pa.Table.from_pylist(rows, schema=schema)
    return table.sort_by([(name, "ascending") for name in schema.names])


def _interval(interval: Interval, sets: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    set_id = blake3("\n".join(interval.parties).encode()).hexdigest(8)
    sets[set_id] = interval.parties
    return {
        "valid_from": interval.since,
        "valid_to": interval.until,
        "known_until": interval.known_until,
        "set_id": set_id,
    }


def _of_parties(parties: Iterable[Party], found: Timeline) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {
        "party": [], "party_label": [], "party_capture": [], "party_policy": [], "party_port": [],
    }  # fmt: skip
    for party in parties:
        traits = party.traits
        one: Mapping[str, Any] = {"party_id": party.id}
        labels = None if traits.labels is None else json.dumps(dict(traits.labels), sort_keys=True)
        ports = traits.ports | found.ports.get(party.id, frozenset())
        rows["party"].append(
            {
                **one,
                "cluster": traits.cluster,
                "kind": traits.kind,
                "namespace": traits.namespace,
                "pod": party.name if traits.kind == "pod" else None,
                "workload": traits.workload,
                "workload_kind": traits.workload_kind,
                "service_account": traits.service_account,
                "labels": labels,
                "node": party.node,
                "in_mesh": traits.in_mesh,
                "host_network": traits.host_network,
                "profile": profile_of(ports, traits.capture, traits.policies) if traits.kind == "pod" else None,
                "masqueraded": traits.masqueraded,
            }
        )
        rows["party_port"] += [{**one, "protocol": p, "port": number, "role": role} for p, number, role in ports]
        rows["party_label"] += [{**one, "key": key, "value": value} for key, value in traits.labels or ()]
        rows["party_capture"] += [{**one, "port_lo": lo, "port_hi": hi, "proxy": by} for lo, hi, by in traits.capture]
        rows["party_policy"] += [
            {**one, "level": p.level, "port": p.port, "mode": p.mode, "name": p.name, "since": p.since}
            for p in traits.policies
        ]
    return rows


def _public(
    cluster: str, found: Timeline, configured: Iterable[Range], sets: dict[str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    """
    Return who may stand behind an address that a log only calls public, where the cluster is known at all.

    That is anybody outside, and whoever ever had such an address; a Service's initiates nothing. Where the cluster's
    own ranges are public it may be any pod, also one that no snapshot saw, and nothing is said.
    """
    own = [cidr for c, cidr, _, _ in found.ranges if c == cluster]
    known = any(p.traits.cluster == cluster for p in found.parties.values())
    if not known or any(_is_public(str(ip_network(cidr)[0])) for cidr in own):
        return []
    named = {f"range:{r.name}" for r in configured if _is_public(str(ip_network(r.cidr, strict=False)[0]))}
    holders: set[str] = set()
    for (its, address), intervals in found.addresses.items():
        if its == cluster and _is_public(address):
            holders.update(party for i in intervals for party in i.parties)
    rows = []
    for key, parties in (("from", {p for p in holders if found.parties[p].traits.kind != "service"}), ("to", holders)):
        set_id = f"public:{key}:{blake3(cluster.encode()).hexdigest(8)}"
        sets[set_id] = ("external", *sorted(named | parties))
        always = {"valid_from": 0, "valid_to": FOREVER, "known_until": None}
        rows.append({"cluster": cluster, "key": f"{key}:public", "set_id": set_id, **always})
    return rows


def _is_public(address: str) -> bool:
    key, inside = int(address_key(address), 16), _never_public()
    place = bisect_right(inside, (key, 1 << 128)) - 1
    return place < 0 or key > inside[place][1]


@cache
def _never_public() -> list[tuple[int, int]]:
    return [(lo, hi) for lo, hi, _ in _flattened(_block(cidr, 0, kind, cidr) for cidr, kind in WELL_KNOWN)]


def _address_ranges(cluster: str, found: Timeline, configured: Iterable[Range]) -> list[dict[str, Any]]:
    blocks = [_block(cidr, 0, kind, cidr) for cidr, kind in WELL_KNOWN]
    blocks += [_block(cidr, 1, kind, name) for c, cidr, kind, name in found.ranges if c == cluster]
    for each in configured:
        try:
            blocks.append(_block(each.cidr, 2, "named", each.name))
        except ValueError as error:
            what = f"{each.cidr!r} is not an address range"
            raise UsageProblem(what, at=f"range {each.name}", do="Write it as 10.0.0.0/8 or fd00::/8.") from error
    return [
        {"cluster": cluster, "lo": f"{lo:032x}", "hi": f"{hi:032x}", "kind": block.kind, "name": block.name}
        for lo, hi, block in _flattened(blocks)
    ]


def _block(cidr: str, rank: int, kind: str, name: str) -> _Block:
    network = ip_network(cidr, strict=False)
    lo, hi = (int(address_key(str(network[end])), 16) for end in (0, -1))
    return _Block(lo, hi, rank, kind, name)


def _flattened(blocks: Iterable[_Block]) -> list[tuple[int, int, _Block]]:
    """Return disjoint closed ranges in order, each with the most specific block over it. CIDRs nest or are disjoint."""
    pieces: list[tuple[int, int, _Block]] = []
    open_blocks: list[_Block] = []  # each inside the one before it
    at = 0

    def close_before(limit: int) -> None:
        nonlocal at
        while open_blocks and open_blocks[-1].hi < limit:
            block = open_blocks.pop()
            if at <= block.hi:
                pieces.append((at, block.hi, block))
                at = block.hi + 1
        if open_blocks and at < limit:
            pieces.append((at, limit - 1, open_blocks[-1]))
        at = limit

    for block in sorted(blocks, key=lambda b: (b.lo, -b.hi, b.rank, b.name)):
        close_before(block.lo)
        open_blocks.append(block)
    close_before(1 << 128)
    return pieces
