"""The documented model: what the shipped one says, how files overlay each other, and what is refused where."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vzflow.flow.errors import UsageProblem
from vzflow.flow.lookups import MODEL
from vzflow.flow.terms import RuleStatus
from vzflow.model import strict_yaml
from vzflow.model.document import Model, load, load_texts, shipped_models

DAY = date(2026, 1, 15)
SHARED = Path(__file__).resolve().parents[3] / "shared"

SMALL = """\
vzflow_model: 1
name: small
mesh: on
trust_domains: [cluster.local]
protected_namespaces: [shop]
components:
  web:
    namespaces: shop
    selectors: [{app: web}]
    mesh: yes
  db:
    namespaces: [shop, shop-old]
    selectors: [{app: db, tier: data}, {role: db}]
    mesh: no
peers:
  dns:
    namespaces: kube-system
aliases:
  Front End: web
rules:
  - id: R1
    quote: '| db | 5432 | web |'
    to: db
    port: 5432
    from: Front End
    transport: mtls
    transport_provenance: prose
"""

SITE = "vzflow_model: 1\nname: site\n"

ACCEPTED = SITE + (
    "accepted:\n"
    "  - {id: S1, to: web, port: 80, from: external, owner: shop team, reason: old phones, expires: 2026-01-15}\n"
)


def small(*more: str, on: date = DAY) -> Model:
    return load_texts([(f"{number}.yaml", text) for number, text in enumerate((SMALL, *more))], on=on)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load(["verrazzano-1.0"], on=DAY)


def grants(model: Model, rule_id: str) -> set[tuple[str, str, str, int | None, int | None, str | None]]:
    rows = model.tables()["rule_grant"].to_pylist()
    return {
        (r["from_term"], r["to_term"], r["protocol"], r["port_lo"], r["port_hi"], r["port_class"])
        for r in rows
        if r["rule_id"] == rule_id
    }


def tcp(port: int, *pairs: tuple[str, str]) -> set[tuple[str, str, str, int, int, None]]:
    """Spell (initiator, responder) pairs out; a bare name is a component."""
    full = {
        n: n if n in ("mesh", "sidecar", "node", "external", "api_server") or ":" in n else f"component:{n}"
        for pair in pairs
        for n in pair
    }
    return {(full[a], full[b], "tcp", port, port, None) for a, b in pairs}


def rows_of_seed() -> list[str]:
    seeds = sorted((SHARED / "seed").glob("*.txt")) if SHARED.is_dir() else []
    if not seeds:
        pytest.skip("the document itself is not beside this checkout")
    lines = seeds[0].read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith(("| Component ", "| ---"))]


# What Verrazzano 1.0 says


def test_every_row_of_the_document_is_quoted_word_for_word_and_in_its_order(shipped: Model):
    """A verdict cites its row, so the quote is the row, spaces included."""
    assert [r.quote for r in shipped.rules if r.kind is RuleStatus.DOCUMENTED] == rows_of_seed()


def test_documented_rules_are_r01_to_r29():
    """The id of a rule is the number of its row."""
    rules = load(["verrazzano-1.0"], on=DAY).rules
    assert [r.id for r in rules if r.kind is RuleStatus.DOCUMENTED] == [f"R{n:02d}" for n in range(1, 30)]


def test_every_row_is_resolved_to_the_port_it_prints(shipped: Model):
    """Resolving names must not change what the row says of ports."""
    for rule in shipped.rules:
        if rule.quote:
            assert [p.lo for p in rule.ports] == [int(rule.quote.split("|")[2])]


@pytest.mark.parametrize(
    ("rule_id", "expected"),
    [
        ("R03", tcp(8000, ("nginx-ingress", "console"))),
        ("R08", tcp(9443, ("prometheus", "coherence-operator"))),
        ("A01", tcp(9443, ("api_server", "coherence-operator"))),
        ("R11", tcp(
            9200, ("kibana", "elasticsearch-ingest"), ("kibana", "elasticsearch-data"),
            ("kibana", "elasticsearch-master"), ("elasticsearch-ingest", "elasticsearch-data"),
        )),
        ("R12", tcp(
            9300,
            ("elasticsearch-master", "elasticsearch-master"), ("elasticsearch-data", "elasticsearch-master"),
            ("elasticsearch-ingest", "elasticsearch-master"), ("elasticsearch-master", "elasticsearch-data"),
            ("elasticsearch-data", "elasticsearch-data"), ("elasticsearch-ingest", "elasticsearch-data"),
            ("elasticsearch-master", "elasticsearch-ingest"), ("elasticsearch-data", "elasticsearch-ingest"),
        )),
        ("R14", tcp(15012, ("mesh", "istiod"))),
        ("R17", tcp(
            8443, ("external", "istio-ingressgateway"), ("node", "istio-ingressgateway"),
            ("range:lb-subnet", "istio-ingressgateway"),
        )),
        ("R19", tcp(8443, ("sidecar", "istio-egressgateway"))),
        ("R25", tcp(9100, ("prometheus", "node-exporter"))),
        ("R27", tcp(9443, ("api_server", "rancher"))),
        ("A02", tcp(9443, ("api_server", "rancher-webhook"))),
        ("I02", {
            ("own_node", "pod", "tcp", None, None, "probe"),
            ("own_node", "pod", "tcp", 15020, 15020, None),
            ("own_node", "pod", "tcp", 15021, 15021, None),
        }),
        ("I09", {("node", "node", "4", None, None, None)}),
    ],
)  # fmt: skip
def test_rule_grants_exactly_these_pairs(shipped: Model, rule_id: str, expected: set[object]):
    """Worked out by hand from the row and from what Verrazzano 1.0 runs."""
    assert grants(shipped, rule_id) == expected


def test_row_that_names_prometheus_by_mistake_is_kept_and_revoked(shipped: Model):
    """R08 stays as written, so that a flow it would allow can be told apart from one nobody documented."""
    rule = {r["rule_id"]: r for r in shipped.tables()["rule"].to_pylist()}["R08"]
    assert (rule["kind"], rule["revoked_by"]) == ("documented", "A01")
    assert {r.id: r.revoked_by for r in shipped.rules if r.revoked_by} == {"R08": "A01", "R27": "A02"}


def test_transport_of_the_rows_is_what_1_0_enforces(shipped: Model):
    """Captured ports need mTLS; scrapes, 9300 and pods outside the mesh are plaintext by design."""
    by_transport: dict[str, list[str]] = {}
    for rule in shipped.rules:
        if rule.kind is RuleStatus.DOCUMENTED:
            by_transport.setdefault(rule.transport, []).append(rule.id)
    assert by_transport == {
        "tls": ["R01", "R02", "R08", "R14", "R16", "R17", "R27"],
        "mtls": ["R03", "R05", "R09", "R10", "R11", "R19", "R21", "R24", "R28", "R29"],
        "plaintext_ok": [
            "R04", "R06", "R07", "R12", "R13", "R15", "R18", "R20", "R22", "R23", "R25", "R26",
        ],
    }  # fmt: skip


def test_no_rule_of_the_shipped_model_allows_any_source_or_any_responder(shipped: Model):
    """Such a rule would turn everything green."""
    rows = shipped.tables()["rule_grant"].to_pylist()
    assert not [r for r in rows if "any" in (r["from_term"], r["to_term"])]
    to_every_pod = {r["rule_id"] for r in rows if r["to_term"] in ("pod", "mesh") or r["to_term"].startswith("names")}
    assert to_every_pod == {"I02"}


def test_in_scope_pods_are_reached_from_a_node_only_by_probes_and_from_outside(shipped: Model):
    """A node's address stands for much, so few rules may speak of it."""
    in_scope = {f"component:{c.name}" for c in shipped.components if c.in_scope}
    rows = shipped.tables()["rule_grant"].to_pylist()
    from_node = {r["rule_id"] for r in rows if r["from_term"] == "node" and r["to_term"] in in_scope}
    assert from_node == {"R17", "A07", "I13"}


