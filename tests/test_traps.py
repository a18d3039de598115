"""
What a naive classifier flags wrongly: every trap of the collected network facts, section 5, is a test with its number.

Traps of reading a log or a capture are shown on the row a reader makes of it; the readers' own tests make that row.
"""

from __future__ import annotations

import json

import pytest
from identity.identity_support import at, meta, pod
from trap_support import (
    API_VIP,
    APPLICATION_OPERATOR,
    CONSOLE,
    COREDNS,
    DNS_VIP,
    ES_MASTER,
    GATEWAY,
    INGRESS_LB,
    KEYCLOAK,
    KEYCLOAK_VIP,
    KIBANA,
    METRICS_SERVER,
    MYSQL,
    N1,
    N1_BRIDGE,
    N1_TUNNEL,
    N2,
    NGINX,
    OUTSIDE,
    PROMETHEUS,
    ROGUE,
    SYSTEM,
    component,
    flow,
    judged,
    verdict,
)

from vzflow.identity.tables import Range

LB_SUBNET = (Range("lb-subnet", "10.9.0.0/24"),)
AMBIENT = "istio.io/dataplane-mode"
#: An HTTP request as packets show it.
CLEAR = {"transport_seen": "plaintext", "transport_seen_basis": "clear_protocol"}
UDP = {"protocol": "udp", "initiator_basis": "known_port", "connection_state": None}


@pytest.mark.parametrize("source", [N1, N1_TUNNEL, N1_BRIDGE])
@pytest.mark.parametrize("port", [8000, 15020, 15021])
def test_5_1_a_probe_from_any_address_of_the_pods_own_node_is_infrastructure(source, port):
    """The kubelet probes from the node's address, its tunnel's, or the bridge of its pods."""
    assert verdict(flow(source, CONSOLE, port, **CLEAR)) == [("expected", "I02")]


def test_5_1_another_node_or_an_undeclared_port_is_no_probe():
    """A probe comes from the pod's own node, to a port that is probed."""
    found = verdict(flow(N2, CONSOLE, 8000, **CLEAR), flow(N1, CONSOLE, 8001))
    assert found == [("unexpected", "source_not_documented"), ("unexpected", "port_not_documented")]


def test_5_2_external_comes_as_a_node_or_from_the_load_balancers_subnet():
    """Behind a NodePort the client's address is the node's; only documented entries take that."""
    flows = [flow(source, GATEWAY, 8443) for source in (OUTSIDE, N1, N2, "10.9.0.5")]
    assert verdict(*flows, ranges=LB_SUBNET) == [("expected", "R17")] * 4
    assert verdict(flow(N2, CONSOLE, 8000)) == [("unexpected", "source_not_documented")]


def test_5_3_a_node_port_is_judged_as_the_pod_port_it_leads_to():
    """Before translation the node's own address and the NodePort are on the wire."""
    before, after = judged(flow(OUTSIDE, N1, 31390), flow(N2, GATEWAY, 8443))
    assert [before["target_port"], before["responder_pod"], before["rule_id"]] == [8443, "gateway-0", "R17"]
    assert before["rule_id"] == after["rule_id"]


def test_5_4_a_host_network_pod_is_found_by_its_port_and_else_the_address_is_everybodys():
    """9100 on a node address is the exporter; any other port is the node or one of its host-network pods."""
    known, other = judged(flow(PROMETHEUS, N2, 9100), flow(PROMETHEUS, N2, 9999))
    assert (known["responder_pod"], known["verdict"], known["rule_id"]) == ("node-exporter-n2", "expected", "R25")
    assert json.loads(other["responder_candidates"]) == ["kube-system/kube-proxy-n2", "monitoring/node-exporter-n2",
                                                         "node n2"]  # fmt: skip
    assert (other["verdict"], other["reason"]) == ("unknown", "responder_ambiguous")


@pytest.mark.parametrize("source", [N1, N1_TUNNEL, N1_BRIDGE])
def test_5_5_the_api_server_calls_webhooks_from_its_nodes_addresses(source):
    """Nobody but the API server may call a webhook, and it comes from a control plane's address."""
    found = verdict(flow(source, APPLICATION_OPERATOR, 9443), flow(N2, APPLICATION_OPERATOR, 9443))
    assert found[0] == ("expected", "R01")
    assert found[1][0] == "unexpected" or found[1] == ("expected", "I02")


