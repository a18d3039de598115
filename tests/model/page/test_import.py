"""Tables of a document become rules: what is understood, what is told instead, and that nothing is invented."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.page.page_support import DAY, HEAD, edges, loaded, read, told

from vzflow.flow.errors import UnreadableInput, UsageProblem
from vzflow.model.document import load, load_texts
from vzflow.model.page import source
from vzflow.model.page.imported import as_yaml

HTML = """<html><body><h2>Ingress</h2><table>
<thead><tr><th>Component</th><th>Port</th><th>Source</th><th>TLS</th></tr></thead>
<tr><td rowspan="2">Web<td>8080<td>Gateway<br>Batch<td>mTLS
<tr><td>15090<td>Prometheus<td>plaintext
<tr><td>Data&amp;base</td><td>5432</td><td>Web</td><td>yes</td></tr>
</table></body></html>"""


def test_a_row_is_a_rule_with_its_quote_and_line():
    """What stands in the row stands in the rule, trailing blanks included."""
    row = "| Web | 8080 | Gateway | Users  "
    (rule,) = loaded(f"# Ports\n\n{HEAD}{row}\n").rules
    assert (rule.id, rule.quote, rule.source) == ("R01", row, "page.md, line 5")
    assert (rule.transport, rule.transport_provenance) == ("unspecified", None)


def test_every_source_of_a_cell_is_an_edge_of_its_own():
    """Commas, `and`, semicolons and line breaks part names; brackets do not."""
    text = HEAD + "| Web | 80 | Gateway, Batch and Cron<br>Jobs; Shop (old, new) | - |\n"
    assert {edge[1].rsplit("-", 1)[0] if "shop" in edge[1] else edge[1] for edge in edges(text)} == {
        "gateway", "batch", "cron", "jobs", "shop-old-new",
    }  # fmt: skip


@pytest.mark.parametrize("cell", ["and", "and, or", "& / +", "AND<br>or"])
def test_a_cell_of_nothing_but_conjunctions_names_no_source(cell):
    """`and` is nobody."""
    assert told(f"{HEAD}| Web | 80 | {cell} | - |\n", "no_source") == [(3, 14)]


@pytest.mark.parametrize("cell", [",", "; ,", "and", "&<br>or"])
def test_a_cell_of_nothing_but_separators_names_no_port(cell):
    """It is told with its row, and never breaks the import."""
    assert told(f"{HEAD}| Web | {cell} | Gateway | - |\n", "no_port") == [(3, 9)]


@pytest.mark.parametrize(
    "cell", ["Gateway, and Batch", "Gateway and", "or Gateway", "Gateway AND Batch", "Gateway,and"]
)
def test_conjunctions_are_no_part_of_a_name(cell):
    """Wherever in the cell they stand; a name may begin with their letters."""
    assert {edge[1] for edge in edges(f"{HEAD}| Web | 80 | {cell} | - |\n")} <= {"gateway", "batch"}
    assert edges(f"{HEAD}| Web | 80 | Orders-and-more, Android | - |\n")[0][1] == "orders-and-more"


def test_a_name_with_a_comma_that_the_table_has_is_one_name():
    """Only what is no name as a whole is taken apart."""
    text = HEAD + "| Search and Rescue | 80 | any | - |\n| Web | 80 | Search and Rescue | - |\n"
    assert edges(text)[1][1] == "search-and-rescue"


@pytest.mark.parametrize(
    ("cell", "ports", "protocols"),
    [
        ("9443", ["9443-9443"], ["tcp"]), ("9300-9400", ["9300-9400"], ["tcp"]),
        ("9300 \N{EN DASH} 9400", ["9300-9400"], ["tcp"]), ("80, 443", ["80-80", "443-443"], ["tcp"]),
        ("80/443", ["80-80", "443-443"], ["tcp"]), ("53/udp", ["53-53"], ["udp"]), ("`UDP/53`", ["53-53"], ["udp"]),
        ("53 (TCP/UDP)", ["53-53"], ["tcp", "udp"]), ("8443 (https)", ["8443-8443"], ["tcp"]),
        ("any", ["any"], ["tcp"]), ("**8080**", ["8080-8080"], ["tcp"]),
        ("80, 90/tcp", ["80-80", "90-90"], ["tcp"]),
    ],
)  # fmt: skip
def test_ports_are_read_as_people_write_them(cell, ports, protocols):
    """Ranges, lists, protocols before and after, emphasis."""
    found = edges(f"{HEAD}| Web | {cell} | Gateway | - |\n")
    assert list(dict.fromkeys(e[3] for e in found)) == ports
    assert list(dict.fromkeys(e[4] for e in found)) == protocols


@pytest.mark.parametrize(
    "cell", ["0", "65536", "http", "", "80-70", "80 to the web", "53/udp, 80/tcp", "99999999999999"]
)
def test_what_is_no_port_loses_its_row_and_is_told(cell):
    """A rule about a port that was guessed would allow what nobody wrote."""
    text = f"{HEAD}| Web | {cell} | Gateway | - |\n| Web | 81 | Gateway | - |\n"
    assert told(text, "no_port") == [(3, told(text, "no_port")[0][1])]
    assert [rule.id for rule in loaded(text).rules] == ["R02"]


@pytest.mark.parametrize(
    "header",
    ["Component | Port | From", "POD | **Container Port** | Source", "Destination | Ports | Allowed from",
     "Workload | Port(s) | Clients", "Service | Target Port | Called by"],
)  # fmt: skip
def test_columns_are_told_by_their_words(header):
    """Documents do not agree on what to call them."""
    assert edges(f"| {header} |\n|---|---|---|\n| Web | 80 | Gateway |\n") == [
        ("R01", "gateway", "web", "80-80", "tcp")
    ]


def test_columns_may_stand_in_any_order_and_between_others():
    """Position means nothing."""
    text = "| # | From | Owner | Port | Component |\n|---|---|---|---|---|\n| 1 | Gateway | me | 80 | Web |\n"
    assert edges(text) == [("R01", "gateway", "web", "80-80", "tcp")]


def test_the_heading_names_the_component_where_no_column_does():
    """Pages with a section for each component have tables of two columns."""
    text = "# Ports\n## Web\n|Port|From|\n|-|-|\n|80|Gateway|\n\nDatabase\n---\n|Port|From|\n|-|-|\n|5432|Web|\n"
    assert edges(text) == [("R01", "gateway", "web", "80-80", "tcp"), ("R02", "web", "database", "5432-5432", "tcp")]


def test_a_service_port_is_no_pod_port():
    """Rules speak of the pod's port; the Service's may be another, so such a table is not read, and that is told."""
    text = (
        HEAD + "| Web | 80 | Gateway | - |\n\n| Component | Service Port | From |\n|-|-|-|\n| Web | 443 | Gateway |\n"
    )
    assert len(loaded(text).rules) == 1
    assert told(text, "table_not_read") == [(5, 1)]


def test_html_rows_that_span_name_their_component():
    """Browsers forgive cells that are not closed, and so does this."""
    assert edges(HTML, "page.html")[:3] == [
        ("R01", "gateway", "web", "8080-8080", "tcp"), ("R01", "batch", "web", "8080-8080", "tcp"),
        ("R02", "prometheus", "web", "15090-15090", "tcp"),
    ]  # fmt: skip
    rules = loaded(HTML, "page.html").rules
    assert [rule.transport for rule in rules] == ["mtls", "plaintext_ok", "tls"]
    assert {rule.transport_provenance for rule in rules} == {"row"}
    assert rules[2].quote == "| Data&base | 5432 | Web | yes |"


def test_a_cell_reaches_down_as_far_as_it_says():
    """Three rows, and not the fourth."""
    text = "<table><tr><th>Component<th>Port<th>From<tr><td rowspan=3>Web<td>1<td>A<tr><td>2<td>A<tr><td>3<td>A"
    assert [edge[2] for edge in edges(text + "<tr><td>Shop<td>4<td>A</table>", "page.html")] == ["web"] * 3 + ["shop"]


def test_html_inside_markdown_is_read_in_the_order_of_the_page():
    """Ids count rows as a reader does."""
    table = "<table><tr><th>Component<th>Port<th>From<tr><td>Old<td>1<td>Web</table>"
    text = f"{HEAD}| Web | 80 | Gateway | a < b |\n\n{table}\n\n{HEAD}| New | 2 | Web | - |\n"
    assert [edge[2] for edge in edges(text)] == [
        "web", "old", "new",
    ]  # fmt: skip


def test_a_table_in_a_table_is_a_table_of_its_own():
    """Pages are laid out with tables."""
    inner = "<table><tr><th>Component<th>Port<th>From<tr><td>Web<td>80<td>Gateway</table>"
    assert len(edges(f"<table><tr><td>{inner}</td></tr></table>", "page.html")) == 1


def test_a_bar_in_a_cell_is_escaped():
    r"""`\|` is a character, also in code; `\\|` is a backslash and the end of the cell."""
    row = HEAD + "| Web \\| Shop | 80 | `a\\|b` | x |\n"
    assert read(row).entries[0].component.text == "Web | Shop"
    assert read(row).entries[0].sources[0].text == "a|b"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_byte_order_marks_change_nothing(tmp_path, end, encoding):
    """Editors on three systems have had the page."""
    path = tmp_path / "page.md"
    path.write_bytes((HEAD + "| Web | 80 | Gateway | - |\n").replace("\n", end).encode(encoding))
    (entry,) = read("\n".join(source.read(path).lines)).entries
    assert (entry.row.line, entry.row.quote) == (3, "| Web | 80 | Gateway | - |")


@pytest.mark.parametrize(
    "hidden", ["```\n{}```\n", "~~~~ text\n{}```\n~~~~\n", "<!--\n{}-->\n", "> ```\n{}> ```\n", "<!-- {}-->\n"]
)
def test_what_no_reader_of_the_page_sees_is_no_rule(hidden):
    """Examples in code fences and rows in comments."""
    example = f"{HEAD}| Old | 1 | Web | - |\n"
    assert [e[2] for e in edges(f"{hidden.format(example)}\n{HEAD}| Web | 80 | Gateway | - |\n")] == ["web"]


def test_classes_keep_their_meaning_and_internal_is_the_component_itself():
    """What the format has a word for is not made a component."""
    text = HEAD + "".join(
        f"| Web | {n} | {word} | - |\n"
        for n, word in enumerate(["Kubernetes API Server", "external", "Nodes", "Envoy", "Any", "Internal"], 1)
    )
    assert [edge[1] for edge in edges(text)] == ["api_server", "external", "node", "mesh", "any", "web"]
    assert "Internal is read as" in loaded(text).rules[5].note


def test_names_that_a_model_knows_are_its_components():
    """Aliases count, in any case and spelling; what only the model knows comes along, so that the file stands alone."""
    names = load(["verrazzano-1.0"], on=DAY)
    text = HEAD + "| MYSQL | 3306 | keycloak, nginx-ingress | - |\n| Elasticsearch | 9200 | Kibana | - |\n"
    model = loaded(text, model=names)
    assert [g.to_terms for r in model.rules for g in r.grants][1] == (
        "component:elasticsearch-ingest", "component:elasticsearch-data", "component:elasticsearch-master",
    )  # fmt: skip
    found = {c.name: c for c in model.components}
    theirs = {c.name: c for c in names.components}
    assert found.keys() == theirs.keys()
    for name, component in found.items():
        assert (component.namespaces, component.selectors) == (theirs[name].namespaces, theirs[name].selectors)
    assert model.protected_namespaces == names.protected_namespaces


def test_a_file_of_names_alone_is_enough():
    """Who has a document has a list of what runs where, and no model yet."""
    names = load_texts(
        [("base", "vzflow_model: 1\nname: b\nmesh: on\ntrust_domains: [x]\n"),
         ("names.yaml", "vzflow_model: 1\nname: n\npeers:\n  gate: {namespaces: edge}\naliases: {Front Door: gate}\n")],
        on=DAY,
    )  # fmt: skip
    model = loaded(HEAD + "| Web | 80 | front door | - |\n", model=names)
    assert model.rules[0].grants[0].from_terms == ("component:gate",)


def test_an_overlay_says_which_pods_a_name_is():
    """The file stays as imported; what a site knows comes after it."""
    text = as_yaml(read(HEAD + "| Web | 80 | Gateway | - |\n"))
    site = "vzflow_model: 1\nname: site\ncomponents:\n  web: {namespaces: shop, selectors: [{app: web}], mesh: yes}\n"
    model = load_texts([("imported", text), ("site.yaml", site)], on=DAY, draft=True)
    assert {c.name: c.namespaces for c in model.components} == {"web": ("shop",), "gateway": ()}
    assert {row["component"] for row in model.tables()["selector"].to_pylist()} == {"web"}


@pytest.mark.parametrize("extra", ["    selectors: [{app: web}]\n", "    namespaces: shop\n"])
def test_pods_cannot_be_known_and_unknown(extra):
    """A file that says both was edited halfway."""
    text = as_yaml(read(HEAD + "| Web | 80 | Gateway | - |\n"))
    with pytest.raises(UsageProblem, match=r"imported:\d+: "):
        load_texts(
            [("imported", text.replace("    pods: unknown\n", f"    pods: unknown\n{extra}", 1))], on=DAY, draft=True
        )


def test_names_that_differ_only_in_what_a_name_cannot_hold_stay_two():
    """Two components in one would get each other's rules."""
    text = (
        HEAD + "| Shop+ | 80 | x | - |\n| Shop | 80 | x | - |\n| \u5546\u5e97 | 80 | x | - |\n| \u5e97 | 80 | x | - |\n"
    )
    assert len({edge[2] for edge in edges(text)}) == 4


