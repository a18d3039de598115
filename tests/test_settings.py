"""What a cluster's settings decide about a verdict: Istio's root namespace."""

from __future__ import annotations

from identity.identity_support import meta, peer_authentication
from trap_support import CONSOLE, NGINX, flow, judged

CLEAR = {"transport_seen": "plaintext", "transport_seen_basis": "clear_protocol"}


def test_a_mesh_wide_policy_of_another_root_namespace_decides_what_clear_text_is():
    """On a port of the console that no rule speaks of; istio-system's policy binds istio-system alone then."""
    relaxed = peer_authentication("default", "PERMISSIVE", namespace="mesh-policy")
    config = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("istio", "02:00", "istio-system"),
        "data": {"mesh": "rootNamespace: mesh-policy\n"},
    }  # fmt: skip
    clear = flow(NGINX, CONSOLE, 8001, **CLEAR)
    found = [judged(clear, with_objects=more)[0]["transport_status"] for more in ([relaxed], [relaxed, config])]
    assert found == ["violated", "not_required"]
