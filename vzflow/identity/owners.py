"""Who owns what stands between a pod and the owner users know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vzflow.identity.kept import controller, qualified
from vzflow.identity.lives import State
from vzflow.identity.pods import Pod
from vzflow.identity.slices import KINDS as SLICES


class Owners:
    """Who owns what stands between a pod and the owner users know: ReplicaSets, Jobs, and kinds nobody here knows."""

    def __init__(self, by_kind: Mapping[str, list[State[Any]]]) -> None:
        self._of: dict[tuple[str, str, str | None, str], Mapping[str, Any] | None] = {}
        for kind, states in by_kind.items():
            if kind not in ("Pod", *SLICES):
                self._add((state, controller(state.object)) for state in states)
        pods: list[State[Pod]] = by_kind.get("Pod", [])
        owners = [template.controller for template in {pod.shown.template for pod in pods}]
        if any(owner is not None and owner["kind"] == "Pod" for owner in (*owners, *self._of.values())):
            self._add((pod, pod.shown.template.controller) for pod in pods)

    def _add(self, owned: Iterable[tuple[State[Any], Mapping[str, Any] | None]]) -> None:
        for state, owner in owned:
            if owner is not None or state.kind == "ReplicaSet":
                self._of[state.cluster, state.kind, state.namespace, state.name] = owner

    def workload(self, pod: State[Pod]) -> tuple[str, str]:
        """
        Return (name, kind) of the topmost owner that is told of: Deployment, CronJob, a custom kind; else the pod.

        A ReplicaSet that is in no snapshot is taken apart by the pod's template hash; a Job's name proves no CronJob.
        """
        owner = pod.shown.template.controller
        if owner is None:
            return pod.name, "Pod"
        if owner["kind"] == "ReplicaSet" and self._key(pod, owner) not in self._of:
            owner = _without_hash(owner["name"], pod.shown.template.labels)
        passed = set()
        while (above := self._of.get(key := self._key(pod, owner))) is not None and key not in passed:
            passed.add(key)
            owner = above
        return owner["name"], owner["kind"]

    def _key(self, pod: State[Pod], owner: Mapping[str, Any]) -> tuple[str, str, str | None, str]:
        kind = qualified(owner["kind"], owner.get("apiVersion"))
        inside = (pod.cluster, kind, pod.namespace, owner["name"])
        return inside if inside in self._of else (pod.cluster, kind, None, owner["name"])


def _without_hash(name: str, labels: Mapping[str, str]) -> Mapping[str, str]:
    for label, kind in (("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")):
        if label in labels and name.endswith(f"-{labels[label]}"):
            return {"kind": kind, "name": name.removesuffix(f"-{labels[label]}")}
    return {"kind": "ReplicaSet", "name": name}