def test_what_no_document_says_is_left_to_be_stated():
    """A mesh and its trust domains are declared; the lines stand there and say nothing until somebody decides."""
    text = as_yaml(read(HEAD + "| Web | 80 | Gateway | - |\n"))
    assert "mesh: " not in re.sub("(?m)^#.*$", "", text)
    with pytest.raises(UsageProblem, match="no file says whether the mesh is on"):
        load_texts([("imported", text)], on=DAY)
    stated = text.replace("#mesh", "mesh").replace("#trust_domains", "trust_domains")
    model = load_texts([("imported", stated)], on=DAY)
    assert (model.mesh, model.trust_domains) == ("on", ("cluster.local",))


def test_prose_is_quoted_and_makes_no_rule():
    """A sentence about STRICT is for people."""
    text = f"All traffic uses STRICT mTLS.\n\n{HEAD}| Web | 80 | Gateway | - |\n"
    assert "line 1: All traffic uses STRICT mTLS." in as_yaml(read(text))
    assert loaded(text).rules[0].transport == "unspecified"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\xff\x00\x01", r"not UTF-8|not text"), (b"a\n\x00b", r":2: not text"), (b"ok\n\xe9", r":2: not UTF-8"),
        (b"", "no table"), (b"| a | b |\n|---|---|\n", "no table"), (b"x" * 1_000_001, "larger than"),
    ],
)  # fmt: skip
def test_what_is_no_such_document_is_refused_with_its_place(tmp_path, data, what):
    """One line, exit 3."""
    path = tmp_path / "page.md"
    path.write_bytes(data)
    with pytest.raises(UnreadableInput, match=what):
        read("\n".join(source.read(path).lines))