def test_every_component_lives_in_protected_namespaces_and_no_peer_does(shipped: Model):
    """A pod of a component's namespace that no component claims must still be judged."""
    protected = set(shipped.protected_namespaces)
    for component in shipped.components:
        its = set(component.namespaces)
        assert its <= protected if component.in_scope else its.isdisjoint(protected)


def test_every_rule_beside_the_rows_says_its_purpose_and_its_source(shipped: Model):
    """What turns a flow green without a row must be open to question."""
    others = [r for r in shipped.rules if r.kind is not RuleStatus.DOCUMENTED]
    assert {r.kind for r in others} == {RuleStatus.INFRASTRUCTURE, RuleStatus.AMENDED}
    assert all(r.says and r.source for r in others)


def test_a_peer_of_any_namespace_with_any_label_value_is_null_in_the_selector_table(shipped: Model):
    """`*` means any, and null is how the lookup tables say it."""
    rows = [r for r in shipped.tables()["selector"].to_pylist() if r["component"] == "application"]
    assert rows == [
        {"component": "application", "alternative": 1, "namespace": None, "key": "verrazzano.io/istio", "value": None,
         "keys": 1}
    ]  # fmt: skip


# Tables and digest


def test_tables_have_exactly_the_declared_schemas(shipped: Model):
    """The SQL that reads them was written against MODEL."""
    tables = shipped.tables()
    assert {name: table.schema for name, table in tables.items()} == MODEL
    assert all(table.num_rows for table in tables.values())


