"""PeerAuthentications and Sidecars -> what they asked of a pod's inbound, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from vzflow.identity.kept import microseconds
from vzflow.identity.lives import State
from vzflow.identity.party import Policy
from vzflow.identity.phases import Phase, phases, steps_of, within
from vzflow.identity.roots import Roots

OWN_TLS, WORKLOAD, NAMESPACE, MESH = 0, 1, 2, 3
#: UNSET, or none, inherits from the level above.
MODES = frozenset({"STRICT", "PERMISSIVE", "DISABLE"})


class Policies:
    """The PeerAuthentications and Sidecars of all clusters, over time."""

    def __init__(self, states: Iterable[State], roots: Roots) -> None:
        self._steps = steps_of(s for s in states if s.kind in ("PeerAuthentication", "Sidecar"))
        self._roots = roots
        self._phases: dict[
            tuple[str, str | None, tuple[tuple[str, str], ...], str], list[Phase[tuple[Policy, ...]]]
        ] = {}  # fmt: skip

    def phases(self, pod: State, labels: Mapping[str, str]) -> Iterator[Phase[tuple[Policy, ...]]]:
        """
        Yield the spans of a pod's state in which one set of policies selects it; together they cover it.

        Between two snapshots that differ, both sets may have held: such spans overlap. Of several policies of one
        level only the oldest counts, and port modes only with a selector; one with a selector in the root namespace
        selects nothing (Istio: ComposePeerAuthentication in pilot/pkg/security/authn).
        """
        for since, until, root in within(self._roots.phases(pod.cluster), pod.since, pod.until):
            key = (pod.cluster, pod.namespace, tuple(sorted(labels.items())), root)
            if key not in self._phases:
                namespaces = {root, pod.namespace}
                relevant = [steps for n in namespaces for steps in self._steps.get((pod.cluster, n), {}).values()]
                self._phases[key] = phases(relevant, partial(_effective, labels=labels, root=root))
            yield from within(self._phases[key], since, until)


def _effective(states: list[State], *, labels: Mapping[str, str], root: str) -> tuple[Policy, ...]:
    said = [s for s in states if s.kind == "PeerAuthentication"]
    sidecars = _oldest((s for s in states if s.kind == "Sidecar"), labels, root)
    return (
        *(policy for level in sorted(sidecars)[:1] for policy in _own_tls(*sidecars[level])),
        *(policy for level, found in sorted(_oldest(said, labels, root).items()) for policy in _modes(level, *found)),
    )


def _oldest(states: Iterable[State], labels: Mapping[str, str], root: str) -> dict[int, tuple[int, str, State]]:
    """Return level -> (creation, name, object): of several that select on one level the oldest."""
    oldest: dict[int, tuple[int, str, State]] = {}
    for state in states:
        level = _level(state, labels, root)
        if level is not None:
            created = state.object.get("metadata", {}).get("creationTimestamp")
            age = state.since if created is None else microseconds(created)
            candidate = (age, f"{state.namespace}/{state.name}", state)
            if level not in oldest or candidate[:2] < oldest[level][:2]:
                oldest[level] = candidate
    return oldest


def _level(state: State, labels: Mapping[str, str], root: str) -> int | None:
    spec = state.object.get("spec", {})
    wanted = spec.get("selector", {}).get("matchLabels", {}) or spec.get("workloadSelector", {}).get("labels", {})
    if not wanted:
        return MESH if state.namespace == root else NAMESPACE
    selects = state.namespace != root and all(labels.get(k) == v for k, v in wanted.items())
    return WORKLOAD if selects else None


def _own_tls(since: int, name: str, sidecar: State) -> Iterator[Policy]:
    """Yield the ports on which a Sidecar lets the proxy speak TLS of its own: no mutual TLS of the mesh ends there."""
    for listener in sidecar.object.get("spec", {}).get("ingress", ()):
        number = listener.get("port", {}).get("number")
        if number and listener.get("tls", {}).get("mode"):
            yield Policy(OWN_TLS, number, "DISABLE", name, since)


def _modes(level: int, since: int, name: str, state: State) -> Iterator[Policy]:
    spec = state.object.get("spec", {})
    ports = spec.get("portLevelMtls", {}) if level == WORKLOAD else {}
    said = [
        (None, spec.get("mtls", {})),
        *((int(p), m) for p, m in sorted(ports.items()) if p.isascii() and p.isdigit()),
    ]
    for port, mtls in said:
        if mtls.get("mode") in MODES:
            yield Policy(level, port, mtls["mode"], name, since)
