"""What other objects say of a pod as of then: pools and masquerade, ztunnel and namespace labels, Sidecars."""

from __future__ import annotations

import pytest
from identity.identity_support import CLUSTER, World, meta, node, objects, peer_authentication, pod

from vzflow.flow.key import address_key
from vzflow.identity.tables import tables


def thing(kind, version, name, created="02:00", namespace=None, labels=None, **spec):
    metadata = meta(name, created, namespace, **({"labels": labels} if labels else {}))
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def pool(cidr, created="02:00", **spec):
    return thing("IPPool", "crd.projectcalico.org/v1", f"pool-{cidr.split('/')[0]}", created, cidr=cidr, **spec)


def namespace(name, **labels):
    return thing("Namespace", "v1", name, labels=labels)


ZTUNNEL = pod("ztunnel-x", "10.0.9.9", "03:00", namespace="istio-system", labels={"app": "ztunnel"},
              containers=[{"name": "istio-proxy"}])  # fmt: skip
WEB = pod("web", "10.0.0.1", "12:00", ran="12:00:01")
STRICT = peer_authentication("default", "STRICT")


def masqueraded(world, address, clock):
    return {world.party[p]["masqueraded"] for p in world.parties_at(address, clock)}


def test_a_pod_is_masqueraded_as_the_narrowest_pool_around_its_address_says():
    """Calico's natOutgoing is of the pool; where no pool is known, it may be."""
    wide, narrow = pool("10.0.0.0/16", natOutgoing=True), pool("10.0.7.0/24")
    inner, other = pod("inner", "10.0.7.1", "12:00"), pod("other", "10.9.0.1", "12:00")
    world = World(("13:00", [WEB, inner, other, wide, narrow]))
    found = [masqueraded(world, ip, "12:30") for ip in ("10.0.0.1", "10.0.7.1", "10.9.0.1")]
    assert found == [{True}, {False}, {None}]


def test_a_pod_of_both_families_is_masqueraded_if_one_of_its_addresses_is():
    """Which of them is on the wire outside, nothing says."""
    both = pod("both", ["10.0.0.2", "fd00::2"], "12:00")
    world = World(("13:00", [both, pool("10.0.0.0/16", natOutgoing=True), pool("fd00::/64")]))
    assert masqueraded(world, "fd00::2", "12:30") == {True}


def test_masquerade_is_as_of_then_and_both_between_two_snapshots():
    """Somebody switched natOutgoing off; nobody saw when."""
    on, off = pool("10.0.0.0/16", natOutgoing=True), pool("10.0.0.0/16", natOutgoing=False)
    world = World(("13:00", [WEB, on]), ("15:00", [WEB, off]))
    found = [masqueraded(world, "10.0.0.1", t) for t in ("12:30", "14:00", "15:30")]
    assert found == [{True}, {True, False}, {False}]


def test_every_pool_and_service_range_makes_its_addresses_the_clusters():
    """A pool may be of public addresses: whoever nobody claims there is unknown, not external."""
    services = thing("ServiceCIDR", "networking.k8s.io/v1", "kubernetes", cidrs=["26.0.0.0/16"])
    made = tables(objects(("13:00", [pool("25.0.0.0/8"), services])), [CLUSTER])
    ranges = made["address_range"].to_pylist()

    def kind(address):
        return [r["kind"] for r in ranges if r["lo"] <= address_key(address) <= r["hi"]]

    assert (kind("25.1.2.3"), kind("26.0.0.10"), kind("27.0.0.1")) == (["pod_range"], ["service_range"], [])


def test_a_nat_address_of_felix_is_of_every_node_or_of_the_one_it_is_for():
    """Pods then leave with that address instead of their node's."""
    nodes = [node("n1", "192.168.0.1"), node("n2", "192.168.0.2")]
    version = "crd.projectcalico.org/v1"
    everywhere = thing("FelixConfiguration", version, "default", created="12:00", natOutgoingAddress="192.0.2.1")
    one = thing("FelixConfiguration", version, "node.n2", natOutgoingAddress="192.0.2.2")
    world = World(("13:00", [*nodes, everywhere, one]))
    assert world.holder("192.0.2.1", "12:30") == {"node:n1", "node:n2"}
    assert world.holder("192.0.2.2", "12:30") == {"node:n2"}
    assert world.holder("192.0.2.1", "11:30") == set()


def in_mesh(world, name="pod:web"):
    return {row["in_mesh"] for row in world.of("party", name)}


def test_a_pod_that_istios_plugin_gave_to_ztunnel_is_in_the_mesh_without_a_sidecar():
    """Ztunnel takes every TCP port but its own tunnel's."""
    taken = pod("web", "10.0.0.1", "12:00", annotations={"ambient.istio.io/redirection": "enabled"})
    world = World(("13:00", [taken, STRICT]))
    assert in_mesh(world) == {True}
    found = [(r["port_lo"], r["port_hi"], r["proxy"]) for r in world.of("party_capture", "pod:web")]
    assert found == [(1, 15007, "ztunnel"), (15009, 65535, "ztunnel")]


