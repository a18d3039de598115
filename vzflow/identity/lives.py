"""
Objects of any number of snapshots -> states: what each object was, from when until when.

A snapshot is a moment; between two of them an object may change or go. Where its own timestamps settle when, they do;
where they do not, the older state may have held until the newer snapshot, and both are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as pa

from vzflow.flow.lookups import FOREVER
from vzflow.identity.kept import MESH_CONFIG
from vzflow.identity.observed import Listings, Name, Observed, Shown, Told, rows_in
from vzflow.identity.pods import Pod
from vzflow.identity.snapshot import SNAPSHOT

#: Kubernetes cuts its times to whole seconds: what finished "at 12:00:05" finished before 12:00:06.
WHOLE_SECOND = 1_000_000

Of = TypeVar("Of", bound=Shown, covariant=True)


class State(NamedTuple, Generic[Of]):
    """
    One state of one object. Times are microseconds since 1970 UTC.

    It may have been true in [since, until) and certainly was in [sure_from, sure_until]. `ended` says that the objects
    themselves tell when it ended; otherwise nothing vouches for it after `sure_until`. `shown` is the last observation.
    """

    cluster: str
    kind: str
    namespace: str | None
    name: str
    uid: str
    shown: Of
    since: int
    sure_from: int
    sure_until: int
    until: int
    ended: bool

    @property
    def object(self) -> Mapping[str, Any]:
        """What is kept of it; of a pod what it shares with others, of a slice nothing."""
        return self.shown.object

    @property
    def known_until(self) -> int | None:
        """The newest moment a snapshot vouches for it; null when it is known to have ended."""
        return None if self.ended else self.sure_until


class _Seen(NamedTuple):
    """One object as told no earlier than `at`, and known to have stayed so until `through`; `gone`: deleted then."""

    at: int
    shown: Shown
    through: int
    gone: bool = False


class _End(NamedTuple):
    sure_until: int
    until: int
    ended: bool = False


def states(observed: Observed) -> Iterator[State[Any]]:
    """
    Merge all that was observed into states, ordered by name and time; *observed* forgets it on the way.

    An object seen in one snapshot and missing from a newer one that listed its kind there ended in between. A name
    belongs to one object at a time, so a newer object of that name ends the older. What the newest snapshot shows
    holds FOREVER, vouched for until that snapshot. Objects without any time are left out.
    """
    for name in sorted(observed.of, key=lambda n: (n[0], n[1], n[2] or "", n[3])):
        yield from _of_name(name, observed.of.pop(name), observed.listings)


def observations(objects: pa.Table) -> Iterator[tuple[tuple[str, ...] | None, int, bool, Any]]:
    """
    Yield for each row of OBJECT_SCHEMA: of which object it is, from when, whether that was its end, and what it shows.

    Observations of one object that show the same tell `states` no more than the first and the last of them. The object
    is null for rows that are of none, or without any time.
    """
    for (cluster, kind, namespace, name), identity, at, shown, gone in rows_in(objects):
        if kind == SNAPSHOT or at is None:
            yield None, 0, gone, None
            continue
        looks = None if shown is None else (shown.look, isinstance(shown, Pod) and shown.finished)
        yield (cluster, kind, namespace or "", name, identity), at, gone, looks


def _created(seen: list[_Seen]) -> int:
    created = seen[0].shown.created_at
    return seen[0].at if created is None else created


def _of_name(name: Name, told: list[Told], listings: Listings) -> Iterator[State[Any]]:
    """Yield the states of all objects that ever had *name*, each ended at the latest by the creation of the next."""
    cluster, kind, namespace, own = name
    asked = kind if kind != "ConfigMap" or own == MESH_CONFIG else f"{kind}/{own}"
    by_identity: dict[str, list[Told]] = {}
    for one in told:
        by_identity.setdefault(one.identity, []).append(one)
    ordered = ((identity, _ordered(its, cluster, asked, listings)) for identity, its in by_identity.items())
    lives = [(identity, seen) for identity, seen in ordered if seen]
    lives.sort(key=lambda life: (_created(life[1]), life[0]))
    for number, (identity, seen) in enumerate(lives):
        successor = _created(lives[number + 1][1]) if number + 1 < len(lives) else FOREVER
        missing = listings.next_after(seen[-1].through, cluster, asked, namespace)
        yield from _of_object(name, identity, seen, missing, successor)


def _ordered(told: list[Told], cluster: str, kind: str, listings: Listings) -> list[_Seen]:
    """Return what was told of one object in order, up to its deletion, each with how long it stayed so for certain."""
    found: list[_Seen] = []
    ordered = sorted(told, key=itemgetter(1, 3))
    last = ordered[0].at
    for number, (_, at, shown, gone) in enumerate(ordered):
        last = last if at < last else listings.watched_until(at, cluster, kind)
        through = last if number + 1 == len(ordered) else min(last, ordered[number + 1].at)
        if shown is None and found:
            shown = found[-1].shown  # a deletion may name its object only
        if shown is not None:
            found.append(_Seen(at, shown, at if gone else through, gone))
        if gone:
            break
    return found


def _of_object(
    name: Name, identity: str, seen: list[_Seen], missing: int, successor: int
) -> Iterator[State[Any]]:  # fmt: skip
    """Yield its states. *missing*: when a list first was without it; *successor*: when another got its name."""
    kind = name[1]
    begin = next((b for s in reversed(seen) if (b := s.shown.begin) is not None), seen[0].at)
    end = _end(begin, seen)
    # Its own end is told more exactly than by the second in which another of its name was created.
    until = min(end.until, successor + (WHOLE_SECOND if end.ended else 0), missing)
    sure_until = min(end.sure_until, until)
    groups = [list(group) for _, group in groupby(_speaking(kind, seen), key=lambda s: s.shown.look)]
    for number, group in enumerate(groups):
        first, last = number == 0, number == len(groups) - 1
        state = State(
            *name,
            identity,
            group[-1].shown,
            since=begin if first else groups[number - 1][-1].through,
            sure_from=_sure_from(begin, group) if first else group[0].at,
            sure_until=sure_until if last else min(group[-1].through, sure_until),
            until=until if last else min(groups[number + 1][0].at, until),
            ended=last and end.ended,
        )
        if state.since < state.until:
            yield state


def _speaking(kind: str, seen: list[_Seen]) -> list[_Seen]:
    """A pod that waits for its address, or gave it up, says nothing about whose the address was."""
    return [s for s in seen if isinstance(s.shown, Pod) and s.shown.addresses] or seen if kind == "Pod" else seen


def _end(begin: int, seen: list[_Seen]) -> _End:
    """Return what the observations themselves say of the end."""
    newest = seen[-1]
    shown = newest.shown
    if isinstance(shown, Pod) and shown.finished:
        running = [s.through for s in seen if not _finished(s)]
        finished = shown.status.finished
        if finished is not None:
            ended = max(begin, finished)
            return _End(ended, max(ended + WHOLE_SECOND, _told_over(seen)), ended=True)
        # An evicted pod: it is over, and nothing says since when.
        first_over = next(s.at for s in seen if s.at >= max(running, default=begin - 1) and _finished(s))
        return _End(max(running, default=begin), first_over)
    if newest.gone:
        return _End(newest.at, newest.at, ended=True)
    deletion = shown.deletion if isinstance(shown, Pod) else None
    # A deletion time is when the grace period runs out: until then it may live, after it nobody knows.
    return _End(newest.through, FOREVER if deletion is None else max(newest.through, deletion))


def _finished(seen: _Seen) -> bool:
    return isinstance(seen.shown, Pod) and seen.shown.finished


def _told_over(seen: list[_Seen]) -> int:
    """
    Return when a watch told that a pod is over; 0 if none did.

    The kubelet tells it after it stopped the sandbox, until when the pod had its address (SyncTerminatingPod).
    """
    pairs = ((a, b) for a, b in pairwise(seen) if _finished(b) and not _finished(a))
    return next((over.at for running, over in pairs if running.through >= over.at), 0)


def _sure_from(begin: int, first_seen: list[_Seen]) -> int:
    """
    Return from when an object was for certain what it was first seen as.

    A pod's startTime is earlier than its address by the time its volumes take to mount; a container runs only after
    the sandbox got the address.
    """
    pod = first_seen[-1].shown
    if not isinstance(pod, Pod):
        return begin
    ready, anew = pod.status.ready, pod.status.anew
    started = [t for t in pod.status.started if t >= (anew or begin)]
    # Times are cut to seconds: it was so by the end of that second, not when it began.
    proven = (moment + WHOLE_SECOND for moment in ([] if ready is None else [ready]) + started)
    return max(begin, min((first_seen[0].at, *proven)))
