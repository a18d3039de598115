"""Values as reports print them: UTC times, aligned columns, colour only where a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

_COLOURS = {"critical": "31;1", "high": "31", "medium": "33", "low": "36", "good": "32", "dim": "2", "bold": "1"}


def instant(value: datetime | None) -> str:
    """Return a time as `2026-01-02T03:04:05.678901Z`, or `-`."""
    return "-" if value is None else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def to_the_second(value: datetime | None) -> str:
    """Return a time as `2026-01-02 03:04:05Z`, or `-`."""
    return "-" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def jsonable(value: Any) -> Any:  # noqa: ANN401 - a leaf of JSON
    """Return what `json.dumps` shall write for a value it does not know: a time."""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no JSON form for {type(value).__name__}")


def coloured(text: str, colour: str, *, on: bool) -> str:
    """Return *text* in a named colour when *on*."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on and colour in _COLOURS else text


def aligned(rows: Iterable[Sequence[Any]], *, indent: int = 2, gap: int = 2) -> list[str]:
    """
    Return *rows* as lines with columns of equal width: numbers to the right, all else to the left; None is `-`.

    A column is right-aligned when all its values below the first row are whole numbers.
    """
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(cell.lstrip("-").isdigit() for cell in column[1:]) and len(column) > 1
             for column in zip(*cells, strict=True)]  # fmt: skip
    return [
        (" " * indent + (" " * gap).join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )).rstrip()
        for row in cells
    ]  # fmt: skip