def test_selector_rows_spell_out_every_namespace_and_alternative():
    """Within an alternative every row must match; alternatives are separate."""
    rows = [tuple(r.values()) for r in small().tables()["selector"].to_pylist()]
    assert rows == [
        ("web", 1, "shop", "app", "web", 1),
        ("db", 1, "shop", "app", "db", 2),
        ("db", 1, "shop", "tier", "data", 2),
        ("db", 2, "shop", "role", "db", 1),
        ("db", 3, "shop-old", "app", "db", 2),
        ("db", 3, "shop-old", "tier", "data", 2),
        ("db", 4, "shop-old", "role", "db", 1),
        ("dns", 1, "kube-system", None, None, 0),
    ]


def test_component_and_rule_rows_say_scope_mesh_and_provenance():
    """Egress that nobody declares is unmodelled, and a peer's mesh may be unsaid."""
    tables = small().tables()
    assert tables["component"].to_pylist() == [
        {"component": "web", "in_scope": True, "mesh": "yes", "egress": "unmodelled"},
        {"component": "db", "in_scope": True, "mesh": "no", "egress": "unmodelled"},
        {"component": "dns", "in_scope": False, "mesh": None, "egress": "unmodelled"},
    ]
    assert tables["rule"].to_pylist() == [
        {"rule_id": "R1", "kind": "documented", "transport": "mtls", "transport_provenance": "prose",
         "says": "| db | 5432 | web |", "source": None, "model": "small", "revoked_by": None, "expires": None}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: small", "# a comment\nname: renamed"),
        ("[{app: db, tier: data}, {role: db}]", "[{role: db}, {tier: data, app: db}]"),
        ("[shop, shop-old]", "[shop-old, shop, shop]"),
        ("'| db | 5432 | web |'", "'| the same row |'"),
        ("port: 5432", "port: [5432, 5432]"),
        ("from: Front End", "from: [web, Front End]"),
        ("transport_provenance: prose", "transport_provenance: row"),
        ("    transport: mtls", "    note: See above.\n    transport: 'mtls'"),
    ],
)
def test_digest_stays_when_only_wording_or_order_changes(old: str, new: str):
    """Nothing is judged again for a comment."""
    assert SMALL.count(old) == 1
    changed = load_texts([("0.yaml", SMALL.replace(old, new))], on=DAY)
    assert changed.digest == small().digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id: R1", "id: R2"),
        ("port: 5432", "port: 5433"),
        ("port: 5432", "port: any"),
        ("port: 5432", "port: 5432\n    protocol: udp"),
        ("from: Front End", "from: [Front End, node]"),
        ("transport: mtls", "transport: tls"),
        ("mesh: on", "mesh: off"),
        ("trust_domains: [cluster.local]", "trust_domains: [corp.example]"),
        ("[shop]", "[shop, bank]"),
        ("tier: data", "tier: '*'"),
        ("{app: db, tier: data}", "{app: db}, {tier: data}"),
        ("mesh: no", "mesh: no\n    egress: closed"),
        ("rules:", "infrastructure:"),
    ],
)
def test_digest_changes_when_a_flow_could_be_judged_differently(old: str, new: str):
    """A stale verdict under a new model would be a wrong one."""
    text = SMALL.replace(old, new, 1).replace("quote", "source: x\n    says") if new == "infrastructure:" else None
    changed = load_texts([("0.yaml", text or SMALL.replace(old, new, 1))], on=DAY)
    assert changed.digest != small().digest