def test_5_5_the_api_server_is_its_service_and_its_endpoint():
    """A client dials the first Service address; past translation it is the control plane's port 6443."""
    flows = [flow(APPLICATION_OPERATOR, API_VIP, 443), flow(APPLICATION_OPERATOR, N1, 6443)]
    assert verdict(*flows) == [("expected", "I03")] * 2
    assert [row["responder_kind"] for row in judged(*flows)] == ["api_server"] * 2


def test_5_6_dns_needs_no_mtls_and_an_answer_seen_first_is_turned_round():
    """UDP has no handshake: port 53 tells who asked."""
    answer = UDP | {"initiator_basis": "first_seen", "initiator_port": 53}
    asked = judged(
        flow(CONSOLE, DNS_VIP, 53, **UDP), flow(CONSOLE, COREDNS, 53), flow(COREDNS, CONSOLE, 40000, **answer)
    )
    assert [(r["rule_id"], r["verdict"], r["transport_status"]) for r in asked] == [("I01", "expected", "exempt")] * 3
    assert [r["turned"] for r in asked] == [False, False, True]


def test_5_6_resolvers_outside_the_pods_are_no_finding():
    """CoreDNS asks the node's resolver; NodeLocal DNSCache answers at a link-local address once its range is told."""
    upstream, local = flow(COREDNS, "169.254.169.254", 53, **UDP), flow(CONSOLE, "169.254.20.10", 53, **UDP)
    assert verdict(upstream) == [("out_of_scope", "foreign")]
    assert verdict(local, ranges=(Range("node-local-dns", "169.254.20.10/32"),)) == [("expected", "I01")]


def test_5_7_both_halves_of_a_translated_connection_name_one_pod_and_port():
    """The client's veth shows the Service address and port, the server's the pod's."""
    before, after = judged(flow(NGINX, KEYCLOAK_VIP, 80), flow(NGINX, KEYCLOAK, 8080))
    for row in (before, after):
        assert (row["responder_pod"], row["target_port"], row["rule_id"]) == ("keycloak-0", 8080, "R21")
    assert before["responder_service"] == "keycloak/keycloak-http"


def test_5_8_a_headless_service_needs_no_translation():
    """Its name resolves to pod addresses."""
    (row,) = judged(flow(ES_MASTER, ES_MASTER.replace(".22", ".31"), 9300), with_objects=[
        component("es-master-1", ES_MASTER.replace(".22", ".31"), {"app": "system-es-master"}, 9200, 9300, node="n2")
    ])  # fmt: skip
    assert (row["verdict"], row["rule_id"], row["responder_service"]) == ("expected", "R12", None)


def test_5_9_a_port_that_only_one_end_declares_tells_the_responder_also_inside_the_ephemeral_range():
    """MySQL's 33060 looks like a client's port; a NodePort lies right below them."""
    first = {"initiator_basis": "first_seen", "connection_state": "midstream"}
    answer = flow(MYSQL, KEYCLOAK, 41000, initiator_port=33060, **first)
    (row,) = judged(answer)
    assert (row["turned"], row["initiator_pod"], row["responder_pod"]) == (True, "keycloak-0", "mysql-0")
    assert row["target_port"] == 33060
    (node_port,) = judged(flow(N1, OUTSIDE, 40000, initiator_port=31390, **first))
    assert (node_port["turned"], node_port["responder_pod"], node_port["target_port"]) == (True, "gateway-0", 8443)


def test_5_9_between_two_undeclared_ports_a_guess_stays_a_guess():
    """A wrong direction would blame the wrong end."""
    assert verdict(flow(ROGUE, CONSOLE, 41000, initiator_basis="first_seen")) == [("unknown", "direction_unknown")]


