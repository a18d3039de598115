"""
Was every flow in the cluster documented, and protected as the document says?

The library has the verbs of the command line: `snapshot` and `watch` read a cluster, `ingest` stores, `report`,
`explain`, `sql`, `query`, `check` and `plan` answer, `compact` tidies. Tables come as `pyarrow.Table`; `.to_pandas()`
makes a DataFrame of one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vzflow.pipeline.cluster import take_snapshot as snapshot
    from vzflow.pipeline.recorder import record as watch
    from vzflow.pipeline.verbs import check, compact, explain, ingest, plan, query, report, sql

__all__ = ["check", "compact", "explain", "ingest", "plan", "query", "report", "snapshot", "sql", "watch"]

_ELSEWHERE = {"snapshot": ("cluster", "take_snapshot"), "watch": ("recorder", "record")}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute
    # Imported when first used: `import vzflow` and `vzflow --help` load no heavy package.
    if name in __all__:
        module, verb = _ELSEWHERE.get(name, ("verbs", name))
        return getattr(import_module(f"vzflow.pipeline.{module}"), verb)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