def test_digest_is_the_same_in_every_process():
    """The store compares it with one written long ago; this constant only moves with a deliberate change of SMALL."""
    assert small().digest == load_texts([("elsewhere.yaml", SMALL)], on=date(2030, 1, 1)).digest
    assert small().digest == "76a611fa673395e62ff7b5db1c361e3ab37856313a07264f188058b576582ade"


def test_texts_remembered_make_the_same_model(tmp_path: Path):
    """The store keeps the texts and later needs no file."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE + "protected_namespaces: bank\n")
    model = load(["verrazzano-1.0", path], on=DAY)
    path.unlink()
    assert load_texts(model.sources, on=DAY) == model
    assert model.names == ("verrazzano-1.0", "site")


# Overlays


def test_overlay_replaces_only_the_keys_it_gives_of_a_component():
    """A site that closes egress need not repeat the selectors."""
    web = small(SITE + "components: {web: {egress: closed}}").components[0]
    assert (web.egress, web.namespaces, web.selectors, web.mesh) == ("closed", ("shop",), ((("app", "web"),),), "yes")


def test_overlay_replaces_mesh_and_trust_domains_and_adds_protected_namespaces():
    """Trusting two domains because two files name one each would accept foreign certificates."""
    model = small(SITE + "mesh: off\ntrust_domains: corp.example\nprotected_namespaces: [bank, shop]\n")
    assert (model.mesh, model.trust_domains) == ("off", ("corp.example",))
    assert model.protected_namespaces == ("shop", "bank")


def test_mesh_off_leaves_no_rule_that_requires_mtls_and_nobody_in_the_mesh():
    """Without injection nothing can require mTLS; TLS that a process speaks itself stays required."""
    more = SITE + "mesh: off\nrules:\n  - {id: R2, says: api, to: db, port: 443, from: web, transport: tls}\n"
    model = small(more)
    assert [(r.id, r.transport, r.transport_provenance) for r in model.rules] == [
        ("R1", "unspecified", None),
        ("R2", "tls", "author"),
    ]
    assert {c.mesh for c in model.components} == {"no", None}


def test_alias_redefined_by_an_overlay_holds_for_the_rules_of_earlier_files():
    """That is how a site adds its load balancer to what the document calls outside."""
    model = small(SITE + "aliases: {Front End: [web, 'range:partners']}")
    assert {g[0] for g in grants(model, "R1")} == {"component:web", "range:partners"}


def test_rules_of_overlays_come_after_and_carry_their_own_file():
    """`model show` and `explain` say which file a rule is from."""
    model = small(ACCEPTED)
    assert [(r.id, r.kind, r.model, str(r.place)) for r in model.rules] == [
        ("R1", "documented", "small", "0.yaml:21"),
        ("S1", "accepted", "site", "1.yaml:4"),
    ]
    assert (model.rules[1].owner, model.rules[1].reason) == ("shop team", "old phones")


def test_accepted_edge_holds_through_its_last_day():
    """Of flows: whatever the day it is asked on, the tables and so the verdicts are the same."""
    early, late = (small(ACCEPTED, on=day) for day in (date(2026, 1, 15), date(2026, 1, 16)))
    (expires,) = [row["expires"] for row in early.tables()["rule"].to_pylist() if row["rule_id"] == "S1"]
    assert expires == datetime(2026, 1, 16, tzinfo=UTC)
    assert early.tables() == late.tables()
    assert early.digest == late.digest != small().digest
    assert (early.rules[1].expired, late.rules[1].expired) == (False, True)


def test_another_last_day_is_another_model():
    """Flows between the two are judged otherwise; the calendar's last day is never over."""
    later, last = (small(ACCEPTED.replace("2026-01-15", day)) for day in ("2026-01-16", "9999-12-31"))
    assert len({small(ACCEPTED).digest, later.digest, last.digest}) == 3
    assert last.tables()["rule"].column("expires").to_pylist() == [None, None]


