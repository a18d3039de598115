"""
Policy strings of every generation, and the hits that become such strings.

A string is `index|tier|name|action` (older clusters) or `index|tier|name|action|rule`. The name is `tier.name`,
`namespace/tier.name`, `namespace/knp.default.name` or `__PROFILE__.kns.namespace`, in newer code
`kind:[namespace/]name`. A staged policy decides nothing: older names hold `staged:`, newer ones have their own kinds.

Source: Calico Enterprise documentation, "Format of the policies field"; projectcalico/calico: felix/types/policy_id.go,
goldmane/proto/api.proto and methods.go, lma/pkg/api (policy hits of both generations).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vzflow.readers.calico.fields import Record
from vzflow.readers.log_lines import LARGEST, invalid

#: Lists of what was enforced; `all_policies` is what older clusters wrote, with staged policies among the others.
_ENFORCED = ("enforced_policies", "all_policies")

_STAGED_KINDS = ("snp", "sgnp", "sknp")

#: PolicyKind of api.proto by number and by name -> kind as policy strings write it. The numbers 7 and 8 were the admin
#: policies that became ClusterNetworkPolicy; the tier tells the two apart.
_KINDS = {
    1: "np", "CalicoNetworkPolicy": "np", 2: "gnp", "GlobalNetworkPolicy": "gnp",
    3: "snp", "StagedNetworkPolicy": "snp", 4: "sgnp", "StagedGlobalNetworkPolicy": "sgnp",
    5: "sknp", "StagedKubernetesNetworkPolicy": "sknp", 6: "knp", "NetworkPolicy": "knp",
    7: "kcnp", "ClusterNetworkPolicyAdminTier": "kcnp", "AdminNetworkPolicy": "kanp",
    8: "kcnp", "ClusterNetworkPolicyBaselineTier": "kcnp", "BaselineAdminNetworkPolicy": "kbanp",
    9: "pro", "Profile": "pro",
}  # fmt: skip
_END_OF_TIER = (10, "EndOfTier")
_UNSPECIFIED = (None, 0, "KindUnspecified")

_ACTIONS = {1: "allow", "Allow": "allow", 2: "deny", "Deny": "deny", 3: "pass", "Pass": "pass"}


def enforced_policies(record: Record) -> str | None:
    """
    Return the policy strings that decided, sorted by their index, as a JSON array; those of a forwarding host last.

    Staged policies and the list of what is pending are left out: they say what would happen, not what did.
    """
    lists = record.get("policies")
    if lists is None:
        return None
    if not isinstance(lists, dict):
        raise invalid("policies", lists)
    own = next((strings for name in _ENFORCED if (strings := _in_force(lists, name))), [])
    decided = own + _in_force(lists, "transit_policies")
    return json.dumps(decided) if decided else None


def _in_force(lists: Mapping[str, Any], name: str) -> list[str]:
    policies = lists.get(name)
    if not policies:
        return []
    if not isinstance(policies, list) or not all(isinstance(policy, str) for policy in policies):
        raise invalid(name, policies)
    return sorted((policy for policy in policies if not is_staged(policy)), key=_place)


def is_staged(policy: str) -> bool:
    """Whether a policy string, of any generation, is of a policy that is not in force."""
    parts = policy.split("|")
    name = parts[2] if len(parts) > 2 else ""
    return "staged:" in name or name.partition(":")[0] in _STAGED_KINDS


def _place(policy: str) -> tuple[int, str]:
    index = policy.partition("|")[0]
    return (int(index) if index.isascii() and index.isdigit() and len(index) < 10 else LARGEST, policy)


def strings_of_hits(hits: Any, name: str) -> list[str]:  # noqa: ANN401 - whatever stands in the JSON
    """Return PolicyHit objects of Goldmane (numbers, zero fields omitted) or Whisker (names) as policy strings."""
    if hits is None:
        return []
    if not isinstance(hits, list) or not all(isinstance(hit, dict) for hit in hits):
        raise invalid(name, hits)
    return [_string_of(hit) for hit in hits]


def _string_of(hit: Record) -> str:
    # The tier's end is told by the policy that selected the endpoint.
    named = (hit.get("trigger") or {}) if hit.get("kind") in _END_OF_TIER else hit
    if not isinstance(named, dict):
        raise invalid("trigger", named)
    kind = _kind(named)
    tier = "__PROFILE__" if kind == "pro" else _word(hit, "tier")
    namespace = _word(named, "namespace")
    name = f"{namespace}/{_word(named, 'name')}" if namespace else _word(named, "name")
    place, rule = _number(hit, "policy_index"), _number(hit, "rule_index")
    return f"{place}|{tier}|{kind + ':' if kind else ''}{name}|{_action(hit)}|{rule}"


def _kind(hit: Record) -> str | None:
    kind = hit.get("kind")
    if kind in _UNSPECIFIED:
        return None
    if not isinstance(kind, (int, str)) or kind not in _KINDS:
        raise invalid("kind", kind)
    return _KINDS[kind]


def _action(hit: Record) -> str:
    action = hit.get("action")
    return _ACTIONS.get(action, "-") if isinstance(action, (int, str)) else "-"


def _word(hit: Record, name: str) -> str:
    value = hit.get(name, "")
    if not isinstance(value, str):
        raise invalid(name, value)
    return value


def _number(hit: Record, name: str) -> int:
    value = hit.get(name, 0)
    if type(value) is not int:
        raise invalid(name, value)
    return value
