"""Who answers behind a Service between snapshots and after the newest, and how long that is vouched for."""

from __future__ import annotations

import pytest
from identity.identity_support import World, endpoint_slice, node, pod, service, us

VIP = "10.96.0.9"


def web(name, ip, start, **more):
    return pod(name, ip, start, labels={"app": "web"}, ran=start, **more)


def by_selector(**spec):
    return service("web", [{"port": 80, "targetPort": 8080}], clusterIP=VIP, selector={"app": "web"}, **spec)


BY_SLICE = service("web", [{"port": 80, "targetPort": 8080}], clusterIP=VIP)


def vouched(world, clock, address=VIP, port=80):
    """Who answers then, and whether a snapshot vouches for it."""
    (row,) = [r for r in world.rows["endpoint"] if (r["address"], r["port"]) == (address, port)
              and r["valid_from"] <= us(clock) < r["valid_to"]]  # fmt: skip
    known = row["known_until"]
    return world.behind(address, port, clock)[0], known is None or known >= us(clock)


def test_backends_of_the_newest_snapshot_hold_on_and_are_not_vouched_for():
    """As a pod's own address is."""
    world = World(("12:00", [by_selector(), web("web-0", "10.0.0.1", "11:00")]))
    assert vouched(world, "11:30") == ({"pod:web-0"}, True)
    assert vouched(world, "12:30") == ({"pod:web-0"}, False)


def test_backends_behind_a_slice_hold_on_and_are_not_vouched_for():
    """The slice is as old as the snapshot."""
    world = World(("12:00", [BY_SLICE, endpoint_slice("web", ["10.0.0.1"], 8080), web("web-0", "10.0.0.1", "11:00")]))
    assert vouched(world, "11:30") == ({"pod:web-0"}, True)
    assert vouched(world, "12:30") == ({"pod:web-0"}, False)


def test_a_backend_that_both_snapshots_show_is_vouched_for_between_them():
    """It never went."""
    seen = [by_selector(), web("web-0", "10.0.0.1", "11:00")]
    assert vouched(World(("12:00", seen), ("13:00", seen)), "12:30") == ({"pod:web-0"}, True)


def test_a_backend_that_the_next_snapshot_misses_is_not_vouched_for_in_the_gap():
    """Neither alone nor beside its successor: who had gone by then is not known."""
    world = World(
        ("12:00", [by_selector(), web("web-0", "10.0.0.1", "11:00")]),
        ("13:00", [by_selector(), web("web-1", "10.0.0.2", "12:30")]),
    )
    assert vouched(world, "12:15") == ({"pod:web-0"}, False)
    assert vouched(world, "12:45") == ({"pod:web-0", "pod:web-1"}, False)
    assert vouched(world, "12:59") == ({"pod:web-0", "pod:web-1"}, False)
    assert vouched(world, "13:00") == ({"pod:web-1"}, True)


def test_a_slice_that_changed_in_a_gap_is_vouched_for_on_neither_side():
    """Both lists may have held."""
    pods = [web("web-0", "10.0.0.1", "11:00"), web("web-1", "10.0.0.2", "11:00")]
    world = World(
        ("12:00", [BY_SLICE, endpoint_slice("web", ["10.0.0.1"], 8080), *pods]),
        ("13:00", [BY_SLICE, endpoint_slice("web", ["10.0.0.2"], 8080), *pods]),
    )
    assert vouched(world, "11:59") == ({"pod:web-0"}, True)
    assert vouched(world, "12:30") == ({"pod:web-0", "pod:web-1"}, False)
    assert vouched(world, "13:00") == ({"pod:web-1"}, True)


def test_a_selector_that_changed_in_a_gap_is_vouched_for_on_neither_side():
    """The Service itself is as old as its snapshot."""
    pods = [web("web-0", "10.0.0.1", "11:00"), pod("api-0", "10.0.0.2", "11:00", labels={"app": "api"}, ran="11:00")]
    other = service("web", [{"port": 80, "targetPort": 8080}], clusterIP=VIP, selector={"app": "api"})
    world = World(("12:00", [by_selector(), *pods]), ("13:00", [other, *pods]))
    assert vouched(world, "12:30") == ({"pod:web-0", "pod:api-0"}, False)
    assert vouched(world, "13:00") == ({"pod:api-0"}, True)