def test_amendment_that_only_revokes_allows_nothing_itself():
    """A site may simply not want a row."""
    model = small(SITE + "amendments:\n  - {id: A1, revokes: R1, says: retired, source: ticket 7}\n")
    assert [r.revoked_by for r in model.rules] == ["A1", None]
    assert grants(model, "A1") == set()
    assert grants(model, "R1") == grants(small(), "R1")


def test_revoked_amendment_revokes_nothing():
    """Taking a mistake back brings the row back."""
    first = SITE + "amendments:\n  - {id: A1, revokes: R1, says: retired, source: ticket 7}\n"
    second = SITE + "amendments:\n  - {id: A2, revokes: [A1], says: not retired, source: ticket 8}\n"
    assert [(r.id, r.revoked_by) for r in small(first, second).rules] == [("R1", None), ("A1", "A2"), ("A2", None)]


def test_words_that_yaml_1_1_would_turn_into_something_else_stay_words():
    """`on`, `no` and digits are read as written, quoted or not."""
    model = small(SITE + "components: {on: {namespaces: '7', selectors: [{no: 010}], mesh: no}}")
    on = {c.name: c for c in model.components}["on"]
    assert (on.namespaces, on.selectors, on.mesh) == (("7",), ((("no", "010"),),), "no")


def test_port_ranges_any_port_and_protocol_numbers_are_spelled_out():
    """Null ports mean any, recorded or not; a number that has a name becomes the name."""
    rule = "  - {id: %s, says: x, to: db, from: web, %s}\n"
    text = SITE + "rules:\n" + rule % ("R2", "port: [9300-9400, any], protocol: 17") + rule % ("R3", "protocol: 47")
    model = small(text)
    assert {g[2:] for g in grants(model, "R2")} == {("udp", 9300, 9400, None), ("udp", None, None, None)}
    assert {g[2:] for g in grants(model, "R3")} == {("47", None, None, None)}


def test_every_word_class_becomes_its_term():
    """These are the terms that the lookup tables declare."""
    words = [
        "node",
        "own_node",
        "api_server",
        "external",
        "pod",
        "mesh",
        "sidecar",
        "any",
        "namespace:shop",
        "range:lb",
        "dns",
    ]
    model = small(SITE + f"rules:\n  - {{id: R2, says: x, to: db, port: 1, from: [{', '.join(words)}]}}\n")
    assert {g[0] for g in grants(model, "R2")} == {*words[:-1], "component:dns"}


# What is refused


def rule(text: str) -> str:
    return SITE + "rules:\n  - id: R2\n    says: x\n" + "".join(f"    {line}\n" for line in text.split("; "))


