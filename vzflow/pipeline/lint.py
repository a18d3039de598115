"""Documents and models -> what is wrong with them, also against the pods of snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from vzflow.flow.finding import LintFinding
from vzflow.flow.terms import LintCode, RuleStatus
from vzflow.identity import snapshot
from vzflow.model import catalogue, classify
from vzflow.model import lint as model_lint
from vzflow.model.document import load, load_texts, shipped_models
from vzflow.model.page import checks
from vzflow.model.page.imported import Imported, as_yaml, imported
from vzflow.model.page.source import read
from vzflow.model.rules import Model
from vzflow.pipeline.ingest import expanded
from vzflow.pipeline.judge import DEFAULT_MODEL, lookups_of, today
from vzflow.pipeline.whole_file import write_whole
from vzflow.store.duck import connect

#: Where the pods of snapshots that name no cluster are: models are about any.
_CLUSTER = "default"


def import_document(
    path: str | Path,
    *,
    model: Sequence[str | Path] = (),
    mesh: str | None = None,
    trust_domains: Sequence[str] = (),
) -> Imported:
    """
    Read a document's table of who may reach whom; *model* files know what its words stand for.

    mesh (on, off) and trust_domains are what no document says, as declared; else what the model files declare.

    Raises:
        UnreadableInput: The document cannot be read, or has no such table.
        UsageProblem: A model file cannot be used.
    """
    return imported(read(path), names_of(model), mesh=mesh, trust_domains=trust_domains)


def write_import(read_as: Imported, path: str | Path) -> None:
    """
    Write the model file of a document.

    Raises:
        UsageProblem: It cannot be written.
    """
    write_whole(Path(path), as_yaml(read_as))


def names_of(model: Sequence[str | Path]) -> Model | None:
    """Return the model that knows names; its files need not say more than names."""
    return load(model, on=today(), draft=True) if model else None


def lint(
    paths: Sequence[str | Path], *, model: Sequence[str | Path] = (), identity: Sequence[str] = ()
) -> list[LintFinding]:
    """
    Return what is wrong with documents and models, by file and line.

    Args:
        paths: Documents, and model files or names of shipped models: these make one model, *model* laid over it. With
            none at all, *model* itself is looked at, or the default one.
        model: Laid over the models of *paths*; else it knows what the words of the documents stand for.
        identity: Snapshots: components without pods, and ports that no pod declares, are told too.

    Raises:
        UnreadableInput: A document or snapshot cannot be read.
        UsageProblem: A model file cannot be used.
    """
    models = [path for path in paths if is_model(path)]
    documents = [path for path in paths if not is_model(path)]
    objects = snapshot.load(expanded(identity), _CLUSTER) if identity else None
    found: list[LintFinding] = []
    if models or not documents:
        whole = load([*models, *model] or [DEFAULT_MODEL], on=today(), draft=True)
        found += model_lint.findings(whole)
        found += [] if objects is None else _model_against_pods(whole, objects)
    for path in documents:
        read_as = imported(read(path), names_of([*models, *model]))
        found += checks.findings(read_as)
        found += [] if objects is None else _document_against_pods(read_as, objects)
    return sorted(set(found))


def is_model(path: str | Path) -> bool:
    """Say whether *path* names a model, and not a document."""
    return str(path) in shipped_models() or str(path).lower().endswith((".yaml", ".yml"))


@dataclass(frozen=True)
class _Missing:
    """What ran and was asked for differ: a component without pods, or a rule's port that none of its pods declares."""

    component: str
    rule_id: str | None
    code: LintCode
    message: str


def _document_against_pods(read_as: Imported, objects: pa.Table) -> Iterator[LintFinding]:
    """Yield what is missing of the components of rows, at the row; what the table does not speak of is left out."""
    path = read_as.document.source.path
    rows = {entry.id: entry.row for entry in read_as.entries}
    first = {word: entry.row for entry in reversed(read_as.entries) for word in read_as.to(entry).words}
    for one in _missing(load_texts([("imported", as_yaml(read_as))], on=today(), draft=True), objects):
        row = rows.get(one.rule_id or "", first.get(one.component))
        if row is not None:
            yield LintFinding(path, row.line, row.column, one.code, one.message)


def _model_against_pods(model: Model, objects: pa.Table) -> list[LintFinding]:
    components = {component.name: component.place for component in model.components}
    rules = {rule.id: rule.place for rule in model.rules}
    return model_lint.placed(
        model,
        [
            (rules[one.rule_id] if one.rule_id else components[one.component], one.code, one.message)
            for one in _missing(model, objects)
        ],
    )


def _missing(model: Model, objects: pa.Table) -> Iterator[_Missing]:
    with connect() as duck:
        classify.prepare(duck, lookups_of(model, objects, [_CLUSTER]))
        classify.describe(duck)
        asked = {name: duck.run(query.sql).to_pylist() for name, query in catalogue.lints().items()}
    others = [rule for rule in model.rules if rule.kind is not RuleStatus.INFRASTRUCTURE]
    named = {t for rule in others for grant in rule.grants for t in (*grant.from_terms, *grant.to_terms)}
    for row in asked["components_without_pods"]:
        name = row["component"]
        if not row["in_scope"] and f"component:{name}" not in named:
            continue  # only what any cluster may have is said of it, and this one has none
        yield _Missing(name, None, LintCode.NO_PODS, f"no pod in the snapshots is of `{name}`")
    for row in asked["ports_nobody_declares"]:
        ports = str(row["port_lo"]) if row["port_lo"] == row["port_hi"] else f"{row['port_lo']}-{row['port_hi']}"
        what = f"{row['rule_id']}: no pod of `{row['component']}` declares {ports}/{row['protocol']}"
        yield _Missing(row["component"], row["rule_id"], LintCode.NOT_LISTENING, what)
