"""What other objects say of a pod, as of then: policies, namespace labels, ztunnel, and pools of addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vzflow.identity.kept import REDIRECTION
from vzflow.identity.lives import State
from vzflow.identity.masquerade import Leaving, Masquerade
from vzflow.identity.party import Policy, Surroundings
from vzflow.identity.phases import Phase, Step, phases, steps_of, within
from vzflow.identity.pods import Pod
from vzflow.identity.policy import Policies
from vzflow.identity.roots import Roots

DATAPLANE_MODE = "istio.io/dataplane-mode"


class Around:
    """The objects of all clusters that speak of pods, over time."""

    def __init__(self, by_kind: Mapping[str, list[State[Any]]]) -> None:
        self.roots = Roots(by_kind.get("ConfigMap", ()), by_kind.get("Pod", ()))
        policies = [*by_kind.get("PeerAuthentication", ()), *by_kind.get("Sidecar", ())]
        self._policies = Policies(policies, self.roots)
        self.masquerade = Masquerade(by_kind.get("IPPool", ()), by_kind.get("FelixConfiguration", ()))
        self._namespaces: dict[tuple[str, str], list[list[Step]]] = defaultdict(list)
        for (cluster, _), objects in steps_of(by_kind.get("Namespace", ())).items():
            for key, steps in objects.items():
                self._namespaces[cluster, key.split("/")[1]].append(steps)
        self._taken: dict[tuple[str, str, str | None, str | None, bool], list[Phase[bool]]] = {}
        self._together: dict[tuple[int, int, int], list[Phase[Surroundings]]] = {}
        self._ztunnels: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for pod in by_kind.get("Pod", ()):
            if pod.shown.template.labels.get("app") == "ztunnel" and (node := pod.shown.node):
                self._ztunnels[pod.cluster, node].append((pod.since, pod.until))

    def phases(self, pod: State[Pod]) -> list[Phase[Surroundings]]:
        """Return the spans in which one thing holds; together they cover the pod's state, and may overlap."""
        said = (
            self._policies.phases(pod.cluster, pod.namespace, pod.shown.template.labels),
            self.masquerade.of_pod(pod.cluster, pod.shown.node or "", pod.shown.addresses),
            self._ambient(pod),
        )
        key = (id(said[0]), id(said[1]), id(said[2]))  # all of them are kept
        if key not in self._together:
            self._together[key] = list(_together(*said))
        return list(within(self._together[key], pod.since, pod.until))

    def _ambient(self, pod: State[Pod]) -> list[Phase[bool]]:
        template = pod.shown.template
        running = self._ztunnels.get((pod.cluster, pod.shown.node or ""), ())
        ztunnel = any(since < pod.until and pod.since < until for since, until in running)
        annotations = template.object["metadata"].get("annotations", {})
        noted, mode = annotations.get(REDIRECTION), template.labels.get(DATAPLANE_MODE)
        key = (pod.cluster, pod.namespace or "", noted, mode, ztunnel)
        if key not in self._taken:
            relevant = self._namespaces.get(key[:2], [])
            self._taken[key] = phases(relevant, lambda found: _by_ztunnel(noted, mode, found, ztunnel))
        return self._taken[key]


def _together(
    policies: Iterable[Phase[tuple[Policy, ...]]], leaving: Iterable[Phase[Leaving]], ambient: Iterable[Phase[bool]]
) -> Iterator[Phase[Surroundings]]:
    for since, until, held in policies:
        for begin, end, masqueraded in within(leaving, since, until):
            for first, last, taken in within(ambient, begin, end):
                yield first, last, Surroundings(held, taken, *masqueraded)


def _by_ztunnel(noted: str | None, mode: str | None, namespaces: list[State[Any]], ztunnel: bool) -> bool:
    """
    Whether ztunnel takes the traffic of a pod without a sidecar.

    Istio's CNI plugin notes it on the pod; where it did not, the pod's label or else its namespace's decides, if the
    node runs ztunnel.
    """
    if noted is not None:
        return noted == "enabled"
    of_namespace = (n.object.get("metadata", {}).get("labels", {}).get(DATAPLANE_MODE) for n in namespaces)
    return ztunnel and (mode or next(of_namespace, None)) == "ambient"
