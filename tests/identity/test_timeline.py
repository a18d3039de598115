"""Who held an address, from objects of one or more snapshots; trap numbers are those of the collected network facts."""

from __future__ import annotations

import json
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity.identity_support import (
    World,
    at,
    endpoint_slice,
    meta,
    node,
    objects,
    peer_authentication,
    pod,
    service,
    us,
)

from vzflow.flow.lookups import FOREVER
from vzflow.identity.intervals import Span, disjoint
from vzflow.identity.kept import kept
from vzflow.identity.snapshot import load
from vzflow.identity.timeline import timeline

SIDECAR = [{"name": "app", "ports": [{"containerPort": 8080}]}, {"name": "istio-proxy"}]
N1 = node("n1", "192.168.0.1")


# -- lives of pods


def test_a_pod_holds_both_families_from_its_start_on():
    """Dual stack: status.podIPs has one address of each family."""
    world = World(("12:30", [pod("web", ["10.0.0.1", "fd00::1"], "12:00")]))
    assert world.holder("10.0.0.1", "12:00") == world.holder("fd00::1", "12:00") == {"pod:web"}
    assert world.holder("10.0.0.1", "11:59") == set()


def test_an_ipv4_mapped_address_is_held_as_ipv4():
    """Trap 5.24: one address, two spellings."""
    assert World(("12:30", [pod("web", "::ffff:10.0.0.1", "12:00")])).holder("10.0.0.1", "12:10") == {"pod:web"}


def test_what_runs_in_the_newest_snapshot_holds_on_and_is_vouched_for_until_then():
    """The tail after the snapshot is marked, not dropped."""
    world = World(("12:30", [pod("web", "10.0.0.1", "12:00")]))
    assert world.holder("10.0.0.1", "23:00") == {"pod:web"}
    assert world.vouched("10.0.0.1", "23:00") == us("12:30")
    assert {row["valid_to"] for row in world.rows["holding"]} == {FOREVER}


def test_pod_ip_reused_after_delete_resolves_by_time():
    """Trap 5.10: the older pod is in the first snapshot, the newer one in the second."""
    world = World(
        ("12:30", [pod("old", "10.0.0.1", "12:00")]),
        ("13:30", [pod("new", "10.0.0.1", "13:00", ran="13:00:02")]),
    )
    assert world.holder("10.0.0.1", "12:59") == {"pod:old"}
    assert world.holder("10.0.0.1", "13:00:03") == {"pod:new"}


def test_while_a_pod_starts_and_nobody_saw_the_last_one_go_both_are_candidates():
    """A pod is started before it gets its address; the one that was missing later may have had it until then."""
    old, new = pod("old", "10.0.0.1", "12:00"), pod("new", "10.0.0.1", "13:00", ran="13:00:09")
    world = World(("12:30", [old]), ("13:30", [new]))
    assert world.holder("10.0.0.1", "13:00:08") == {"pod:old", "pod:new"}
    assert world.rows["contested"] == []


def test_a_finished_job_releases_its_address():
    """Trap 5.20: the pod object outlives its containers by hours."""
    done = pod("job-1", "10.0.0.1", "12:00", finished="12:05:10")
    world = World(("13:00", [done, pod("web", "10.0.0.1", "12:20")]))
    assert world.holder("10.0.0.1", "12:05:10") == {"pod:job-1"}, "times are cut to seconds"
    assert world.vouched("10.0.0.1", "12:05:10") is None
    assert world.holder("10.0.0.1", "12:05:11") == set()
    assert world.holder("10.0.0.1", "12:20") == {"pod:web"}


def test_an_evicted_pod_without_container_times_is_vouched_for_only_while_it_was_seen_running():
    """It ended at some unknown moment before it was seen to be over."""
    running, evicted = pod("web", "10.0.0.1", "12:00"), pod("web", "10.0.0.1", "12:00")
    evicted["status"]["phase"] = "Failed"
    world = World(("12:10", [running]), ("13:00", [evicted]))
    assert world.vouched("10.0.0.1", "12:30") == us("12:10")
    assert world.holder("10.0.0.1", "13:00") == set()
    again = World(("12:10", [running]), ("13:00", [evicted]), ("14:00", [evicted]))
    assert again.holder("10.0.0.1", "13:30") == set()
    assert World(("13:00", [evicted])).vouched("10.0.0.1", "12:30") == us("12:00")


def test_a_terminating_pod_holds_until_its_grace_period_ends():
    """Trap 5.18: deletionTimestamp lies ahead of the request to delete."""
    world = World(("12:30", [pod("web", "10.0.0.1", "12:00", deleted="12:31")]))
    assert world.holder("10.0.0.1", "12:30:59") == {"pod:web"}
    assert world.vouched("10.0.0.1", "12:30:59") == us("12:30")
    assert world.holder("10.0.0.1", "12:31") == set()


def test_a_deleted_pod_whose_containers_are_done_has_released_its_address():
    """Its phase says Running until the object goes; a native sidecar is the last to stop."""
    item = pod("web", "10.0.0.1", "12:00", finished="12:20", deleted="12:45")
    item["status"]["phase"] = "Running"
    assert World(("12:30", [item])).holder("10.0.0.1", "12:21") == set()
    item["status"]["initContainerStatuses"] = [
        {"name": "istio-proxy", "state": {"running": {"startedAt": at("12:00")}}}
    ]
    assert World(("12:30", [item])).holder("10.0.0.1", "12:44") == {"pod:web"}
    del item["metadata"]["deletionTimestamp"]
    assert World(("12:30", [item])).holder("10.0.0.1", "12:46") == {"pod:web"}, "a container that will be restarted"


def test_a_terminating_pod_still_seen_after_its_grace_period_held_until_then():
    """A finalizer may keep it for hours."""
    world = World(("12:40", [pod("web", "10.0.0.1", "12:00", deleted="12:31")]))
    assert world.holder("10.0.0.1", "12:39") == {"pod:web"}
    assert world.holder("10.0.0.1", "12:40") == set()


def test_a_pod_missing_from_a_newer_snapshot_ended_by_then_and_the_gap_is_not_vouched_for():
    """Somewhere in between it went; nobody saw when."""
    world = World(("12:30", [pod("web", "10.0.0.1", "12:00"), N1]), ("13:30", [N1]))
    assert world.holder("10.0.0.1", "13:29") == {"pod:web"}
    assert world.vouched("10.0.0.1", "13:29") == us("12:30")
    assert world.holder("10.0.0.1", "13:30") == set()


