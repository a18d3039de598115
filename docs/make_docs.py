"""Makes the reference pages from the code: `make docs` writes them, `make check` fails where they differ."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

from vzflow import cli
from vzflow.flow import schema, terms
from vzflow.model import catalogue
from vzflow.readers.base import REJECTS_KEPT
from vzflow.readers.sniff import FORMATS
from vzflow.store.tables import RECEIPT, REJECT

DOCS = Path(__file__).parent
_MADE = "<!-- Made by `make docs`; edit the code it is made from. -->\n\n"


def schema_page() -> str:
    """Every column of the views, from COLUMNS."""
    parts = [
        "# Schema\n\nThe columns of the views. A null means what the last column says; `unknown` is a value and never "
        "counts as good or bad. The closed lists are in [terms](terms.md).\n"
    ]
    for title, columns in (
        ("flow: recorded", schema.RECORDED), ("flow: resolved", schema.RESOLVED), ("verdict", schema.VERDICT),
        ("receipt", RECEIPT), ("reject", REJECT),
    ):  # fmt: skip
        parts.append(f"\n## {title}\n\n{_columns(columns)}")
    return "".join(parts)


def terms_page() -> str:
    """Every closed list, from terms.py."""
    lists = [t for t in vars(terms).values() if isinstance(t, type) and issubclass(t, terms.Closed) and len(t)]
    skip = {terms.RejectReason, terms.SkipReason, terms.LintCode}
    parts = [
        "# Terms\n\nThe closed lists: every value a column may hold. Rejects and skips are in [rejects](rejects.md).\n"
    ]
    parts += [f"\n## {_words(t.__name__)}\n\n{_values(t)}" for t in lists if t not in skip]
    return "".join(parts)


def rejects_page() -> str:
    """Reject and skip reasons."""
    return (
        "# Rejects and skips\n\nNothing disappears: records read = records in flows + skipped by name + rejected.\n"
        "Rejected records are kept in the view `reject` with their place; skips are counted in `receipt`.\n"
        f"Of each reason the first {REJECTS_KEPT:,} of an input are kept; the rest is one row without a place, whose "
        "`records` says how many there were: `sum(records)` counts them all.\n"
        f"\n## Rejects\n\n{_values(terms.RejectReason)}\n## Skips\n\n{_values(terms.SkipReason)}"
    )


def queries_page() -> str:
    """Every query, from its header."""
    parts = [
        "# Queries\n\nAll of them are SQL files in `queries/`. `vzflow query NAME` runs a question, `vzflow sql` "
        "queries the views, and the classification tables are made in the order listed.\n"
    ]
    for title, found in (
        ("Questions", catalogue.questions()), ("Views", catalogue.views()),
        ("Lookups, cut to who lived while the flows lasted", catalogue.lived()), ("Classification", catalogue.stages()),
        ("Behind `vzflow explain`", catalogue.explanations()), ("Behind `vzflow model lint`", catalogue.lints()),
    ):  # fmt: skip
        parts.append(f"\n## {title}\n")
        parts += [_query(query) for query in found.values()]
    return "".join(parts)


def findings_page() -> str:
    """Every finding: of flows, from the headers of the queries that return them; of models, from terms.py."""
    parts = ["# Findings\n\nStable codes: a finding keeps its code when its query changes.\n"]
    for query in catalogue.findings():
        parts.append(f"\n## {query.code} {query.name}\n\n{query.says} Severity: {query.severity}.\n")
        parts.append(f"\nCannot tell: {query.cannot_tell}\n")
    parts.append("\n# Of documents and models\n\nWhat `vzflow model lint` finds.\n")
    for code in terms.LintCode:
        parts.append(f"\n## {code} {code.name.lower()}\n\n{code.says} Level: {code.level}.\n\nDo: {code.do}\n")
    return "".join(parts)


def cli_page() -> str:
    """Every command with its options, from the command line itself."""
    command = get_command(cli.app)
    parts = [
        "# Commands\n\nData goes to stdout, talk and progress to stderr. Times are UTC.\n\n"
        "Exit codes: 0 done; 1 findings with `--fail-on`; 2 usage or configuration; 3 an input or the store "
        "unreadable; 4 finished but incomplete; 5 an outside service not available; 70 internal error; 130 and 143 "
        "after an interrupt (SIGINT, SIGTERM).\n"
    ]
    parts += list(_commands("vzflow", command))
    formats = "".join(f"- `{f.name}`: {f.says}\n" for f in FORMATS.values())
    return (
        "".join(parts) + f"\n## Input formats\n\nTold apart by content, never by name.\n\n{formats}\n"
        "Any of them may be compressed with gzip, zstd, lz4 or bzip2, also twice, and may come from a pipe: `-` is "
        "standard input. A pipe is read once; a log from a pipe waits in the folder of the store, without a name, "
        "until it was looked at. Patterns that no shell has expanded are expanded. Captures of other programs are "
        "refused by name. Logs may come as container runtimes, shippers and stores wrap them: see "
        "[logs](logs.md#wrappings).\n\n"
        "Files that begin alike are read one after the other, all others as `--jobs` says. It is 1 unless you ask for "
        "more: each process takes memory of its own, and a job on a cluster is given so much and no more.\n"
    )


def _commands(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401
    # Told apart by what they have: newer versions of typer carry their own copy of click's classes.
    if hasattr(command, "commands"):
        for sub, inner in command.commands.items():
            yield from _commands(f"{name} {sub}", inner)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    names = " ".join(p.metavar or p.name.upper() for p in arguments)
    yield f"\n## {name}\n\n{command.help}\n\n    {name} {'[OPTIONS] ' if options else ''}{names}".rstrip() + "\n\n"
    yield "".join(f"- {p.metavar or p.name.upper()}: {p.help}\n" for p in arguments) + ("\n" if arguments else "")
    rows = [(f"`{', '.join(p.opts)}`", p.help or "", f"`{p.envvar}`" if p.envvar else "") for p in options]
    if rows:
        yield _table(("option", "meaning", "variable"), rows)


def _query(query: catalogue.Query) -> str:
    lines = [f"\n### {query.name}\n\n{query.says}\n\n", f"- reads: {', '.join(query.reads)}\n"]
    params = [f"{p} ({query.defaults[p]} if not given)" if p in query.defaults else p for p in query.params]
    lines += [f"- parameters: {', '.join(params)}\n"] if params else []
    lines += [f"- returns: {', '.join(query.returns)}\n", f"- one row per: {', '.join(query.one_row_per)}\n"]
    lines += [f"- cannot tell: {query.cannot_tell}\n"] if query.cannot_tell else []
    return "".join(lines)


def _columns(columns: Sequence[schema.Column]) -> str:
    return _table(
        ("column", "type", "says", "unit", "null means"),
        [(f"`{c.name}`", str(c.type), c.says, c.unit, c.null_means) for c in columns],
    )


def _values(closed: type[terms.Closed]) -> str:
    return _table(("value", "means"), [(f"`{v.value}`", v.says) for v in closed])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |\n" for row in (head, ["---"] * len(head), *rows)]
    return "".join(lines)


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


PAGES = {
    "schema.md": schema_page, "terms.md": terms_page, "rejects.md": rejects_page, "queries.md": queries_page,
    "findings.md": findings_page, "cli.md": cli_page,
}  # fmt: skip


def main() -> int:
    """Write the pages, or with `--check` print how they differ and return 1."""
    stale = 0
    for name, page in PAGES.items():
        path, wanted = DOCS / name, _MADE + page()
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if "--check" not in sys.argv:
            path.write_text(wanted, encoding="utf-8")
        elif found != wanted:
            stale += 1
            sys.stdout.writelines(difflib.unified_diff(found.splitlines(True), wanted.splitlines(True), name, "made"))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
