"""Intervals -> the small lookup tables that queries join; their columns are declared in `flow/lookups.py`."""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from heapq import merge
from ipaddress import ip_network
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
from blake3 import blake3

from vzflow.flow.errors import UsageProblem
from vzflow.flow.key import address_key
from vzflow.flow.lookups import FOREVER, IDENTITY
from vzflow.identity.columns import repeated, table
from vzflow.identity.party import Labels, Party, Ports, Profile, Traits
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


Row = tuple[Any, ...]

_NO_PORTS: Ports = frozenset()


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


def tables(
    objects: pa.Table | Iterable[pa.RecordBatch], clusters: Sequence[str], ranges: Iterable[Range] = ()
) -> dict[str, pa.Table]:
    """
    Return every table of `flow.lookups.IDENTITY`, in its schema, sorted.

    Args:
        objects: Rows of `snapshot.OBJECT_SCHEMA`, of any number of snapshots; may be empty. As batches they need not
            all be in memory.
        clusters: Clusters of the flows to be classified: the well-known and configured ranges hold in each, also
            where no snapshot is.
        ranges: Configured ranges, the same for every cluster. The most specific range wins, and of equal ones the
            configured one.

    Raises:
        UsageProblem: A configured range is not a CIDR.
    """
    with _acyclic():
        return _tables(timeline(objects), clusters, list(ranges))


