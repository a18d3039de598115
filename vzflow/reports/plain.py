"""Values as reports print them: UTC times, aligned columns, colour only where a terminal shows it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

_COLOURS = {"critical": "31;1", "high": "31", "medium": "33", "low": "36", "good": "32", "dim": "2", "bold": "1"}


def instant(value: datetime | None) -> str:
    """Return a time as `2026-01-02T03:04:05.678901Z`, or `-`; one without a zone is UTC."""
    return "-" if value is None else _utc(value).isoformat("T", "microseconds").replace("+00:00", "Z")


def to_the_second(value: datetime | None) -> str:
    """Return a time as `2026-01-02 03:04:05Z`, or `-`."""
    return "-" if value is None else _utc(value).isoformat(" ", "seconds").replace("+00:00", "Z")


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def json_text(value: Any) -> str:  # noqa: ANN401 - anything a query can return
    """Return *value* as JSON text: nulls explicit, integers as numbers, times as `instant` has them."""
    return json.dumps(_jsonable(value), indent=2, allow_nan=False) + "\n"


def _jsonable(value: Any) -> Any:  # noqa: ANN401 - one case per type
    """What JSON has no form for becomes text: NaN and infinity, bytes (in hex), dates, intervals."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _jsonable(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return [_jsonable(one) for one in value]
    return str(value)


def printable(value: Any) -> Any:  # noqa: ANN401 - any nesting of plain values
    """
    Return *value* with every character that a terminal would obey written as an escape, at any depth.

    Names in records are chosen by whoever sends them.
    """
    if isinstance(value, str):
        return value if value.isprintable() else "".join(map(_visible, value))
    if isinstance(value, Mapping):
        return {printable(key): printable(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(printable(one) for one in value)
    return value


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def coloured(text: str, colour: str, *, on: bool) -> str:
    """Return *text* in a named colour when *on*."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on and colour in _COLOURS else text


def aligned(rows: Iterable[Sequence[Any]], *, indent: int = 2, gap: int = 2) -> list[str]:
    """
    Return *rows* as lines with columns of equal width: numbers to the right, all else to the left; None is `-`.

    A column is right-aligned when all its values below the first row are whole numbers. What a terminal would obey is
    escaped, so that a row stays one line.
    """
    cells = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
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
