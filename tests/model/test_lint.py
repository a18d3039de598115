"""What is wrong with a model that loads is told at its place, and nothing of what is as it should be."""

import pytest
from model.test_document import DAY, SMALL

from vzflow.model.document import load, load_texts
from vzflow.model.lint import findings

INFRASTRUCTURE = """\
infrastructure:
  - {id: I1, says: Names., source: Everywhere., to: dns, port: 53, protocol: udp, from: [web, db],
     transport: plaintext_ok}
"""
WHOLE = SMALL.replace("mesh: yes", "mesh: yes\n    egress: closed").replace("mesh: no", "mesh: no\n    egress: open")
WHOLE = WHOLE.replace("[shop]", "[shop, shop-old]", 1) + INFRASTRUCTURE


def told(text, code, on=DAY):
    found = findings(load_texts([("model.yaml", text)], on=on, draft=True))
    return [(f.line, f.column) for f in found if f.code.name.lower() == code]


def ruled(more, section="rules"):
    if section == "rules":
        return WHOLE.replace("infrastructure:", f"  - {{{more}}}\ninfrastructure:")
    return WHOLE + f"{section}:\n  - {{{more}}}\n"


OWNER = "owner: shop, reason: old, expires: 2026-01-15"
#: Code -> what makes it fire, where, and what is like it and silent.
CASES = {
    "pods_unknown": (WHOLE.replace("  web:", "  gate: {pods: unknown, egress: open}\n  web:", 1), (7, 3)),
    "undeclared": (WHOLE.replace("trust_domains: [cluster.local]\n", ""), (1, 1)),
    "never_used": (WHOLE.replace("peers:", "peers:\n  old: {namespaces: old}"), (18, 3)),
    "duplicate": (ruled("id: R2, says: Again., to: db, port: 5432, from: web, transport: mtls"), (30, 5)),
    "contradiction": (ruled("id: R2, says: Wide., to: db, port: 5000-6000, from: web, transport: tls"), (30, 5)),
    "webhook_source": (ruled("id: R2, says: Webhook entry., to: db, port: 1, from: web, transport: tls"), (30, 5)),
    "webhook_pod": (
        ruled("id: R2, says: A webhook., to: db, port: 1, from: api_server, transport: tls").replace(
            "  db:", "  db-webhook: {namespaces: shop, selectors: [{app: hook}], mesh: no, egress: open}\n  db:", 1),
        (31, 5),
    ),
    "class_as_source": (ruled("id: R2, says: All., to: db, port: 1, from: any, transport: tls"), (30, 5)),
    "transport_unstated": (ruled("id: R2, says: Two., to: db, port: 1, from: web"), (30, 5)),
    "egress_unstated": (WHOLE.replace("    egress: open\n", ""), (12, 3)),
    "expired": (ruled(f"id: S1, to: web, port: 80, from: db, transport: tls, {OWNER}", "accepted"), (34, 5)),
    "same_pods": (WHOLE.replace("{app: db, tier: data}, {role: db}", "{app: web, tier: data}").replace(
        "[shop, shop-old]\n    sel", "shop\n    sel"), (12, 3)),
    "not_protected": (WHOLE.replace("[shop, shop-old]", "[shop]", 1), (12, 3)),
    "no_infrastructure": (WHOLE.replace(INFRASTRUCTURE, ""), (1, 1)),
}  # fmt: skip


@pytest.mark.parametrize(("code", "case"), CASES.items(), ids=lambda x: x if isinstance(x, str) else "")
def test_defect_is_told_at_its_place(code, case):
    """A line and a column of the file that has it."""
    text, place = case
    on = DAY.replace(day=16) if code == "expired" else DAY
    assert told(text, code, on) == [place]
    assert told(WHOLE, code) == []


def test_nothing_is_wrong_with_a_model_that_says_everything():
    """Otherwise nobody would look at what is told."""
    assert findings(load_texts([("model.yaml", WHOLE)], on=DAY)) == []


def test_rules_that_are_revoked_or_expired_are_not_held_against_others():
    """An amendment says what is right already."""
    text = ruled("id: R2, says: Again., to: db, port: 5432, from: web, transport: plaintext_ok")
    revoked = text + "amendments:\n  - {id: A1, revokes: R2, says: Wrong., source: The code.}\n"
    assert told(text, "contradiction")
    assert told(revoked, "contradiction") == []


def test_nobody_is_asked_what_protects_traffic_between_nodes():
    """A node has no sidecar; a pod that may have one is another matter."""
    for responder, findings_there in (("node", 0), ("api_server", 0), ("pod", 1)):
        rule = f"id: R2, says: x, to: {responder}, port: 1, from: node"
        assert len(told(ruled(rule), "transport_unstated")) == findings_there, responder


def test_what_every_cluster_needs_is_shipped_without_anything_to_remark():
    """Overlaid with a model that says everything, `kubernetes` adds no finding that its user could not mend."""
    shipped = load(["kubernetes", "verrazzano-1.0"], on=DAY).sources[0]
    assert findings(load_texts([("model.yaml", WHOLE), shipped], on=DAY)) == []


def test_an_overlay_s_findings_are_at_the_overlay():
    """Each file is named by itself."""
    site = "vzflow_model: 1\nname: site\nrules:\n  - {id: S1, says: x, to: db, port: 1, from: any, transport: tls}\n"
    found = findings(load_texts([("model.yaml", WHOLE), ("site.yaml", site)], on=DAY))
    assert [(f.path, f.line, f.column) for f in found] == [("site.yaml", 4, 5)]


def test_the_shipped_model_has_no_error_and_does_not_contradict_itself():
    """What it leaves open is known: egress and some rules' transport."""
    for name in ("verrazzano-1.0", "verrazzano-1.7"):
        found = {f.code.name.lower() for f in findings(load([name], on=DAY))}
        assert found == {"egress_unstated", "transport_unstated"}
