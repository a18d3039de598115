"""Claims on one address, port or name -> disjoint intervals; what the evidence leaves open has several parties."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

_Value = TypeVar("_Value")


class Span(NamedTuple):
    """One party at one key in [since, until); a weak one is a presumption that any other claim overrules."""

    since: int
    until: int
    known_until: int | None
    party: str
    weak: bool = False
    target_port: int | None = None
    service: str | None = None
    basis: str | None = None


class Interval(NamedTuple):
    """Everyone at one key in [since, until). Where they differ in target_port or service, that is null."""

    since: int
    until: int
    known_until: int | None
    parties: tuple[str, ...]
    target_port: int | None
    service: str | None
    basis: str | None


class Cut(NamedTuple):
    """
    What settling took away against the evidence: *lost* is vouched for in [since, until), but *kept* started later.

    Holders are KIND/NAMESPACE/NAME/UID.
    """

    since: int
    until: int
    lost: str
    kept: str


@dataclass(slots=True)
class Claim:
    """One object's claim on one address, as of `State`; `phases` are the parties it is, over time."""

    holder: str
    since: int
    sure_from: int
    sure_until: int
    until: int
    ended: bool
    phases: list[tuple[int, int, str]]
    weak: bool = False

    def spans(self) -> Iterator[Span]:
        for since, until, party in self.phases:
            begin, end = max(since, self.since), min(until, self.until)
            if begin < end:
                yield Span(begin, end, None if self.ended else self.sure_until, party, self.weak)


def settle(claims: list[Claim]) -> list[Cut]:
    """
    Cut claims of different objects on one address that only one can hold at a time, in place; return what contradicts.

    A later start ends an earlier claim. A pod is started before it gets its address, so where nothing says when the
    earlier one went, both are candidates until the later one's first proof. Where the earlier one is seen, or known to
    have run, past that start, it keeps the address that long if the later one's first proof allows; if it does not, the
    later start wins.
    """
    cuts: list[Cut] = []
    claims.sort(key=lambda c: (c.since, c.sure_from, c.holder))
    for number, earlier in enumerate(claims):
        for later in claims[number + 1 :]:
            if later.since >= earlier.until:
                break
            if later.holder == earlier.holder or later.since == earlier.since:
                continue
            proven_first = earlier.sure_until < later.sure_from or (
                earlier.ended and earlier.sure_until == later.sure_from
            )
            if later.since < earlier.sure_until and not proven_first:
                until = min(earlier.sure_until, later.until)
                cuts.append(Cut(later.since, until, earlier.holder, later.holder))
                earlier.until = later.since
            else:
                later.since = max(later.since, min(earlier.sure_until, later.sure_from))
                earlier.until = min(earlier.until, max(later.since, later.sure_from))
    return cuts


def disjoint(spans: Iterable[Span]) -> list[Interval]:
    """Return the elementary intervals of *spans* in order, neighbours that say the same joined."""
    spans = list(spans)
    if len(spans) == 1:
        return [_everyone(spans, spans[0].since, spans[0].until)]
    starts: dict[int, list[Span]] = defaultdict(list)
    times = set()
    for span in spans:
        starts[span.since].append(span)
        times |= {span.since, span.until}
    found: list[Interval] = []
    active: list[Span] = []
    ordered = sorted(times)
    for since, until in pairwise(ordered):
        active = [s for s in active if s.until > since] + starts.get(since, [])
        if active:
            _append(found, _everyone(active, since, until))
    return found


def _append(found: list[Interval], new: Interval) -> None:
    if found and found[-1].until == new.since and found[-1][2:] == new[2:]:
        found[-1] = found[-1]._replace(until=new.until)
    else:
        found.append(new)


def _everyone(active: list[Span], since: int, until: int) -> Interval:
    if len(active) == 1:
        _, _, known, party, _, target_port, service, basis = active[0]
        return Interval(since, until, known, (party,), target_port, service, basis)
    firm = [s for s in active if not s.weak] or active
    _, _, known_until, parties, _, target_ports, services, bases = zip(*firm, strict=True)
    return Interval(
        since,
        until,
        oldest(*known_until),
        tuple(sorted(set(parties))),
        _only(set(target_ports)),
        _only(set(services)),
        max(filter(None, bases), default=None),  # "service" after "host_port"
    )


def _only(values: set[_Value]) -> _Value | None:
    return next(iter(values)) if len(values) == 1 else None


def oldest(*times: int | None) -> int | None:
    """Return the earliest of *times* that is known: what several vouch for stands as long as the first."""
    return min([t for t in times if t is not None], default=None)
