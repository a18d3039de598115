"""A record that says somebody else than its address: a finding with both sides, and what must be none."""

from __future__ import annotations

import json

import pytest
from identity.identity_support import CLUSTER, at, node, pod, us
from pipeline.pipeline_support import put

from vzflow.identity.snapshot import save
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.verbs import explain, query, report
from vzflow.reports import explanation, text

CLIENT, SERVER, ROGUE = "10.0.0.1", "10.0.0.2", "10.0.0.3"
FORMAT = json.dumps(
    {
        "t": "%START_TIME%", "d": "%DURATION%", "m": "%REQ(:METHOD)%", "p": "%PROTOCOL%", "c": "%RESPONSE_CODE%",
        "f": "%RESPONSE_FLAGS%", "s": "%BYTES_SENT%", "r": "%BYTES_RECEIVED%", "u": "%UPSTREAM_CLUSTER%",
        "l": "%DOWNSTREAM_LOCAL_ADDRESS%", "o": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "v": "%DOWNSTREAM_TLS_VERSION%", "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    }
)  # fmt: skip


def account(name, namespace="shop"):
    return f"spiffe://cluster.local/ns/{namespace}/sa/{name}"


def of_account(name, ip, start="03:00", **more):
    return pod(name, ip, start, ran=start, spec={"serviceAccountName": name.rpartition("-")[0]}, **more)


OBJECTS = [
    of_account("web-0", CLIENT), of_account("db-0", SERVER), of_account("rogue-0", ROGUE), node("n1", "10.1.0.1"),
    of_account("proxy-0", "10.1.0.1", host_network=True),
    of_account("gateway-0", "10.0.0.4", containers=[{"name": "istio-proxy"}]),
]  # fmt: skip


def calico(source, name, clock="12:00", **more):
    """A record of the initiator's end that calls the pod at *source* by *name*."""
    begin = us(clock) // 1_000_000
    record = {
        "start_time": begin, "end_time": begin + 60, "source_ip": source, "source_name": name,
        "source_name_aggr": name, "source_namespace": "shop", "source_port": 40000, "source_type": "wep",
        "dest_ip": SERVER, "dest_name": "db-0", "dest_name_aggr": "db-0", "dest_namespace": "shop", "dest_port": 5432,
        "dest_type": "wep", "proto": "tcp", "action": "allow", "reporter": "src", "num_flows": 1, "packets_in": 1,
        "packets_out": 1, "bytes_in": 1, "bytes_out": 1, "host": "n1",
    }  # fmt: skip
    return json.dumps(record | more).encode() + b"\n"


def envoy(source, principal, clock="12:00"):
    """A request that the server's sidecar received from *source* with a certificate of *principal*."""
    line = {
        "t": at(clock).replace("Z", ".000Z"), "d": 1, "m": "GET", "p": "HTTP/1.1", "c": 200, "f": "-", "s": 1, "r": 1,
        "u": "inbound|5432||", "l": f"{SERVER}:5432", "o": f"{source}:40000", "v": "TLSv1.3", "peer": principal,
    }  # fmt: skip
    return json.dumps(line).encode() + b"\n"


@pytest.fixture
def stored(tmp_path):
    """Ingest lines of Calico and Envoy logs beside a snapshot of 13:00, and return the store."""

    def store(*, calico=b"", envoy=b"", objects=OBJECTS):
        save(objects, tmp_path / "cluster.json", us("13:00"), ("Pod", "Node"))
        found = tmp_path / "store"
        how = {"identity": [str(tmp_path / "cluster.json")], "cluster": CLUSTER}
        for name, data in (("calico.jsonl", calico), ("envoy.log", envoy)):
            if data:
                given = {"form": "envoy", "envoy_format": FORMAT} if name == "envoy.log" else {}
                ingest([put(tmp_path / name, data)], found, **how, **given)
        return found

    return store


def against_addresses(store):
    """The findings that contradict an address, by code."""
    return {f["code"]: f for f in report(store)["findings"] if f["code"].startswith("VZ2")}


def test_a_name_and_another_holder_are_a_finding_with_both_sides(stored):
    """The reader sees at once who says what, and which snapshot says otherwise."""
    found = against_addresses(stored(calico=calico(ROGUE, "web-0")))
    assert list(found) == ["VZ2002"]
    (one,) = found["VZ2002"]["contradiction"]
    assert (one["says"], one["source"], one["reporter_name"]) == ("pod shop/web-0", "calico", "n1")
    assert (one["address"], one["holders"]) == (ROGUE, ["shop/rogue-0"])
    assert [(s["when"], s["snapshot"].endswith("cluster.json")) for s in one["shown_by"]] == [("after", True)]
    assert found["VZ2002"]["verdict"] != "expected"


def test_a_principal_and_another_holder_are_a_finding_with_both_sides(stored):
    """A certificate that was carried off is the more serious of the two."""
    found = against_addresses(stored(envoy=envoy(ROGUE, account("web"))))
    assert {code: f["severity"] for code, f in found.items()} == {"VZ2001": "high"}
    (one,) = found["VZ2001"]["contradiction"]
    assert (one["says"], one["holders"]) == (account("web"), ["shop/rogue-0 as rogue"])


def test_text_and_explanation_say_both_sides_plainly(stored):
    """Of the finding's code alone, too: the flow that contradicts is the one explained."""
    store = stored(calico=calico(ROGUE, "web-0"), envoy=envoy(ROGUE, account("db"), "12:30"))
    shown = " ".join(text.render(report(store)).split())
    assert f"initiator: the record names pod shop/web-0 (calico, told by initiator of n1, {at('12:00')[:-1]}" in shown
    assert f"{ROGUE} was held then by shop/rogue-0, from {at('03:00')[:-1]}" in shown
    assert f"the certificate is of {account('db')} (envoy, told by responder" in shown
    for code, says in (("VZ2001", account("db")), ("VZ2002", "pod shop/web-0")):
        explained = explanation.render(explain(store, code))
        assert f"{code}: " in explained
        assert (
            f"contradiction: initiator: the {'certificate is of' if code == 'VZ2001' else 'record names'} {says}"
            in explained
        )
        assert f"{ROGUE} was held then by shop/rogue-0" in explained


def test_a_query_lists_them(stored):
    """For programs, and where a report shows a dozen."""
    rows = query(stored(calico=calico(ROGUE, "web-0")), "contradictions").to_pylist()
    assert [(row["told_by"], row["side"], row["says"]) for row in rows] == [("name", "initiator", "pod shop/web-0")]


@pytest.mark.parametrize(
    ("source", "name", "clock", "more"),
    [
        (CLIENT, "web-0", "12:00", {}),
        ("10.9.9.9", "web-0", "12:00", {}),
        ("10.1.0.1", "web-0", "12:00", {}),
        (ROGUE, "web-0", "14:00", {}),
        (ROGUE, None, "12:00", {"source_name_aggr": "rogue-*"}),
        (ROGUE, None, "12:00", {"source_name_aggr": "pvt", "source_type": "net"}),
    ],
    ids=["own name", "address of nobody", "masquerade", "after the snapshot", "beginning of its name", "private"],
)
def test_a_name_that_only_refines_is_no_finding(stored, source, name, clock, more):
    """Findings that are none make an engineer turn the tool off."""
    assert against_addresses(stored(calico=calico(source, name, clock, **more))) == {}


@pytest.mark.parametrize(
    ("source", "principal", "clock"),
    [
        (CLIENT, account("web"), "12:00"),
        ("10.9.9.9", account("web"), "12:00"),
        ("203.0.113.9", account("web"), "12:00"),
        ("10.1.0.1", account("web"), "12:00"),
        ("10.0.0.4", account("web"), "12:00"),
        (ROGUE, "spiffe://elsewhere/ns/shop/sa/web", "12:00"),
        (ROGUE, account("web"), "14:00"),
    ],
    ids=["own", "nobody", "outside", "behind a node", "through a gateway", "foreign", "after the snapshot"],
)
def test_a_principal_behind_another_address_is_no_finding(stored, source, principal, clock):
    """Nodes masquerade, gateways pass TLS on, and who came after the snapshot is not known."""
    assert against_addresses(stored(envoy=envoy(source, principal, clock))) == {}


def test_a_job_between_two_holders_of_a_recorded_window_is_no_finding(stored):
    """An aggregated record may be about the pod that had the address when its window began."""
    early = of_account("web-9", "10.0.0.9", "03:00", finished="12:00:30")
    late = of_account("rogue-9", "10.0.0.9", "12:00:40")
    assert against_addresses(stored(calico=calico("10.0.0.9", "web-9"), objects=[*OBJECTS, early, late])) == {}


def test_a_name_and_a_certificate_of_one_exchange_are_one_exchange_and_undecided(stored):
    """Each is a finding of its own; neither decides who it was."""
    store = stored(calico=calico(ROGUE, "web-0"), envoy=envoy(ROGUE, account("web")))
    found = against_addresses(store)
    assert {(f["exchanges"], f["verdict"]) for f in found.values()} == {(1, "unknown")}
