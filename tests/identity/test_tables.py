"""The lookup tables: their schemas, ids that stay the same, and ranges of addresses."""

from __future__ import annotations

import gc
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity.attribution import objects as observed
from identity.churn import Cluster, Size
from identity.identity_support import CLUSTER, World, node, objects, peer_authentication, pod, service

from vzflow.flow.errors import UsageProblem
from vzflow.flow.key import address_key
from vzflow.flow.lookups import IDENTITY
from vzflow.identity.snapshot import load
from vzflow.identity.tables import WELL_KNOWN, Range, tables

CLUSTER_OBJECTS = [
    node("n1", "192.168.0.1", podCIDRs=["10.244.1.0/24"]),
    pod("web", "10.244.1.7", "12:00", labels={"b": "2", "a": "1"}, containers=[{"name": "istio-proxy"}, {"name": "c"}]),
    pod("exporter", "192.168.0.1", "12:00", host_network=True),
    service("web", [{"port": 80, "nodePort": 30080}], clusterIP="10.96.0.7", selector={"a": "1"}),
    peer_authentication("default", "STRICT"),
]

KNOWN_BY = node("n2", "192.168.0.2", annotations={"projectcalico.org/IPv4Address": "192.168.0.2/24"})


def range_of(made: dict, address: str, cluster: str = CLUSTER) -> tuple[str, str] | None:
    key = address_key(address)
    found = [
        (r["kind"], r["name"])
        for r in made["address_range"].to_pylist()
        if r["cluster"] == cluster and r["lo"] <= key <= r["hi"]
    ]
    assert len(found) <= 1, "ranges overlap"
    return found[0] if found else None


@pytest.mark.parametrize("items", [[], [*CLUSTER_OBJECTS, KNOWN_BY, pod("lost", "10.244.1.7", "11:00")]])
def test_every_table_is_there_in_its_declared_schema(items):
    """The queries are bound against the schemas alone."""
    made = tables(objects(("13:00", items)), [CLUSTER], [Range("office", "198.51.100.0/24")])
    assert {name: table.schema for name, table in made.items()} == IDENTITY
    assert all(table.num_rows for table in made.values()) == bool(items)


def test_objects_come_in_batches_of_any_size():
    """A store gives some at a time; what is said of one pod may stand anywhere."""
    cluster = Cluster(Size(hours=1, nodes=2, deployments=2, stateful_sets=1, cron_jobs=1))
    held = observed(cluster, "watch")
    whole = tables(held, [])
    for size in (1, 7, 1000):
        assert tables(iter(held.to_batches(max_chunksize=size)), []) == whole
    assert tables(held.take(list(reversed(range(len(held))))), []) == whole


def test_the_search_for_cycles_goes_on_afterwards(monkeypatch):
    """It is only left out meanwhile, and stays left out where a program did without it."""
    damaged = pa.RecordBatch.from_pylist([{"cluster": "c"}])
    for before in (True, False):
        monkeypatch.setattr(gc, "isenabled", lambda before=before: before)
        enabled = []
        monkeypatch.setattr(gc, "enable", lambda enabled=enabled: enabled.append(True))
        monkeypatch.setattr(gc, "disable", lambda: None)
        with pytest.raises(KeyError):
            tables(iter([damaged]), [])
        assert enabled == [True] * before


def test_without_a_snapshot_only_ranges_are_known():
    """Everything still works, and nobody is named."""
    made = tables(load([], CLUSTER), ["east", "west"])
    assert {name for name, table in made.items() if table.num_rows} == {"address_range"}
    for cluster in ("east", "west"):
        assert range_of(made, "127.0.0.1", cluster) == ("loopback", "127.0.0.0/8")
    assert range_of(made, "127.0.0.1", "north") is None


def test_behind_public_is_anybody_outside_and_whoever_ever_had_a_public_address():
    """A log that says no more proves nothing; a Service's address initiates nothing."""
    items = [
        *CLUSTER_OBJECTS,
        node("n2", "198.51.100.2"),
        service("entry", [{"port": 443}], externalIPs=["198.51.100.80"]),
    ]
    made = tables(objects(("13:00", items)), [CLUSTER], [Range("site", "203.0.113.0/24"), Range("lb", "10.9.0.0/16")])
    members = {key: set() for key in ("from:public", "to:public")}
    for row in made["named"].to_pylist():
        if row["key"] in members:
            found = (m["party_id"] for m in made["set_member"].to_pylist() if m["set_id"] == row["set_id"])
            members[row["key"]] |= {party.partition("#")[0] for party in found}
    assert members["from:public"] == {"external", "range:site", "prod/node/n2"}
    assert members["to:public"] == members["from:public"] | {"prod/service/shop/entry"}