def amendment(text: str) -> str:
    lines = "".join(f"    {line}\n" for line in text.split("; "))
    return SITE + "amendments:\n  - id: A1\n    says: x\n    source: y\n" + lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rule("to: db; port: 80; from: wev"), "1.yaml:8: no component, peer or alias is called wev. Did you mean web?"),
        (rule("to: db; port: 80; from:; - web; - front end"),
         "1.yaml:10: no component, peer or alias is called front end. Did you mean Front End?"),
        (rule("to: [web, qqqq]; port: 80; from: web"), "1.yaml:6: no component, peer or alias is called qqqq. Define"),
        (rule("grants:; - {to: db, from: web}; - {to: db, from: wob}; port: 80"), "1.yaml:8: no component, peer or"),
        (rule("to: own_node; port: 80; from: web"), "1.yaml:6: `own_node` can only be an initiator"),
        (rule("to: db; port: 80; from: 'namespace:'"), "1.yaml:8: no component, peer or alias is called namespace:."),
        (rule("to: db; port: 0; from: web"), "1.yaml:7: `0` is not a port. Write a number from 1 to 65535"),
        (rule("to: db; port: 65536; from: web"), "1.yaml:7: `65536` is not a port"),
        (rule("to: db; port: 22:22; from: web"), "1.yaml:7: `22:22` is not a port"),
        (rule("to: db; port: 9400-9300; from: web"), "1.yaml:7: `9400-9300` is not a port"),
        (rule("to: db; port: [80, http]; from: web"), "1.yaml:7: `http` is not a port"),
        (rule("to: db; port: 80; protocol: tpc; from: web"), "1.yaml:8: `tpc` is not a protocol"),
        (rule("to: db; port: 80; protocol: 256; from: web"), "1.yaml:8: `256` is not a protocol"),
        (rule("to: db; port: 80; protocol: [tcp, 47]; from: web"), "1.yaml:7: `port` is given for a protocol that has"),
        (rule("to: db; from: web"), "1.yaml:4: `port` is missing"),
        (rule("to: db; port: 80"), "1.yaml:4: `from` is missing"),
        (rule("port: 80"), "1.yaml:4: `from` and `to` are missing"),
        (rule("to: db; from: web; port: 80; grants: [{to: db, from: web}]"), "1.yaml:4: both `grants` and `from`/`to`"),
        (rule("to: db; port: 80; from: []"), "1.yaml:8: the list is empty"),
        (rule("to: db; port: 80; from: {a: b}"), "1.yaml:8: a map stands where a word or a list of words is expected"),
        (rule("to: db; port: 80; from: [[web]]"), "1.yaml:8: a list or map stands where a word is expected"),
        (rule("to: db; port: 80; from: ['']"), "1.yaml:8: a blank text stands where a word is expected"),
        (rule("to: db; port: 80; frm: web"), "1.yaml:8: unknown key `frm`. Did you mean `from`?"),
        (rule("to: db; port: 80; from: web; transport: mTLS"),
         "1.yaml:9: `transport` is `mTLS`. Write 'mtls', 'tls', 'plaintext_ok' or 'unspecified'."),
        (rule("to: db; port: 80; from: web; transport_provenance: row"), "1.yaml:4: `transport_provenance` is given"),
        (rule("to: db; port: 80; from:"), "1.yaml:8: `from` has no value"),
        (rule("to: db; port: 80; from: web; to: web"), "1.yaml:9: the key `to` is repeated (first on line 6)"),
        (SITE + "rules:\n  - {id: R1, says: x, to: db, port: 80, from: web}",
         "1.yaml:4: the rule id R1 is already used at 0.yaml:21. Give it another id"),
        (SITE + "rules:\n  - {id: 1, says: x, to: db, port: 80, from: web}", "1.yaml:4: `1` is not a rule id"),
        (SITE + "rules:\n  - {id: R2, to: db, port: 80, from: web}", "1.yaml:4: `quote` is missing"),
        (SITE + "rules:\n  - {says: x, to: db, port: 80, from: web}", "1.yaml:4: `id` is missing"),
        (SITE + "rules: {}", "1.yaml:3: `rules` has the wrong form. It must be a list."),
        (SITE + "rules: [R1]", "1.yaml:3: `rules` has the wrong form. It must be a map."),
        (SITE + "rules:\n  - {id: R2, says: [x], to: db, port: 80, from: web}",
         "1.yaml:4: `says` has the wrong form. It must be text."),
        (amendment("revokes: R9"), "1.yaml:7: A1 revokes R9, and there is no such rule before it. Only a rule that"),
        (amendment("revokes: A1"), "1.yaml:7: A1 revokes A1, and there is no such rule before it"),
        (amendment("to: db; port: 80; from: any"), "1.yaml:9: amendment A1 must name a concrete initiator, and `any`"),
        (amendment("to: db; port: 80; from: [web, 'namespace:shop']"), "1.yaml:9: amendment A1 must name a concrete"),
        (amendment("port: 80"), "1.yaml:4: `from` and `to` are missing"),
        (SITE + "amendments:\n  - {id: A1, says: x, to: db, port: 80, from: web}", "1.yaml:4: `source` is missing"),
        (SITE + "accepted:\n  - {id: S1, to: db, port: 80, from: web, owner: me, reason: x}",
         "1.yaml:4: `expires` is missing"),
        (ACCEPTED.replace("2026-01-15", "2026-02-30"), "1.yaml:4: `2026-02-30` is not a day. Write it as 2026-12-31."),
        (ACCEPTED.replace("2026-01-15", "20260115"), "1.yaml:4: `20260115` is not a day"),
        (ACCEPTED.replace("old phones", "' '"), "1.yaml:4: the text is blank"),
        (SITE + "components:\n  web:\n    mesh: on", "1.yaml:5: `mesh` is `on`. Write 'yes', 'no' or 'gateway'."),
        (SITE + "components:\n  web:\n    mesh: true", "1.yaml:5: `mesh` is `true`"),
        (SITE + "mesh: yes", "1.yaml:3: `mesh` is `yes`. Write 'on' or 'off'."),
        (SITE + "components:\n  new: {mesh: no}", "1.yaml:4: `new` has no namespaces"),
        (SITE + "components:\n  new: {namespaces: x}", "1.yaml:4: `new` does not say `mesh`"),
        (SITE + "components:\n  new: {namespaces: X, mesh: no}", "1.yaml:4: `X` is not a namespace"),
        (SITE + "components:\n  new: {namespaces: '*', mesh: no}", "1.yaml:4: `new` would be every pod"),
        (SITE + "components:\n  new: {namespaces: x, mesh: no, selectors: [{}]}", "1.yaml:4: a selector without"),
        (SITE + "components:\n  New: {namespaces: x, mesh: no}", "1.yaml:4: `New` is not a name"),
        (SITE + "components:\n  node: {namespaces: x, mesh: no}", "1.yaml:4: `node` already means something in rules"),
        (SITE + "components:\n  dns: {namespaces: x, mesh: no}", "1.yaml:4: `dns` is both a component and a peer"),
        (SITE + "protected_namespaces: [a, '*']", "1.yaml:3: `*` cannot be protected"),
        (SITE + "aliases:\n  web: db", "1.yaml:4: `web` already means something in rules"),
        (SITE + "aliases:\n  A: [web, Front End]", "1.yaml:4: no component, peer or alias is called Front End"),
        (SITE + "aliases:\n  OIDC: web\n  B: oidc",
         "1.yaml:5: no component, peer or alias is called oidc. Did you mean OIDC?"),
        (SITE + "trust_domain: x", "1.yaml:3: unknown key `trust_domain`. Did you mean `trust_domains`?"),
        (SITE + "kind: x", "1.yaml:3: unknown key `kind`. Keys here: vzflow_model, name, says, "),
        ("vzflow_model: 2\nname: x", "1.yaml:1: `vzflow_model` is `2`. Write '1'."),
        ("name: x\nmesh: on", "1.yaml:1: `vzflow_model` is missing"),
        ("vzflow_model: 1", "1.yaml:1: `name` is missing"),
        ("- a\n- b", "1.yaml:1: the file has the wrong form. It must be a map."),
        (SITE + "rules: ]", "1.yaml:3: not YAML: "),
        (SITE + "rules:\n\t- a", "1.yaml:4: not YAML: "),
        ("# nothing\n", "1.yaml: the file is empty"),
        (SITE + "---\nname: y", "1.yaml:3: a second document begins"),
        (SITE + "says: &a x", "1.yaml:3: anchors and aliases (& and *) are not used in models"),
        (SITE + "says: !!binary x", "1.yaml:3: the tag tag:yaml.org,2002:binary is not used in models"),
        (SITE + "? [a]\n: b", "1.yaml:3: a key must be plain text"),
        ("[" * 30, "1.yaml:1: nested more than 20 levels deep"),
        ("[" * 100_000, "1.yaml:1: "),  # since 6.0.4 PyYAML has a limit of its own, and words for it
    ],
)  # fmt: skip
def test_mistake_is_named_with_its_line_and_what_to_do(text: str, message: str):
    """One line, the first problem, and no traceback: the place, what is wrong, what to write instead."""
    with pytest.raises(UsageProblem) as raised:
        small(text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_of_several_mistakes_the_first_in_the_file_is_named():
    """Fixing from the top down is what people do."""
    text = rule("to: db; port: nine; from: web; transport: none") + "mesh: maybe\n"
    with pytest.raises(UsageProblem, match=r"1\.yaml:7: `nine` is not a port"):
        small(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mesh: on\n", "no file says whether the mesh is on"),
        ("trust_domains: [cluster.local]\n", "no file names the mesh's trust domains"),
    ],
)
def test_model_that_leaves_mesh_or_trust_open_is_refused(line: str, message: str):
    """Both decide verdicts, so neither is guessed."""
    with pytest.raises(UsageProblem, match=rf"0\.yaml:1: {message}"):
        load_texts([("0.yaml", SMALL.replace(line, ""))], on=DAY)


