"""What must hold of every verdict, whatever the cluster, the rules and the flows: random small worlds."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_case import BASE, QUERIES, given_rows, table_of

from vzflow.flow import lookups, terms
from vzflow.flow.schema import CLASSIFIED_SCHEMA, COLUMNS, FLOW_SCHEMA
from vzflow.model import classify
from vzflow.store.duck import connect

WORLD = QUERIES / "_base" / "two_pods"
ADDRESSES = [row["address"] for row in given_rows(WORLD, "address") or []]
#: Those of the pods and of a node: a flow between them can be judged.
HELD = [a for a in ADDRESSES if a.startswith("10.0.")] + ["10.1.0.2"]
PARTIES = [row["party_id"] for row in given_rows(WORLD, "party") or []]
TERMS = [
    *(f"component:{row['component']}" for row in given_rows(WORLD, "component") or []),
    "namespace:shop", "node", "own_node", "api_server", "external", "range:lb", "pod", "mesh", "any",
]  # fmt: skip
PORTS = [53, 443, 5432, 8080, 8081, 9100, 15021, 40000]
PROVEN = ["syn", "log", "reporter", "request"]
Row = dict[str, Any]
hours = st.integers(8, 14).map(lambda hour: f"2026-01-01T{hour:02d}:00:00Z")
runs = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def closed(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def rule(draw, rule_id, **fixed):
    """One rule with one grant: (row of rule, row of rule_grant)."""
    port = draw(closed(None, *PORTS))
    row = {
        "rule_id": rule_id,
        "kind": draw(closed("documented", "infrastructure", "amended", "accepted")),
        "transport": draw(closed("mtls", "tls", "plaintext_ok", "unspecified")),
        "revoked_by": draw(closed(None, None, None, "A9")),
    }
    grant = {
        "rule_id": rule_id,
        "from_term": draw(st.sampled_from(TERMS)),
        "to_term": draw(st.sampled_from([term for term in TERMS if term != "own_node"])),
        "protocol": draw(closed("tcp", "tcp", "udp", "icmp")),
        "port_lo": port,
        "port_hi": port and draw(closed(port, port + 1000)),
        "port_class": draw(closed(None, "probe")) if port is None else None,
    }
    return row | fixed, grant


@st.composite
def flow(draw, bases):
    protocol = draw(closed(*["tcp"] * 6, "udp", "icmp", None))
    named = draw(closed(*[None] * 4, "pod", "host"))
    source = draw(closed("pcap", "calico", "envoy"))
    first = draw(closed(*[f"2026-01-01T{hour:02d}:30:00Z" for hour in range(7, 15)], None))
    return {
        "source": source,
        "reporter": draw(closed("initiator", "responder", "proxy", "tap", None)),
        "first_seen": first,
        "last_seen": first and "2026-01-01T15:00:00Z",
        "protocol": protocol,
        "initiator_ip": draw(closed(*HELD, *HELD, *ADDRESSES, None)),
        "initiator_port": draw(closed(40000, *PORTS, None)) if protocol in ("tcp", "udp") else None,
        "responder_ip": draw(closed(*HELD, *HELD, *ADDRESSES, None)),
        "responder_port": draw(closed(5432, 6000, *PORTS, None)) if protocol in ("tcp", "udp") else None,
        "initiator_basis": draw(st.sampled_from(bases)),
        "hop": draw(closed(*["wire"] * 15, *terms.Hop)),
        "initiator_named_kind": named,
        "initiator_named_namespace": "shop" if named == "pod" else None,
        "initiator_named_name": {"pod": draw(closed("web-0", "ghost")), "host": "n2"}.get(named),
        "connection_state": draw(closed(None, *terms.ConnectionState)),
        "action": draw(st.sampled_from(list(terms.Action))),
        "response_code": draw(closed(None, 200, 403)) if source == "envoy" else None,
        "payload_sent": draw(closed(None, 0, 10)),
        "payload_received": draw(closed(None, 0, 10)),
        "packets_sent": draw(closed(None, 0, 10)),
        "packets_received": draw(closed(None, 0, 10)),
        "transport_seen": draw(st.sampled_from(list(terms.Transport))),
        "transport_seen_basis": draw(
            closed("clear_protocol", "istio_alpn", "outbound_sni", "certificate_withheld", "client_certificate")
        ),
        "mesh_mtls": draw(closed(None, *terms.Ternary)),
        "initiator_principal": draw(closed(None, "spiffe://cluster.local/ns/shop/sa/web", "spiffe://evil.example/x")),
    }


@st.composite
def world(draw, bases):
    """Tables and flows: who held which address until and from one hour, rules, policies, and what was recorded."""
    holders = st.lists(st.sampled_from(PARTIES), min_size=1, max_size=3, unique=True)
    tables = {name: given_rows(WORLD, name) or [] for name in (*lookups.IDENTITY, *lookups.MODEL)}
    span = {"cluster": "c", "known_until": draw(hours)}
    moved = draw(st.lists(st.sampled_from(ADDRESSES), unique=True, max_size=6))
    tables["holding"] = [row for row in tables["holding"] if row["address"] not in moved]
    for address in moved:
        changes = draw(hours)
        for begin, end in (("2026-01-01T07:00:00Z", changes), (changes, draw(closed(changes, "2026-01-02T00:00:00Z")))):
            set_id = f"h{len(tables['holding'])}"
            tables["holding"].append(
                span | {"address": address, "valid_from": begin, "valid_to": end, "set_id": set_id}
            )
            tables["set_member"] += [{"set_id": set_id, "party_id": party} for party in draw(holders)]
    spelled = [draw(rule(f"Q{number}")) for number in range(draw(st.integers(0, 6)))]
    shipped = draw(closed(True, True, False))
    for n, name in enumerate(("rule", "rule_grant")):
        tables[name] = (tables[name] if shipped else []) + [pair[n] for pair in spelled]
    tables["policy_known"] = draw(closed([], [{"cluster": "c"}]))
    for row in tables["party_policy"]:
        row["mode"] = draw(closed("STRICT", "PERMISSIVE", "DISABLE"))
    for row in tables["component"]:
        row["egress"] = draw(closed("closed", "open", "rules", "unmodelled"))
    recorded = draw(st.lists(flow(bases), min_size=1, max_size=12))
    return tables, [{"segment": "s", "record": n, "cluster": "c"} | row for n, row in enumerate(recorded, 1)]


def classified(tables: dict[str, list[Row]], recorded: list[Row]) -> pa.Table:
    """Classify as the program does."""
    with connect(threads=1) as duck:
        found = {name: table_of([dict(row) for row in rows], BASE[name], name) for name, rows in tables.items()}
        classify.prepare(duck, found)
        duck.register(classify.RECORDED, table_of([dict(row) for row in recorded], FLOW_SCHEMA, "recorded"))
        classify.classify(duck)
        return duck.run("SELECT * FROM classified ORDER BY segment, record")


@given(world(list(terms.InitiatorBasis)))
@runs
def test_every_flow_has_one_classified_row_that_the_schema_allows(made):
    """Nothing is lost, doubled or left open: no null where none may be, no value outside the closed lists."""
    tables, recorded = made
    rows = classified(tables, recorded).select(CLASSIFIED_SCHEMA.names).to_pylist()
    assert [row["record"] for row in rows] == [row["record"] for row in recorded]
    allowed = {c.name: set(c.values) for c in COLUMNS if c.values is not None}
    for row in rows:
        assert not [f.name for f in CLASSIFIED_SCHEMA if row[f.name] is None and not f.nullable]
        assert not [n for n, v in row.items() if v is not None and n in allowed and v not in allowed[n]]


@given(world(list(terms.InitiatorBasis)))
@runs
def test_answers_of_one_flow_fit_together(made):
    """The verdict summarises the three answers, so it never says more than they do."""
    tables, recorded = made
    allowing = {"documented", "infrastructure", "amended", "accepted", "undecided"}
    for row in classified(tables, recorded).to_pylist():
        verdict, status = row["verdict"], row["transport_status"]
        assert (row["transport"] == "unknown") == (row["transport_grade"] is None)
        assert row["transport"] == "plaintext" or status != "violated" or row["transport"] == "unknown"
        if verdict in ("expected", "plaintext"):
            assert row["rule_status"] in allowing
            assert row["responder_kind"] != "unknown"
            assert row["initiator_identity_basis"] != "no_time"
        if verdict == "expected":
            assert status not in ("violated", "not_mutual")
        if verdict == "plaintext":
            assert row["transport_required"] == "mtls"
            assert status == "violated"
        if verdict == "out_of_scope":
            assert row["rule_status"] == "unmodelled"


@given(world(PROVEN), rule("NEW", transport="plaintext_ok", revoked_by=None))
@runs
def test_adding_an_allow_rule_never_makes_a_flow_unexpected(made, new):
    """
    A rule that asks for nothing can only allow more.

    Guessed directions are left out, for a rule also declares a port, which may turn a guess round.
    """
    tables, recorded = made
    before = classified(tables, recorded).column("verdict").to_pylist()
    more = tables | {"rule": [*tables["rule"], new[0]], "rule_grant": [*tables["rule_grant"], new[1]]}
    after = classified(more, recorded).column("verdict").to_pylist()
    changes = set(zip(before, after, strict=True))
    assert not changes & {(verdict, "unexpected") for verdict in ("expected", "unknown", "plaintext")}


#: What a party is judged by besides its own row.
_SAID = ("party_port", "party_capture", "party_policy")


def doubled(tables: dict[str, list[Row]], recorded: list[Row]) -> tuple[dict[str, list[Row]], list[Row]]:
    """Give every pod a twin on another node, and let some flows be of everybody in turn."""
    twins = {p["party_id"] for p in tables["party"] if p["kind"] == "pod" and not p["host_network"]}
    more = {name: list(rows) for name, rows in tables.items()}
    for name, keys in (
        ("party", ("party_id", "label_set", "profile")),
        ("party_label", ("label_set",)),
        *((name, ("profile",)) for name in _SAID),
        ("set_member", ("party_id",)),
    ):
        found = [dict(row) for row in tables[name] if row[keys[0]] in twins]
        more[name] += [row | {key: f"{row[key]} twin" for key in keys} for row in found]
    for row in more["party"]:
        if row["party_id"].endswith(" twin"):
            row |= {"pod": f"{row['pod']}-twin", "node": "n3"}
    sets = {row["set_id"] for row in more["set_member"] if row["party_id"].endswith(" twin")}
    alone = [row for row in more["set_member"] if row["set_id"] in sets]
    more["set_member"] = [row for row in more["set_member"] if not row["party_id"].endswith(" twin")]
    more["set_member"] += [
        row | {"set_id": f"{row['set_id']} twin"} for row in alone if row["party_id"].endswith(" twin")
    ]
    others = {h["address"]: f"10.0.9.{n}" for n, h in enumerate(tables["holding"]) if h["set_id"] in sets}
    more["holding"] += [
        row | {"address": others[row["address"]], "set_id": f"{row['set_id']} twin"}
        for row in tables["holding"]
        if row["set_id"] in sets
    ]
    places = [*HELD, *others.values()]
    asked = [row | {end: at} for row in recorded[:4] for end in ("initiator_ip", "responder_ip") for at in places]
    return more, [row | {"record": number} for number, row in enumerate(asked, 1)]


@given(world(PROVEN))
@runs
def test_judging_pods_that_nothing_tells_apart_once_changes_no_row(made):
    """With a profile of its own every pod is judged by itself."""
    tables, recorded = doubled(*made)
    profile: dict[str, str] = {}
    for party in (row["party_id"] for row in tables["party"] if row["kind"] == "pod"):
        own = [(name, row) for name in _SAID for row in tables[name] if row["profile"] == party]
        profile[party] = repr(sorted(repr((name, sorted((row | {"profile": ""}).items()))) for name, row in own))
    shared = {
        name: [row | {"profile": profile.get(row["profile"], row["profile"])} for row in tables[name]]
        for name in ("party", *_SAID)
    }
    # What twins say alike is said once.
    shared |= {name: [row for n, row in enumerate(rows) if row not in rows[:n]] for name, rows in shared.items()}
    assert classified(tables | shared, recorded).equals(classified(tables, recorded))
