"""Trap 5.17: a pod that calls its own Service and is led back to itself, by whatever record shows it."""

from __future__ import annotations

import pytest
from identity.identity_support import service
from trap_support import CONSOLE, KIBANA, N1, N1_BRIDGE, N1_TUNNEL, N2, SYSTEM, component, flow, judged, verdict

#: The Service of the console's pods: 81 leads to 8001, which no rule speaks of.
VIP = "10.96.0.50"
OWN = service(
    "console", [{"port": 80, "targetPort": 8000}, {"port": 81, "targetPort": 8001, "nodePort": 30081}],
    namespace=SYSTEM, clusterIP=VIP, type="NodePort", selector={"app": "verrazzano-console"},
)  # fmt: skip
#: Another pod of the same Deployment, on the same node: nothing but its name tells it from the first.
OTHER = "10.244.1.11"
SECOND = component("console-1", OTHER, {"app": "verrazzano-console"}, 8000, node="n1")
CALICO = {
    "source": "calico", "reporter": "initiator", "initiator_basis": "reporter", "initiator_port": None,
    "connection_state": None, "action": "allowed",
}  # fmt: skip
LINE = {"source": "envoy", "connection_state": "established", "response_code": 200, "initiator_basis": "log"}
CLEAR = {"transport_seen": "plaintext", "transport_seen_basis": "clear_protocol"}
HAIRPIN = ("out_of_scope", "hairpin")


def named(side: str, name: str) -> dict[str, str]:
    """How a flow log names a pod; a name that ends in `*` stands for all that begin so."""
    ending = "name_prefix" if name.endswith("*") else "name"
    return {
        f"{side}_named_kind": "pod", f"{side}_named_namespace": SYSTEM, f"{side}_named_{ending}": name.rstrip("*")
    }  # fmt: skip


@pytest.mark.parametrize("dialled", [(VIP, 81), (N2, 30081)], ids=["service", "node_port"])
def test_5_17_before_translation_the_only_pod_of_a_service_calls_itself(dialled):
    """At the pod's veth its own address dials the Service, which has nobody else."""
    assert verdict(flow(CONSOLE, *dialled), with_objects=[OWN]) == [HAIRPIN]
    assert verdict(flow(KIBANA, *dialled), with_objects=[OWN]) == [("unexpected", "port_not_documented")]


def test_5_17_of_several_pods_the_one_that_dials_may_be_the_one_that_answers():
    """Nothing tells which pod the Service led to: only a stranger to it is firmly judged."""
    found = verdict(flow(CONSOLE, VIP, 81), flow(KIBANA, VIP, 81), with_objects=[OWN, SECOND])
    assert found == [("unknown", "responder_ambiguous"), ("unexpected", "port_not_documented")]


def test_5_17_another_pod_of_the_deployment_is_judged_by_the_rules():
    """The near miss: two pods that are judged as one are two pods."""
    flows = [flow(CONSOLE, OTHER, 8001), flow(OTHER, CONSOLE, 8001), flow(None, None, 8001, **CALICO)]
    flows[2] |= named("initiator", "console-0") | named("responder", "console-1")
    found = verdict(*flows, with_objects=[OWN, SECOND])
    assert found == [("unexpected", "port_not_documented")] * 3


@pytest.mark.parametrize("source", [N1, N1_TUNNEL, N1_BRIDGE])
def test_5_17_after_translation_the_pod_hides_behind_an_address_of_its_own_node(source):
    """kube-proxy masquerades what it leads back. On a port of no Service, or from another node, it is somebody else."""
    flows = [flow(source, CONSOLE, 8001), flow(source, CONSOLE, 8002), flow(N2, CONSOLE, 8001)]
    found = verdict(*flows, with_objects=[OWN, SECOND])
    firm = ("unexpected", "port_not_documented")
    assert found == [("unknown", "initiator_ambiguous"), firm, firm]


@pytest.mark.parametrize("source", [N1, N1_TUNNEL, N1_BRIDGE])
def test_5_17_a_probe_is_still_a_probe(source):
    """The rule speaks of the node's address, whoever hides behind it."""
    assert verdict(flow(source, CONSOLE, 8000, **CLEAR), with_objects=[OWN]) == [("expected", "I02")]


def test_5_17_clear_text_from_the_own_node_to_a_strict_port_is_a_violation_all_the_same():
    """Whoever it was: what STRICT refuses, it refuses from the pod itself, too."""
    (row,) = judged(flow(N1, CONSOLE, 8001, **CLEAR), with_objects=[OWN])
    assert (row["verdict"], row["transport_status"]) == ("unknown", "violated")


def test_5_17_a_flow_log_that_names_one_pod_twice_tells_of_a_pod_that_calls_itself():
    """Calico logs what is forwarded, after the Service's address was translated and before the masquerade."""
    row = flow(None, None, 8001, **CALICO) | named("initiator", "console-0") | named("responder", "console-0")
    assert verdict(row, with_objects=[OWN, SECOND]) == [HAIRPIN]


def test_5_17_a_flow_log_that_names_one_beginning_twice_may_tell_of_either():
    """Aggregated names leave open whether it was one pod or two; on a port of no Service it was two."""
    pods = [
        component(f"web-{n}", f"10.244.1.2{n}", {"app": "verrazzano-console"}, 8000, node="n1",
                  metadata={"generateName": "web-"})
        for n in (1, 2)
    ]  # fmt: skip
    rows = [
        flow(None, None, port, **CALICO) | named("initiator", "web-*") | named("responder", "web-*")
        for port in (8001, 8002)
    ]
    found = verdict(*rows, with_objects=[OWN, *pods])
    assert found == [("unknown", "initiator_ambiguous"), ("unexpected", "port_not_documented")]


@pytest.mark.parametrize(
    ("initiator", "responder", "reporter"),
    [(CONSOLE, CONSOLE, "initiator"), (CONSOLE, CONSOLE, "responder"), ("127.0.0.6", CONSOLE, "responder")],
)
def test_5_17_through_its_sidecar_the_pod_stays_inside_itself(initiator, responder, reporter):
    """Envoy dials the pod's own address over loopback, and hands it to the application from 127.0.0.6."""
    line = flow(initiator, responder, 8001, reporter=reporter, dialled_ip=VIP, dialled_port=81, **LINE)
    assert verdict(line, with_objects=[OWN]) == [("out_of_scope", "loopback")]
