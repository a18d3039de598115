"""
Finds queries, parses their headers and puts them in order.

A query file is one SELECT under a header of `-- key: value` lines that is parsed and checked, not decoration:
`says` (one sentence), `reads` (tables and views), `returns` (its columns), `one row per`, and where it applies
`params` (`NAME`, or `NAME=WHOLE NUMBER` with a default), `cannot tell`, `code` and `severity` (a finding).
`queries/lived/` cuts the lookups to who lived while the flows at hand lasted, `queries/classify/` makes the tables of
classification, `queries/views/` the views people query, `queries/explain/` what stands behind one flow,
`queries/lint/` what holds a model against the cluster, and `queries/` itself holds the questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vzflow.flow.data import shipped
from vzflow.flow.errors import Place, UsageProblem

_HEADER = re.compile(r"^-- ([a-z ]+): (.+)$")
_KEYS = {"says", "reads", "params", "returns", "one row per", "cannot tell", "code", "severity"}


@dataclass(frozen=True)
class Query:
    """One query file: its name (the file's), what its header declares, and its text."""

    name: str
    path: Path
    says: str
    reads: tuple[str, ...]
    returns: tuple[str, ...]
    one_row_per: tuple[str, ...]
    params: tuple[str, ...]
    defaults: Mapping[str, int]
    cannot_tell: str | None
    code: str | None
    severity: str | None
    sql: str


def parse(path: Path) -> Query:
    """
    Read one query file.

    Raises:
        UsageProblem: The header lacks a key, has an unknown one, or a key twice.
    """
    text = path.read_text(encoding="utf-8")
    head: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("--"):
            break
        found = _HEADER.match(line)
        if found is None or found[1] not in _KEYS:
            continue
        if found[1] in head:
            raise UsageProblem(f"`{found[1]}` stands twice in the header", at=Place(str(path), number), do="Keep one.")
        head[found[1]] = found[2].strip()
    missing = {"says", "reads", "returns", "one row per"} - set(head)
    if missing:
        raise UsageProblem(f"the header lacks `{min(missing)}`", at=Place(str(path)), do="See docs/queries.md.")
    params = _names(head.get("params", ""))
    return Query(
        name=path.stem,
        path=path,
        says=head["says"],
        reads=_names(head["reads"]),
        returns=_names(head["returns"]),
        one_row_per=_names(head["one row per"]),
        params=tuple(name.partition("=")[0] for name in params),
        defaults={name: int(value) for name, equals, value in (p.partition("=") for p in params) if equals},
        cannot_tell=head.get("cannot tell"),
        code=head.get("code"),
        severity=head.get("severity"),
        sql=text,
    )


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


@cache
def questions() -> dict[str, Query]:
    """Return the questions of `queries/`, by name."""
    return _folder("")


@cache
def views() -> dict[str, Query]:
    """Return the views of `queries/views/`, each after those it reads."""
    return _ordered(_folder("views"))


@cache
def lived() -> dict[str, Query]:
    """Return the queries that cut lookups to who lived meanwhile, by the lookup's name, each after those it reads."""
    return _ordered(_folder("lived"))


@cache
def stages() -> dict[str, Query]:
    """Return the tables of classification, each after those it reads."""
    return _ordered(_folder("classify"))


@cache
def explanations() -> dict[str, Query]:
    """Return the queries behind `vzflow explain`, of `queries/explain/`, by name."""
    return _folder("explain")


@cache
def lints() -> dict[str, Query]:
    """Return the queries that hold a model against what ran, of `queries/lint/`, by name."""
    return _folder("lint")


def asking() -> tuple[Query, ...]:
    """Return every query that reads what classification made, and makes nothing for it."""
    return tuple(q for folder in (questions(), views(), explanations(), lints()) for q in folder.values())


def findings() -> tuple[Query, ...]:
    """Return the questions whose rows are findings, by their code."""
    return tuple(sorted((q for q in questions().values() if q.code), key=lambda q: q.code or ""))


def question(name: str) -> Query:
    """
    Return one question by name.

    Raises:
        UsageProblem: There is none of that name.
    """
    try:
        return questions()[name]
    except KeyError:
        known = ", ".join(questions())
        raise UsageProblem(f"no such query: {name}", at="queries", do=f"There are: {known}.") from None


def depends_on(name: str, tables: dict[str, Query], start: str) -> bool:
    """Say whether *name* reads *start*, directly or through others of *tables*."""
    return name == start or (name in tables and any(depends_on(r, tables, start) for r in tables[name].reads))


def _folder(name: str) -> dict[str, Query]:
    return {path.stem: parse(path) for path in sorted((shipped("queries") / name).glob("*.sql"))}


def _ordered(found: dict[str, Query]) -> dict[str, Query]:
    done: dict[str, Query] = {}

    def add(names: Iterable[str], above: tuple[str, ...]) -> None:
        for name in names:
            if name in done or name not in found:
                continue
            if name in above:
                raise UsageProblem(f"reads itself through {' > '.join(above)}", at=str(found[name].path), do="Cut it.")
            add(found[name].reads, (*above, name))
            done[name] = found[name]

    add(found, ())
    return done
