"""What a cluster's settings decide about a verdict: Istio's root namespace, excluded ports, whom Calico masquerades."""

from __future__ import annotations

import json

import pytest
from identity.identity_support import meta, objects, peer_authentication, service
from trap_support import CLUSTER_OBJECTS, CONSOLE, N1, N2, NGINX, component, flow, judged, judged_in

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


def known_by_calico(item):
    """The same object; a node, with the annotation that says which address Calico knows it by."""
    if item["kind"] != "Node":
        return item
    said = {"projectcalico.org/IPv4Address": item["status"]["addresses"][0]["address"] + "/24"}
    metadata = item["metadata"] | {"annotations": item["metadata"]["annotations"] | said}
    return item | {"metadata": metadata}


def calico(kind, name, **spec):
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": meta(name, "02:00"), "spec": spec}


PODS = calico("IPPool", "pods", cidr="10.244.0.0/16", natOutgoing=True)
NODES_TOO = calico("FelixConfiguration", "default", natOutgoingExclusions="IPPoolsAndHostIPs")
DISABLED = calico("IPPool", "nodes", cidr="10.1.0.0/24", disabled=True)
FRONT = service(
    "exporter", [{"port": 9100, "nodePort": 30100}], namespace="monitoring", type="NodePort",
    selector={"app": "node-exporter"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], ("unknown", "initiator_ambiguous")),
        ([PODS], ("unknown", "initiator_ambiguous")),
        ([NODES_TOO], ("unknown", "initiator_ambiguous")),
        ([PODS, NODES_TOO], ("unexpected", "source_not_documented")),
        ([PODS, DISABLED], ("unexpected", "source_not_documented")),
        ([PODS, NODES_TOO, FRONT], ("unknown", "initiator_ambiguous")),
        ([PODS, DISABLED, FRONT], ("unknown", "initiator_ambiguous")),
    ],
)
def test_what_a_node_sends_to_another_is_its_own_where_calico_masquerades_no_pod_for_that(settings, expected):
    """Prometheus may scrape the node exporters, a node may not: who it was, Calico's settings decide."""
    cluster = [*map(known_by_calico, CLUSTER_OBJECTS), *settings]
    (row,) = judged_in(objects(("13:00", cluster)), flow(N2, N1, 9100))
    assert (row["verdict"], row["reason"]) == expected
    assert ("prometheus-0" in row["initiator_candidates"]) == (expected[0] == "unknown")
    assert "node n2" in json.loads(row["initiator_candidates"])


@pytest.mark.parametrize("name", ["istio-init", "istio-validation"])
@pytest.mark.parametrize(
    ("told", "expected"),
    [("15090,15021,15020", "violated"), ("15090,15021,15020,8001", "exempt"), (None, "violated")],
)
def test_a_port_that_the_whole_mesh_excludes_is_exempt_where_the_pods_redirection_was_told_so(told, expected, name):
    """No annotation says it: it stands in the arguments that the injector wrote, with Istio's CNI plugin as without."""
    words = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x"]
    init = {"initContainers": [{"name": name, "args": [*words, "", "-b", "*", "-d", told]}]} if told else {}
    other = component("other-0", "10.244.1.44", {"app": "verrazzano-console"}, 8000, node="n1", spec=init)
    (row,) = judged(flow(NGINX, "10.244.1.44", 8001, **CLEAR), with_objects=[other])
    assert row["transport_status"] == expected
