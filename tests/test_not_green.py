"""What must never be green: a documented exchange of which something is not known, or not as it should be."""

from __future__ import annotations

import pytest
from identity.identity_support import objects, pod
from trap_support import (
    CLUSTER_OBJECTS,
    CONSOLE,
    KEYCLOAK,
    KEYCLOAK_VIP,
    MYSQL,
    N1,
    N2,
    NGINX,
    ROGUE,
    component,
    flow,
    judged,
    judged_in,
)

MTLS = {"transport_seen": "mtls", "transport_seen_basis": "client_certificate"}
ISTIO = {"transport_seen": "tls", "transport_seen_basis": "istio_alpn"}


def console(name, start, *, mesh=True, ip=CONSOLE, labels=None, **more):
    labels = labels or {"app": "verrazzano-console"}
    return component(name, ip, labels, 8000, mesh=mesh, node="n1", **more) | {}


def others():
    return [one for one in CLUSTER_OBJECTS if one["metadata"]["name"] != "console-0"]


def green(row):
    """Whether nobody would look at it again."""
    return row["verdict"] == "expected" and row["transport_status"] in ("met", "met_inferred", "exempt", "not_required")


def test_what_is_documented_and_protected_is_green():
    """Else nothing below would say anything."""
    assert [green(row) for row in judged(flow(NGINX, CONSOLE, 8000, **ISTIO))] == [True]


def test_without_a_snapshot_nothing_is_green():
    """Not even what looks like mutual TLS between addresses of nobody."""
    (row,) = judged_in(objects(), flow(NGINX, CONSOLE, 8000, **ISTIO))
    assert (row["verdict"], row["reason"], green(row)) == ("unknown", "no_identity", False)


def test_between_two_snapshots_a_holder_is_marked_and_its_successor_is_not_the_component():
    """The address went from the console to a stranger, and of the time before nobody vouches for the console."""
    stranger = pod("stranger-0", CONSOLE, "12:30", labels={"app": "stranger"}, ran="12:31")
    before, after = judged_in(
        objects(("10:00", CLUSTER_OBJECTS), ("13:00", [*others(), stranger])),
        flow(NGINX, CONSOLE, 8000, "11:00", **ISTIO),
        flow(NGINX, CONSOLE, 8000, "12:45", **ISTIO),
    )
    assert (before["responder_pod"], before["responder_identity_basis"]) == ("console-0", "after_snapshot")
    assert (after["responder_pod"], after["verdict"], green(after)) == ("stranger-0", "out_of_scope", False)


def test_backends_in_a_gap_and_after_the_newest_snapshot_are_marked():
    """A Service's address says who answers only as long as somebody vouches for its pods."""
    moved = component("keycloak-1", "10.244.2.99", {"app.kubernetes.io/name": "keycloak"}, 8080, namespace="keycloak",
                      node="n2", start="12:30", ran="12:30")  # fmt: skip
    others = [one for one in CLUSTER_OBJECTS if one["metadata"]["name"] != "keycloak-0"]
    found = judged_in(
        objects(("10:00", CLUSTER_OBJECTS), ("13:00", [*others, moved])),
        *(flow(NGINX, KEYCLOAK_VIP, 80, clock, **ISTIO) for clock in ("09:00", "11:00", "12:45", "13:00", "14:00")),
    )
    shown = [(row["responder_component"], row["responder_pod"], row["responder_identity_basis"]) for row in found]
    assert shown == [
        ("keycloak", "keycloak-0", "service"),
        ("keycloak", "keycloak-0", "after_snapshot"),
        ("keycloak", None, "after_snapshot"),
        ("keycloak", "keycloak-1", "service"),
        ("keycloak", "keycloak-1", "after_snapshot"),
    ]


def test_an_encrypted_tunnel_between_nodes_is_a_gap():
    """Whatever goes through it was not seen, though nodes may talk to each other."""
    (row,) = judged(flow(N1, N2, 51820, protocol="udp", hop="outer_tunnel", connection_state=None))
    assert (row["verdict"], row["reason"], green(row)) == ("unknown", "tunnel_unreadable", False)


