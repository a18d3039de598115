"""What is wrong with a document is told at its place: each code fires on its defect, and is silent without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.page.page_support import DAY, HEAD, lint, told

from vzflow.flow.terms import Level, LintCode
from vzflow.model.document import load

SEEN = "| Component | Pod Port | From | Transport | Egress to |\n|---|---|---|---|---|\n"
CLEAN = SEEN + "| Web | 8080 | Gateway | mTLS | - |\n| Gateway | 8443 | Web | TLS | - |\n"


def row(text):
    return CLEAN + text + "\n"


#: Code -> what makes it fire, where, and what is like it and silent.
CASES = {
    "separator_mismatch": ("| Component | Port | From |\n|---|---|\n| a | 1 | a |\n", (2, 1), CLEAN),
    "separator_missing": ("| Component | Port | From |\n| a | 1 | a |\n", (1, 1), CLEAN),
    "bar_not_closed": (row("| Web | 1 | Web | TLS | -"), (5, 26), CLEAN.replace(" |\n", "\n").replace("\n| ", "\n")),
    "cells_mismatch": (row("| Web | 1 | Web | TLS |"), (5, 1), row("| Web | 1 | Web | TLS | a \\| b |")),
    "row_outside_table": (row("\n| Web | 1 | Web | TLS | - |"), (6, 1), row("\na | b in a sentence")),
    "table_in_code": (row("\n```\n" + HEAD + "```"), (7, 1), row("\n```\n| x | y |\n```")),
    "not_closed": (row("\n```\n| Web |"), (6, 1), row("\n```\n| Web |\n```")),
    "table_not_read": (row("\n| Name | Colour |\n|---|---|\n| Web | red |"), (6, 1), CLEAN),
    "no_rows": (row("\n" + HEAD), (6, 1), row("\n| Name | Colour |\n|---|---|")),
    "no_component": (row("| - | 1 | Web | TLS | - |"), (5, 3), CLEAN),
    "no_port": (row("| Web | tcp | Web | TLS | - |"), (5, 9), row("| Web | any | Web | TLS | - |")),
    "no_source": (row("| Web | 1 | none | TLS | - |"), (5, 13), CLEAN),
    "several_sources": (row("| Web | 1 | Web, Gateway | TLS | - |"), (5, 13), row("| Web | 1 | W (a, b) | TLS | - |")),
    "class_as_source": (row("| Web | 1 | External | TLS | - |"), (5, 13), CLEAN),
    "source_unknown": (row("| Web | 1 | Gatewey | TLS | - |"), (5, 13), row("| Web | 1 | gateway | TLS | - |")),
    "duplicate": (row("| web | 8080 | gateway | mTLS | - |"), (5, 1), row("| Web | 8081 | Gateway | mTLS | - |")),
    "contradiction": (row("| Web | 80, 8080 | Gateway | plaintext | - |"), (5, 1),
                      row("| Web | 8080 | Web | plaintext | - |")),
    "value_not_read": (row("| Web | 1 | Web | rot13 | - |"), (5, 19), row("| Web | 1 | Web | Mutual TLS | - |")),
    "transport_unstated": (row("| Web | 1 | Web | | - |"), (1, 33), CLEAN),
    "egress_unstated": (HEAD + "| Web | 1 | Web | - |\n", (1, 1), "## Outbound\n" + HEAD + "| a | 1 | a | - |\n"),
    "spelling": (row("| Web | 1 | gate-way, GATEWAY | TLS | - |"), (5, 23), CLEAN),
}  # fmt: skip


@pytest.mark.parametrize(("code", "case"), CASES.items(), ids=lambda x: x if isinstance(x, str) else "")
def test_defect_is_told_at_its_place_and_only_where_it_is(code, case):
    """A line and a column to go to; a page without the defect does not hear of it."""
    wrong, place, right = case
    assert told(wrong, code) == [place]
    assert told(right, code) == []


def test_nothing_is_wrong_with_a_page_that_says_everything():
    """Otherwise nobody would look at what is told."""
    assert lint(CLEAN) == []


def test_no_message_repeats_a_page_that_got_into_a_cell():
    """What is found is read in a terminal: names are cut, lists end with how many more there are."""
    long = [f"{word} {'x' * 20_000}" for word in ("Proxy", "Web", "external", "webhook", "Web-")]
    many = ", ".join(f"s{n}{'y' * 5_000}" for n in range(90))
    rows = [(a, "8080", f"{b}, {c}", d) for a in long for b in long for c in (long[2], many) for d in long]
    rows += [(a, a, a, a) for a in long]
    for head in (HEAD, "| Component | Pod Port | From | Transport |\n|---|---|---|---|\n"):
        page = head + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
        codes = {f.code.name for f in lint(page) if len(f.message) > 600}
        assert codes == set()


HOOKS = "| Component | Port | From | Description |\n|---|---|---|---|\n"


def test_a_webhook_is_called_by_the_api_server():
    """Its name in the description is what makes it one; anyone at all includes the API server."""
    page = HOOKS + "".join(
        f"| Op | {n} | {who} | {what} |\n"
        for n, (who, what) in enumerate(
            [("Metrics", "Webhook entry"), ("API server", "Webhook entry"), ("any", "webhook"), ("Metrics", "scrape")],
            1,
        )
    )
    assert told(page, "webhook_source") == [(3, 12)]


def test_a_webhook_belongs_to_the_pod_that_the_model_has_for_it():
    """With a model its components decide; without one, that a component serves outside clients makes it doubtful."""
    page = HOOKS + "| Rancher | 9443 | API server | Webhook |\n| istiod | 15017 | API server | Webhook |\n"
    assert told(page, "webhook_pod") == []
    assert told(page, "webhook_pod", model=load(["verrazzano-1.0"], on=DAY)) == [(3, 3)]
    public = page + "| Rancher | 80 | NGINX | Access from external client |\n| istiod | 15012 | Envoy | xDS |\n"
    assert told(public, "webhook_pod") == [(3, 3)]


def test_a_proxy_s_port_at_other_components_is_told_once_for_each():
    """Not the ports of every sidecar, not other proxies, and not where other clients come."""
    rows = [
        ("Api Proxy", 8775, "Nginx"), ("Search", 8775, "Nginx"), ("Search", 8775, "Logs"),
        ("Old proxy", 8775, "Nginx"), ("Api Proxy", 15090, "Nginx"), ("Search", 15090, "Nginx"), ("Shop", 8775, "Cron"),
    ]  # fmt: skip
    page = HOOKS + "".join(f"| {to} | {port} | {who} | - |\n" for to, port, who in rows)
    assert told(page, "proxy_port") == [(4, 1)]


def test_components_that_no_model_knows_are_told_only_where_a_model_was_given():
    """Without one none is known."""
    page = HEAD + "| Keycloak | 1 | Prometheus | - |\n| Shop | 1 | Prometheus | - |\n"
    assert told(page, "component_unknown") == []
    assert told(page, "component_unknown", model=load(["verrazzano-1.0"], on=DAY)) == [(4, 3)]


def test_a_word_that_was_probably_misspelled_is_told_with_what_was_meant():
    """The document's own names are looked through."""
    (one,) = [f for f in lint(row("| Web | 1 | Gatewey | TLS | - |")) if f.code is LintCode.SOURCE_UNKNOWN]
    assert one.message.endswith("perhaps Gateway is meant")


def test_html_tables_are_checked_like_markdown():
    """But for separators and bars, which they do not have."""
    page = "<table><tr><th>Component<th>Port<th>From<tr><td>Web<td>x<td>Web<tr><td>Web<td>1"
    codes = {f.code.name.lower() for f in lint(page, "page.html")}
    assert codes == {"not_closed", "no_port", "no_source", "cells_mismatch", "transport_unstated", "egress_unstated"}


@given(st.sampled_from(list(LintCode)))
def test_every_code_says_what_is_wrong_and_what_to_do(code):
    """In sentences, and its number is not used twice."""
    assert code.level in Level
    assert code.says.endswith(".")
    assert code.do.endswith(".")
    assert [c.value for c in LintCode].count(code.value) == 1