@contextmanager
def _acyclic() -> Iterator[None]:
    """
    Let nobody look for cycles meanwhile.

    Looking for them again and again among objects that all stay took a third of the time; and there are none.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _tables(found: Timeline, clusters: Sequence[str], configured: list[Range]) -> dict[str, pa.Table]:
    everywhere = sorted({*clusters, *found.clusters})
    named = {Traits(c, "range").party(f"range:{r.name}"): r.name for c in everywhere for r in configured}
    sets = _Sets()
    made = _of_parties([*found.parties.values(), *named], found.ports) | {
        "party_address_term": sorted({*found.terms, *((party.id, f"range:{name}") for party, name in named.items())}),
        "pods_listed": sorted(found.pods_listed),
        "policy_known": sorted((cluster,) for cluster in found.policy_known),
        "unmasqueraded": sorted(found.unmasqueraded),
        "contested": sorted(
            (*key, cut.since, cut.until, _without_uid(cut.lost), _without_uid(cut.kept))
            for key, cuts in found.cuts.items()
            for cut in cuts
        ),
        "address_range": sorted(row for c in everywhere for row in _address_ranges(c, found, configured)),
        "holding": (
            (*key, i.since, i.until, i.known_until, sets.id_of(i.parties))
            for key in sorted(found.addresses)
            for i in found.addresses.pop(key)
        ),
        "endpoint": (
            (*key, i.since, i.until, i.known_until, sets.id_of(i.parties), i.target_port, i.service, i.basis)
            for key in sorted(found.endpoints)
            for i in found.endpoints.pop(key)
        ),
        "named": merge(
            (
                (*key, i.since, i.until, i.known_until, sets.id_of(i.parties))
                for key in sorted(found.names)
                for i in found.names.pop(key)
            ),
            sorted(row for c in everywhere for row in _public(c, found, configured, sets)),
            key=itemgetter(0, 1),
        ),
    }
    done = {name: table(IDENTITY[name], rows) for name, rows in made.items()}
    return done | {"set_member": repeated(IDENTITY["set_member"], sets.all())}


def _of_parties(parties: Iterable[Party], led_to: Mapping[str, Ports]) -> dict[str, Iterable[Row]]:
    """Return the rows that say something of each party; what many have in common is found once."""
    rows: dict[str, Row] = {}
    labelled: dict[str, Labels] = {}
    profiles: dict[str, Profile] = {}
    known: dict[tuple[Traits, Ports], str] = {}  # the profiles of pods
    for party in parties:
        traits = party.traits
        label_set, labels = traits.label_set
        labelled.setdefault(label_set or party.id, traits.labels or ())
        key = (traits, led_to.get(party.id, _NO_PORTS))
        if (profile := known.get(key)) is None:
            said = Profile(traits.ports | key[1], traits.capture, traits.policies)
            profile = said.id if traits.kind == "pod" else party.id
            profiles.setdefault(profile, said)
            if traits.kind == "pod":
                known[key] = profile
        rows[party.id] = (
            party.id, traits.cluster, traits.kind, traits.namespace, party.name if traits.kind == "pod" else None,
            traits.workload, traits.workload_kind, traits.service_account, labels, party.node, traits.in_mesh,
            traits.host_network, label_set or party.id, profile, traits.masqueraded, traits.masqueraded_to_nodes,
        )  # fmt: skip
    return {
        "party": (rows.pop(party_id) for party_id in sorted(rows)),
        "party_label": sorted((name, *label) for name, labels in labelled.items() for label in labels),
        "party_port": sorted((name, *port) for name, said in profiles.items() for port in said.ports),
        "party_capture": sorted((name, *taken) for name, said in profiles.items() for taken in said.capture),
        "party_policy": sorted(
            (
                (name, p.level, p.port, p.mode, p.name, p.since)
                for name, said in profiles.items()
                for p in said.policies
            ),
            key=lambda row: (*row[:2], row[2] is None, row[2] or 0, *row[3:]),
        ),
    }


def _without_uid(holder: str) -> str:
    return holder.rpartition("/")[0]


class _Sets:
    """The sets of parties that stand somewhere, by ids that are the same in every run."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, ...], str] = {}
        self._named: list[tuple[str, tuple[str, ...]]] = []

    def id_of(self, parties: tuple[str, ...]) -> str:
        """Return the id that *parties* come to; they are sorted."""
        if (set_id := self._ids.get(parties)) is None:
            set_id = self._ids[parties] = blake3("\n".join(parties).encode()).hexdigest(8)
        return set_id

    def name(self, set_id: str, parties: Iterable[str]) -> str:
        """Give a set an id of its own."""
        self._named.append((set_id, tuple(sorted(parties))))
        return set_id

    def all(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return (id, members) of those so far, in order."""
        return sorted([*self._named, *((set_id, own) for own, set_id in self._ids.items())])


def _public(cluster: str, found: Timeline, configured: Iterable[Range], sets: _Sets) -> Iterator[Row]:
    """
    Yield who may stand behind an address that a log only calls public, where the cluster is known at all.

    That is anybody outside, and whoever ever had such an address; a Service's initiates nothing. Where the cluster's
    own ranges are public it may be any pod, also one that no snapshot saw, and nothing is said.
    """
    own = [cidr for c, cidr, _, _ in found.ranges if c == cluster]
    known = any(p.traits.cluster == cluster for p in found.parties.values())
    if not known or any(_is_public(str(ip_network(cidr)[0])) for cidr in own):
        return
    named = {f"range:{r.name}" for r in configured if _is_public(str(ip_network(r.cidr, strict=False)[0]))}
    holders: set[str] = set()
    for (its, address), intervals in found.addresses.items():
        if its == cluster and _is_public(address):
            holders.update(party for i in intervals for party in i.parties)
    for key, parties in (("from", {p for p in holders if found.parties[p].traits.kind != "service"}), ("to", holders)):
        set_id = f"public:{key}:{blake3(cluster.encode()).hexdigest(8)}"
        yield cluster, f"{key}:public", 0, FOREVER, None, sets.name(set_id, {"external", *named, *parties})


def _is_public(address: str) -> bool:
    key, inside = int(address_key(address), 16), _never_public()
    place = bisect_right(inside, (key, 1 << 128)) - 1
    return place < 0 or key > inside[place][1]


@cache
def _never_public() -> list[tuple[int, int]]:
    return [(lo, hi) for lo, hi, _ in _flattened(_block(cidr, 0, kind, cidr) for cidr, kind in WELL_KNOWN)]


def _address_ranges(cluster: str, found: Timeline, configured: Iterable[Range]) -> Iterator[Row]:
    blocks = [_block(cidr, 0, kind, cidr) for cidr, kind in WELL_KNOWN]
    blocks += [_block(cidr, 1, kind, name) for c, cidr, kind, name in found.ranges if c == cluster]
    for each in configured:
        try:
            blocks.append(_block(each.cidr, 2, "named", each.name))
        except ValueError as error:
            what = f"{each.cidr!r} is not an address range"
            raise UsageProblem(what, at=f"range {each.name}", do="Write it as 10.0.0.0/8 or fd00::/8.") from error
    for lo, hi, block in _flattened(blocks):
        yield cluster, f"{lo:032x}", f"{hi:032x}", block.kind, block.name


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
