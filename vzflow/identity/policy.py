"""PeerAuthentications -> which of them spoke of a pod, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from vzflow.flow.lookups import FOREVER
from vzflow.identity.kept import microseconds
from vzflow.identity.lives import State
from vzflow.identity.party import Policy

#: Istio's root namespace: a policy there without a selector is for the whole mesh.
ROOT = "istio-system"
WORKLOAD, NAMESPACE, MESH = 1, 2, 3
#: UNSET, or none, inherits from the level above.
MODES = frozenset({"STRICT", "PERMISSIVE", "DISABLE"})
_ALWAYS = -FOREVER

Phase = tuple[int, int, tuple[Policy, ...]]  # since, until, what holds
_Step = tuple[int, int, State | None]  # null: the policy is gone


class Policies:
    """The PeerAuthentications of all clusters, over time."""

    def __init__(self, states: Iterable[State]) -> None:
        self._steps: dict[tuple[str, str | None], dict[str, list[_Step]]] = defaultdict(dict)
        for state in states:
            if state.kind == "PeerAuthentication":
                steps = self._steps[state.cluster, state.namespace].setdefault(f"{state.name}/{state.uid}", [])
                steps.append((state.since, state.until, state))
        for policies in self._steps.values():
            for steps in policies.values():
                last = steps[-1][2]
                if last is not None and last.until < FOREVER:
                    steps.append((last.sure_until, FOREVER, None))
        self._phases: dict[tuple[str, str | None, tuple[tuple[str, str], ...]], list[Phase]] = {}

    def phases(self, pod: State, labels: Mapping[str, str]) -> list[Phase]:
        """
        Return the spans of a pod's state in which one set of policies selects it; together they cover it.

        Between two snapshots that differ, both sets may have held: such spans overlap. Of several policies of one
        level only the oldest counts, and port modes only with a selector; one with a selector in the root namespace
        selects nothing (Istio: ComposePeerAuthentication in pilot/pkg/security/authn).
        """
        key = (pod.cluster, pod.namespace, tuple(sorted(labels.items())))
        if key not in self._phases:
            self._phases[key] = list(_phases(self._relevant(pod), labels))
        clipped = ((max(a, pod.since), min(b, pod.until), policies) for a, b, policies in self._phases[key])
        return [(a, b, policies) for a, b, policies in clipped if a < b]

    def _relevant(self, pod: State) -> list[list[_Step]]:
        namespaces = {ROOT, pod.namespace}
        return [steps for n in namespaces for steps in self._steps.get((pod.cluster, n), {}).values()]


def _phases(relevant: list[list[_Step]], labels: Mapping[str, str]) -> Iterator[Phase]:
    times = {t for steps in relevant for since, until, _ in steps for t in (since, until)}
    spans: dict[tuple[Policy, ...], list[tuple[int, int]]] = defaultdict(list)
    for begin, end in pairwise(sorted({_ALWAYS, *times, FOREVER})):
        holding = [[state for a, b, state in steps if a <= begin < b] for steps in relevant]
        # What the older and what the newer snapshot says; mixtures of the two are not spelled out.
        for choice in (0, -1):
            policies = _effective([h[choice] for h in holding if h], labels)
            if spans[policies] and spans[policies][-1][1] >= begin:
                spans[policies][-1] = (spans[policies][-1][0], end)
            else:
                spans[policies].append((begin, end))
    for policies, held in spans.items():
        for begin, end in held:
            yield begin, end, policies


def _effective(states: Iterable[State | None], labels: Mapping[str, str]) -> tuple[Policy, ...]:
    oldest: dict[int, tuple[int, str, State]] = {}
    for state in states:
        level = None if state is None else _level(state, labels)
        if state is not None and level is not None:
            created = state.object.get("metadata", {}).get("creationTimestamp")
            age = state.since if created is None else microseconds(created)
            candidate = (age, f"{state.namespace}/{state.name}", state)
            if level not in oldest or candidate[:2] < oldest[level][:2]:
                oldest[level] = candidate
    return tuple(policy for level in sorted(oldest) for policy in _modes(level, *oldest[level]))


def _level(state: State, labels: Mapping[str, str]) -> int | None:
    wanted = state.object.get("spec", {}).get("selector", {}).get("matchLabels", {})
    if not wanted:
        return MESH if state.namespace == ROOT else NAMESPACE
    selects = state.namespace != ROOT and all(labels.get(k) == v for k, v in wanted.items())
    return WORKLOAD if selects else None


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