@pytest.mark.parametrize(
    "principal",
    ["spiffe://evil.example/ns/ingress-nginx/sa/default", "spiffe://cluster.local/ns/keycloak/sa/keycloak", "nonsense"],
)
def test_a_certificate_that_anybody_can_make_meets_nothing(principal):
    """On the wire a certificate is only what it says: a foreign name, one of somebody else, or none."""
    pods = [component("nginx-9", "10.244.2.99", {"app.kubernetes.io/name": "ingress-nginx",
            "app.kubernetes.io/component": "controller"}, 80, namespace="ingress-nginx", node="n2",
            spec={"serviceAccountName": "nginx"})]  # fmt: skip
    (row,) = judged(flow("10.244.2.99", CONSOLE, 8000, **MTLS, initiator_principal=principal), with_objects=pods)
    assert not green(row)


def test_a_rogue_with_the_certificate_of_a_client_is_not_the_client():
    """The address says otherwise, and neither is believed."""
    pods = [component("keycloak-9", "10.244.2.98", {"app.kubernetes.io/name": "keycloak"}, 8080,
            namespace="keycloak", node="n2", spec={"serviceAccountName": "keycloak"}),
            component("rogue-9", "10.244.2.97", {"app": "rogue"}, mesh=False, namespace="shop", node="n2",
            spec={"serviceAccountName": "rogue"})]  # fmt: skip
    forged = "spiffe://cluster.local/ns/keycloak/sa/keycloak"
    own, stolen = judged(
        flow("10.244.2.98", MYSQL, 3306, **MTLS, initiator_principal=forged),
        flow("10.244.2.97", MYSQL, 3306, **MTLS, initiator_principal=forged),
        with_objects=pods,
    )
    assert green(own)
    assert (stolen["verdict"], stolen["reason"]) == ("unknown", "principal_contradicts")


def test_the_address_of_a_pod_that_is_gone_is_nobodys():
    """Who speaks from it is not known, whoever held it before."""
    gone = component("keycloak-7", "10.244.2.96", {"app.kubernetes.io/name": "keycloak"}, 8080, namespace="keycloak",
                     node="n2", deleted="11:00")  # fmt: skip
    after, before = judged_in(
        objects(("10:55", [*CLUSTER_OBJECTS, gone]), ("11:30", CLUSTER_OBJECTS)),
        flow("10.244.2.96", MYSQL, 3306, "12:00", **ISTIO),
        flow("10.244.2.96", MYSQL, 3306, "10:00", **ISTIO),
    )
    assert green(before)
    assert (after["verdict"], after["initiator_kind"], green(after)) == ("unknown", "unknown", False)


@pytest.mark.parametrize("seen", [ISTIO, {"transport_seen": "plaintext", "transport_seen_basis": "clear_protocol"}, {}])
def test_a_component_that_lost_its_sidecar_is_protected_by_nothing(seen):
    """Its clients still offer Istio's TLS; nothing at its end speaks it."""
    bare = console("console-1", "03:00", mesh=False)
    (row,) = judged_in(objects(("13:00", [*others(), bare])), flow(NGINX, CONSOLE, 8000, **seen))
    assert not green(row)
    assert row["transport_status"] == ("violated" if seen.get("transport_seen") == "plaintext" else "unverified")


def test_a_pod_without_the_components_labels_is_not_the_component():
    """A namespace's name alone makes nobody documented."""
    impostor = component("console-2", "10.244.1.95", {"app": "verrazzano-consol"}, 8000, node="n1")
    (row,) = judged(flow(NGINX, "10.244.1.95", 8000, **ISTIO), with_objects=[impostor])
    assert (row["verdict"], row["reason"]) == ("unexpected", "unclaimed_workload")


def test_a_stranger_is_not_green_however_well_it_is_protected():
    """Mutual TLS says who it is, not that it may."""
    (row,) = judged(flow(ROGUE, KEYCLOAK, 8080, **ISTIO))
    assert (row["verdict"], row["reason"]) == ("unexpected", "source_not_documented")
