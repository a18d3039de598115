"""The report for programs: one JSON object, stable and versioned (`schema_version`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vzflow.reports.plain import json_text

#: Facts the text needs and the contract leaves out.
_INTERNAL = {"gate"}


def render(facts: Mapping[str, Any]) -> str:
    """Return the facts of a report as JSON text that ends in a newline."""
    shown = {key: value for key, value in facts.items() if key not in _INTERNAL}
    return json_text(shown)
