"""A certificate that a proxy verified tells who an end was where its address does not: from log line to verdict."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity.churn_objects import KINDS as WATCHED
from identity.identity_support import CLUSTER, at, node, pod, us
from pipeline.pipeline_support import put

from vzflow.identity.snapshot import LISTED, TAKEN_AT, save
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.judge import Judge, model_of
from vzflow.pipeline.verbs import explain, report, sql
from vzflow.reports import explanation
from vzflow.store.lake import Lake

WEB, DB, NOBODY = "10.0.0.1", "10.0.0.2", "10.0.0.99"
MODEL = """
vzflow_model: 1
name: shop
mesh: on
trust_domains: [cluster.local]
protected_namespaces: [shop]
components:
  web: {namespaces: shop, selectors: [{app: web}], mesh: yes}
  db: {namespaces: shop, selectors: [{app: db}], mesh: yes}
rules:
  - {id: S01, says: The web frontend asks the database., to: db, port: 5432, from: web, transport: mtls,
     transport_provenance: author}
"""
#: Of each operator the key in JSON; the text format has them in this order.
OPERATORS = {
    "t": "%START_TIME%", "d": "%DURATION%", "m": "%REQ(:METHOD)%", "p": "%PROTOCOL%", "c": "%RESPONSE_CODE%",
    "f": "%RESPONSE_FLAGS%", "s": "%BYTES_SENT%", "r": "%BYTES_RECEIVED%", "u": "%UPSTREAM_CLUSTER%",
    "h": "%UPSTREAM_HOST%", "ul": "%UPSTREAM_LOCAL_ADDRESS%", "l": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "o": "%DOWNSTREAM_REMOTE_ADDRESS%", "v": "%DOWNSTREAM_TLS_VERSION%", "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "uv": "%UPSTREAM_TLS_VERSION%", "upeer": "%UPSTREAM_PEER_URI_SAN%", "own": "%UPSTREAM_LOCAL_URI_SAN%",
}  # fmt: skip
FORMATS = {"json": json.dumps(OPERATORS), "text": " ".join(OPERATORS.values()) + "\n"}
COLUMNS = (
    "initiator_kind, initiator_pod, initiator_service_account, initiator_identity_basis, responder_kind, "
    "responder_pod, responder_service_account, responder_identity_basis, verdict, reason, rule_id"
)


def account(name, namespace="shop", domain="cluster.local"):
    return f"spiffe://{domain}/ns/{namespace}/sa/{name}"


def of_account(name, ip, app=None, start="03:00", *, runs_as=None, **more):
    own = name.rpartition("-")[0]
    containers = [{"name": "app", "ports": [{"containerPort": 5432}]}, {"name": "istio-proxy"}]
    spec = {"serviceAccountName": runs_as or own}
    return pod(name, ip, start, ran=start, labels={"app": app or own}, containers=containers, spec=spec, **more)


OBJECTS = [of_account("web-0", WEB), of_account("db-0", DB), node("n1", "10.1.0.1")]


def line(form="json", **values):
    """One request in a log of Envoy's; what is not given prints `-`."""
    row = dict.fromkeys(OPERATORS, "-")
    row |= {"t": at("12:00").replace("Z", ".000Z"), "d": "1", "m": "GET", "p": "HTTP/1.1", "c": "200", "s": "1",
            "r": "1"} | values  # fmt: skip
    return (json.dumps(row) if form == "json" else " ".join(row.values())).encode() + b"\n"


def inbound(peer, source=f"{NOBODY}:40000", form="json", **values):
    """What the sidecar of the database says of a client."""
    return line(form, u="inbound|5432||", l=f"{DB}:5432", o=source, v="TLSv1.3", peer=peer, h=f"{DB}:5432",
                ul="127.0.0.6:5000", **values)  # fmt: skip


def outbound(peer, host=f"{NOBODY}:5432", form="json"):
    """What the sidecar of the web frontend says of a server."""
    return line(form, u="outbound|5432||db.shop.svc.cluster.local", h=host, ul=f"{WEB}:41000", l="10.2.0.1:5432",
                o=f"{WEB}:40000", uv="TLSv1.3", upeer=peer, own=account("web"))  # fmt: skip