def test_a_snapshot_that_did_not_list_pods_ends_none():
    """A kind without a trace may not have been asked for."""
    table = objects(("12:30", [pod("web", "10.0.0.1", "12:00")]))
    later = objects(("13:30", [N1]), listed=("Node",))
    held = timeline(pa.concat_tables([table, later])).addresses["prod", "10.0.0.1"]
    assert [(i.since, i.until) for i in held] == [(us("12:00"), FOREVER)]


def test_a_list_of_one_namespace_ends_no_pod_of_another(tmp_path):
    """`kubectl get pods -n bank` saw nothing of the shop."""
    (tmp_path / "bank.json").write_text(
        json.dumps({"kind": "List", "items": [pod("b", "10.0.0.2", "13:00", namespace="bank")]})
    )
    (tmp_path / "shop.json").write_text(json.dumps({"kind": "List", "items": [pod("c", "10.0.0.3", "14:00")]}))
    first = objects(("12:30", [pod("web", "10.0.0.1", "12:00")]))
    for name, until in (("bank", FOREVER), ("shop", us("14:00"))):
        table = pa.concat_tables([first, load([tmp_path / f"{name}.json"], "prod")])
        assert timeline(table).addresses["prod", "10.0.0.1"][-1].until == until


def test_between_two_snapshots_both_are_candidates_only_while_the_later_start_does_not_settle_it():
    """The new pod was started before the old one was last seen; at 13:10 its container ran, so it had the address."""
    world = World(
        ("13:00", [pod("old", "10.0.0.1", "12:00")]),
        ("14:00", [pod("new", "10.0.0.1", "12:50", ran="13:10")]),
    )
    assert world.holder("10.0.0.1", "12:55") == {"pod:old"}
    assert world.holder("10.0.0.1", "13:05") == {"pod:old", "pod:new"}
    assert world.vouched("10.0.0.1", "13:05") == us("13:00")
    assert world.holder("10.0.0.1", "13:10:01") == {"pod:new"}, "times are cut to seconds"


def test_a_pod_started_before_the_last_one_finished_gets_the_address_when_that_finished():
    """A pod waits for its volumes before it gets an address."""
    done, waiting = pod("job-1", "10.0.0.1", "12:00", finished="12:30"), pod("web", "10.0.0.1", "12:20", ran="12:40")
    world = World(("13:00", [done, waiting]))
    assert world.holder("10.0.0.1", "12:29") == {"pod:job-1"}
    assert world.holder("10.0.0.1", "12:31") == {"pod:web"}


def test_a_container_started_in_the_second_another_finished_does_not_cut_that_one_short():
    """Times are cut to seconds; within that one the address passed on."""
    done, waiting = pod("job-1", "10.0.0.1", "12:00", finished="12:30"), pod("web", "10.0.0.1", "12:20", ran="12:30")
    world = World(("13:00", [done, waiting]))
    assert world.holder("10.0.0.1", "12:29") == {"pod:job-1"}
    assert world.holder("10.0.0.1", "12:30") == {"pod:job-1", "pod:web"}
    assert world.holder("10.0.0.1", "12:30:01") == {"pod:web"}