def test_5_10_a_reused_address_is_whoever_held_it_then():
    """A Job's pod gave its address to the next."""
    job = pod("reindex-1", ROGUE.replace(".30", ".40"), "09:00", finished="10:00", namespace="shop")
    heir = component("kibana-1", ROGUE.replace(".30", ".40"), {"app": "system-kibana"}, node="n2")
    heir["status"]["startTime"] = at("11:00")
    flows = [flow(ROGUE.replace(".30", ".40"), ES_MASTER, 9200, clock) for clock in ("09:30", "10:30", "11:30")]
    early, between, late = judged(*flows, with_objects=[job, heir])
    assert (early["initiator_pod"], early["verdict"]) == ("reindex-1", "unexpected")
    assert (between["initiator_kind"], between["verdict"]) == ("unknown", "unknown")
    assert (late["initiator_pod"], late["rule_id"]) == ("kibana-1", "R11")


@pytest.mark.parametrize(
    ("initiator", "responder"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.6", CONSOLE), (CONSOLE, CONSOLE), ("::1", "::1")]
)
def test_5_11_plaintext_between_sidecar_and_app_is_out_of_scope(initiator, responder):
    """Istio hands requests on in clear inside the pod: by loopback, by 127.0.0.6, or at the pod's own address."""
    assert verdict(flow(initiator, responder, 8000, **CLEAR)) == [("out_of_scope", "loopback")]


def test_5_12_an_oidc_proxy_and_its_backend_share_a_pod():
    """8775 leads to localhost:5601 within the pod."""
    assert verdict(flow("127.0.0.1", "127.0.0.1", 5601, hop="loopback", **CLEAR)) == [("out_of_scope", "loopback")]
    assert verdict(flow(KIBANA, KIBANA, 5601, hop="pod_internal", **CLEAR)) == [("out_of_scope", "pod_internal")]


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "ff02::1", "224.0.0.251", "255.255.255.255", "169.254.169.253"]
)
def test_5_13_link_local_is_a_kind_of_its_own_and_never_unexpected(address):
    """Metadata, neighbour discovery, multicast and DHCP are no component and no stranger."""
    (row,) = judged(flow(CONSOLE, address, 80))
    assert (row["responder_kind"], row["verdict"]) == ("link_local", "out_of_scope")


def test_5_14_health_checks_of_a_load_balancer_are_infrastructure():
    """They come from its subnet: to kube-proxy, to a NodePort, to the gateway's readiness port."""
    flows = [flow("10.9.0.5", N1, 10256, **CLEAR), flow("10.9.0.5", GATEWAY, 15021), flow("10.9.0.5", N1, 31390)]
    assert verdict(*flows, ranges=LB_SUBNET) == [("expected", "I12"), ("expected", "I13"), ("expected", "R17")]


def test_5_15_what_nodes_say_to_each_other_is_infrastructure_by_port():
    """BGP, Typha, VXLAN and WireGuard; time servers are foreign."""
    tcp = [flow(N1, N2, port) for port in (179, 5473)]
    udp = [flow(N1, N2, port, protocol="udp") for port in (4789, 8472, 51820)]
    assert [v for v, _ in verdict(*tcp, *udp)] == ["expected"] * 5


def test_5_16_the_kubelet_is_called_by_metrics_server_and_the_api_server():
    """Both come to 10250 on a node address."""
    assert verdict(flow(METRICS_SERVER, N2, 10250), flow(N1, N2, 10250)) == [("expected", "I05")] * 2


def test_5_17_a_redirect_to_the_public_name_comes_back_through_the_load_balancer():
    """The OIDC proxy dials Keycloak's public address, which is NGINX's."""
    (row,) = judged(flow(KIBANA, INGRESS_LB, 443))
    assert (row["responder_pod"], row["target_port"], row["rule_id"]) == ("nginx-0", 443, "A08")


def test_5_18_a_packet_to_a_pod_that_is_gone_is_an_attempt():
    """A stale endpoint is dialled for a while; nobody answers, and nobody is blamed as if it had been served."""
    gone = pod("old-0", "10.244.2.50", "09:00", finished="10:00", namespace=SYSTEM)
    late = {"connection_state": "attempted", "packets_received": 0, "payload_sent": 0, "payload_received": 0}
    (row,) = judged(flow(PROMETHEUS, "10.244.2.50", 9100, "10:30", **late), with_objects=[gone])
    assert (row["responder_kind"], row["verdict"], row["outcome"]) == ("unknown", "unknown", "attempted")


