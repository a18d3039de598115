"""Whole lists of the kinds identity needs, page by page, each of one moment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

import urllib3

from vzflow.flow.errors import UsageProblem
from vzflow.identity.kubernetes import (
    RESOURCES,
    TIMEOUT,
    ApiError,
    ApiServer,
    NoAnswerError,
    Resource,
    unauthorized,
    unreachable,
)  # fmt: skip
from vzflow.identity.patience import Patience
from vzflow.identity.snapshot import withheld
from vzflow.identity.unlisted import ABSENT

#: Objects per page: what kubectl asks for.
PAGE = 500
#: A list whose continuation expired (410) is begun again this often.
ATTEMPTS = 3
#: A page may take this many times as long as the wait for more of it.
_SLOWEST = 10
_PIECE = 1 << 16
_SECOND = 1_000_000


@dataclass
class Fetched:
    """
    What one read of a cluster gave.

    Args:
        objects: Raw objects as kubectl writes them, each with kind and apiVersion.
        listed: Kinds that were listed whole, also those without an object, and the resourceVersion of each list.
        missing: Kinds that were not, and why.
        notes: One line for each of these.
        taken_at: When the first list was answered, by the API server's clock if it tells: microseconds since 1970 UTC,
            cut to seconds as Date and the objects' own times are.
    """

    objects: list[dict[str, Any]] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    taken_at: int = 0


class Listed(NamedTuple):
    """A whole list: of which API version, of which resourceVersion, and when it was answered (microseconds)."""

    version: str
    resource_version: str
    at: int


class Sink(Protocol):
    """Takes the objects of a list as they come; a list is one. Cleared when the list begins anew."""

    def clear(self) -> None: ...
    def extend(self, items: Iterable[dict[str, Any]], /) -> None: ...


def fetch(
    context: str | None = None,
    kubeconfig: str | None = None,
    timeout: float = TIMEOUT,
    patience: Patience | None = None,
) -> Fetched:
    """
    List what identity needs in all namespaces, and never a Secret.

    A kind that may not be listed, or does not exist, is noted; the others go on.

    Args:
        context: Of the kubeconfig; null for its current one.
        kubeconfig: Path; null for $KUBECONFIG or ~/.kube/config and, where there is none, the pod's service account.
        timeout: Seconds to wait for more of an answer.
        patience: With failures that may pass.

    Raises:
        UsageProblem: The kubeconfig cannot be used, the API server refuses its credentials, or permits no list at all.
        ServiceUnavailable: The API server does not answer, or gives no list at all.
    """
    server, fetched = ApiServer(context, kubeconfig, timeout), Fetched()
    try:
        for resource in RESOURCES:
            _add(server, resource, fetched, patience or Patience())
    except NoAnswerError as error:
        raise unreachable(server.host, str(error)) from error
    finally:
        server.close()
    if not fetched.listed:
        raise _nothing(server.host, fetched)
    return fetched


def _add(server: ApiServer, resource: Resource, fetched: Fetched, patience: Patience) -> None:
    objects = _Objects()
    try:
        listed = read_list(server, resource, objects, patience)
    except ApiError as error:
        if error.status == 401:
            raise unauthorized(server.host) from error
        fetched.missing[resource.kind] = why_missing(resource, error)
        fetched.notes.append(f"{resource.plural}: {fetched.missing[resource.kind]}; not in the snapshot")
        return
    fetched.objects += objects
    fetched.listed[resource.kind] = listed.resource_version
    fetched.taken_at = fetched.taken_at or listed.at // _SECOND * _SECOND


class _Objects(list[dict[str, Any]]):
    """Raw objects without what is not written anyway, which is the larger half of a pod."""

    def extend(self, items: Iterable[dict[str, Any]], /) -> None:
        super().extend(map(withheld, items))


def why_missing(resource: Resource, error: ApiError) -> str:
    """Return why a kind cannot be listed and, where a permission is missing, which."""
    if error.status == 403:
        return f"not permitted ({error}): it takes get, list and watch of {resource.full_name} in all namespaces"
    return f"{ABSENT if error.status == 404 else 'failed'} ({error})"


def _nothing(host: str, fetched: Fetched) -> Exception:
    reasons = list(fetched.missing.values())
    if all(reason.startswith("not permitted") for reason in reasons):
        do = "Bind its account to the ClusterRole of pipelines/kubernetes/rbac.yaml."
        return UsageProblem(f"no list is permitted: {fetched.notes[0]}", at=host, do=do)
    return unreachable(host, fetched.notes[0])


def read_list(server: ApiServer, resource: Resource, sink: Sink, patience: Patience) -> Listed:
    """
    Put all objects of one kind into *sink*, of the newest version the cluster has; each has kind and apiVersion.

    All pages are of one resourceVersion: where that is too old to go on with (410), the list begins anew.

    Raises:
        ApiError: The list is refused, or expired as often as it was begun.
        NoAnswerError: The API server does not answer.
        ServiceUnavailable: What it answers is no list.
    """
    for version in resource.versions[:-1]:
        try:
            return _whole(server, resource, version, sink, patience)
        except ApiError as error:
            if error.status != 404:
                raise
    return _whole(server, resource, resource.versions[-1], sink, patience)


def _whole(server: ApiServer, resource: Resource, version: str, sink: Sink, patience: Patience) -> Listed:
    for number in range(ATTEMPTS - 1):
        try:
            return _pages(server, resource, version, sink, patience)
        except ApiError as error:
            if error.status != 410:
                raise
            patience.wait(number, error.retry_after)
    return _pages(server, resource, version, sink, patience)


def _pages(server: ApiServer, resource: Resource, version: str, sink: Sink, patience: Patience) -> Listed:
    following: str | None = None
    listed: Listed | None = None
    sink.clear()
    while listed is None or following:
        content = patience.answer(partial(_page, server, resource, version, following))
        listed = listed or Listed(version, str(content["metadata"].get("resourceVersion", "")), content["at"])
        sink.extend(named(item, resource, version) for item in content["items"] or ())
        before, following = following, content["metadata"].get("continue")
        if following and following == before:
            raise unreachable(server.host, "a page of the list says that it is followed by itself")
    return listed


def named(item: dict[str, Any], resource: Resource, version: str) -> dict[str, Any]:
    """Return *item* with apiVersion and kind, which the items of a list do not repeat."""
    group_version = f"{resource.group}/{version}".lstrip("/")
    return {"apiVersion": group_version, "kind": resource.kind, **item}


def _page(server: ApiServer, resource: Resource, version: str, following: str | None) -> dict[str, Any]:
    """Return what one page says, and `at` when it was answered."""
    options: dict[str, Any] = {"limit": PAGE} | ({"_continue": following} if following else {})
    response = server.ask(resource, version, **options)
    try:
        content = json.loads(_body(response, _SLOWEST * server.timeout))
    except urllib3.exceptions.HTTPError as error:
        raise NoAnswerError(error) from error
    except (ValueError, RecursionError) as error:
        raise unreachable(server.host, "the answer is not JSON") from error
    finally:
        response.release_conn()
    if not isinstance(content, dict) or not _is_list(content.get("items", "")):
        raise unreachable(server.host, "the answer is not a list of objects")
    metadata = content.get("metadata")
    return content | {"metadata": metadata if isinstance(metadata, dict) else {}, "at": server.now()}


def _body(response: urllib3.HTTPResponse, seconds: float) -> bytes:
    """Return the whole answer, if it comes within *seconds*: one that trickles is never silent for long."""
    until, pieces = time.monotonic() + seconds, list[bytes]()
    while piece := response.read1(_PIECE):
        pieces.append(piece)
        if time.monotonic() > until:
            response.close()  # or the next request would get the rest
            raise NoAnswerError(TimeoutError(f"the answer was not whole after {seconds:.0f} seconds"))
    return b"".join(pieces)


def _is_list(items: object) -> bool:
    return items is None or (isinstance(items, list) and all(isinstance(item, dict) for item in items))
