"""
Objects of any number of snapshots -> states: what each object was, from when until when.

A snapshot is a moment; between two of them an object may change or go. Where its own timestamps settle when, they do;
where they do not, the older state may have held until the newer snapshot, and both are kept.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from vzflow.flow.lookups import FOREVER
from vzflow.identity.kept import MESH_CONFIG, microseconds
from vzflow.identity.snapshot import ALL_NAMESPACES, GONE, SNAPSHOT

#: Kubernetes cuts its times to whole seconds: what finished "at 12:00:05" finished before 12:00:06.
WHOLE_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class State:
    """
    One state of one object. Times are microseconds since 1970 UTC.

    It may have been true in [since, until) and certainly was in [sure_from, sure_until]. `ended` says that the objects
    themselves tell when it ended; otherwise nothing vouches for it after `sure_until`.
    """

    cluster: str
    kind: str
    namespace: str | None
    name: str
    uid: str
    object: Mapping[str, Any]
    since: int
    sure_from: int
    sure_until: int
    until: int
    ended: bool

    @property
    def known_until(self) -> int | None:
        """The newest moment a snapshot vouches for it; null when it is known to have ended."""
        return None if self.ended else self.sure_until


@dataclass(frozen=True, slots=True)
class _Seen:
    """One object as told no earlier than `at`, and known to have stayed so until `through`; `gone`: deleted then."""

    at: int
    object: Mapping[str, Any]
    through: int
    gone: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    sure_until: int
    until: int
    ended: bool = False


_Name = tuple[str, str, str | None, str]  # cluster, kind, namespace, name


class _Listings:
    """
    When which kind was listed, and in which namespaces; and while it was watched without a gap.

    Of ConfigMaps that holds for the one of MESH_CONFIG's name: no other is ever asked for.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], list[tuple[int, frozenset[str]]]] = defaultdict(list)
        self._watched: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)

    def add(self, cluster: str, at: int | None, content: Mapping[str, Any]) -> None:
        if at is not None:
            for kind, namespaces in content["listed"].items():
                self._of[cluster, kind].append((at, frozenset(namespaces)))
        for kind, spans in content.get("watched", {}).items():
            self._watched[cluster, kind] += [(since, until) for since, until in spans]

    def join(self) -> None:
        """Make one span of those that touch: a recording goes on over several files."""
        for key, spans in self._watched.items():
            joined: list[tuple[int, int]] = []
            for since, until in sorted(spans):
                if joined and since <= joined[-1][1]:
                    joined[-1] = (joined[-1][0], max(until, joined[-1][1]))
                else:
                    joined.append((since, until))
            self._watched[key] = joined

    def watched_until(self, at: int, cluster: str, kind: str) -> int:
        """Return until when every change of *kind* after *at* was told; *at* where it was not watched then."""
        spans = self._watched.get((cluster, kind), [])
        place = bisect_right(spans, (at, FOREVER)) - 1
        return max(at, spans[place][1]) if place >= 0 else at

    def next_after(self, at: int, cluster: str, kind: str, namespace: str | None) -> int:
        """Return when an object of this kind and namespace would next have been listed; FOREVER if never."""
        inside = {ALL_NAMESPACES, namespace}
        return min((when for when, scope in self._of[cluster, kind] if when > at and scope & inside), default=FOREVER)


def states(objects: pa.Table) -> list[State]:
    """
    Merge rows of OBJECT_SCHEMA, of any number of snapshots and clusters, into states, ordered by name and time.

    An object seen in one snapshot and missing from a newer one that listed its kind there ended in between. A name
    belongs to one object at a time, so a newer object of that name ends the older. What the newest snapshot shows
    holds FOREVER, vouched for until that snapshot. Objects without any time are left out.
    """
    listings = _Listings()
    named: dict[_Name, dict[str, list[_Seen]]] = defaultdict(lambda: defaultdict(list))
    for row, content in _rows(objects):
        if row["kind"] == SNAPSHOT:
            listings.add(row["cluster"], row["seen_until"], content)
            continue
        gone = content.pop(GONE, False)
        at = _latest(row["seen_until"], _begin(content))
        if at is not None:
            identity = row["uid"] or content.get("metadata", {}).get("creationTimestamp", "")
            named[row["cluster"], row["kind"], row["namespace"], row["name"]][identity].append(
                _Seen(at, content, at, gone)
            )
    listings.join()
    return [
        state
        for name in sorted(named, key=lambda n: (n[0], n[1], n[2] or "", n[3]))
        for state in _of_name(name, named[name], listings)
    ]