def test_file_that_is_no_model_or_no_file_is_one_clear_line(tmp_path: Path):
    """Exit code 2, the path, and the names that exist."""
    (tmp_path / "latin").write_bytes(b"name: caf\xe9")
    for path, message in [
        (str(tmp_path / "nowhere.yaml"), "no such model. Name a file, or a shipped model: kubernetes, verrazzano-1.0"),
        (str(tmp_path), "cannot be read: "),
        (str(tmp_path / "latin"), "cannot be read: it is not UTF-8. "),
        (Path("verrazzano-1.0"), "no such model"),
    ]:
        with pytest.raises(UsageProblem) as raised:
            load([path], on=DAY)
        assert str(raised.value).startswith(f"{path}: {message}")
    with pytest.raises(UsageProblem, match="no model is named"):
        load([], on=DAY)


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path):
    """Windows editors write one."""
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8-sig")
    assert load([tmp_path / "small.yaml"], on=DAY).names == ("small",)


def test_model_reads_the_same_without_the_parser_written_in_c(shipped: Model, monkeypatch: pytest.MonkeyPatch):
    """PyYAML may have been built without libyaml."""
    monkeypatch.setattr(strict_yaml, "_LOADER", yaml.SafeLoader)
    assert load(["verrazzano-1.0"], on=DAY) == shipped


