"""
JSON templates of access logs (`json_format`, `accessLogEncoding: JSON`): columns by operator, whatever the keys.

Envoy escapes what it puts into JSON. But a template can also be printed in text mode, which escapes nothing: then a
header can add keys. So an object with a key twice, or with one that the template does not have, is not read.

Source: istio/istio pilot/pkg/model/telemetry_logging.go (keys and types by release); envoyproxy/envoy
source/common/formatter (a value that is exactly one operator keeps its type, nested objects and lists).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vzflow.flow.terms import RejectReason
from vzflow.readers.envoy.clock import Clock
from vzflow.readers.envoy.format import (
    Columns,
    FormatProblem,
    TextLayout,
    absent,
    check_server_name,
    parts_of,
    with_times,
)
from vzflow.readers.log_lines import Unusable, invalid, json_object

Path = tuple[str | int, ...]


class _Twice(ValueError):
    """A key stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_once)


def object_of(line: bytes) -> dict[str, Any]:
    """
    Return the JSON object that is *line*.

    Raises:
        Unusable: It is none, or a key stands twice in it.
    """
    try:
        return json_object(line, _DECODER)
    except Unusable as unusable:
        if isinstance(unusable.__cause__, _Twice):
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "a key stands twice in one object") from unusable
        raise


class JsonLayout:
    """
    The parser of one JSON template.

    Raises:
        FormatProblem: A value breaks the grammar of format strings, or no value holds an operator.
    """

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._columns: dict[Path, str] = {}
        self._texts: dict[Path, TextLayout] = {}
        self._clocks: dict[str, Clock] = {}
        self._paths = frozenset(path for path, _ in _leaves(template))
        notes: list[str] = []
        for path, value in _leaves(template):
            if isinstance(value, str) and "%" in value.replace("%%", ""):
                try:
                    notes += [f"{_shown(path)}, {note}" for note in self._take(path, value)]
                except FormatProblem as problem:
                    raise FormatProblem(f"{_shown(path)}, {problem.at}", problem.what, problem.do) from problem
        self.columns = frozenset(self._columns.values()).union(*(text.columns for text in self._texts.values()))
        if not self.columns and not self._texts:
            raise FormatProblem("its values", "no operator such as %START_TIME%", "Give the value of accessLogFormat.")
        self.notes = tuple(notes)

    def _take(self, path: Path, value: str) -> tuple[str, ...]:
        parts = parts_of(value)
        if len(parts.fields) > 1 or parts.first or parts.literals[0]:
            text = TextLayout(value)
            if any(f.column for f in parts.fields):
                self._texts[path] = text
            return text.notes
        column = parts.fields[0].column
        if column is not None and column not in self._columns.values():
            self._columns[path] = column
            self._clocks.update(parts.clocks)
        return parts.notes

    def parse(self, record: Mapping[str, Any]) -> Columns | None:
        """
        Return the columns of an object; null if its keys are not the template's.

        An object without half of the keys is not of this template; Envoy can be told to leave out what is empty.

        Raises:
            Unusable: A value is none that its operator prints.
        """
        found = dict(_leaves(record))
        if not found.keys() <= self._paths or 2 * len(found) < len(self._paths):
            return None
        columns: Columns = {name: text_of(name, found.get(path)) for path, name in self._columns.items()}
        columns = with_times(columns, self._clocks)
        check_server_name((columns.get("requested_server_name") or "").encode())
        for path, layout in self._texts.items():
            value = found.get(path)
            parsed = layout.parse(value.encode()) if isinstance(value, str) else None
            if parsed is None and value is not None:
                raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, f"{_shown(path)} does not fit its format")
            columns = (parsed or dict.fromkeys(layout.columns)) | columns
        return columns


def text_of(name: str, value: object) -> str | None:
    """
    Return the text of a value: a string, a number, true or false, or null.

    Raises:
        Unusable: It is something else.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return absent(value)
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, bool) and name == "connection_mtls":
        return str(value).lower()
    raise invalid(name, value)


def _leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value that is no object or list, with its path. Objects without keys have none."""
    stack: list[tuple[Path, Any]] = [(path, value)]
    while stack:
        place, one = stack.pop()
        if isinstance(one, Mapping):
            stack += [((*place, str(key)), inner) for key, inner in one.items()]
        elif isinstance(one, list):
            stack += [((*place, number), inner) for number, inner in enumerate(one)]
        else:
            yield place, one


def _shown(path: Path) -> str:
    return "key " + ".".join(map(str, path))