def ztunnel(direction, source, dest, **more):
    row = {"level": "info", "time": at("12:00").replace("Z", ".000000Z"), "scope": "access",
           "message": "connection complete", "src.addr": source, "dst.addr": dest, "direction": direction,
           "bytes_sent": 10, "bytes_recv": 10, "duration": "1ms"}  # fmt: skip
    return json.dumps(row | more).encode() + b"\n"


def watch(path, objects, since, until):
    """Write what `vzflow watch` does of objects that did not change in between."""
    heading = {"annotations": {TAKEN_AT: at(since), LISTED: ",".join(sorted(WATCHED))}}
    lines = [{"apiVersion": "v1", "kind": "List", "metadata": heading, "items": objects}]
    for kind in WATCHED:
        seen = {"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": "1"}}
        lines.append({"type": "BOOKMARK", "at": at(until), "object": seen})
    return put(path, "".join(json.dumps(one) + "\n" for one in lines).encode())


@pytest.fixture
def stored(tmp_path):
    """Ingest lines beside a snapshot of 13:00 and the model, and return the store."""

    def store(data, *, objects=OBJECTS, form="json", cluster=CLUSTER, name="envoy.log"):
        save(objects, tmp_path / "cluster.json", us("13:00"), ("Pod", "Node"))
        model = put(tmp_path / "shop.yaml", MODEL.encode())
        given = {"form": "envoy", "envoy_format": FORMATS[form]} if name == "envoy.log" else {}
        found = tmp_path / "store"
        # Identity is of the cluster of the first call, flows of the one that is asked for.
        ingest([], found, identity=[str(tmp_path / "cluster.json")], cluster=CLUSTER, model=[str(model)])
        ingest([put(tmp_path / name, data)], found, cluster=cluster, **given)
        return found

    return store


def judged(store):
    (row,) = sql(store, f"SELECT {COLUMNS} FROM flow JOIN verdict USING (flow_id)").to_pylist()
    return row


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("source", [f"{NOBODY}:40000", "203.0.113.9:0"], ids=["nobody's address", "no address"])
def test_a_client_that_a_sidecar_verified_is_its_accounts_pods(stored, form, source):
    """Behind x-forwarded-for the client's address is not in the line at all (port 0), and its certificate is."""
    store = stored(inbound(account("web"), source, form), form=form)
    row = judged(store)
    assert (row["initiator_kind"], row["initiator_pod"]) == ("pod", None)
    assert (row["initiator_service_account"], row["initiator_identity_basis"]) == ("web", "principal")
    assert (row["verdict"], row["rule_id"]) == ("expected", "S01")
    assert "the pods that ran under that service account then stand for it" in explanation.render(
        explain(store, sql(store, "SELECT flow_id FROM flow").to_pylist()[0]["flow_id"])
    )


@pytest.mark.parametrize("form", FORMATS)
def test_a_server_that_a_sidecar_verified_is_its_accounts_pods(stored, form):
    """The client's side sees whom it reached, where no snapshot knows the address."""
    row = judged(stored(outbound(account("db"), form=form), form=form))
    assert (row["responder_kind"], row["responder_pod"]) == ("pod", None)
    assert (row["responder_service_account"], row["responder_identity_basis"]) == ("db", "principal")
    assert (row["verdict"], row["rule_id"]) == ("expected", "S01")


def test_the_far_side_of_a_gateway_is_not_judged_by_the_gateways_port(stored):
    """An east-west gateway passes TLS on: the certificate is the server's, address and port are the gateway's."""
    row = judged(stored(outbound(account("db"), f"{NOBODY}:15443")))
    assert (row["responder_kind"], row["responder_identity_basis"]) == ("unknown", "not_found")
    assert (row["verdict"], row["reason"]) == ("unknown", "responder_unknown")