def test_a_pod_may_leave_its_inbound_to_nobody_in_the_ambient_mesh():
    """The bypass annotation leaves clients free to come in clear."""
    annotations = {"ambient.istio.io/redirection": "enabled", "ambient.istio.io/bypass-inbound-capture": "true"}
    world = World(("13:00", [pod("web", "10.0.0.1", "12:00", annotations=annotations)]))
    assert in_mesh(world) == {True}
    assert world.of("party_capture", "pod:web") == []


@pytest.mark.parametrize(
    ("of_namespace", "of_pod", "others", "expected"),
    [
        ("ambient", None, [ZTUNNEL], True),
        ("ambient", "none", [ZTUNNEL], False),
        (None, "ambient", [ZTUNNEL], True),
        ("ambient", None, [], False),
        (None, None, [ZTUNNEL], False),
    ],
)
def test_labels_give_a_pod_to_ztunnel_where_the_node_runs_it(of_namespace, of_pod, others, expected):
    """The pod's own label counts before its namespace's; a label alone moves no packet."""
    key = "istio.io/dataplane-mode"
    shop = namespace("shop", **({key: of_namespace} if of_namespace else {}))
    labelled = pod("web", "10.0.0.1", "12:00", labels={key: of_pod} if of_pod else {})
    assert in_mesh(World(("13:00", [shop, labelled, *others]))) == {expected}


def test_the_namespaces_label_counts_as_of_then():
    """Trap 5.25: labels are the snapshot's, not today's and not the name's."""
    key = "istio.io/dataplane-mode"
    world = World(
        ("13:00", [namespace("shop"), WEB, ZTUNNEL]),
        ("15:00", [namespace("shop", **{key: "ambient"}), WEB, ZTUNNEL]),
    )
    found = [{world.party[p]["in_mesh"] for p in world.parties_at("10.0.0.1", t)} for t in ("12:30", "14:00", "15:30")]
    assert found == [{False}, {True, False}, {True}]


@pytest.mark.parametrize("what", ["host", "sidecar"])
def test_neither_a_host_network_pod_nor_one_with_a_sidecar_is_ztunnels(what):
    """The plugin leaves both alone."""
    key, more = "istio.io/dataplane-mode", {"host_network": True} if what == "host" else {}
    containers = [{"name": "app"}] + ([{"name": "istio-proxy"}] if what == "sidecar" else [])
    web = pod("web", "10.0.0.1", "12:00", labels={key: "ambient"}, containers=containers, **more)
    world = World(("13:00", [web, ZTUNNEL]))
    assert {r["proxy"] for r in world.of("party_capture", "pod:web")} == ({"sidecar"} if what == "sidecar" else set())
    assert in_mesh(world) == {what == "sidecar"}


def test_injection_switched_off_leaves_a_pod_outside_the_mesh():
    """No proxy was added, whatever its namespace asks for."""
    off = pod("web", "10.0.0.1", "12:00", labels={"sidecar.istio.io/inject": "false"})
    assert in_mesh(World(("13:00", [namespace("shop", **{"istio-injection": "enabled"}), off]))) == {False}


def sidecar(name, port, mode, namespace="shop", labels=None):
    more = {"workloadSelector": {"labels": labels}} if labels else {}
    ingress = [{"port": {"number": port}, "tls": {"mode": mode} if mode else None}]
    return thing("Sidecar", "networking.istio.io/v1", name, namespace=namespace, ingress=ingress, **more)


def test_a_port_on_which_a_sidecar_speaks_tls_of_its_own_asks_for_no_mutual_tls():
    """The Sidecar of the workload counts before its namespace's; one without `tls` changes nothing."""
    meshed = pod("web", "10.0.0.1", "12:00", labels={"app": "web"}, containers=[{"name": "istio-proxy"}, {"name": "a"}])
    items = [meshed, STRICT, sidecar("all", 8080, "SIMPLE"), sidecar("own", 8443, "SIMPLE", labels={"app": "web"}),
             sidecar("foreign", 9000, "SIMPLE", labels={"app": "other"})]  # fmt: skip
    rows = World(("13:00", items)).of("party_policy", "pod:web")
    assert [(r["level"], r["port"], r["mode"]) for r in rows] == [(0, 8443, "DISABLE"), (3, None, "STRICT")]
    rows = World(("13:00", [meshed, STRICT, sidecar("all", 8080, None)])).of("party_policy", "pod:web")
    assert [(r["level"], r["port"]) for r in rows] == [(3, None)]


def test_kinds_of_other_groups_with_these_names_are_not_taken_for_them():
    """A Sidecar of another API says nothing of Istio's."""
    foreign = sidecar("own", 8443, "SIMPLE") | {"apiVersion": "example.org/v1"}
    meshed = pod("web", "10.0.0.1", "12:00", containers=[{"name": "istio-proxy"}, {"name": "a"}])
    assert World(("13:00", [meshed, foreign])).of("party_policy", "pod:web") == []
