"""What a check of documents and models found: the record that checks make and reports print."""

from __future__ import annotations

from dataclasses import dataclass

from vzflow.flow.terms import LintCode


@dataclass(frozen=True, order=True)
class LintFinding:
    """
    One thing wrong, and where.

    Args:
        path: As the caller named it.
        line: From 1.
        column: From 1, in characters.
        message: One sentence without its full stop; what to do is the code's.
    """

    path: str
    line: int
    column: int
    code: LintCode
    message: str