def observations(objects: pa.Table) -> Iterator[tuple[tuple[str, ...] | None, int, bool, tuple[str, bool, bool]]]:
    """
    Yield for each row of OBJECT_SCHEMA: of which object it is, from when, whether that was its end, and what it shows.

    Observations of one object that show the same tell `states` no more than the first and the last of them. The object
    is null for rows that are of none, or without any time.
    """
    for row, content in _rows(objects):
        gone = bool(content.pop(GONE, False))
        at = None if row["kind"] == SNAPSHOT else _latest(row["seen_until"], _begin(content))
        if at is None:
            yield None, 0, gone, ("", False, False)
            continue
        pod = row["kind"] == "Pod"
        looks = blake3(_fingerprint(row["kind"], content).encode()).hexdigest(16)
        identity = row["uid"] or content.get("metadata", {}).get("creationTimestamp", "")
        key = (row["cluster"], row["kind"], row["namespace"] or "", row["name"], identity)
        yield key, at, gone, (looks, pod and bool(pod_addresses(content)), pod and _finished(content))


def times_listed(objects: pa.Table, kind: str) -> list[tuple[str, int, int]]:
    """Return when *kind* was listed in every namespace, as (cluster, then, until when it was watched), in order."""
    listings, found = _Listings(), set()
    speaking = objects.filter(pc.equal(objects.column("kind"), SNAPSHOT))
    for row, content in _rows(speaking):
        listings.add(row["cluster"], row["seen_until"], content)
        if row["seen_until"] is not None and ALL_NAMESPACES in content["listed"].get(kind, ()):
            found.add((row["cluster"], row["seen_until"]))
    listings.join()
    return [(cluster, at, listings.watched_until(at, cluster, kind)) for cluster, at in sorted(found)]


def clusters_listing(objects: pa.Table, kind: str, inside: Mapping[str, Set[str]], usual: str) -> set[str]:
    """
    Return the clusters of which some snapshot listed *kind* in every namespace, or has one that counts.

    That is one in a namespace that *inside* names for its cluster; where it has none for it, in *usual*.
    """
    found = set()
    speaking = objects.filter(pc.is_in(objects.column("kind"), pa.array([SNAPSHOT, kind])))
    for row, content in _rows(speaking):
        listed = row["kind"] == SNAPSHOT and ALL_NAMESPACES in content["listed"].get(kind, ())
        if listed or (row["kind"] == kind and row["namespace"] in inside.get(row["cluster"], {usual})):
            found.add(row["cluster"])
    return found


