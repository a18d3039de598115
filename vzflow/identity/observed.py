"""Stored objects -> what was told of each, when; and when which kinds were listed and watched."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from vzflow.flow.lookups import FOREVER
from vzflow.identity.kept import microseconds
from vzflow.identity.pods import Pods
from vzflow.identity.slices import KINDS as SLICES
from vzflow.identity.slices import Slices
from vzflow.identity.snapshot import ALL_NAMESPACES, GONE, SNAPSHOT

#: Rows that are Python objects at a time.
_ROWS = 1 << 13

Name = tuple[str, str, str | None, str]  # cluster, kind, namespace, name


class Shown(Protocol):
    """What one observation shows of an object; `Pod` and `Slice` say more. Of one `look`: it stayed as it was."""

    @property
    def object(self) -> Mapping[str, Any]: ...
    @property
    def look(self) -> Any: ...  # noqa: ANN401 - whatever can be compared
    @property
    def created(self) -> str | None: ...
    @property
    def created_at(self) -> int | None: ...
    @property
    def begin(self) -> int | None: ...


class Thing(NamedTuple):
    """An observation of an object of any other kind."""

    object: Mapping[str, Any]
    look: str
    created: str | None
    begin: int | None

    @property
    def created_at(self) -> int | None:
        return None if self.created is None else microseconds(self.created)


class Told(NamedTuple):
    """
    What was told of an object of some name: no earlier than `at`.

    Args:
        identity: Tells objects of one name apart.
        at: Microseconds since 1970 UTC.
        shown: Null if only its name was.
        gone: It was deleted then.
    """

    identity: str
    at: int
    shown: Shown | None
    gone: bool


class Listings:
    """
    When which kind was listed, and in which namespaces; and while it was watched without a gap.

    Of ConfigMaps that holds for the one of MESH_CONFIG's name: no other is ever asked for.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], list[tuple[int, frozenset[str]]]] = defaultdict(list)
        self._watched: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self._times: dict[tuple[str, str, str | None], list[int]] = {}

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
        key = (cluster, kind, namespace)
        if key not in self._times:
            inside = {ALL_NAMESPACES, namespace}
            self._times[key] = sorted({when for when, scope in self._of.get((cluster, kind), ()) if scope & inside})
        times = self._times[key]
        place = bisect_right(times, at)
        return times[place] if place < len(times) else FOREVER

    def everywhere(self, kind: str) -> list[tuple[str, int, int]]:
        """Return when *kind* was listed in every namespace, as (cluster, then, until when it was watched), in order."""
        found = {
            (cluster, at)
            for (cluster, its), listed in self._of.items()
            if its == kind
            for at, scope in listed
            if ALL_NAMESPACES in scope
        }
        return [(cluster, at, self.watched_until(at, cluster, kind)) for cluster, at in sorted(found)]


class Observed:
    """What rows of OBJECT_SCHEMA say, of any number of snapshots and clusters."""

    def __init__(self, objects: pa.Table | Iterable[pa.RecordBatch]) -> None:
        self.of: dict[Name, list[Told]] = {}  # without what has no time
        self.listings = Listings()
        self._listed: set[tuple[str, str]] = set()  # cluster, kind
        self._inside: set[tuple[str, str, str | None]] = set()  # cluster, kind, namespace
        for name, identity, at, shown, gone in rows_in(objects):
            cluster, kind, namespace, _ = name
            if kind == SNAPSHOT and shown is not None:
                self._listing(cluster, at, shown.object)
            elif at is not None:
                if (known := self.of.get(name)) is None:
                    known = self.of[name] = []
                elif known[-1].shown == shown:
                    shown = known[-1].shown  # held once
                known.append(Told(identity, at, shown, gone))
            self._inside.add((cluster, kind, namespace))
        self.clusters = {cluster for cluster, _, _ in self._inside}
        self.listings.join()

    def _listing(self, cluster: str, at: int | None, content: Mapping[str, Any]) -> None:
        self.listings.add(cluster, at, content)
        self._listed |= {(cluster, kind) for kind, scope in content["listed"].items() if ALL_NAMESPACES in scope}

    def clusters_listing(self, kind: str, inside: Mapping[str, Set[str]], usual: str) -> set[str]:
        """
        Return the clusters of which some snapshot listed *kind* in every namespace, or has one that counts.

        That is one in a namespace that *inside* names for its cluster; where it has none for it, in *usual*.
        """
        listed = {cluster for cluster, its in self._listed if its == kind}
        return listed | {c for c, its, namespace in self._inside if its == kind and namespace in inside.get(c, {usual})}


def rows_in(objects: pa.Table | Iterable[pa.RecordBatch]) -> Iterator[tuple[Name, str, int | None, Shown | None, bool]]:
    """Yield for each row of OBJECT_SCHEMA the name, and what it tells as of `Told`; a time is null where none is."""
    read = _Reader()
    for batch in objects.to_batches() if isinstance(objects, pa.Table) else objects:
        for begin in range(0, len(batch), _ROWS):
            part = batch.slice(begin, _ROWS)
            names = [read.shared(part.column(name)) for name in ("cluster", "kind", "namespace", "name")]
            times = part.column("seen_until").cast(pa.int64()).to_pylist()
            identities, texts = read.shared(part.column("uid")), part.column("object").to_pylist()
            for name, uid, seen, text in zip(zip(*names, strict=True), identities, times, texts, strict=True):
                shown, gone = read.object(name[1], name[3], text)
                if shown is None:
                    yield name, uid or "", seen, None, gone
                    continue
                began = shown.begin
                at = seen if began is None or (seen is not None and seen >= began) else began
                yield name, uid or shown.created or "", at, shown, gone


class _Reader:
    def __init__(self) -> None:
        self._pods, self._slices = Pods(), Slices()
        self._lately: dict[str | None, str | None] = {}

    def shared(self, column: pa.Array) -> list[Any]:
        """Return the texts of a column, those that are equal as one object: of a name there is much to be told."""
        if len(self._lately) > 8 * _ROWS:
            self._lately.clear()
        share = self._lately.setdefault
        return [share(text, text) for text in column.to_pylist()]

    def object(self, kind: str, name: str, text: str) -> tuple[Shown | None, bool]:
        """Return what a row's `object` shows, null if nothing, and whether it is gone."""
        if kind == "Pod":
            return self._pods.read(text)
        if kind in SLICES:
            return self._slices.read(kind, name, text)
        content = json.loads(text)
        gone = bool(content.pop(GONE, False))
        if not content:
            return None, gone
        created = content.get("metadata", {}).get("creationTimestamp")
        begin = None if created is None else microseconds(created)
        return Thing(content, json.dumps(content, sort_keys=True), created, begin), gone