def test_where_pods_have_public_addresses_public_says_nothing():
    """A pod that no snapshot saw may be behind it."""
    made = tables(objects(("13:00", [node("n1", "198.51.100.2", podCIDR="25.0.0.0/24")])), [CLUSTER])
    assert not [row for row in made["named"].to_pylist() if row["key"].endswith(":public")]


def test_ids_do_not_depend_on_the_order_of_objects_or_snapshots():
    """A partition classified twice from the same knowledge must say the same."""
    first = tables(objects(("12:30", CLUSTER_OBJECTS), ("13:00", CLUSTER_OBJECTS)), [CLUSTER])
    again = tables(objects(("13:00", CLUSTER_OBJECTS[::-1]), ("12:30", CLUSTER_OBJECTS[::-1])), [CLUSTER])
    assert all(first[name].equals(again[name]) for name in IDENTITY)


def test_a_party_keeps_its_id_when_another_snapshot_is_added():
    """Stored verdicts name parties; a later snapshot of the same state must not rename them."""
    first = tables(objects(("12:30", CLUSTER_OBJECTS)), [CLUSTER])["party"].column("party_id").to_pylist()
    later = tables(objects(("12:30", CLUSTER_OBJECTS), ("14:00", CLUSTER_OBJECTS)), [CLUSTER])["party"]
    assert first == later.column("party_id").to_pylist()
    assert [i for i in first if i.startswith("prod/pod/shop/web#")]


def test_a_pod_row_says_what_the_pod_was():
    """The columns reports print."""
    world = World(("13:00", CLUSTER_OBJECTS))
    (row,) = world.of("party", "pod:web")
    assert [{name: value for name, value in row.items() if name not in ("label_set", "profile")}] == [
        {
            "cluster": "prod",
            "kind": "pod",
            "namespace": "shop",
            "pod": "web",
            "workload": "web",
            "workload_kind": "Pod",
            "service_account": None,
            "labels": '{"a": "1", "b": "2"}',
            "node": "n1",
            "in_mesh": True,
            "host_network": False,
            "masqueraded": None,
            "masqueraded_to_nodes": None,
        }
    ]
    assert world.of("party_label", "pod:web") == [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]


def test_pods_have_one_profile_exactly_if_they_declare_are_probed_led_to_captured_and_bound_alike():
    """Classification judges such pods once; names, labels and ports that are only declared do not part them."""
    probe = {"name": "app", "readinessProbe": {"httpGet": {"port": 8080}}}
    sidecar = {"name": "istio-proxy"}
    pods = [
        pod("one", "10.0.0.1", "12:00", containers=[probe], labels={"a": "1"}),
        pod("two", "10.0.0.2", "12:05", containers=[probe], node="n2"),
        pod("declaring", "10.0.0.7", "12:00", containers=[probe | {"ports": [{"containerPort": 80}]}]),
        pod("unprobed", "10.0.0.3", "12:00"),
        pod("served", "10.0.0.6", "12:00", containers=[probe], labels={"app": "served"}),
        pod("meshed", "10.0.0.4", "12:00", containers=[probe, sidecar]),
        pod("bound", "10.0.0.5", "12:00", containers=[probe], namespace="bank"),
    ]
    led = service("led", [{"port": 80, "targetPort": 9000}], clusterIP="10.96.0.9", selector={"app": "served"})
    world = World(("13:00", [*pods, led, peer_authentication("p", "STRICT", namespace="bank")]))
    profile = {row["pod"]: row["profile"] for row in world.rows["party"] if row["kind"] == "pod"}
    assert profile["one"] == profile["two"]
    assert len(set(profile.values())) == 6
    assert all(row["profile"] == row["party_id"] for row in world.rows["party"] if row["kind"] != "pod")