def test_5_19_a_denied_flow_is_a_blocked_attempt():
    """A policy at work is no breach: the outcome says so beside the verdict."""
    denied = {"source": "calico", "reporter": "responder", "action": "denied", "connection_state": None}
    (row,) = judged(flow(ROGUE, MYSQL, 3306, **denied))
    assert (row["verdict"], row["outcome"]) == ("unexpected", "blocked")


def test_5_20_a_jobs_pod_is_known_by_its_job():
    """Its only label is often the Job's name."""
    owner = [{"kind": "Job", "name": "load-dump", "controller": True}]
    labels = {"job-name": "load-dump"}
    job = pod(
        "load-dump-x", "10.244.2.60", "11:00", namespace=SYSTEM, labels=labels, ran="11:01",
        metadata={"ownerReferences": owner},
    )  # fmt: skip
    (row,) = judged(flow("10.244.2.60", API_VIP, 443), with_objects=[job])
    assert (row["initiator_workload"], row["initiator_workload_kind"]) == ("load-dump", "Job")
    assert (row["verdict"], row["reason"]) == ("out_of_scope", "egress_unmodelled")


def test_5_21_both_proxies_lines_of_one_request_name_the_same_ends():
    """The client's line has the Service address it dialled, the server's the pod's own."""
    line = {"source": "envoy", "connection_state": "established", "response_code": 200, "initiator_basis": "log"}
    out = flow(NGINX, KEYCLOAK, 8080, reporter="initiator", dialled_ip=KEYCLOAK_VIP, dialled_port=80, **line)
    into = flow(NGINX, KEYCLOAK, 8080, reporter="responder", **line)
    first, second = judged(out, into)
    assert [first["evidence_origin"], second["evidence_origin"]] == ["initiator_proxy", "responder_proxy"]
    assert first["initiator_pod"] == second["initiator_pod"] == "nginx-0"
    assert first["rule_id"] == second["rule_id"] == "R21"


def test_5_22_a_node_on_its_way_out_may_be_any_pod_it_masquerades():
    """At the node's interface a pod's packet to the internet bears the node's address."""
    (row,) = judged(flow(N2, OUTSIDE, 443))
    assert {"node n2", f"{SYSTEM}/prometheus-0", "shop/rogue-0"} <= set(json.loads(row["initiator_candidates"]))
    assert (row["verdict"], row["reason"]) == ("unknown", "initiator_ambiguous")


def test_5_22_a_node_hides_only_the_pods_it_ran_when_the_flow_began():
    """Pods of before and after are no candidates, whatever else is classified in the same run."""
    others = [
        pod("gone", "10.244.2.61", "04:00", finished="10:00", node="n2"),
        pod("later", "10.244.2.62", "12:30", node="n2"),
    ]
    window = {"source": "calico", "reporter": "initiator", "last_seen": at("12:40"), "connection_state": None}
    flows = [flow(N2, OUTSIDE, 443, clock) for clock in ("09:00", "12:00", "12:45")]
    rows = judged(*flows, flow(N2, OUTSIDE, 443, "12:10", **window), with_objects=others)
    found = [{n for n in ("gone", "later") if f"shop/{n}" in row["initiator_candidates"]} for row in rows]
    assert found == [{"gone"}, set(), {"later"}, {"later"}]
    assert [row["initiator_candidates"] for row in judged(flows[1], with_objects=others)] == [
        rows[1]["initiator_candidates"]
    ]


def test_5_22_a_node_hides_no_pod_of_a_pool_that_is_not_masqueraded():
    """Calico's pool says whether its pods leave with their node's address."""
    pool = {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "spec": {"cidr": "10.244.0.0/16"},
            "metadata": meta("pods", "02:00")}  # fmt: skip
    (row,) = judged(flow(N2, OUTSIDE, 443), with_objects=[pool])
    assert json.loads(row["initiator_candidates"]) == [
        "kube-system/kube-proxy-n2", "monitoring/node-exporter-n2", "node n2",
    ]  # fmt: skip


