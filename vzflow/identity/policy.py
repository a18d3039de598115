"""PeerAuthentications and Sidecars -> what they asked of a pod's inbound, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from vzflow.identity.kept import microseconds
from vzflow.identity.lives import State
from vzflow.identity.party import Policy
from vzflow.identity.phases import Phase, Step, phases, steps_of, within
from vzflow.identity.roots import Roots

OWN_TLS, WORKLOAD, NAMESPACE, MESH = 0, 1, 2, 3
#: UNSET, or none, inherits from the level above.
MODES = frozenset({"STRICT", "PERMISSIVE", "DISABLE"})


class Policies:
    """The PeerAuthentications and Sidecars of all clusters, over time."""

    def __init__(self, states: Iterable[State[Any]], roots: Roots) -> None:
        self._steps = steps_of(s for s in states if s.kind in ("PeerAuthentication", "Sidecar"))
        self._roots = roots
        self._asked: dict[tuple[str, str | None], list[str]] = {}  # keys of labels that some selector there asks for
        self._phases: dict[tuple[str, str | None, tuple[str | None, ...]], list[Phase[tuple[Policy, ...]]]] = {}

    def phases(
        self, cluster: str, namespace: str | None, labels: Mapping[str, str]
    ) -> list[Phase[tuple[Policy, ...]]]:  # fmt: skip
        """
        Return the spans in which one set of policies selects a pod with such labels; together they cover all time.

        Between two snapshots that differ, both sets may have held: such spans overlap. Of several policies of one
        level only the oldest counts, and port modes only with a selector; one with a selector in the root namespace
        selects nothing (Istio: ComposePeerAuthentication in pilot/pkg/security/authn).
        """
        place = (cluster, namespace)
        if place not in self._asked:
            relevant = [steps for _, _, root in self._roots.phases(cluster) for steps in self._relevant(*place, root)]
            states = (state for steps in relevant for *_, state in steps if state is not None)
            self._asked[place] = sorted({key for state in states for key in _wanted(state)})
        key = (*place, tuple(map(labels.get, self._asked[place])))
        if key not in self._phases:
            self._phases[key] = list(self._while_root_is(*place, labels))
        return self._phases[key]

    def _while_root_is(
        self, cluster: str, namespace: str | None, labels: Mapping[str, str]
    ) -> Iterator[Phase[tuple[Policy, ...]]]:  # fmt: skip
        for since, until, root in self._roots.phases(cluster):
            relevant = self._relevant(cluster, namespace, root)
            yield from within(phases(relevant, partial(_effective, labels=labels, root=root)), since, until)

    def _relevant(self, cluster: str, namespace: str | None, root: str) -> list[list[Step]]:
        namespaces = {root, namespace}
        return [steps for n in namespaces for steps in self._steps.get((cluster, n), {}).values()]


def _effective(states: list[State[Any]], *, labels: Mapping[str, str], root: str) -> tuple[Policy, ...]:
    said = [s for s in states if s.kind == "PeerAuthentication"]
    sidecars = _oldest((s for s in states if s.kind == "Sidecar"), labels, root)
    return (
        *(policy for level in sorted(sidecars)[:1] for policy in _own_tls(*sidecars[level])),
        *(policy for level, found in sorted(_oldest(said, labels, root).items()) for policy in _modes(level, *found)),
    )


def _oldest(
    states: Iterable[State[Any]], labels: Mapping[str, str], root: str
) -> dict[int, tuple[int, str, State[Any]]]:
    """Return level -> (creation, name, object): of several that select on one level the oldest."""
    oldest: dict[int, tuple[int, str, State[Any]]] = {}
    for state in states:
        level = _level(state, labels, root)
        if level is not None:
            created = state.object.get("metadata", {}).get("creationTimestamp")
            age = state.since if created is None else microseconds(created)
            candidate = (age, f"{state.namespace}/{state.name}", state)
            if level not in oldest or candidate[:2] < oldest[level][:2]:
                oldest[level] = candidate
    return oldest


def _level(state: State[Any], labels: Mapping[str, str], root: str) -> int | None:
    wanted = _wanted(state)
    if not wanted:
        return MESH if state.namespace == root else NAMESPACE
    selects = state.namespace != root and all(labels.get(k) == v for k, v in wanted.items())
    return WORKLOAD if selects else None


def _wanted(state: State[Any]) -> Mapping[str, str]:
    spec = state.object.get("spec", {})
    wanted: Mapping[str, str] = spec.get("selector", {}).get("matchLabels", {})
    return wanted or spec.get("workloadSelector", {}).get("labels", {})


def _own_tls(since: int, name: str, sidecar: State[Any]) -> Iterator[Policy]:
    """Yield the ports on which a Sidecar lets the proxy speak TLS of its own: no mutual TLS of the mesh ends there."""
    for listener in sidecar.object.get("spec", {}).get("ingress", ()):
        number = listener.get("port", {}).get("number")
        if number and listener.get("tls", {}).get("mode"):
            yield Policy(OWN_TLS, number, "DISABLE", name, since)


def _modes(level: int, since: int, name: str, state: State[Any]) -> Iterator[Policy]:
    spec = state.object.get("spec", {})
    ports = spec.get("portLevelMtls", {}) if level == WORKLOAD else {}
    said = [
        (None, spec.get("mtls", {})),
        *((int(p), m) for p, m in sorted(ports.items()) if p.isascii() and p.isdigit()),
    ]
    for port, mtls in said:
        if mtls.get("mode") in MODES:
            yield Policy(level, port, mtls["mode"], name, since)