@given(st.data())
@settings(max_examples=200)
def test_damaged_text_is_a_model_or_one_clear_problem(data: st.DataObject):
    """Whatever an editor does to a file, no other exception reaches the user."""
    at = data.draw(st.integers(0, len(SMALL) - 1))
    cut = data.draw(st.integers(0, 30))
    put = data.draw(st.text("[]{}:-*&!'\"|>#,. \n\t0ay~", max_size=8))
    try:
        said = load_texts([("0.yaml", SMALL[:at] + put + SMALL[at + cut :])], on=DAY).digest
    except UsageProblem as problem:
        said = str(problem)
    assert len(said) == 64 or (said.startswith("0.yaml") and "\n" not in said)


@pytest.mark.parametrize("odd", ["a\\nb", "\\x1b[31mred", "x" * 5000])
def test_words_of_a_file_cannot_break_the_one_line_that_quotes_them(odd: str):
    """A message goes to a terminal and to logs."""
    with pytest.raises(UsageProblem) as raised:
        small(SITE + f'rules:\n  - {{id: R2, says: x, to: "{odd}", port: 1, from: web}}\n')
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 700


def test_shipped_models_are_found_by_name():
    """`--model verrazzano-1.0` needs no path."""
    assert "verrazzano-1.0" in shipped_models()


def test_ranges_of_a_later_file_replace_those_of_the_same_name():
    """Which addresses a load balancer has is the site's to say, whole."""
    first = SITE + "ranges: {lb-subnet: [10.0.0.0/24, 10.0.1.0/24], office: 203.0.113.0/24}\n"
    second = SITE.replace("site", "more") + "ranges: {lb-subnet: [10.9.0.0/24]}\n"
    model = small(first, second)
    assert set(model.ranges) == {("lb-subnet", "10.9.0.0/24"), ("office", "203.0.113.0/24")}
    assert model.digest != small(first).digest


@pytest.mark.parametrize("block", ["10.0.0.1/24", "10.0.0.0/33", "lb", "10.0.0.0-10.0.0.9"])
def test_what_is_no_address_range_is_refused_with_its_line(block: str):
    """A mistyped range would silently cover nothing."""
    with pytest.raises(UsageProblem) as refused:
        small(SITE + f"ranges:\n  lb-subnet:\n    - {block}\n")
    assert str(refused.value).startswith(f"1.yaml:5: `{block}` is not an address range. Write it as")