MARKS = st.sampled_from(
    ["|", "\\|", "\n", "---", "|---|---|---|\n", "Component", "Pod Port", "From", "<table>", "<tr>", "<td>", "</table>",
     "<!--", "-->", "```\n", "80", "53/udp", ",", " and ", "'", '"', "&lt;", ": ", "# ", "<![CDATA[", "\u2028",
     "\ud7ff", "\U0001f600", "null", "~", "<td rowspan=3 colspan=2>", "Web", "any", "\x07", "\x85"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(MARKS | st.text(max_size=5), max_size=60).map("".join), st.sampled_from(["p.md", "p.html"]))
def test_no_document_breaks_the_import_and_every_row_is_a_rule_or_told(text, path):
    """Whatever stands there: the model loads, and rows = rules + rows told."""
    for body in (text, HEAD + text, f"<table><tr><th>Component<th>Port<th>From<tr>{text}"):
        try:
            got = read(body, path)
        except UnreadableInput:
            continue
        model = load_texts([("imported", as_yaml(got))], on=DAY, draft=True)
        lost = [trouble for trouble in got.troubles if trouble.lost]
        assert len(model.rules) + len(lost) == got.rows == sum(len(s.table.rows) for s in got.document.tables)
        assert all(1 <= t.line <= len(got.document.source.lines) and t.column >= 1 for t in got.troubles)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20),
            st.integers(1, 65535),
            st.from_regex(re.compile(r"[A-Za-z][a-z]{0,8}"), fullmatch=True),
        ),
        max_size=8,
    )
)
def test_what_is_written_into_a_table_comes_out_of_it(rows):
    """Any name, escaped as Markdown wants it, is one row with that port."""

    def cell(text):
        return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)

    text = HEAD + "".join(f"| x{cell(name)}x | {port} | {who} | - |\n" for name, port, who in rows)
    assert [edge[3] for edge in edges(text)] == [f"{port}-{port}" for _, port, _ in rows]


@pytest.mark.parametrize("tag", ["title", "textarea", "script", "noscript"])
def test_what_no_browser_shows_as_a_table_is_none(tag):
    """Text inside these elements is text, or is not shown at all."""
    table = "<table><tr><th>Component<th>Port<th>From</tr><tr><td>Shop<td>80<td>Web</td></tr></table>"
    assert len(edges(table, "p.html")) == 1
    with pytest.raises(UnreadableInput, match="no table says who may reach whom"):
        read(f"<{tag}>{table}</{tag}>", "p.html")


def test_a_name_as_long_as_a_page_is_cut():
    """It is told once, and is not repeated whole in what is written."""
    text = as_yaml(read(HEAD + f"| {'shop' * 10_000} | 80 | Web | - |\n"))
    assert "The document calls it shopshop" in text
    assert max(len(line) for line in text.splitlines() if "says:" in line) < 2_000
