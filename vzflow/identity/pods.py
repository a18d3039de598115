"""
Pod objects -> what identity takes of them; what the pods of one ReplicaSet share is read once.

A cluster's pods are made from few templates, and each is told of many times. Their stored text is cut where the parts
that are a pod's own begin, and each of the others is parsed only the first time. That every part is JSON by itself
shows that the cut was right; a text that is not cut so is parsed whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from vzflow.identity.kept import controller, microseconds

#: So many statuses, and pods, are remembered at a time: what is told of one pod comes close together.
_LATELY = 1 << 14

#: How metadata begins, as `snapshot` writes it: sorted, compact.
_HEAD = re.compile(
    r'\{(?:"gone":true,)?"metadata":\{("annotations":\{[^{}]*\},)?(?:"creationTimestamp":"([^"\\]*)",?)?'
    r'(?:"deletionTimestamp":"([^"\\]*)",?)?'
)
#: Where the next parts begin. No object in a pod has such members, and in texts quotes are escaped.
_SPEC, _STATUS, _NODE = '},"spec":{', '},"status":{', ',"nodeName":"'

Object = Mapping[str, Any]


class Template:
    """What pods share: their objects without times, node and status. Of those a reader made, equal ones are one."""

    def __init__(self, metadata: Object, spec: Object) -> None:
        self.object: Object = {"metadata": metadata, "spec": spec}

    @cached_property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.object["metadata"].get("labels", {})
        return labels

    @cached_property
    def controller(self) -> Object | None:
        return controller(self.object)

    @cached_property
    def host_network(self) -> bool:
        return bool(self.object["spec"].get("hostNetwork"))


class Status(NamedTuple):
    """
    What a pod's status says; times in microseconds since 1970 UTC.

    Args:
        addresses: Of both families, canonical.
        reported: What it says its node's addresses are.
        over: Its phase is a last one.
        stopped: Its containers have ended, and no native sidecar runs.
        finished: When the last container that is told of ended.
        ready: Since when its sandbox was ready; a little later than it was.
        anew: See `sandbox_made_anew`.
        started: When its containers did.
    """

    addresses: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    start: int | None = None
    over: bool = False
    stopped: bool = False
    finished: int | None = None
    ready: int | None = None
    anew: int | None = None
    started: tuple[int, ...] = ()


class Pod(NamedTuple):
    """One observation of a pod. Two with the same `look` are one state: conditions move without identity changing."""

    template: Template
    created: str | None
    node: str | None
    addresses: tuple[str, ...]
    status: Status
    deletion: int | None  # when the grace period of its deletion runs out

    @property
    def object(self) -> Object:
        return self.template.object

    @property
    def look(self) -> tuple[Any, ...]:
        return self[:4]

    @property
    def created_at(self) -> int | None:
        return None if self.created is None else microseconds(self.created)

    @property
    def begin(self) -> int | None:
        """When its node took it up, else when it was created."""
        return self.created_at if self.status.start is None else self.status.start

    @property
    def finished(self) -> bool:
        return self.status.over or (self.deletion is not None and self.status.stopped)


class Pods:
    """Reads pods as the store has them."""

    def __init__(self) -> None:
        self._lately: dict[str, Pod] = {}
        self._texts: dict[str | None, str | None] = {}
        self._addresses: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._statuses: dict[str, Status] = {}
        self._cut: dict[tuple[str, str], Template] = {}
        self._parts: dict[str, Object] = {}
        self._templates: dict[tuple[str, str], Template] = {}

    def read(self, text: str) -> tuple[Pod | None, bool]:
        """Return what an `object` of OBJECT_SCHEMA says, null if nothing, and whether the pod is gone."""
        gone = text.startswith('{"gone":true')
        shown = "{" + text[13:] if gone else text  # the same as told before it went
        if shown in self._lately:
            return self._lately[shown], gone
        pod = self._by_parts(text)
        if pod is None:
            return self._whole(text)
        if len(self._lately) >= _LATELY:
            self._lately.clear()
        self._lately[shown] = pod
        return pod, gone

    def _by_parts(self, text: str) -> Pod | None:
        head, after_head = _HEAD.match(text), text.find(_SPEC)
        if head is None or after_head < head.end() or text[-2:] != "}}":
            return None
        annotations, created, deletion = head.groups()
        labels = text[head.end() : after_head]
        begin, end = after_head + len(_SPEC), text.rfind(_STATUS)
        spec = text[begin : len(text) - 2 if end < begin else end]
        told = "{}" if end < begin else text[end + len(_STATUS) - 1 : -1]
        node, place = None, spec.rfind(_NODE)
        if place >= 0:
            node, _, after = spec[place + len(_NODE) :].partition('"')
            if "\\" in node or "}" in after or "]" in after:  # then it may be inside of something
                return None
            spec = spec[:place] + after
        try:
            template = self._template_of((f"{annotations or ''}{labels}".rstrip(","), spec))
            status = self._status(told)
        except ValueError:
            return None
        if template is None:
            return None
        return Pod(template, self._same(created), self._same(node), status.addresses, status, _moment(deletion))

    def _same(self, text: str | None) -> str | None:
        """Return the same object for the same text: many pods are of one node, or of one second."""
        if len(self._texts) >= _LATELY:
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def _template_of(self, texts: tuple[str, str]) -> Template | None:
        """Return the template of metadata and spec as they are written, without braces; null if not cut rightly."""
        if (template := self._cut.get(texts)) is None:
            metadata, spec = json.loads(f"{{{texts[0]}}}"), json.loads(f"{{{texts[1]}}}")
            if "creationTimestamp" in metadata or "deletionTimestamp" in metadata or "nodeName" in spec:
                return None
            template = self._cut[texts] = self._template(metadata, spec)
        return template

    def _template(self, metadata: Object, spec: Object) -> Template:
        texts = (json.dumps(metadata, sort_keys=True), json.dumps(spec, sort_keys=True))
        if texts not in self._templates:
            self._templates[texts] = Template(metadata, self._parts.setdefault(texts[1], spec))
        return self._templates[texts]

    def _status(self, text: str) -> Status:
        if (status := self._statuses.get(text)) is None:
            if len(self._statuses) >= _LATELY:
                self._statuses.clear()
            status = _status(json.loads(text))
            addresses, reported = (self._addresses.setdefault(a, a) for a in status[:2])  # each has one after another
            status = self._statuses[text] = Status(addresses, reported, *status[2:])
        return status

    def _whole(self, text: str) -> tuple[Pod | None, bool]:
        content = json.loads(text)
        gone = bool(content.pop("gone", False))
        if not content:
            return None, gone
        metadata, spec = dict(content.get("metadata", {})), dict(content.get("spec", {}))
        created, deletion = metadata.pop("creationTimestamp", None), metadata.pop("deletionTimestamp", None)
        node, status = spec.pop("nodeName", None), _status(content.get("status", {}))
        template = self._template(metadata, spec)
        return Pod(template, created, node, status.addresses, status, _moment(deletion)), gone


def _moment(text: str | None) -> int | None:
    return None if text is None else microseconds(text)


def _status(status: Object) -> Status:
    containers: list[Object] = status.get("containerStatuses", [])
    inits: list[Object] = status.get("initContainerStatuses", [])
    started, finished = set[int](), list[int]()
    for container in (*containers, *inits):
        for runs in (container.get("state"), container.get("lastState")):
            for run in runs.values() if runs else ():
                if "startedAt" in run:
                    started.add(microseconds(run["startedAt"]))
                if "finishedAt" in run:
                    finished.append(microseconds(run["finishedAt"]))
    addresses = tuple([entry["ip"] for entry in status.get("podIPs", ())])
    reported = [status.get("hostIP"), *[h["ip"] for h in status.get("hostIPs", ())]]
    ready = _sandbox_ready(status)
    return Status(
        addresses or tuple(filter(None, (status.get("podIP"),))),
        tuple([address for address in dict.fromkeys(reported) if address is not None]),
        _moment(status.get("startTime")),
        status.get("phase") in ("Succeeded", "Failed"),
        _stopped(containers, inits),
        max(finished, default=None),
        ready,
        _made_anew(ready, containers),
        tuple(sorted(started)),
    )


def _stopped(containers: list[Object], inits: list[Object]) -> bool:
    """Return whether all have ended, and no native sidecar runs, which goes last."""
    if not containers or any("terminated" not in c.get("state", ()) for c in containers):
        return False
    return not any("running" in c.get("state", ()) for c in inits)


def _sandbox_ready(status: Object) -> int | None:
    ready = [
        microseconds(c["lastTransitionTime"])
        for c in status.get("conditions", ())
        if c.get("type") == "PodReadyToStartContainers" and c.get("status") == "True" and "lastTransitionTime" in c
    ]
    return max(ready, default=None)


def _made_anew(ready: int | None, containers: list[Object]) -> int | None:
    """
    Return since when at the earliest a pod has the sandbox, and with it the address, that it has; null for its first.

    After a node restarted, a pod keeps its startTime and gets another address: then every container of it ended before
    the sandbox was ready. (Ready is noted a little late: after a container of the first sandbox began, too.)
    """
    if ready is None:
        return None
    last = [c.get("lastState", {}).get("terminated", {}) for c in containers]
    ended = [microseconds(run["finishedAt"]) for run in last if "finishedAt" in run]
    if not ended or len(ended) < len(last) or max(ended) > ready:
        return None
    return max(ended)
