"""What other objects say of a pod, as of then: policies, namespace labels, ztunnel, and pools of addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from vzflow.identity.kept import REDIRECTION
from vzflow.identity.lives import State
from vzflow.identity.masquerade import Masquerade
from vzflow.identity.party import Surroundings, labels_of
from vzflow.identity.phases import Phase, Step, phases, steps_of, within
from vzflow.identity.policy import Policies
from vzflow.identity.roots import Roots

DATAPLANE_MODE = "istio.io/dataplane-mode"


class Around:
    """The objects of all clusters that speak of pods, over time."""

    def __init__(self, by_kind: Mapping[str, list[State]]) -> None:
        self.roots = Roots(by_kind.get("ConfigMap", ()), by_kind.get("Pod", ()))
        policies = [*by_kind.get("PeerAuthentication", ()), *by_kind.get("Sidecar", ())]
        self._policies = Policies(policies, self.roots)
        self.masquerade = Masquerade(by_kind.get("IPPool", ()), by_kind.get("FelixConfiguration", ()))
        self._namespaces: dict[tuple[str, str], list[list[Step]]] = defaultdict(list)
        for (cluster, _), objects in steps_of(by_kind.get("Namespace", ())).items():
            for key, steps in objects.items():
                self._namespaces[cluster, key.split("/")[1]].append(steps)
        self._taken: dict[tuple[str, str, str | None, str | None, bool], list[Phase[bool]]] = {}
        self._ztunnels: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for pod in by_kind.get("Pod", ()):
            if labels_of(pod).get("app") == "ztunnel" and (node := pod.object.get("spec", {}).get("nodeName")):
                self._ztunnels[pod.cluster, node].append((pod.since, pod.until))

    def phases(self, pod: State) -> Iterator[Phase[Surroundings]]:
        """Yield the spans in which one thing holds; together they cover the pod's state, and may overlap."""
        for since, until, policies in self._policies.phases(pod, labels_of(pod)):
            for begin, end, leaving in within(self.masquerade.of_pod(pod), since, until):
                for first, last, taken in within(self._ambient(pod), begin, end):
                    yield first, last, Surroundings(policies, taken, *leaving)

    def _ambient(self, pod: State) -> list[Phase[bool]]:
        running = self._ztunnels.get((pod.cluster, pod.object.get("spec", {}).get("nodeName", "")), ())
        ztunnel = any(since < pod.until and pod.since < until for since, until in running)
        metadata = pod.object.get("metadata", {})
        noted, mode = metadata.get("annotations", {}).get(REDIRECTION), labels_of(pod).get(DATAPLANE_MODE)
        key = (pod.cluster, pod.namespace or "", noted, mode, ztunnel)
        if key not in self._taken:
            relevant = self._namespaces.get(key[:2], [])
            self._taken[key] = phases(relevant, lambda found: _by_ztunnel(noted, mode, found, ztunnel))
        return self._taken[key]


def _by_ztunnel(noted: str | None, mode: str | None, namespaces: list[State], ztunnel: bool) -> bool:
    """
    Whether ztunnel takes the traffic of a pod without a sidecar.

    Istio's CNI plugin notes it on the pod; where it did not, the pod's label or else its namespace's decides, if the
    node runs ztunnel.
    """
    if noted is not None:
        return noted == "enabled"
    of_namespace = (n.object.get("metadata", {}).get("labels", {}).get(DATAPLANE_MODE) for n in namespaces)
    return ztunnel and (mode or next(of_namespace, None)) == "ambient"
