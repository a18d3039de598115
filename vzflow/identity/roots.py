"""Istio's root namespace, over time: the one whose policies without a selector are for the whole mesh."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from vzflow.identity.kept import MESH_KEY, ROOT_NAMESPACE
from vzflow.identity.lives import State
from vzflow.identity.phases import Phase, phases, steps_of
from vzflow.identity.pods import Pod

#: Where no MeshConfig names another (Istio: DefaultMeshConfig in pkg/config/mesh).
ROOT = "istio-system"


class Roots:
    """
    The root namespaces of all clusters, by what their MeshConfigs say.

    Anybody may call a ConfigMap so in a namespace of theirs: where istiod's pods are known, only those beside them are
    believed. Of several control planes each may be a pod's, and where they differ all their answers hold at once.
    """

    def __init__(self, config_maps: Iterable[State[Any]], pods: Iterable[State[Pod]]) -> None:
        beside: dict[str, set[str | None]] = defaultdict(set)
        for pod in pods:
            if pod.shown.template.labels.get("app") == "istiod":
                beside[pod.cluster].add(pod.namespace)
        believed = [c for c in config_maps if c.cluster not in beside or c.namespace in beside[c.cluster]]
        self._steps = steps_of(believed)
        self._phases: dict[str, list[Phase[str]]] = {}
        #: Cluster -> every namespace that ever was its root; no cluster of which no MeshConfig is known.
        self.ever: dict[str, set[str]] = defaultdict(set)
        for one in believed:
            self.ever[one.cluster].update(_named([one]))

    def phases(self, cluster: str) -> list[Phase[str]]:
        """Return the spans of each root; together they cover all time, and may overlap."""
        if cluster not in self._phases:
            relevant = [steps for (c, _), own in self._steps.items() if c == cluster for steps in own.values()]
            self._phases[cluster] = [
                (since, until, root) for since, until, roots in phases(relevant, _named) for root in roots
            ]
        return self._phases[cluster]


def _named(config_maps: list[State[Any]]) -> tuple[str, ...]:
    told = (json.loads(c.object.get("data", {}).get(MESH_KEY, "{}")) for c in config_maps)
    return tuple(sorted({said.get(ROOT_NAMESPACE, ROOT) for said in told})) or (ROOT,)