@pytest.mark.parametrize("side", ["initiator", "responder"])
def test_both_ends_of_a_ztunnel_line_are_identified(stored, side):
    """Identities are printed for mutual TLS only."""
    who = {"src.identity": account("web"), "dst.identity": account("db")}
    data = (
        ztunnel("inbound", f"{NOBODY}:40000", f"{DB}:5432", **{"dst.hbone_addr": f"{DB}:5432"}, **who)
        if side == "initiator"
        else ztunnel("outbound", f"{WEB}:40000", f"{NOBODY}:15008", **{"dst.hbone_addr": f"{NOBODY}:5432"}, **who)
    )
    row = judged(stored(data, name="ztunnel.log"))
    assert (row[f"{side}_identity_basis"], row["verdict"], row["rule_id"]) == ("principal", "expected", "S01")


def test_a_waypoints_own_principal_is_the_waypoint_and_no_more(stored):
    """Where the tunnel ends at a waypoint, no port of whoever is behind it is known."""
    waypoint = of_account("waypoint-0", "10.0.0.7")
    who = {"src.identity": account("web"), "dst.identity": account("waypoint")}
    data = ztunnel("outbound", f"{WEB}:40000", f"{NOBODY}:15008", **{"dst.hbone_addr": "10.2.0.1:5432"}, **who)
    row = judged(stored(data, name="ztunnel.log", objects=[*OBJECTS, waypoint]))
    assert (row["responder_service_account"], row["responder_identity_basis"]) == ("waypoint", "principal")
    assert (row["verdict"], row["reason"]) == ("unknown", "port_not_recorded")


@pytest.mark.parametrize(
    ("peer", "more", "values"),
    [
        (account("web", domain="elsewhere.example"), [], {}),
        (account("late"), [of_account("late-0", "10.0.0.8", "web", "12:30")], {}),
        (account("gone"), [of_account("gone-0", "10.0.0.8", "web", finished="11:30")], {}),
        (account("web", "other"), [], {}),
        (account("default"), [of_account("plain-0", "10.0.0.8", "web", runs_as="default")], {}),
        ("spiffe://cluster.local/web", [], {}),
        (account("web"), [], {"c": "0", "f": "UF", "m": "-", "p": "-", "s": "0", "r": "0"}),
    ],
    ids=["foreign", "came later", "had gone", "of nobody", "default", "no account", "handshake not shown to work"],
)
def test_what_says_nothing_for_certain_leaves_the_client_unknown(stored, peer, more, values):
    """`unknown` is honest; a wrong pod would be judged."""
    row = judged(stored(inbound(peer, **values), objects=[*OBJECTS, *more]))
    assert (row["initiator_kind"], row["initiator_identity_basis"]) == ("unknown", "not_found")
    assert row["verdict"] == "unknown"


def test_an_account_of_another_cluster_identifies_nobody(stored):
    """Meshes of several clusters share a trust domain."""
    row = judged(stored(inbound(account("web")), cluster="elsewhere"))
    assert (row["initiator_kind"], row["initiator_identity_basis"]) == ("unknown", "not_found")


def test_pods_of_one_account_that_rules_tell_apart_are_ambiguous(stored):
    """A rule speaks of labels, a certificate of the account."""
    row = judged(stored(inbound(account("web")), objects=[*OBJECTS, of_account("job-0", "10.0.0.8", runs_as="web")]))
    assert (row["initiator_kind"], row["initiator_service_account"]) == ("ambiguous", "web")
    assert (row["verdict"], row["reason"]) == ("unknown", "initiator_ambiguous")


def test_ports_of_an_account_are_those_of_the_flows_own_moment(stored):
    """What runs under it later says nothing of a line, whichever lines are judged with it."""

    def of_db(name, ip, port, start):
        containers = [{"name": "app", "ports": [{"containerPort": port}]}, {"name": "istio-proxy"}]
        spec = {"serviceAccountName": "db"}
        return pod(name, ip, start, ran=start, labels={"app": "db"}, containers=containers, spec=spec)

    objects = [OBJECTS[0], of_db("db-0", "10.0.0.2", 5432, "03:00"), of_db("db-1", "10.0.0.3", 9090, "12:30")]
    early = outbound(account("db"), f"{NOBODY}:9090")
    late = early.replace(at("12:00").replace("Z", ".000Z").encode(), at("12:45").replace("Z", ".000Z").encode())
    store = stored(early + late, objects=objects)
    rows = sql(store, "SELECT responder_identity_basis FROM flow ORDER BY first_seen").column(0).to_pylist()
    assert rows == ["not_found", "principal"]