def test_5_23_every_address_of_a_node_is_that_node():
    """InternalIP, tunnel and bridge are one holder."""
    rows = judged(*(flow(source, GATEWAY, 8443) for source in (N1, N1_TUNNEL, N1_BRIDGE)))
    assert all("node n1" in json.loads(row["initiator_candidates"]) for row in rows)
    assert {row["initiator_kind"] for row in rows} == {"api_server", "node"}


def test_5_24_an_address_in_ipv6_clothes_is_the_ipv4_address():
    """Objects may write it either way; readers always write the short form."""
    pods = [component("es-data-0", "::ffff:10.244.2.70", {"app": "system-es-data"}, 9200, node="n2")]
    (row,) = judged(flow(KIBANA, "10.244.2.70", 9200), with_objects=pods)
    assert (row["responder_pod"], row["rule_id"]) == ("es-data-0", "R11")


@pytest.mark.parametrize(("labels", "found"), [({}, "not_required"), ({AMBIENT: "ambient"}, "violated")])
def test_5_25_a_namespace_counts_with_the_labels_it_had(labels, found):
    """What its label asks for decides, not its name: here, whether ztunnel takes its pods and STRICT binds them."""
    app = component("app-0", "10.244.2.90", {"verrazzano.io/istio": "hello"}, 8080, mesh=False, namespace="shop")
    tunnel = pod("ztunnel-1", "10.244.1.91", "03:00", namespace="istio-system", labels={"app": "ztunnel"})
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta("shop", "02:00", labels=labels)}
    (row,) = judged(flow(GATEWAY, "10.244.2.90", 8080, **CLEAR), with_objects=[app, tunnel, shop])
    assert (row["rule_id"], row["transport_status"]) == ("A15", found)


def test_5_26_an_aggregated_record_is_everyone_of_its_prefix():
    """The source is `prometheus-*` without an address; one rule holds for all of them."""
    named = {
        "source": "calico", "reporter": "responder", "initiator_basis": "reporter", "initiator_port": None,
        "initiator_named_kind": "pod", "initiator_named_namespace": SYSTEM,
        "initiator_named_name_prefix": "prometheus-", "connection_state": None, "action": "allowed",
    }  # fmt: skip
    pods = [
        component(f"prometheus-{n}", f"10.244.2.8{n}", {"app": "system-prometheus"}, 9090, node="n2",
                  metadata={"generateName": "prometheus-"})
        for n in (1, 2)
    ]  # fmt: skip
    (row,) = judged(flow(None, CONSOLE, 15090, **named), with_objects=pods)
    assert (row["initiator_component"], row["rule_id"], row["verdict"]) == ("prometheus", "R04", "expected")
    assert json.loads(row["initiator_candidates"]) == [f"{SYSTEM}/prometheus-1", f"{SYSTEM}/prometheus-2"]


def test_5_26_what_a_log_only_calls_public_is_judged_as_everybody_with_a_public_address():
    """`pub` names nobody: an entry that takes anyone from outside takes it, a console does not; `pvt` may be anyone."""
    named = {"source": "calico", "reporter": "responder", "initiator_basis": "reporter", "initiator_port": None}
    public, private = ({"initiator_named_kind": f"{kind}_network"} for kind in ("public", "private"))
    rows = judged(
        flow(None, GATEWAY, 8443, **named, **public),
        flow(None, CONSOLE, 8000, **named, **public),
        flow(None, GATEWAY, 8443, **named, **private),
    )
    assert [(r["verdict"], r["rule_id"]) for r in rows] == [
        ("expected", "R17"),
        ("unexpected", None),
        ("unknown", None),
    ]
    assert [r["initiator_identity_basis"] for r in rows] == ["network", "network", "not_recorded"]


def test_5_26_a_public_range_that_was_named_is_a_candidate_of_its_own():
    """Where the rules tell it from the rest of the world, the verdict is open."""
    named = {"source": "calico", "reporter": "responder", "initiator_basis": "reporter", "initiator_port": None}
    one = flow(None, GATEWAY, 8443, initiator_named_kind="public_network", **named)
    assert verdict(one, ranges=(Range("partner", "203.0.113.0/24"),)) == [("unknown", "initiator_ambiguous")]
    assert verdict(one, ranges=(Range("office", "10.77.0.0/16"),)) == [("expected", "R17")]