def _rows(objects: pa.Table) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each row with times as integers, and what its JSON says."""
    columns = objects.select(["cluster", "kind", "namespace", "name", "uid", "object"])
    columns = columns.append_column("seen_until", objects.column("seen_until").cast(pa.int64()))
    for row in columns.to_pylist():
        yield row, json.loads(row["object"])


def _latest(*times: int | None) -> int | None:
    return max((t for t in times if t is not None), default=None)


def _begin(content: Mapping[str, Any]) -> int | None:
    """Return when the object began: a pod when its node took it up (status.startTime), all else when it was created."""
    started = content.get("status", {}).get("startTime") or content.get("metadata", {}).get("creationTimestamp")
    return None if started is None else microseconds(started)


def _created(seen: list[_Seen]) -> int:
    stamp = seen[0].object.get("metadata", {}).get("creationTimestamp")
    return seen[0].at if stamp is None else microseconds(stamp)


def _of_name(name: _Name, by_identity: dict[str, list[_Seen]], listings: _Listings) -> Iterator[State]:
    """Yield the states of all objects that ever had *name*, each ended at the latest by the creation of the next."""
    cluster, kind, _, own = name
    asked = kind if kind != "ConfigMap" or own == MESH_CONFIG else f"{kind}/{own}"
    told = ((identity, _told(seen, cluster, asked, listings)) for identity, seen in by_identity.items())
    lives = [(identity, seen) for identity, seen in told if seen]
    lives.sort(key=lambda life: (_created(life[1]), life[0]))
    for number, (identity, seen) in enumerate(lives):
        successor = _created(lives[number + 1][1]) if number + 1 < len(lives) else FOREVER
        missing = listings.next_after(seen[-1].through, cluster, asked, name[2])
        yield from _of_object(name, identity, seen, missing, successor)


def _told(seen: list[_Seen], cluster: str, kind: str, listings: _Listings) -> list[_Seen]:
    """Return what was told of one object in order, up to its deletion, each with how long it stayed so for certain."""
    found: list[_Seen] = []
    ordered = sorted(seen, key=lambda s: (s.at, s.gone))
    for one, following in zip(ordered, [*ordered[1:], None], strict=True):
        last = listings.watched_until(one.at, cluster, kind)
        through = last if following is None else min(last, following.at)
        content = one.object or (found[-1].object if found else None)  # a deletion may name its object only
        if content is not None:
            found.append(_Seen(one.at, content, one.at if one.gone else through, one.gone))
        if one.gone:
            break
    return found


def _of_object(name: _Name, identity: str, seen: list[_Seen], missing: int, successor: int) -> Iterator[State]:
    """Yield its states. *missing*: when a list first was without it; *successor*: when another got its name."""
    kind = name[1]
    begin = next((b for s in reversed(seen) if (b := _begin(s.object)) is not None), seen[0].at)
    end = _end(kind, begin, seen)
    # Its own end is told more exactly than by the second in which another of its name was created.
    until = min(end.until, successor + (WHOLE_SECOND if end.ended else 0), missing)
    sure_until = min(end.sure_until, until)
    groups = [list(group) for _, group in groupby(_speaking(kind, seen), key=lambda s: _fingerprint(kind, s.object))]
    for number, group in enumerate(groups):
        first, last = number == 0, number == len(groups) - 1
        state = State(
            *name,
            identity,
            group[-1].object,
            since=begin if first else groups[number - 1][-1].through,
            sure_from=_sure_from(kind, begin, group) if first else group[0].at,
            sure_until=sure_until if last else min(group[-1].through, sure_until),
            until=until if last else min(groups[number + 1][0].at, until),
            ended=last and end.ended,
        )
        if state.since < state.until:
            yield state


def _speaking(kind: str, seen: list[_Seen]) -> list[_Seen]:
    """A pod that waits for its address, or gave it up, says nothing about whose the address was."""
    return [s for s in seen if pod_addresses(s.object)] or seen if kind == "Pod" else seen


def pod_addresses(pod: Mapping[str, Any]) -> list[str]:
    """Return the addresses of a pod, of both families, canonical."""
    status = pod.get("status", {})
    addresses = [entry["ip"] for entry in status.get("podIPs", ())]
    return addresses or [a for a in (status.get("podIP"),) if a]


def _fingerprint(kind: str, content: Mapping[str, Any]) -> str:
    """Return what makes two observations of one object the same state."""
    if kind == "Pod":  # its conditions and container times move without its identity changing
        metadata = {k: v for k, v in content.get("metadata", {}).items() if k != "deletionTimestamp"}
        content = {"metadata": metadata, "spec": content.get("spec"), "addresses": pod_addresses(content)}
    return json.dumps(content, sort_keys=True)


def _end(kind: str, begin: int, seen: list[_Seen]) -> _End:
    """Return what the observations themselves say of the end."""
    newest = seen[-1]
    if kind == "Pod" and _finished(newest.object):
        running = [s.through for s in seen if not _finished(s.object)]
        finished = _last_container_finished(newest.object)
        if finished is not None:
            ended = max(begin, finished)
            return _End(ended, max(ended + WHOLE_SECOND, _told_over(seen)), ended=True)
        # An evicted pod: it is over, and nothing says since when.
        first_over = next(s.at for s in seen if s.at >= max(running, default=begin - 1) and _finished(s.object))
        return _End(max(running, default=begin), first_over)
    if newest.gone:
        return _End(newest.at, newest.at, ended=True)
    deletion = newest.object.get("metadata", {}).get("deletionTimestamp") if kind == "Pod" else None
    # A deletion time is when the grace period runs out: until then it may live, after it nobody knows.
    return _End(newest.through, FOREVER if deletion is None else max(newest.through, microseconds(deletion)))


def _told_over(seen: list[_Seen]) -> int:
    """
    Return when a watch told that a pod is over; 0 if none did.

    The kubelet tells it after it stopped the sandbox, until when the pod had its address (SyncTerminatingPod).
    """
    pairs = ((a, b) for a, b in pairwise(seen) if _finished(b.object) and not _finished(a.object))
    return next((over.at for running, over in pairs if running.through >= over.at), 0)


def _finished(pod: Mapping[str, Any]) -> bool:
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return True
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    if any("running" in c.get("state", {}) for c in status.get("initContainerStatuses", ())):
        return False  # a native sidecar goes last
    deleted = "deletionTimestamp" in pod.get("metadata", {})
    return deleted and bool(containers) and all("terminated" in c.get("state", {}) for c in containers)


def _container_times(pod: Mapping[str, Any], which: str) -> list[int]:
    status = pod.get("status", {})
    containers = (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ()))
    runs = [run for c in containers for run in (*c.get("state", {}).values(), *c.get("lastState", {}).values())]
    return [microseconds(run[which]) for run in runs if which in run]


def _last_container_finished(pod: Mapping[str, Any]) -> int | None:
    return max(_container_times(pod, "finishedAt"), default=None)


def _sandbox_ready(pod: Mapping[str, Any]) -> int | None:
    return max(
        (
            microseconds(c["lastTransitionTime"])
            for c in pod.get("status", {}).get("conditions", ())
            if (c.get("type"), c.get("status")) == ("PodReadyToStartContainers", "True") and "lastTransitionTime" in c
        ),
        default=None,
    )


def sandbox_made_anew(pod: Mapping[str, Any]) -> int | None:
    """
    Return since when at the earliest a pod has the sandbox, and with it the address, that it has; null for its first.

    After a node restarted, a pod keeps its startTime and gets another address: then every container of it ended before
    the sandbox was ready. (Ready is noted a little late: after a container of the first sandbox began, too.)
    """
    ready = _sandbox_ready(pod)
    last = [c.get("lastState", {}).get("terminated", {}) for c in pod.get("status", {}).get("containerStatuses", ())]
    ended = [microseconds(run["finishedAt"]) for run in last if "finishedAt" in run]
    if ready is None or not ended or len(ended) < len(last) or max(ended) > ready:
        return None
    return max(ended)


def _sure_from(kind: str, begin: int, first_seen: list[_Seen]) -> int:
    """
    Return from when an object was for certain what it was first seen as.

    A pod's startTime is earlier than its address by the time its volumes take to mount; a container runs only after
    the sandbox got the address.
    """
    if kind != "Pod":
        return begin
    pod = first_seen[-1].object
    ready, anew = _sandbox_ready(pod), sandbox_made_anew(pod)
    started = [t for t in _container_times(pod, "startedAt") if t >= (anew or begin)]
    # Times are cut to seconds: it was so by the end of that second, not when it began.
    proven = (moment + WHOLE_SECOND for moment in ([] if ready is None else [ready]) + started)
    return max(begin, min((first_seen[0].at, *proven)))
