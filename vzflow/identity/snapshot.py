"""
Cluster snapshots: `kubectl get … -A -o json` lists in, one row per object out; and the same shape written.

A snapshot says which objects existed when it was taken. `kubectl` does not write that moment down and file times are
never used, so a snapshot without vzflow's own annotation is dated by the newest time found inside its objects.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from blake3 import blake3

from vzflow.flow.errors import Place, UnreadableInput, UsageProblem
from vzflow.flow.schema import TEXT, TIME
from vzflow.identity.events import Event, events_in, is_event
from vzflow.identity.kept import (
    KEPT,
    MESH_KEY,
    WrongShape,
    holds_mesh_config,
    kept,
    mesh_config,
    microseconds,
    plain_text,
    qualified,
    redirection,
    timestamp,
)  # fmt: skip

#: One row per object as seen in one snapshot, and one row of kind `Snapshot` that says which kinds were listed
#: (`{"listed": {"Pod": ["*"], "Service": ["default"]}}`: namespaces, `*` for all) and, where that is known, which could
#: not be and why (`"not_listed": {"Job": "not permitted"}`). A file with events has such a row for each list in it and
#: one with the spans in which no change of a kind was missed (`"watched": {"Pod": [[from, to]]}`, microseconds); the
#: row of an object that was deleted has `"gone": true` in it. The digest is of the cluster's name and the uncompressed
#: text: the same snapshot under another name, or gzipped, is the same; of another cluster, it is another.
OBJECT_SCHEMA = pa.schema(
    [
        pa.field("snapshot", TEXT, nullable=False),  # blake3 of cluster and content, hex
        pa.field("snapshot_name", TEXT, nullable=False),  # path as given
        pa.field("taken_at", TIME),  # as `vzflow snapshot` wrote it; null for other lists
        pa.field("seen_until", TIME),  # taken_at, else the newest time inside the objects; null when there is none
        pa.field("cluster", TEXT, nullable=False),
        pa.field("kind", TEXT, nullable=False),
        pa.field("namespace", TEXT),  # null for objects without one
        pa.field("name", TEXT, nullable=False),
        pa.field("uid", TEXT),
        pa.field("object", TEXT, nullable=False),  # the fields of KEPT, compact JSON
    ]
)

#: Kind of the row that describes the snapshot itself.
SNAPSHOT = "Snapshot"
ALL_NAMESPACES = "*"
#: Key in a row's `object`: it is the last that was heard of it.
GONE = "gone"

# What `vzflow snapshot` and `vzflow watch` write above a List, each as text.
TAKEN_AT = "vzflow.io/taken-at"
CLUSTER = "vzflow.io/cluster"  # its name; absent where none was given
LISTED = "vzflow.io/listed"  # Pod,Service: kinds listed in all namespaces
NOT_LISTED = "vzflow.io/not-listed"  # {"Job": "not permitted ..."}: kinds that could not be, and why
RESOURCE_VERSIONS = "vzflow.io/resource-versions"  # {"Pod": "42"}: the moment each list is of

#: Keys whose values were in the past when the object was written. deletionTimestamp is not: it lies ahead.
_PAST = frozenset(
    {
        "creationTimestamp",
        "startTime",
        "startedAt",
        "finishedAt",
        "completionTime",
        "time",
        "lastTransitionTime",
        "lastProbeTime",
        "lastHeartbeatTime",
        "lastUpdateTime",
        "lastScheduleTime",
        "lastSuccessfulTime",
    }
)
_DO = "Give a list as `kubectl get pods,svc,endpointslices,nodes,namespaces,peerauthentications -A -o json` writes it."


_CLUSTER_WIDE = frozenset({"Node", "Namespace", "IPPool", "FelixConfiguration", "ServiceCIDR"})
#: Kinds that may hold secrets: never read, kept, written or named.
_SECRET = frozenset({"Secret", "SecretList"})


@dataclass(frozen=True)
class _Document:
    """One JSON document of a file: its text and what it says."""

    text: str
    content: dict[str, Any]
    items: tuple[dict[str, Any], ...]
    taken_at: int | None
    cluster: str | None
    events: tuple[Event, ...] | None = None  # of a watch or an audit log


def load(paths: Iterable[str | Path], cluster: str) -> pa.Table:
    """
    Read snapshot files of one cluster into a table of OBJECT_SCHEMA.

    A file is a List, a single object, an event of a watch or of an audit log, or several of these one after another;
    plain or gzip, told apart by content. The plain documents of one file are one snapshot, and so is a file with events
    and all that is in it; a document written by `vzflow snapshot` is one by itself. A snapshot
    that occurs twice among *paths* is read once. Objects vzflow has no use for are passed over, Secrets above all. A
    snapshot that names its cluster is of that one, not of *cluster*.

    Raises:
        UnreadableInput: A file cannot be opened, is not JSON, or is not what Kubernetes writes; the line is named
            where it is known. Nothing is returned of any file then.
    """
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    for path in map(str, paths):
        for documents in _snapshots(_documents(path)):
            its = next((d.cluster for d in documents if d.cluster), cluster)
            digest = blake3("\0".join((its, *(d.text for d in documents))).encode()).hexdigest()
            if digest not in known:
                known.add(digest)
                recorded = any(d.events is not None for d in documents)
                rows += (_recording if recorded else _rows)(documents, digest, path, its)
    return pa.Table.from_pylist(rows, schema=OBJECT_SCHEMA)


def _snapshots(documents: list[_Document]) -> Iterator[list[_Document]]:
    if any(d.events is not None for d in documents):
        yield documents
        return
    plain = [d for d in documents if d.taken_at is None]
    if plain:
        yield plain
    yield from ([d] for d in documents if d.taken_at is not None)


def _rows(documents: list[_Document], digest: str, path: str, cluster: str) -> Iterator[dict[str, Any]]:
    taken_at = documents[0].taken_at
    seen_until = taken_at if taken_at is not None else _newest(item for d in documents for item in d.items)
    common = _of_snapshot(digest, path, cluster, taken_at, seen_until)
    said = {"listed": _listed(documents)} | ({"not_listed": left} if (left := _not_listed(documents[0])) else {})
    yield common | {"kind": SNAPSHOT, "name": _printable(path), "object": _compact(said)}
    for item in (item for d in documents for item in d.items if _is_of_use(item)):
        yield common | _row(item, path)


def _recording(documents: list[_Document], digest: str, path: str, cluster: str) -> Iterator[dict[str, Any]]:
    """
    Yield the rows of a file with events, in its order, and last the spans in which kinds were watched without a gap.

    An event without a time happened no earlier than the newest time that any object before it mentions.
    """
    spans: dict[str, list[list[int]]] = {}
    newest: int | None = None
    for document in documents:
        if document.events is None:
            yield from _rows([document], digest, path, cluster)
            if (at := document.taken_at) is not None:
                for kind in _listed_in(document):
                    spans.setdefault(kind, []).append([at, at])
        for event in document.events or ():
            if event.watched and event.at is not None:
                _go_on(spans.setdefault(event.kind, []), event.at)
            if event.item is None:
                continue
            inside = _newest([event.item]) if event.at is None else event.at
            newest = max((t for t in (newest, inside) if t is not None), default=None)
            if _is_of_use(event.item):
                seen = newest if event.at is None and event.gone else inside
                yield _of_snapshot(digest, path, cluster, None, seen) | _row(event.item, path, gone=event.gone)
    said = {"listed": {}, "watched": spans}
    about = {"kind": SNAPSHOT, "name": _printable(path), "object": _compact(said)}
    yield _of_snapshot(digest, path, cluster, None, newest) | about


def _go_on(spans: list[list[int]], at: int) -> None:
    if spans:
        spans[-1][1] = max(spans[-1][1], at)
    else:
        spans.append([at, at])


def _of_snapshot(digest: str, path: str, cluster: str, taken_at: int | None, seen_until: int | None) -> dict[str, Any]:
    return {
        "snapshot": digest,
        "snapshot_name": _printable(path),
        "taken_at": taken_at,
        "seen_until": seen_until,
        "cluster": cluster,
    }


def _is_of_use(item: Mapping[str, Any]) -> bool:
    if item["kind"] == "ConfigMap":
        return holds_mesh_config(item)
    return item["kind"] in KEPT or _has_owner(item)


def _has_owner(item: Mapping[str, Any]) -> bool:
    """Custom kinds stand between a pod and the owner users know, whatever they are called."""
    owners = item["metadata"].get("ownerReferences")
    return isinstance(owners, list) and any(isinstance(o, dict) and o.get("controller") is True for o in owners)


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")  # a file name need not be UTF-8


def _row(item: dict[str, Any], path: str, *, gone: bool = False) -> dict[str, Any]:
    kind, metadata = item["kind"], item["metadata"]
    try:
        content = kept(kind, item) | ({GONE: True} if gone else {})
        uid = metadata.get("uid")
        return {
            "kind": kind,
            "namespace": _namespace(item),
            "name": metadata["name"],
            "uid": None if uid is None else plain_text(uid),
            "object": _compact(content),
        }
    except WrongShape as error:
        name = "/".join(filter(None, (_namespace(item), metadata["name"])))
        raise UnreadableInput(f"{kind} {name}: {error}", at=Place(path), do=_DO) from error


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _listed(documents: list[_Document]) -> dict[str, list[str]]:
    """
    Return kind -> namespaces that the snapshot lists completely, as far as can be told.

    A kind without a single object leaves no trace in kubectl's List, so it does not count as listed; nor does an
    object that was asked for by name. A List that spans namespaces was asked for with -A; else it speaks of its own
    namespace only. Lists cut by a selector cannot be told apart.
    """
    listed: dict[str, set[str]] = {}
    for document in documents:
        for kind, namespaces in _listed_in(document).items():
            listed.setdefault(kind, set()).update(namespaces)
    return {k: [ALL_NAMESPACES] if ALL_NAMESPACES in v else sorted(v) for k, v in sorted(listed.items())}


def _listed_in(document: _Document) -> dict[str, set[str]]:
    if document.taken_at is not None:
        named = _annotations(document.content).get(LISTED, "")
        return {kind: {ALL_NAMESPACES} for kind in str(named).split(",") if kind}
    if "items" not in document.content:
        return {}
    spanned = {namespace for item in document.items if (namespace := _namespace(item))}
    inside = {ALL_NAMESPACES} if len(spanned) > 1 else spanned
    kinds = {item["kind"] for item in document.items} & KEPT.keys()
    return {kind: {ALL_NAMESPACES} if kind in _CLUSTER_WIDE else inside for kind in kinds}


def _not_listed(document: _Document) -> dict[str, str]:
    """Return kind -> why it could not be listed, as `vzflow snapshot` wrote it."""
    try:
        said = json.loads(_annotations(document.content).get(NOT_LISTED, "{}"))
    except (TypeError, ValueError):
        return {}
    return {str(kind): str(why) for kind, why in said.items()} if isinstance(said, dict) else {}


def _namespace(item: Mapping[str, Any]) -> str | None:
    return item["metadata"].get("namespace") or None


def _annotations(content: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = content.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _newest(items: Iterable[Mapping[str, Any]]) -> int | None:
    """Return the newest moment the objects themselves mention as past: the snapshot was taken no earlier."""
    newest: int | None = None
    waiting: list[Any] = [part for item in items for part in (item["metadata"], item.get("status"))]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += [v for k, v in part.items() if k not in _PAST]
            moments = (_moment(v) for k, v in part.items() if k in _PAST)
            newest = max((m for m in (newest, *moments) if m is not None), default=None)
    return newest


def _moment(value: object) -> int | None:
    """Return the time *value* holds; null when it holds none, as a custom object's field of the same name may."""
    try:
        return microseconds(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _documents(path: str) -> list[_Document]:
    text = _decoded(path)
    decoder, found, at = json.JSONDecoder(), list[_Document](), _after_blank(text, 0)
    while at < len(text):
        try:
            content, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            what = f"not JSON: {error.msg} in column {error.colno}"
            raise UnreadableInput(what, at=Place(path, error.lineno), do=_DO) from error
        except (ValueError, RecursionError) as error:
            what = "not JSON that Kubernetes writes: a number or a nesting has no bounds"
            raise UnreadableInput(what, at=Place(path), do=_DO) from error
        try:
            found.append(_document(text[at:end], content))
        except WrongShape as error:
            line = text.count("\n", 0, at) + 1
            raise UnreadableInput(str(error), at=Place(path, line), do=_DO) from error
        at = _after_blank(text, end)
    if not found:
        raise UnreadableInput("empty", at=Place(path), do=_DO)
    return found


def _after_blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _decoded(path: str) -> str:
    try:
        raw = Path(path).read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableInput("damaged gzip", at=Place(path), do="Copy the file again.") from error
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UnreadableInput(what, at=Place(path), do="Check the path and its permissions.") from error
    try:
        return raw.decode(json.detect_encoding(raw))  # PowerShell redirects into UTF-16
    except UnicodeDecodeError as error:
        raise UnreadableInput(f"not text: byte {error.start} is not UTF-8", at=Place(path), do=_DO) from error


def _document(text: str, content: object) -> _Document:
    if isinstance(content, dict) and is_event(content):
        told = (e for e in events_in(content) if e.item is None or not is_secret(e.item))
        events = tuple(replace(e, item=e.item and _checked(e.item, "the object of an event")) for e in told)
        return _Document(text, content, (), None, next((e.cluster for e in events if e.cluster), None), events)
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise WrongShape("not a Kubernetes object or list: it has no kind")
    taken_at, cluster = (_annotations(content).get(name) for name in (TAKEN_AT, CLUSTER))
    try:
        moment = None if taken_at is None else microseconds(plain_text(taken_at))
    except ValueError as error:
        raise WrongShape(f"annotation {TAKEN_AT} is not a time") from error
    its = plain_text(cluster) if moment is not None and cluster is not None else None
    return _Document(text, content, tuple(_items(content)), moment, its)


def _items(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a document: all but Secrets, each with its kind, of the API group that kind belongs to."""
    if content["kind"] in _SECRET:
        return
    if "items" not in content:
        entries, inherited = [content], {}
    else:
        entries = content["items"] if content["items"] is not None else []
        # `kubectl get --raw` gives a PodList whose items do not repeat their kind.
        kind = content["kind"].removesuffix("List")
        inherited = {"kind": kind} | ({"apiVersion": content.get("apiVersion")} if kind else {})
    if not isinstance(entries, list):
        raise WrongShape("items is not a list")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise WrongShape(f"items[{number}] is not an object")
        item = inherited | entry
        if not isinstance(item["kind"], str) or not item["kind"]:
            raise WrongShape(f"items[{number}] has no kind")
        if item["kind"] not in _SECRET:
            yield _checked(item, f"items[{number}]")


def _checked(item: dict[str, Any], at: str) -> dict[str, Any]:
    kind, metadata = item["kind"], item.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise WrongShape(f"{at} ({kind}) has no metadata.name")
    namespace = metadata.get("namespace")
    try:
        plain_text(metadata["name"])
        plain_text(namespace or "")
    except WrongShape as error:
        raise WrongShape(f"{at} ({kind}): a name {error}") from error
    version = item.get("apiVersion")
    its = qualified(kind, version if isinstance(version, str) else None)
    return item if its == kind else item | {"kind": its}  # another API's kind of the same name


#: What `save` leaves out of containers: where passwords are written down. Of `args` Istio's redirection is kept.
_WITHHELD = frozenset({"env", "envFrom", "command", "args", "lifecycle", "exec", "httpHeaders"})
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


_NONE: Mapping[str, str] = MappingProxyType({})


def heading(
    taken_at: int,
    listed: Iterable[str],
    cluster: str | None = None,
    resource_versions: Mapping[str, str] = _NONE,
    not_listed: Mapping[str, str] = _NONE,
) -> dict[str, Any]:
    """
    Return the List, without its items, that stands above what was read of a cluster.

    Args:
        taken_at: Microseconds since 1970 UTC.
        listed: Kinds that were listed in all namespaces, also those without an object.
        cluster: Its name; null for the one that is named when the file is read.
        resource_versions: Of each list: the moment it is of.
        not_listed: Kinds that could not be listed, and why.
    """
    annotations = {TAKEN_AT: timestamp(taken_at), LISTED: ",".join(sorted(set(listed)))}
    annotations |= {} if cluster is None else {CLUSTER: cluster}
    maps = {RESOURCE_VERSIONS: resource_versions, NOT_LISTED: not_listed}
    annotations |= {name: _compact(dict(content)) for name, content in maps.items() if any(content.values())}
    return {"apiVersion": "v1", "kind": "List", "metadata": {"annotations": annotations}}


def save(
    objects: Iterable[Mapping[str, Any]],
    path: str | Path,
    taken_at: int,
    listed: Iterable[str],
    cluster: str | None = None,
    resource_versions: Mapping[str, str] = _NONE,
    not_listed: Mapping[str, str] = _NONE,
) -> None:
    """
    Write raw *objects* (dicts as the API gives them, each with kind and apiVersion) as a List that `load` reads.

    Secrets, ConfigMaps but for Istio's root namespace, container environments and commands, and managed fields are left
    out. A path that ends in `.gz` is compressed. The file appears whole or not at all.

    Args:
        objects: In any order; written in that order.
        path: Replaced when it exists.
        taken_at: As `heading` takes it.
        listed: The same.
        cluster: The same.
        resource_versions: The same.
        not_listed: The same.

    Raises:
        UsageProblem: The path cannot be written.
    """
    above = heading(taken_at, listed, cluster, resource_versions, not_listed)
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("wb") as raw:
            if target.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                    packed.writelines(_text(above, objects))
            else:
                raw.writelines(_text(above, objects))
        draft.replace(target)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise UsageProblem(what, at=Place(str(path)), do="Choose another path.") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _text(above: Mapping[str, Any], objects: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield a List, an object a line: a whole cluster's text is not held in memory."""
    yield json.dumps(above).removesuffix("}").encode() + b', "items": ['
    before = b"\n"
    for item in objects:
        if not is_secret(item):
            yield before + json.dumps(withheld(item)).encode()
            before = b",\n"
    yield b"\n]}\n"


def is_secret(item: Mapping[str, Any]) -> bool:
    """Tell whether an object may hold secrets, and is never written."""
    return item.get("kind") in _SECRET


def withheld(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return *item* as it is written: without what it need not tell, and where passwords are written down."""
    metadata = dict(item.get("metadata") or {})
    metadata.pop("managedFields", None)
    annotations = dict(metadata.get("annotations") or {})
    # kubectl apply stores the whole manifest here, environments included.
    if annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None) is not None:
        metadata["annotations"] = annotations
    kept = {**item, "metadata": metadata}
    if isinstance(item.get("spec"), dict):
        kept["spec"] = _without_values(item["spec"])
    if item.get("kind") == "ConfigMap":
        return _only_mesh_config(kept)
    return kept


def _only_mesh_config(config_map: dict[str, Any]) -> dict[str, Any]:
    """Programs write anything into ConfigMaps, passwords too."""
    said = config_map["data"].get(MESH_KEY) if isinstance(config_map.get("data"), dict) else None
    text = mesh_config(said)
    rest = {k: v for k, v in config_map.items() if k in ("apiVersion", "kind", "metadata")}
    return rest if text is None else rest | {"data": {MESH_KEY: text}}


def _without_values(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's spec, or one with a pod template, whose containers hold none of _WITHHELD."""
    kept = {k: _without(v) if k in _CONTAINERS else v for k, v in spec.items()}
    for key in ("template", "spec"):
        if isinstance(spec.get(key), dict):
            kept[key] = _without_values(spec[key])
    return kept


def _without(value: Any) -> Any:  # noqa: ANN401  (JSON has no narrower type)
    if isinstance(value, dict):
        redirected = redirection(value.get("args"))
        rest = {k: _without(v) for k, v in value.items() if k not in _WITHHELD}
        return rest if redirected is None else rest | {"args": redirected}
    if isinstance(value, list):
        return [_without(v) for v in value]
    return value