def test_two_clusters_with_the_same_addresses_are_kept_apart():
    """Pod ranges repeat from cluster to cluster."""
    east = objects(("13:00", [pod("web", "10.0.0.1", "12:00")]))
    other = objects(("13:00", [pod("api", "10.0.0.1", "12:00")]))
    place = other.column_names.index("cluster")
    west = other.set_column(place, other.schema.field("cluster"), pa.array(["west"] * other.num_rows))
    made = tables(pa.concat_tables([east, west]), [])
    party_of = {r["set_id"]: r["party_id"] for r in made["set_member"].to_pylist()}
    held = {r["cluster"]: party_of[r["set_id"]] for r in made["holding"].to_pylist() if r["address"] == "10.0.0.1"}
    assert held["prod"].startswith("prod/pod/shop/web#")
    assert held["west"].startswith("west/pod/shop/api#")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.6", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "link_local"),
        ("fe80::1", "link_local"),
        ("0.0.0.0", "link_local"),
        ("224.0.0.251", "multicast"),
        ("255.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("10.255.255.255", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.255.255", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("0.1.2.3", "private"),
        ("192.0.0.8", "private"),
        ("198.19.255.255", "private"),
        ("240.0.0.1", "private"),
        ("100::1", "private"),
        ("fec0::1", "private"),
        ("198.20.0.0", None),
        ("64:ff9b::808:808", None),
        ("10.244.1.200", "pod_range"),
        ("11.0.0.0", None),
        ("172.32.0.0", None),
        ("172.15.255.255", None),
        ("8.8.8.8", None),
        ("2001:db8::1", None),
    ],
)
def test_well_known_ranges_and_pod_blocks(address, kind):
    """Trap 5.13, and what decides between unknown and external for an address nobody held."""
    made = tables(objects(("13:00", CLUSTER_OBJECTS)), [])
    found = range_of(made, address)
    assert (found[0] if found else None) == kind


def test_the_most_specific_range_wins_and_of_equal_ones_the_configured():
    """A load balancer's subnet lies inside a private range; a node's block may be given a name."""
    ranges = [
        Range("corp", "10.0.0.0/8"),
        Range("lb", "10.1.0.0/16"),
        Range("pods", "10.244.1.0/24"),
        Range("one", "::1"),
    ]
    made = tables(objects(("13:00", CLUSTER_OBJECTS)), [], ranges)
    assert range_of(made, "10.0.0.1") == ("named", "corp")
    assert range_of(made, "10.1.255.255") == ("named", "lb")
    assert range_of(made, "10.2.0.0") == ("named", "corp")
    assert range_of(made, "10.244.1.7") == ("named", "pods")
    assert range_of(made, "::1") == ("named", "one")


def test_a_configured_range_is_a_party_with_its_own_term():
    """Rules name ranges by `range:NAME`."""
    world = World(("13:00", []), ranges=(Range("lb", "10.1.0.0/16"),))
    (row,) = world.rows["party"]
    assert row["kind"] == "range"
    assert world.rows["party_address_term"] == [{"party_id": row["party_id"], "term": "range:lb"}]


def test_a_range_that_is_no_cidr_is_a_usage_problem():
    """It comes from configuration."""
    with pytest.raises(UsageProblem, match=r"range lb: '10\.1' is not an address range"):
        tables(load([], CLUSTER), [CLUSTER], [Range("lb", "10.1")])


CIDRS = st.builds(
    lambda block, length: str(ip_network((0x0A000000 | block << 16, length), strict=False)),
    st.integers(0, 3),
    st.integers(4, 32),
)


@given(st.lists(CIDRS, max_size=8), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_flattened_ranges_are_disjoint_and_say_what_the_narrowest_cidr_says(cidrs, numbers):
    """At most one range per address, whatever is nested in what."""
    made = tables(load([], CLUSTER), [CLUSTER], [Range(cidr, cidr) for cidr in dict.fromkeys(cidrs)])
    rows = made["address_range"].to_pylist()
    assert all(r["lo"] <= r["hi"] for r in rows)
    assert all(a["hi"] < b["lo"] for a, b in pairwise(sorted(rows, key=lambda r: r["lo"])))
    for number in [*numbers, *(int(ip_network(c)[0]) for c in cidrs), *(int(ip_network(c)[-1]) for c in cidrs)]:
        address = ip_address(number)
        over = [c for c in [*cidrs, *(c for c, _ in WELL_KNOWN)] if address in ip_network(c)]
        wanted = max(over, key=lambda c: ip_network(c).prefixlen, default=None)
        found = range_of(made, str(address))
        assert (found[1] if found else None) == wanted