def test_of_an_account_that_two_clusters_run_nobody_without_an_address_is_identified(stored, tmp_path):
    """It may be a pod of the other one."""
    store = stored(inbound(account("web"), "203.0.113.9:0"))
    assert judged(store)["initiator_identity_basis"] == "principal"
    save(
        [of_account("web-9", "10.0.0.9"), node("n9", "10.1.0.9")], tmp_path / "east.json", us("13:00"), ("Pod", "Node")
    )
    ingest([], store, identity=[str(tmp_path / "east.json")], cluster="east")
    assert judged(store)["initiator_identity_basis"] != "principal"


def test_where_all_pods_were_watched_an_address_of_nobody_stays_so(stored, tmp_path):
    """No pod of the cluster had it, so it is none of the account's; a recording that comes later says so, too."""
    store = stored(inbound(account("web")))
    assert judged(store)["initiator_identity_basis"] == "principal"
    recording = watch(tmp_path / "watch.jsonl", OBJECTS, "11:00", "12:30")
    result = ingest([], store, identity=[str(recording)], cluster=CLUSTER)
    assert result is not None
    assert judged(store)["initiator_identity_basis"] == "not_found"


@pytest.mark.parametrize("form", FORMATS)
def test_a_server_of_another_account_than_its_address_is_a_finding(stored, form):
    """Somebody answers at the database's address with a certificate that no pod there ran under."""
    store = stored(outbound(account("web"), f"{DB}:5432", form), form=form)
    row = judged(store)
    assert (row["responder_kind"], row["verdict"], row["reason"]) == ("ambiguous", "unknown", "principal_contradicts")
    (found,) = (f for f in report(store)["findings"] if f["code"] == "VZ2001")
    (one,) = found["contradiction"]
    assert (one["side"], one["says"], one["holders"]) == ("responder", account("web"), ["shop/db-0 as db"])


def test_a_server_of_another_account_in_a_ztunnel_line_is_a_finding(stored):
    """The identity that ztunnel verified is not of who has the address."""
    who = {"src.identity": account("web"), "dst.identity": account("web")}
    data = ztunnel("outbound", f"{WEB}:40000", f"{DB}:15008", **{"dst.hbone_addr": f"{DB}:5432"}, **who)
    store = stored(data, name="ztunnel.log")
    assert [f["contradiction"][0]["side"] for f in report(store)["findings"] if f["code"] == "VZ2001"] == ["responder"]


HELD = (WEB, DB, "10.1.0.1", "203.0.113.9", "127.0.0.1", "10.0.0.5")
PRINCIPALS = (account("web"), account("db"), account("late"), account("web", domain="elsewhere.example"), "-")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(HELD), st.sampled_from(PRINCIPALS)), min_size=1, max_size=12))
def test_a_principal_never_changes_who_held_a_known_address(tmp_path_factory, clients):
    """Whatever a certificate says: at most it contradicts."""
    folder = tmp_path_factory.mktemp("held")
    save([*OBJECTS, of_account("late-0", "10.0.0.5", "web", "11:00")], folder / "cluster.json", us("13:00"), WATCHED)
    model = str(put(folder / "shop.yaml", MODEL.encode()))
    found = []
    for name, peers in (("said", [peer for _, peer in clients]), ("silent", ["-"] * len(clients))):
        lines = b"".join(
            inbound(peer, f"{ip}:{40000 + n}") for n, ((ip, _), peer) in enumerate(zip(clients, peers, strict=True))
        )
        ingest([put(folder / f"{name}.log", lines)], folder / name, identity=[str(folder / "cluster.json")],
               model=[model], form="envoy", envoy_format=FORMATS["json"], cluster=CLUSTER)  # fmt: skip
        rows = sql(folder / name, "SELECT record, initiator_pod, initiator_node, initiator_identity_basis FROM flow")
        found.append(sorted(rows.to_pylist(), key=lambda row: row["record"]))
    assert found[0] == found[1]
    assert not any(row["initiator_identity_basis"] == "principal" for row in found[0])
    assert Judge(Lake.open(folder / "said"), model_of(Lake.open(folder / "said"))).refresh() == 0
