"""Towards which nodes pods leave with their own address, by Calico's pools and Felix's settings as of then."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity.identity_support import World, endpoint_slice, meta, node, pod, service

from vzflow.identity.phases import certainly

CALICO = "crd.projectcalico.org/v1"
N1, N2 = "192.168.0.1", "192.168.0.2"
N1_KNOWN, N2_KNOWN = ({"projectcalico.org/IPv4Address": f"{ip}/24"} for ip in (N1, N2))
NODES = [node("n1", N1, annotations=N1_KNOWN), node("n2", N2, annotations=N2_KNOWN)]
WEB = pod("web", "10.0.0.1", "12:00")


def thing(kind, name, created="02:00", **spec):
    return {"apiVersion": CALICO, "kind": kind, "metadata": meta(name, created), "spec": spec}


def pool(cidr, **spec):
    return thing("IPPool", f"pool-{cidr.split('/')[0]}", cidr=cidr, **spec)


def felix(exclusions, name="default", **more):
    return thing("FelixConfiguration", name, **({"natOutgoingExclusions": exclusions} if exclusions else {}), **more)


PODS = pool("10.0.0.0/16", natOutgoing=True)
NODES_TOO, POOLS_ONLY = felix("IPPoolsAndHostIPs"), felix("IPPoolsOnly")


def leaving(clock, *snapshots):
    world = World(*snapshots)
    return {
        (world.party[p]["masqueraded"], world.party[p]["masqueraded_to_nodes"])
        for p in world.parties_at("10.0.0.1", clock)
    }


def for_nodes(*items):
    """Return (masqueraded, masqueraded_to_nodes) of the pod on n1 while these were all there was."""
    return leaving("12:30", ("13:00", [*NODES, WEB, *items]))


def spared(address, clock, *snapshots):
    """Return why no pod of a pool leaves masqueraded for that address; null where some may."""
    row = World(*snapshots)._row("unmasqueraded", clock, address=address)
    return row and row["why"]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([PODS, NODES_TOO], (True, False)),
        ([PODS, POOLS_ONLY], (True, True)),
        ([PODS], (True, True)),
        ([PODS, felix(None)], (True, True)),
        ([pool("10.0.0.0/16"), NODES_TOO], (False, False)),
        ([NODES_TOO], (None, None)),
        ([PODS, NODES_TOO, felix("IPPoolsOnly", "node.n1")], (True, True)),
        ([PODS, POOLS_ONLY, felix("IPPoolsAndHostIPs", "node.n1")], (True, False)),
        ([PODS, NODES_TOO, felix(None, "node.n1", natOutgoingAddress="192.0.2.1")], (True, False)),
        ([PODS, NODES_TOO, felix("IPPoolsOnly", "node.n2")], (True, False)),
        ([PODS, NODES_TOO, felix("IPPoolsOnly", "other")], (True, False)),
    ],
)
def test_felix_may_leave_alone_what_pods_send_to_nodes(items, expected):
    """Its default masquerades that too; a node's own configuration counts first, setting by setting."""
    assert for_nodes(*items) == {expected}


def test_what_felix_is_told_is_as_of_then_and_both_between_two_snapshots():
    """Nobody saw when it was told otherwise: the pod may have been masqueraded until the later one."""
    snapshots = [("13:00", [*NODES, WEB, PODS, POOLS_ONLY]), ("15:00", [*NODES, WEB, PODS, NODES_TOO])]
    found = [leaving(t, *snapshots) for t in ("12:30", "14:00", "15:30")]
    assert found == [{(True, True)}, {(True, True), (True, False)}, {(True, False)}]


def test_only_the_address_that_calico_knows_a_node_by_is_left_alone():
    """A second InternalIP, or an ExternalIP, is not in Felix's set of hosts."""
    both = N2_KNOWN | {"projectcalico.org/IPv6Address": "fd00:0:0::2/64"}
    snapshot = ("13:00", [node("n1", N1), node("n2", "192.168.7.2", annotations=both), PODS])
    assert [spared(a, "12:30", snapshot) for a in (N2, "fd00::2", "192.168.7.2", N1)] == ["node", "node", None, None]


def test_no_pod_is_masqueraded_towards_a_pool_also_a_disabled_one():
    """Calico's maintainers advise a disabled pool over the nodes for that; tunnels' addresses are of pools anyway."""
    tunnel = {"projectcalico.org/IPv4VXLANTunnelAddr": "10.0.5.1"}
    nodes = [node("n1", N1, annotations=tunnel), node("n2", N2, annotations=N2_KNOWN)]
    snapshot = ("13:00", [*nodes, PODS, pool("192.168.0.0/24", disabled=True)])
    assert [spared(a, "12:30", snapshot) for a in (N1, N2, "10.0.5.1")] == ["pool"] * 3


def test_what_is_not_certain_between_two_snapshots_is_left_out():
    """Where the pool, or the node's address, may have been another, pods may have been masqueraded."""
    before, after = ([PODS, node("n1", N1), thing("IPPool", "nodes", cidr=c)] for c in (f"{N1}/32", "192.168.9.0/24"))
    assert [spared(N1, t, ("13:00", before), ("15:00", after)) for t in ("12:30", "14:00", "15:30")] == [
        "pool", None, None
    ]  # fmt: skip
    assert [spared(N2, t, ("13:00", [NODES[1]]), ("15:00", [node("n2", N2)])) for t in ("12:30", "14:00", "15:30")] == [
        "node", None, None
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["NodePort", "LoadBalancer", "external", "ClusterIP"])
@pytest.mark.parametrize("backend", ["pod", "slice", "own_address"])
def test_an_address_that_kube_proxy_leads_to_from_outside_is_not_told_of(how, backend):
    """Whoever dials a NodePort, or a load balancer, comes to another node under the address of the node dialled."""
    exporter = pod("exporter", N2, "12:00", node="n2", host_network=True, labels={"app": "x"})
    web = pod("web", "10.0.0.9", "12:00", node="n2", labels={"app": "x"})
    spec = {"type": how} if how != "external" else {"externalIPs": ["203.0.113.9"]}
    spec |= {} if backend == "slice" else {"selector": {"app": "x"}}
    front = service("front", [{"port": 9100, "targetPort": 9100}], **spec)
    items = {"pod": [exporter], "slice": [endpoint_slice("front", [N2], 9100)], "own_address": [web]}[backend]
    expected = "node" if how == "ClusterIP" or backend == "own_address" else None
    assert spared(N2, "12:30", ("13:00", [*NODES, PODS, front, *items])) == expected
    assert spared(N1, "12:30", ("13:00", [*NODES, PODS, front, *items])) == "node"


def test_beside_flannel_calico_does_not_decide_alone():
    """Its daemon masquerades what leaves its network, whatever Felix is told."""
    both = node("n1", N1, annotations=N1_KNOWN | {"flannel.alpha.coreos.com/public-ip": N1})
    snapshot = ("13:00", [both, NODES[1], PODS, pool("192.168.0.0/24", disabled=True)])
    assert [spared(a, "12:30", snapshot) for a in (N1, N2)] == [None, None]


_SPANS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 9), st.booleans()).map(lambda s: (s[0], s[0] + s[1], s[2]))
)


@given(_SPANS)
def test_certain_is_what_may_hold_and_whose_contrary_may_not(held):
    """At every moment, whatever overlaps."""
    found = certainly(held)
    for moment in range(20):
        answers = {answer for since, until, answer in held if since <= moment < until}
        assert any(since <= moment < until for since, until in found) == (answers == {True})
    assert all(a[1] < b[0] for a, b in pairwise(found)), "neighbours are one"
