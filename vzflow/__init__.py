"""
Was every flow in the cluster documented, and protected as the document says?

The library has the verbs of the command line: `ingest`, `report`, `explain`, `sql`, `query`. Tables come as
`pyarrow.Table`; `.to_pandas()` makes a DataFrame of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vzflow.pipeline.verbs import compact, explain, ingest, query, report, sql

__all__ = ["compact", "explain", "ingest", "query", "report", "sql"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute
    # Imported when first used: `import vzflow` and `vzflow --help` load no heavy package.
    if name in __all__:
        from vzflow.pipeline import verbs

        return getattr(verbs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
