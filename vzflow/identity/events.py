"""
One document of a watch or of an audit log -> what it says of which object.

A watch writes `{"type": "ADDED|MODIFIED|DELETED|BOOKMARK", "object": {...}}`; `vzflow watch` adds `at` and `cluster`,
`kubectl get -w --output-watch-events` does not. An audit log writes `audit.k8s.io` Events; those at level
RequestResponse hold the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vzflow.identity.kept import KEPT, WrongShape, microseconds, plain_text

_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_CHANGING = frozenset({"create", "update", "patch", "delete"})
_KIND_OF = {f"{kind.lower()}s".replace("policys", "policies"): kind for kind in KEPT} | {"endpoints": "Endpoints"}


@dataclass(frozen=True)
class Event:
    """
    What happened to one object.

    Args:
        kind: Of the object.
        item: The raw object; null for a bookmark.
        at: When it was told, microseconds since 1970 UTC; null when nobody wrote that down.
        gone: The object is no more.
        watched: Between the events of one kind nothing was left out.
        cluster: As written.
    """

    kind: str
    item: dict[str, Any] | None
    at: int | None
    gone: bool = False
    watched: bool = False
    cluster: str | None = None


def is_event(content: Mapping[str, Any]) -> bool:
    return _of_watch(content) or str(content.get("apiVersion", "")).startswith("audit.k8s.io/")


def events_in(content: Mapping[str, Any]) -> Iterator[Event]:
    """
    Yield the events of a document that `is_event`; an audit record that changed nothing, or shows nothing, gives none.

    Raises:
        WrongShape: It is not what Kubernetes writes.
    """
    if _of_watch(content):
        yield _watched(content)
    else:
        for record in content["items"] if isinstance(content.get("items"), list) else [content]:
            if not isinstance(record, dict):
                raise WrongShape("an audit record is not an object")
            found = _audited(record)
            if found is not None:
                yield found


def _of_watch(content: Mapping[str, Any]) -> bool:
    return _text(content, "type") in _TYPES and isinstance(content.get("object"), dict) and "kind" not in content


def _watched(content: Mapping[str, Any]) -> Event:
    item, cluster = content["object"], content.get("cluster")
    if not isinstance(item.get("kind"), str):
        raise WrongShape("the object of an event has no kind")
    return Event(
        item["kind"],
        None if content["type"] == "BOOKMARK" else item,
        _time(content.get("at"), "at"),
        gone=content["type"] == "DELETED",
        watched="at" in content,
        cluster=None if cluster is None else plain_text(cluster),
    )


def _audited(record: Mapping[str, Any]) -> Event | None:
    status, shown, about = (_map(record, key) for key in ("responseStatus", "responseObject", "objectRef"))
    code = status.get("code", 200)
    done = record.get("stage") == "ResponseComplete" and isinstance(code, int) and code < 300
    if not done or _text(record, "verb") not in _CHANGING:
        return None
    at = _time(record.get("stageTimestamp") or record.get("requestReceivedTimestamp"), "stageTimestamp")
    if shown.get("kind") == "Status":
        return _deleted(record, _map(shown, "details"), about, at)
    if not isinstance(shown.get("kind"), str) or not isinstance(_map(shown, "metadata").get("name"), str):
        return None
    # A pod is deleted twice: first with the time it has left, then by its kubelet with none.
    removed = record["verb"] == "delete" and _map(shown, "metadata").get("deletionGracePeriodSeconds") == 0
    return Event(shown["kind"], dict(shown), at, gone=removed and shown["kind"] == "Pod")


def _deleted(
    record: Mapping[str, Any], details: Mapping[str, Any], about: Mapping[str, Any], at: int | None
) -> Event | None:
    """The answer to a deletion names the object by its uid alone."""
    kind = _KIND_OF.get(_text(about, "resource"))
    if record["verb"] != "delete" or kind is None or not details.get("uid") or not isinstance(about.get("name"), str):
        return None
    version = "/".join(filter(None, (_text(about, "apiGroup"), _text(about, "apiVersion"))))
    metadata = {"name": about["name"], "namespace": _text(about, "namespace"), "uid": details["uid"]}
    return Event(kind, {"kind": kind, "apiVersion": version, "metadata": metadata}, at, gone=True)


def _text(content: Mapping[str, Any], key: str) -> str:
    found = content.get(key)
    return found if isinstance(found, str) else ""


def _map(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}


def _time(value: object, name: str) -> int | None:
    try:
        return None if value is None else microseconds(plain_text(value))
    except ValueError as error:
        raise WrongShape(f"{name} is not a time") from error