def test_a_service_that_is_gone_in_the_next_snapshot_is_not_vouched_for_in_the_gap():
    """Its pods live on; that they answer at its address is not known."""
    pods = [web("web-0", "10.0.0.1", "11:00")]
    world = World(("12:00", [by_selector(), *pods]), ("13:00", pods))
    assert vouched(world, "12:30") == ({"pod:web-0"}, False)


def test_a_backend_that_is_told_to_have_finished_is_vouched_for_until_then_and_nobody_after():
    """What came after it in the gap was never seen: the Service alone stands there, unvouched for by any pod."""
    done = web("web-0", "10.0.0.1", "11:00", finished="12:20")
    world = World(("12:00", [by_selector(), web("web-0", "10.0.0.1", "11:00")]), ("13:00", [by_selector(), done]))
    assert vouched(world, "12:10") == ({"pod:web-0"}, True)
    assert vouched(world, "12:30")[0] == {"service:web"}


@pytest.mark.parametrize("kept", [True, False])
def test_a_node_port_is_vouched_for_as_long_as_its_node_its_service_and_its_pods(kept):
    """The oldest of the three counts."""
    ports = [{"port": 80, "targetPort": 8080, "nodePort": 30080}]
    seen = [service("web", ports, clusterIP=VIP, selector={"app": "web"}), web("web-0", "10.0.0.1", "11:00")]
    later = [*seen, node("n1", "10.1.0.1")] if kept else seen
    world = World(("12:00", [*seen, node("n1", "10.1.0.1")]), ("13:00", later))
    assert vouched(world, "12:30", "10.1.0.1", 30080) == ({"pod:web-0"}, kept)


def test_a_node_port_is_each_nodes_own_for_as_long_as_it_was_there():
    """What nodes claim alike is found once: one that came later, or went, does not claim alike."""
    ports = [{"port": 80, "targetPort": 8080, "nodePort": 30080}]
    seen = [service("web", ports, clusterIP=VIP, selector={"app": "web"}), web("web-0", "10.0.0.1", "11:00")]
    old, same, gone = (node(f"n{n}", f"10.1.0.{n}") for n in (1, 2, 3))
    late = node("n4", "10.1.0.4", "12:20")
    world = World(("12:00", [*seen, old, same, gone]), ("13:00", [*seen, old, same, late]))
    answers = ({"pod:web-0"}, 8080)
    assert [world.behind(f"10.1.0.{n}", 30080, "12:10") for n in (1, 2, 3, 4)] == [answers] * 3 + [(set(), None)]
    assert [world.behind(f"10.1.0.{n}", 30080, "13:10") for n in (1, 2, 3, 4)] == [
        answers, answers, (set(), None), answers,
    ]  # fmt: skip


def test_an_address_of_two_services_has_the_backends_of_both():
    """An external IP can be given to both; on one port either may answer."""
    shared = {"externalIPs": ["198.51.100.7"]}
    one = service("web", [{"port": 80, "targetPort": 8080}], clusterIP=VIP, selector={"app": "web"}, **shared)
    two = service("db", [{"port": 80, "targetPort": 9090}], clusterIP="10.96.0.10", selector={"app": "db"}, **shared)
    pods = [web("web-0", "10.0.0.1", "11:00"), pod("db-0", "10.0.0.2", "11:00", labels={"app": "db"}, ran="11:00")]
    world = World(("12:00", [one, two, *pods]))
    assert world.behind("198.51.100.7", 80, "12:30") == ({"pod:web-0", "pod:db-0"}, None)
    assert world.behind(VIP, 80, "12:30") == ({"pod:web-0"}, 8080)