def test_a_ready_sandbox_proves_the_address_before_any_container_runs():
    """Pulling an image may take minutes; the address is there before it."""
    waiting = pod("web", "10.0.0.1", "12:20", ran="12:50")
    ready = {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": at("12:40")}
    waiting["status"]["conditions"] = [ready, ready | {"status": "False", "lastTransitionTime": at("12:25")}]
    world = World(("12:35", [pod("old", "10.0.0.1", "12:00")]), ("13:00", [waiting]))
    assert world.holder("10.0.0.1", "12:39") == {"pod:old", "pod:web"}
    assert world.holder("10.0.0.1", "12:40:01") == {"pod:web"}


def test_two_pods_that_both_claim_an_address_are_cut_where_the_later_starts():
    """A lost node leaves its pods Running in the API; the contradiction is kept and counted."""
    world = World(("13:00", [pod("lost", "10.0.0.1", "12:00"), pod("web", "10.0.0.1", "12:20")]))
    assert world.holder("10.0.0.1", "12:19") == {"pod:lost"}
    assert world.holder("10.0.0.1", "12:20") == {"pod:web"}
    (cut,) = world.rows["contested"]
    assert (cut["address"], cut["lost"], cut["kept"]) == ("10.0.0.1", "Pod/shop/lost", "Pod/shop/web")
    assert (cut["valid_from"], cut["valid_to"]) == (us("12:20"), us("13:00"))


def test_a_pod_whose_sandbox_was_made_anew_has_its_address_from_then_only():
    """A node that restarts gives its pods new addresses, and their startTime stays that of the first ones."""
    reborn = pod("web", "10.0.0.1", "09:00", ran="12:30:05")
    status = reborn["status"]["containerStatuses"][0]
    status["lastState"] = {"terminated": {"startedAt": at("09:00:05"), "finishedAt": at("12:20")}}
    ready = {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": at("12:30")}
    reborn["status"]["conditions"] = [ready]
    before = pod("job-1", "10.0.0.1", "11:00", finished="12:00")
    world = World(("13:00", [reborn, before]))
    assert [world.holder("10.0.0.1", t) for t in ("10:00", "11:30", "12:10")] == [set(), {"pod:job-1"}, set()]
    assert world.holder("10.0.0.1", "12:20") == {"pod:web"}
    assert world.called("pod:shop/web", "10:00") == {"pod:web"}


def test_a_container_that_restarts_alone_keeps_the_pods_address():
    """The sandbox was ready before that one ended, so it is still the first; ready is noted a little late."""
    restarted = pod("web", "10.0.0.1", "09:00", ran="12:30:05")
    status = restarted["status"]["containerStatuses"][0]
    status["lastState"] = {"terminated": {"startedAt": at("09:00:05"), "finishedAt": at("12:20")}}
    ready = {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": at("09:00:07")}
    restarted["status"]["conditions"] = [ready]
    assert World(("13:00", [restarted])).holder("10.0.0.1", "10:00") == {"pod:web"}


def test_a_new_pod_of_the_same_name_ends_the_old_one_everywhere():
    """A StatefulSet's pod is gone before its successor is created, wherever that gets its address."""
    world = World(
        ("12:30", [pod("mysql-0", "10.0.0.1", "12:00")]),
        ("13:30", [pod("mysql-0", "10.0.0.2", "13:00")]),
    )
    assert world.holder("10.0.0.1", "12:59") == {"pod:mysql-0"}
    assert world.holder("10.0.0.1", "13:00") == set()
    assert len(world.rows["party"]) == 2


def test_a_pod_whose_labels_changed_between_snapshots_is_both_in_the_gap():
    """Nothing says when they changed, and rules select by label."""
    world = World(
        ("12:30", [pod("web", "10.0.0.1", "12:00", labels={"app": "old"})]),
        ("13:30", [pod("web", "10.0.0.1", "12:00", labels={"app": "new"})]),
    )
    assert [len(world.parties_at("10.0.0.1", t)) for t in ("12:29", "13:00", "13:30")] == [1, 2, 1]
    labels = {p: world.party[p]["labels"] for p in world.party}
    assert labels[world.parties_at("10.0.0.1", "12:29")[0]] == '{"app": "old"}'
    assert labels[world.parties_at("10.0.0.1", "13:30")[0]] == '{"app": "new"}'


def test_a_pod_whose_status_moved_is_still_the_same_state():
    """Restarts, readiness and a beginning deletion leave its identity as it was."""
    before, after = pod("web", "10.0.0.1", "12:00"), pod("web", "10.0.0.1", "12:00", ran="13:20", deleted="13:45")
    world = World(("12:30", [before]), ("13:30", [after]))
    assert world.vouched("10.0.0.1", "13:00") == us("13:30")


def test_a_pod_seen_before_it_had_an_address_holds_it_from_its_start():
    """A Pending pod says nothing about whose the address is, and does not cut the life of the one it becomes."""
    pending = pod("web", "10.0.0.1", "12:00")
    pending["status"] = {"phase": "Pending"}
    world = World(("12:01", [pending]), ("12:30", [pod("web", "10.0.0.1", "12:00")]))
    assert world.holder("10.0.0.1", "12:00:30") == {"pod:web"}


def test_more_snapshots_of_the_same_cluster_change_nothing_but_how_long_it_is_vouched_for():
    """Hourly snapshots of a quiet cluster are one interval."""
    same = [pod("web", "10.0.0.1", "12:00"), N1]
    world = World(("12:30", same), ("13:30", same), ("14:30", same))
    assert len(world.rows["party"]) == 2
    (row,) = [r for r in world.rows["holding"] if r["address"] == "10.0.0.1"]
    assert (row["valid_from"], row["valid_to"], row["known_until"]) == (us("12:00"), FOREVER, us("14:30"))


# -- nodes and the host's network


def test_a_node_address_stands_for_the_node_and_its_host_network_pods():
    """Trap 5.4: one address, many pods and the kubelet."""
    exporter = pod("exporter", "192.168.0.1", "12:00", host_network=True)
    world = World(("13:00", [N1, exporter, pod("web", "10.0.0.1", "12:00")]))
    assert world.holder("192.168.0.1", "11:00") == {"node:n1"}
    assert world.holder("192.168.0.1", "12:00") == {"node:n1", "pod:exporter"}


def test_a_host_network_pod_is_found_by_the_port_it_declares():
    """Trap 5.4: 9100 on a node address is the exporter; an undeclared port is anyone there."""
    ports = [{"containerPort": 9100, "protocol": "TCP"}]
    exporter = pod("exporter", "192.168.0.1", "12:00", host_network=True, containers=[{"name": "e", "ports": ports}])
    world = World(("13:00", [N1, exporter]))
    assert world.behind("192.168.0.1", 9100, "12:00") == ({"pod:exporter"}, 9100)
    assert world.behind("192.168.0.1", 9100, "12:00", "udp") == (set(), None)
    assert world.behind("192.168.0.1", 10250, "12:00") == (set(), None)


def test_a_host_port_leads_to_the_container_port_of_an_ordinary_pod():
    """Kind publishes the ingress controller this way."""
    ports = [{"containerPort": 8443, "hostPort": 443}, {"containerPort": 81, "hostPort": 81, "hostIP": "192.168.9.9"}]
    world = World(("13:00", [N1, pod("nginx", "10.0.0.1", "12:00", containers=[{"name": "c", "ports": ports}])]))
    assert world.behind("192.168.0.1", 443, "12:30") == ({"pod:nginx"}, 8443)
    assert world.behind("192.168.0.1", 81, "12:30") == (set(), None)
    assert world.holder("192.168.0.1", "12:30") == {"node:n1"}


def test_a_node_holds_its_tunnel_addresses_and_its_pod_blocks_gateway():
    """Traps 5.1 and 5.23: probes come from the bridge, host-network traffic leaves by the tunnel."""
    annotations = {
        "projectcalico.org/IPv4Address": "192.168.7.1/24",
        "projectcalico.org/IPv4VXLANTunnelAddr": "10.244.1.64",
        "projectcalico.org/IPv4IPIPTunnelAddr": "10.244.1.65",
        "flannel.alpha.coreos.com/public-ip": "203.0.113.9",
        "unrelated": "10.9.9.9",
    }
    n1 = node(
        "n1", "192.168.0.1", annotations=annotations, podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24", "fd01::/64"]
    )
    n1["status"]["addresses"] += [
        {"type": "ExternalIP", "address": "203.0.113.8"},
        {"type": "Hostname", "address": "10.9.9.8"},
    ]
    world = World(("13:00", [n1, pod("proxy", "192.168.0.1", "12:00", host_network=True)]))
    every = (
        "192.168.0.1",
        "192.168.7.1",
        "10.244.1.64",
        "10.244.1.65",
        "203.0.113.9",
        "203.0.113.8",
        "10.244.1.1",
        "10.244.1.0",
        "fd01::1",
    )
    for address in every:
        assert world.holder(address, "12:30") == {"node:n1", "pod:proxy"}, address
    assert world.holder("10.9.9.9", "12:30") == world.holder("10.9.9.8", "12:30") == set()


def test_only_flannel_gives_the_node_the_first_address_of_its_block():
    """flannel.1 has it; elsewhere it is nobody's. A block of one address has no gateway."""
    world = World(
        ("13:00", [node("n1", "192.168.0.1", podCIDR="10.244.1.0/24"), node("n2", "::1", podCIDRs=["10.9.0.1/32"])])
    )
    assert world.holder("10.244.1.1", "12:00") == {"node:n1"}
    assert world.holder("10.244.1.0", "12:00") == world.holder("10.9.0.1", "12:00") == set()


def test_a_host_network_pod_leaves_an_address_with_its_node():
    """A node may get another address; its pods go with it."""
    agents = [pod("agent", ip, "12:00", host_network=True) for ip in ("192.168.0.1", "192.168.0.2")]
    moved = node("n1", "192.168.0.2")
    world = World(("12:30", [N1, agents[0]]), ("13:30", [moved, agents[1]]))
    assert world.holder("192.168.0.1", "13:00") == {"node:n1", "pod:agent"}
    assert world.holder("192.168.0.1", "13:30") == set()
    assert world.holder("192.168.0.2", "13:30") == {"node:n1", "pod:agent"}


def test_a_pod_overrules_the_presumed_gateway_and_does_not_become_a_node():
    """Calico hands out addresses regardless of the node's podCIDR, the first one included."""
    n1 = node("n1", "192.168.0.1", podCIDRs=["10.244.1.0/24"])
    world = World(("13:00", [n1, pod("web", "10.244.1.1", "12:00")]))
    assert world.holder("10.244.1.1", "11:00") == {"node:n1"}
    assert world.holder("10.244.1.1", "12:30") == {"pod:web"}
    assert world.of("party_address_term", "pod:web") == []


def test_a_node_that_was_not_listed_is_known_from_its_pods():
    """Else a host-network pod would be blamed alone for what the kubelet does."""
    items = [pod("exporter", "192.168.0.1", "12:00", host_network=True), pod("web", "10.0.0.1", "12:10")]
    items[1]["status"]["hostIP"] = "192.168.0.1"
    world = World(("13:00", items))
    assert world.holder("192.168.0.1", "12:30") == {"node:n1", "pod:exporter"}
    assert world.holder("192.168.0.1", "11:30") == set()


def test_every_holder_of_a_node_address_has_the_term_node_and_no_other_pod_has():
    """A rule `from: node` speaks of the address."""
    items = [N1, pod("exporter", "192.168.0.1", "12:00", host_network=True), pod("web", "10.0.0.1", "12:00")]
    world = World(("13:00", items))
    for name in ("node:n1", "pod:exporter"):
        assert {"term": "node"} in world.of("party_address_term", name)
    assert world.of("party_address_term", "pod:web") == []


# -- Services


WEB = service(
    "web",
    [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080, "protocol": "TCP"}],
    clusterIP="10.96.0.7",
    clusterIPs=["10.96.0.7", "fd02::7"],
    externalIPs=["198.51.100.7"],
    selector={"app": "web"},
    status={"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}, {"hostname": "lb.example"}]}},
)
HTTP = [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]


def web(name: str, ip: str, start: str, **more: object) -> dict[str, object]:
    return pod(name, ip, start, labels={"app": "web", "tier": "front"}, containers=HTTP, **more)


@pytest.mark.parametrize("address", ["10.96.0.7", "fd02::7", "198.51.100.7", "203.0.113.7"])
def test_every_address_of_a_service_leads_to_the_pods_its_selector_matched_then(address):
    """Trap 5.7: rules speak of the pod and its port, whichever address was dialled."""
    other = pod("other", "10.0.0.9", "12:00", labels={"app": "other"}, containers=HTTP)
    elsewhere = pod("x", "10.0.0.8", "12:00", namespace="bank", labels={"app": "web"}, containers=HTTP)
    items = [WEB, web("a", "10.0.0.1", "12:00"), web("b", "10.0.0.2", "12:10"), other, elsewhere]
    world = World(("13:00", items))
    assert world.behind(address, 80, "12:05") == ({"pod:a"}, 8080)
    assert world.behind(address, 80, "12:15") == ({"pod:a", "pod:b"}, 8080)
    assert world.behind(address, 81, "12:15") == (set(), None)
    assert world.holder(address, "12:15") == {"service:web"}
    (row,) = {(r["service"], r["basis"]) for r in world.rows["endpoint"]}
    assert row == ("shop/web", "service")


def test_a_node_port_on_every_node_leads_to_the_pods():
    """Traps 5.2 and 5.3: seen at the node before translation."""
    items = [WEB, N1, node("n2", "192.168.0.2"), web("a", "10.0.0.1", "12:00")]
    world = World(("13:00", items))
    for address in ("192.168.0.1", "192.168.0.2"):
        assert world.behind(address, 30080, "12:05") == ({"pod:a"}, 8080)


def test_ports_of_a_node_are_not_looked_for_on_an_address_it_is_only_presumed_to_have():
    """Where a pod holds the block's first address, its ports are its own."""
    n1 = node("n1", "192.168.0.1", podCIDRs=["10.244.1.0/24"])
    ports = [{"containerPort": 8443, "hostPort": 443}]
    nginx = pod("nginx", "10.0.0.5", "12:00", containers=[{"name": "c", "ports": ports}])
    world = World(("13:00", [WEB, n1, web("a", "10.244.1.1", "12:00"), nginx]))
    assert world.behind("10.244.1.1", 30080, "12:05") == world.behind("10.244.1.1", 443, "12:05") == (set(), None)


def test_a_node_port_is_open_on_the_nodes_of_its_own_cluster_only():
    """Two clusters may be in one store."""
    east, west = objects(("13:00", [WEB, N1])), objects(("13:00", [node("w1", "192.168.5.1")]))
    place = west.column_names.index("cluster")
    west = west.set_column(place, west.schema.field("cluster"), pa.array(["west"] * west.num_rows))
    found = {key[:2] for key in timeline(pa.concat_tables([east, west])).endpoints if key[3] == 30080}
    assert found == {("prod", "192.168.0.1")}


def test_a_selector_takes_only_pods_with_all_its_labels_an_address_and_a_port_of_that_name_and_protocol():
    """What does not match does not answer."""
    both = service(
        "web",
        [{"name": "http", "port": 80, "targetPort": "http"}],
        clusterIP="10.96.0.7",
        selector={"app": "web", "tier": "front"},
    )
    half = pod("half", "10.0.0.2", "12:00", labels={"app": "web"}, containers=HTTP)
    rest = pod("rest", "10.0.0.3", "12:00", labels={"tier": "front"}, containers=HTTP)
    pending = web("pending", "10.0.0.4", "12:00")
    del pending["status"]["podIP"], pending["status"]["podIPs"]
    udp = web("udp", "10.0.0.5", "12:00")
    udp["spec"]["containers"] = [{"name": "c", "ports": [{"name": "http", "containerPort": 8080, "protocol": "UDP"}]}]
    world = World(("13:00", [both, half, rest, pending, udp, web("a", "10.0.0.1", "12:00")]))
    assert world.behind("10.96.0.7", 80, "12:05") == ({"pod:a"}, 8080)


def test_a_service_without_pods_then_leads_to_itself():
    """Nobody is known to have answered; the Service says which port it would have been, if it says a number."""
    world = World(("13:00", [WEB, web("a", "10.0.0.1", "12:00", finished="12:10")]))
    assert world.behind("10.96.0.7", 80, "11:00") == ({"service:web"}, None)
    assert world.behind("10.96.0.7", 80, "12:20") == ({"service:web"}, None)
    plain = service("web", [{"port": 80, "targetPort": 8080}], clusterIP="10.96.0.7", selector={"app": "web"})
    assert World(("13:00", [plain])).behind("10.96.0.7", 80, "12:20") == ({"service:web"}, 8080)


def test_a_target_port_defaults_to_the_port_itself():
    """Kubernetes fills it in, a hand-written list need not."""
    plain = service("web", [{"port": 80}], clusterIP="10.96.0.7", selector={"app": "web"})
    world = World(("13:00", [plain, web("a", "10.0.0.1", "12:00")]))
    assert world.behind("10.96.0.7", 80, "12:20") == ({"pod:a"}, 80)


def test_pods_that_name_different_ports_leave_the_target_port_open():
    """During a rollout the same port name may be two numbers."""
    moved = pod("b", "10.0.0.2", "12:10", labels={"app": "web"})
    moved["spec"]["containers"] = [{"name": "c", "ports": [{"name": "http", "containerPort": 9090}]}]
    world = World(("13:00", [WEB, web("a", "10.0.0.1", "12:00"), moved]))
    assert world.behind("10.96.0.7", 80, "12:05") == ({"pod:a"}, 8080)
    assert world.behind("10.96.0.7", 80, "12:15") == ({"pod:a", "pod:b"}, None)


def test_a_service_without_a_selector_follows_its_endpoint_slices():
    """Its pods are whoever held those addresses; an address nobody held leaves the Service itself."""
    bare = service("ext", [{"port": 3306}, {"name": "x", "port": 33060}], clusterIP="10.96.0.8")
    items = [
        bare,
        endpoint_slice("ext", ["10.0.0.2"], 33061, port_name="x"),
        endpoint_slice("ext", ["10.0.0.1", "198.51.100.20"], 3307),
        pod("db", "10.0.0.1", "12:00"),
        pod("db-x", "10.0.0.2", "12:00"),
    ]
    world = World(("13:00", items))
    assert world.behind("10.96.0.8", 3306, "12:30") == ({"pod:db"}, 3307)
    assert world.behind("10.96.0.8", 33060, "12:30") == ({"pod:db-x"}, 33061)
    assert world.behind("10.96.0.8", 3306, "11:00")[0] == {"service:ext"}


def test_endpoints_objects_say_what_slices_say():
    """Older clusters and hand-made Services have only these; a backend not yet ready is a candidate too."""
    bare = service("ext", [{"port": 3306}], clusterIP="10.96.0.8")
    ready, not_ready = {"addresses": [{"ip": "10.0.0.1"}]}, {"notReadyAddresses": [{"ip": "10.0.0.2"}]}
    made = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": meta("ext", "02:00", "shop"),
        "subsets": [s | {"ports": [{"port": 3307}]} for s in (ready, not_ready)],
    }
    world = World(("13:00", [bare, made, pod("db-0", "10.0.0.1", "12:00"), pod("db-1", "10.0.0.2", "12:00")]))
    assert world.behind("10.96.0.8", 3306, "12:30") == ({"pod:db-0", "pod:db-1"}, 3307)


def test_a_slice_on_a_node_address_declares_no_port_of_every_pod_there():
    """One of them listens; the slice does not say which."""
    exporter = pod("exporter", "192.168.0.1", "12:00", host_network=True)
    world = World(("13:00", [N1, exporter, endpoint_slice("metrics", ["192.168.0.1"], 9100)]))
    assert world.rows["party_port"] == []


def test_a_headless_service_holds_no_address_but_declares_its_pods_ports():
    """Trap 5.8: its name resolves to pod addresses."""
    headless = service("db", [{"port": 3306}], clusterIP="None", clusterIPs=["None"], selector={"app": "web"})
    world = World(("13:00", [headless, web("a", "10.0.0.1", "12:00")]))
    assert world.rows["endpoint"] == []
    assert {r["address"] for r in world.rows["holding"]} == {"10.0.0.1"}
    assert {"protocol": "tcp", "port": 3306, "role": "endpoint"} in world.of("party_port", "pod:a")


def test_a_reused_cluster_ip_belongs_to_the_newer_service():
    """Service addresses are handed out again too."""
    old = service("old", [{"port": 80}], clusterIP="10.96.0.7", created="02:00")
    new = service("new", [{"port": 80}], clusterIP="10.96.0.7", created="12:45")
    world = World(("12:30", [old]), ("13:30", [new]))
    assert world.holder("10.96.0.7", "12:44") == {"service:old"}
    assert world.holder("10.96.0.7", "12:45") == {"service:new"}


# -- the API server


KUBERNETES = service(
    "kubernetes", [{"name": "https", "port": 443, "targetPort": 6443}], namespace="default", clusterIP="10.96.0.1"
)
API_SLICE = endpoint_slice("kubernetes", ["192.168.0.1"], 6443, namespace="default", port_name="https")


def test_the_api_server_is_its_service_its_endpoints_and_everyone_on_their_address():
    """Trap 5.5: webhook calls come from the control-plane node's address."""
    items = [
        KUBERNETES,
        API_SLICE,
        N1,
        node("n2", "192.168.0.2"),
        pod("proxy", "192.168.0.1", "12:00", host_network=True),
    ]
    world = World(("13:00", items))
    assert world.holder("10.96.0.1", "12:30") == {"api_server:kube-apiserver"}
    assert world.behind("10.96.0.1", 443, "12:30") == ({"api_server:kube-apiserver"}, 6443)
    assert world.behind("192.168.0.1", 6443, "12:30") == ({"api_server:kube-apiserver"}, 6443)
    assert world.holder("192.168.0.1", "12:30") == {"node:n1", "pod:proxy", "api_server:kube-apiserver"}
    for name in ("node:n1", "pod:proxy", "api_server:kube-apiserver"):
        assert {"term": "api_server"} in world.of("party_address_term", name), name
    assert {"term": "api_server"} not in world.of("party_address_term", "node:n2")
    assert {"term": "node"} in world.of("party_address_term", "api_server:kube-apiserver")


def test_a_managed_api_server_outside_the_cluster_is_the_api_server():
    """A hosted control plane has no node here."""
    managed = endpoint_slice("kubernetes", ["203.0.113.50"], 6443, namespace="default", port_name="https")
    world = World(("13:00", [KUBERNETES, managed, N1]))
    assert world.holder("203.0.113.50", "12:30") == {"api_server:kube-apiserver"}
    assert {"term": "node"} not in world.of("party_address_term", "api_server:kube-apiserver")


def test_a_pod_that_held_the_api_servers_address_before_it_did_is_not_the_api_server():
    """Terms follow the address at that time."""
    before = pod("job-1", "10.0.0.1", "01:00", finished="01:30")
    hosted = endpoint_slice("kubernetes", ["10.0.0.1"], 6443, namespace="default", port_name="https")
    world = World(("13:00", [KUBERNETES, hosted, before]))
    assert world.of("party_address_term", "pod:job-1") == []


def test_api_server_pods_make_their_node_the_api_server():
    """Where neither the Service nor its endpoints were listed, kubeadm's labels tell."""
    labels = {"component": "kube-apiserver"}
    real = pod("kube-apiserver-n1", "192.168.0.1", "12:00", namespace="kube-system", host_network=True, labels=labels)
    world = World(("13:00", [N1, real]))
    assert {"term": "api_server"} in world.of("party_address_term", "node:n1")


def test_a_pod_that_merely_calls_itself_the_api_server_is_not():
    """Anyone may set a label; the API server may call every webhook."""
    labels = {"component": "kube-apiserver"}
    items = [
        pod("rogue", "10.0.0.1", "12:00", labels=labels),
        pod("r2", "10.0.0.2", "12:00", namespace="kube-system", labels=labels),
    ]
    world = World(("13:00", items))
    assert world.rows["party_address_term"] == []


# -- who a pod is


def owned(kind: str, name: str, **labels: str) -> dict[str, object]:
    version = {"Job": "batch/v1", "Domain": "weblogic.oracle/v8"}.get(kind, "apps/v1")
    reference = {"apiVersion": version, "kind": kind, "name": name, "uid": "u", "controller": True}
    return pod("web-1", "10.0.0.1", "12:00", labels=labels, metadata={"ownerReferences": [reference]})


def owner(kind: str, version: str, name: str, of: tuple[str, str] | None) -> dict[str, object]:
    references = [{"kind": of[0], "name": of[1], "controller": True}] if of else []
    metadata = {"name": name, "namespace": "shop", "uid": name, "ownerReferences": references}
    return {"apiVersion": version, "kind": kind, "metadata": metadata | {"creationTimestamp": "2026-01-02T03:00:00Z"}}


RS = "web-86c57db685"


@pytest.mark.parametrize(
    ("items", "workload"),
    [
        ([pod("web-1", "10.0.0.1", "12:00")], ("web-1", "Pod")),
        ([owned("ReplicaSet", RS, **{"pod-template-hash": "86c57db685"})], ("web", "Deployment")),
        ([owned("ReplicaSet", RS, **{"rollouts-pod-template-hash": "86c57db685"})], ("web", "Rollout")),
        ([owned("ReplicaSet", RS)], (RS, "ReplicaSet")),
        ([owned("ReplicaSet", RS, **{"pod-template-hash": "other"})], (RS, "ReplicaSet")),
        ([owned("ReplicaSet", RS), owner("ReplicaSet", "apps/v1", RS, ("Deployment", "shop"))], ("shop", "Deployment")),
        (
            [owned("ReplicaSet", RS, **{"pod-template-hash": "86c57db685"}), owner("ReplicaSet", "apps/v1", RS, None)],
            (RS, "ReplicaSet"),
        ),
        ([owned("StatefulSet", "web")], ("web", "StatefulSet")),
        ([owned("DaemonSet", "web")], ("web", "DaemonSet")),
        ([owned("Job", "backup-29384756")], ("backup-29384756", "Job")),
        ([owned("Job", "j-1"), owner("Job", "batch/v1", "j-1", ("CronJob", "nightly"))], ("nightly", "CronJob")),
        ([owned("Domain", "hello-domain")], ("hello-domain", "Domain")),
        ([owned("Node", "n1")], ("web-1", "Pod")),
        (
            [
                owned("StatefulSet", "cache-0"), owner("StatefulSet", "apps/v1", "cache-0", ("Coherence", "cache")),
                owner("Coherence", "coherence.oracle.com/v1", "cache", ("ApplicationConfiguration", "shop")),
            ],
            ("shop", "ApplicationConfiguration"),
        ),
        (
            [owned("ReplicaSet", RS, **{"pod-template-hash": "86c57db685"}),
             owner("Deployment", "apps/v1", "web", ("ContainerizedWorkload", "hello"))],
            ("hello", "ContainerizedWorkload"),
        ),
        (
            [owned("Domain", "d"), owner("Domain", "weblogic.oracle/v8", "d", ("Ring", "r")),
             owner("Ring", "example.org/v1", "r", ("Domain", "d"))],
            ("d", "Domain"),
        ),
    ],
)  # fmt: skip
def test_the_workload_is_the_owner_users_know(items, workload):
    """Deployments, not ReplicaSets; a Job's name proves no CronJob; a static pod's node is no workload."""
    world = World(("13:00", items))
    (row,) = [r for r in world.rows["party"] if r["kind"] == "pod"]
    assert (row["workload"], row["workload_kind"]) == workload


def captured(
    *containers: str, init: list[dict[str, object]] | None = None, **more: object
) -> tuple[bool, list[tuple[int, int]]]:
    spec = {"initContainers": init} if init else {}
    item = pod("web", "10.0.0.1", "12:00", containers=[{"name": c} for c in containers], spec=spec, **more)
    world = World(("13:00", [item]))
    (row,) = [r for r in world.rows["party"] if r["kind"] == "pod"]
    return row["in_mesh"], [(r["port_lo"], r["port_hi"]) for r in world.rows["party_capture"]]


ALL = [(1, 15019), (15022, 15089), (15091, 65535)]
NATIVE = [{"name": "istio-proxy", "restartPolicy": "Always"}]


def test_a_sidecar_captures_all_ports_but_its_own_three():
    """15020, 15021 and 15090 bypass STRICT by design."""
    assert captured("app", "istio-proxy") == (True, ALL)


def test_a_native_sidecar_is_a_sidecar_and_a_plain_init_container_is_not():
    """Istio injects an init container with restartPolicy Always where the cluster supports it."""
    assert captured("app", init=NATIVE) == (True, ALL)
    assert captured("app", init=[{"name": "istio-proxy"}]) == (False, [])
    assert captured("app") == (False, [])


def test_a_gateway_is_in_the_mesh_and_captures_nothing():
    """Its listeners are its own; a label on an ordinary sidecar pod does not make it a gateway."""
    assert captured("istio-proxy") == (True, [])
    label = {"istio": "ingressgateway"}
    assert captured("istio-proxy", "log-shipper", labels=label) == (True, [])
    assert captured("app", "istio-proxy", labels=label, init=[{"name": "istio-init"}]) == (True, ALL)
    assert captured("app", labels=label) == (False, [])


INBOUND = "traffic.sidecar.istio.io/%sInboundPorts"


@pytest.mark.parametrize(
    ("annotations", "ranges"),
    [
        ({INBOUND % "exclude": "9300, 7800"}, [(1, 7799), (7801, 9299), (9301, 15019), *ALL[1:]]),
        ({INBOUND % "exclude": "1,65535"}, [(2, 15019), (15022, 15089), (15091, 65534)]),
        ({INBOUND % "include": "*"}, ALL),
        ({INBOUND % "include": ""}, []),
        ({INBOUND % "include": "9000,80,15090"}, [(80, 80), (9000, 9000)]),
        ({INBOUND % "include": "80", INBOUND % "exclude": "80"}, [(80, 80)]),
        ({"sidecar.istio.io/interceptionMode": "NONE"}, []),
    ],
)
def test_annotations_decide_which_inbound_ports_are_captured(annotations, ranges):
    """NGINX includes none, Elasticsearch excludes 9300; exclusions count only where all are included."""
    assert captured("app", "istio-proxy", annotations=annotations) == (True, ranges)


@pytest.mark.parametrize(
    ("words", "annotations", "ranges"),
    [
        (["-p", "15001", "-b", "*", "-d", "15090,15021,15020,9300"], {}, [(1, 9299), (9301, 15019), *ALL[1:]]),
        (["-b", "", "-d", "15090"], {}, []),
        (["-b", "80", "-d", "80"], {}, [(80, 80)]),
        (["-b", "*", "-d", "15090"], {INBOUND % "exclude": "9300"}, ALL),
        (["-u", "1337"], {INBOUND % "exclude": "1"}, [(2, 15019), *ALL[1:]]),
    ],
)
@pytest.mark.parametrize("name", ["istio-init", "istio-validation"])
def test_what_the_redirection_was_told_counts_before_annotations(words, annotations, ranges, name):
    """Mesh-wide exclusions are only there; annotations of a running pod change nothing."""
    init = [{"name": name, "args": ["istio-iptables", *words]}]
    assert captured("app", "istio-proxy", init=init, annotations=annotations) == (True, ranges)


def test_only_istios_own_redirection_is_listened_to():
    """Anybody may call a program so; its other arguments are not even kept."""
    other = [{"name": "setup", "args": ["istio-iptables", "-b", ""]}, {"name": "istio-init", "args": ["sh", "-c", "x"]}]
    assert captured("app", "istio-proxy", init=other) == (True, ALL)
    init = [{"name": "istio-init", "args": ["istio-iptables", "-u", "7", "-b", "*"]}]
    secret = {"spec": {"containers": [{"name": "app", "args": ["--password", "x"]}], "initContainers": init}}
    assert kept("Pod", secret)["spec"] == {
        "containers": [{"name": "app"}],
        "initContainers": [{"name": "istio-init", "args": ["istio-iptables", "-b", "*"]}],
    }


def test_a_sidecar_on_the_hosts_network_captures_nothing():
    """Istio does not redirect the node's traffic."""
    assert captured("app", "istio-proxy", host_network=True) == (True, [])


def test_declared_ports_are_container_ports_probe_ports_and_endpoint_ports():
    """Direction and probe rules rest on what a pod declares."""
    container = {
        "name": "c",
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
        "readinessProbe": {"httpGet": {"port": "http"}},
        "livenessProbe": {"tcpSocket": {"port": 9443}},
        "startupProbe": {"grpc": {"port": 9444}},
    }
    item = pod("web", "10.0.0.1", "12:00", labels={"app": "web"}, containers=[container])
    world = World(("13:00", [item, WEB, endpoint_slice("other", ["10.0.0.1"], 7000)]))
    assert {(r["protocol"], r["port"], r["role"]) for r in world.of("party_port", "pod:web")} == {
        ("tcp", 8080, "container"),
        ("udp", 53, "container"),
        ("tcp", 8080, "probe"),
        ("tcp", 9443, "probe_connect"),
        ("tcp", 9444, "probe"),
        ("tcp", 8080, "endpoint"),
        ("tcp", 7000, "endpoint"),
    }


# -- PeerAuthentications


def policies(world: World, clock: str) -> list[list[tuple[int, int | None, str, str]]]:
    """Return, for each party on the pod's address then, its policies: level, port, mode, name."""
    rows = world.rows["party_policy"]
    return sorted(
        sorted(
            (
                (r["level"], r["port"], r["mode"], r["name"])
                for r in rows
                if r["profile"] == world.party[party]["profile"]
            ),
            key=lambda p: (p[0], p[1] or 0),
        )
        for party in world.parties_at("10.0.0.1", clock)
    )


def member(**labels: str) -> dict[str, object]:
    return pod("web", "10.0.0.1", "12:00", labels=labels, containers=SIDECAR)


MESH = peer_authentication("default", "STRICT")


def selecting(
    name: str, mode: str | None, *, created: str = "02:00", namespace: str = "shop", **more: object
) -> dict[str, object]:
    selector = {"matchLabels": {"app": "web"}}
    return peer_authentication(name, mode, namespace=namespace, created=created, selector=selector, **more)


def test_policies_of_mesh_namespace_and_workload_are_told_apart_by_level():
    """Workload wins over namespace over mesh; the queries choose, with the port first."""
    ports = {"8080": {"mode": "DISABLE"}, "9090": {"mode": "UNSET"}, "9091": {}}
    items = [
        member(app="web"),
        MESH,
        peer_authentication("ns", "PERMISSIVE", namespace="shop"),
        selecting("wl", "STRICT", portLevelMtls=ports),
        peer_authentication("elsewhere", "DISABLE", namespace="bank"),
    ]
    assert policies(World(("13:00", items)), "12:30") == [
        [
            (1, None, "STRICT", "shop/wl"),
            (1, 8080, "DISABLE", "shop/wl"),
            (2, None, "PERMISSIVE", "shop/ns"),
            (3, None, "STRICT", "istio-system/default"),
        ]
    ]


def test_a_policy_selects_by_all_its_labels_and_none_in_the_root_namespace_with_a_selector():
    """Istio takes only policies without a selector from its root namespace."""
    items = [member(app="api"), selecting("wl", "DISABLE"), selecting("root", "DISABLE", namespace="istio-system")]
    assert policies(World(("13:00", items)), "12:30") == [[]]
    items[0] = member(app="web")
    assert policies(World(("13:00", items)), "12:30") == [[(1, None, "DISABLE", "shop/wl")]]


def test_of_several_policies_of_one_level_the_oldest_counts_even_when_it_says_nothing():
    """Istio picks the policy first and reads its mode after: UNSET inherits from the level above, from no sibling."""
    items = [member(app="web"), MESH, selecting("older", None), selecting("newer", "DISABLE", created="03:00")]
    assert policies(World(("13:00", items)), "12:30") == [[(3, None, "STRICT", "istio-system/default")]]


def test_port_modes_without_a_selector_are_ignored():
    """Istio honours portLevelMtls only in a workload's policy."""
    ports = {"8080": {"mode": "DISABLE"}}
    items = [member(), peer_authentication("ns", "STRICT", namespace="shop", portLevelMtls=ports)]
    assert policies(World(("13:00", items)), "12:30") == [[(2, None, "STRICT", "shop/ns")]]


def test_a_life_is_cut_where_a_policy_is_created():
    """What was required is as of then; a policy's creation time is exact."""
    late = peer_authentication("default", "STRICT", created="12:20")
    world = World(("13:00", [member(), late]))
    assert policies(world, "12:19:59") == [[]]
    assert policies(world, "12:20") == [[(3, None, "STRICT", "istio-system/default")]]
    assert world.parties_at("10.0.0.1", "12:19:59") != world.parties_at("10.0.0.1", "12:20")


def test_a_policy_that_changed_or_went_between_snapshots_leaves_both_requirements_open():
    """Nobody saw when; candidates that differ make the requirement unknown instead of wrong."""
    strict, permissive = ([(3, None, mode, "istio-system/default")] for mode in ("STRICT", "PERMISSIVE"))
    relaxed = peer_authentication("default", "PERMISSIVE")
    changed = World(("12:30", [member(), MESH]), ("13:30", [member(), relaxed]))
    assert [policies(changed, t) for t in ("12:29", "13:00", "13:30")] == [[strict], [permissive, strict], [permissive]]
    gone = World(("12:30", [member(), MESH]), ("13:30", [member()]))
    assert [policies(gone, t) for t in ("12:29", "13:00", "13:30")] == [[strict], [[], strict], [[]]]


def test_policies_are_known_only_where_they_were_listed():
    """Kubectl's list of several kinds leaves no trace of one without objects."""
    assert World(("13:00", [member()])).rows["policy_known"] == [{"cluster": "prod"}]
    unlisted = objects(("13:00", [member()]), listed=("Pod",))
    assert timeline(unlisted).policy_known == set()
    by_object = objects(("13:00", [member(), MESH]), listed=("Pod",))
    assert timeline(by_object).policy_known == {"prod"}
    elsewhere = objects(("13:00", [member(), peer_authentication("x", "STRICT", namespace="shop")]), listed=("Pod",))
    assert timeline(elsewhere).policy_known == set(), "the mesh's own policy may not have been listed"


# -- names


def test_names_resolve_to_pods_by_name_and_prefix_and_to_a_node_with_all_on_it():
    """Trap 5.26: aggregated records hold the prefix, host endpoints the node."""
    items = [
        N1,
        pod("web-x1", "10.0.0.1", "12:00", metadata={"generateName": "web-"}),
        pod("web-x2", "10.0.0.2", "12:20", metadata={"generateName": "web-"}),
        pod("exporter", "192.168.0.1", "12:00", host_network=True),
    ]
    world = World(("13:00", items))
    assert world.called("pod:shop/web-x1", "12:10") == {"pod:web-x1"}
    assert world.called("prefix:shop/web-", "12:10") == {"pod:web-x1"}
    assert world.called("prefix:shop/web-", "12:30") == {"pod:web-x1", "pod:web-x2"}
    assert world.called("host:n1", "12:30") == {"node:n1", "pod:exporter"}
    assert world.called("pod:shop/web-x1", "11:00") == set()


# -- nothing, and anything


def test_no_snapshot_gives_an_empty_timeline():
    """Nobody is known, and nothing else is claimed."""
    empty = timeline(load([], "prod"))
    assert (empty.parties, empty.addresses, empty.endpoints, empty.names) == ({}, {}, {}, {})
    assert empty.policy_known == set()


def clock(minutes: int) -> str:
    return f"{10 + minutes // 60}:{minutes % 60:02d}"


MINUTES = st.integers(0, 300)


@st.composite
def any_pod(draw: st.DrawFn) -> dict[str, object]:
    start, rest = draw(MINUTES), st.none() | MINUTES.map(clock)
    return pod(
        draw(st.sampled_from("abc")),
        draw(st.sampled_from(["10.0.0.1", "10.0.0.2", "192.168.0.1", "10.96.0.7"])),
        clock(start),
        finished=draw(rest),
        deleted=draw(rest),
        ran=draw(rest),
        host_network=draw(st.booleans()),
        labels={"app": draw(st.sampled_from(["web", "api"]))},
        containers=draw(st.sampled_from([HTTP, SIDECAR])),
    )


@given(st.lists(st.tuples(MINUTES.map(clock), st.lists(any_pod(), max_size=6)), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_intervals_of_one_key_are_disjoint_whatever_pods_claim(snapshots):
    """The queries join at most one row per key and moment; contradictory snapshots must not break that."""
    made = timeline(objects(*((t, [*pods, WEB, N1, MESH]) for t, pods in snapshots)))
    for intervals in (*made.addresses.values(), *made.endpoints.values(), *made.names.values()):
        for held in intervals:
            assert held.since < held.until
            assert held.parties
            assert set(held.parties) <= made.parties.keys()
        for earlier, later in pairwise(intervals):
            assert earlier.until <= later.since


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.sampled_from("abc")), max_size=8))
def test_every_moment_of_every_span_has_its_party_and_no_other(spans):
    """Cutting into disjoint intervals neither loses nor invents a holder."""
    made = disjoint(Span(since, since + length, None, party) for since, length, party in spans)
    for moment in range(20):
        wanted = {party for since, length, party in spans if since <= moment < since + length}
        found = [set(i.parties) for i in made if i.since <= moment < i.until]
        assert found == ([wanted] if wanted else [])
