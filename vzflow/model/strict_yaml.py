"""
YAML without its traps: every scalar is text as written, and every value knows its line.

YAML 1.1 turns `on` and `no` into booleans, `22:22` into 1342 and `010` into 8. A model is read by people who mean what
they wrote, so nothing is converted here: the shapes in `document.py` decide what a word may be. Anchors, tags, repeated
keys, empty values and several documents in one file are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from vzflow.flow.errors import Place, UsageProblem

#: Keys and list positions from the top of a file down to a value.
Route = tuple[str | int, ...]

#: Levels of nesting; a model needs 6, and an unlimited number would exhaust the interpreter's stack.
DEPTH = 20

#: The parser written in C where PyYAML was built with it: ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Plain scalars that YAML reads as null.
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True)
class Text:
    """One YAML text: its value (maps, lists and text only) and the line of every key and list item, from 1."""

    path: str
    value: Any
    lines: dict[Route, int]

    def place(self, route: Route) -> Place:
        """Return where *route* is, or the nearest thing around it that is in the text."""
        while route and route not in self.lines:
            route = route[:-1]
        return Place(self.path, self.lines.get(route, 1))


def refused(what: str, place: Place, do: str) -> UsageProblem:
    """Return the problem as one line of printable text, however long or odd the words it quotes from a file."""
    return UsageProblem(_shown(what), at=place, do=_shown(do))


def _shown(message: str) -> str:
    line = "".join(c if c.isprintable() else " " for c in message)
    return line if len(line) <= 300 else f"{line[:200]} … {line[-80:]}"


def read(text: str, path: str) -> Text:
    """
    Parse *text*; *path* is only used to say where a problem is.

    Raises:
        UsageProblem: It is not YAML, or uses what models do not: see the top of this file.
    """
    return _Walk(text, path).document()


class _Walk:
    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._lines: dict[Route, int] = {}
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)

    def document(self) -> Text:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise refused("the file is empty", Place(self._path), "Write a model, or name another file.")
        value = self._value(self._next(), ())
        self._next()
        last = self._next()
        if not isinstance(last, yaml.StreamEndEvent):
            raise self._problem("a second document begins", last, "Put each model in a file of its own.")
        return Text(self._path, value, self._lines)

    def _next(self) -> Any:  # noqa: ANN401 - PyYAML's events have no common type worth naming
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            line = None if error.problem_mark is None else error.problem_mark.line + 1
            raise self._not_yaml(error.problem or "cannot be parsed", line) from error
        except yaml.YAMLError as error:
            raise self._not_yaml(getattr(error, "reason", None) or "cannot be parsed", None) from error

    def _value(self, event: Any, route: Route) -> Any:  # noqa: ANN401
        self._lines.setdefault(route, _line(event))
        self._refuse_what_models_do_not_use(event, route)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(route)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(route)
        if event.implicit[0] and event.value in _NULLS:  # plain, not quoted
            name = f"`{route[-1]}`" if route and isinstance(route[-1], str) else "this item"
            raise self._problem(f"{name} has no value", event, "Give it one, or leave it out.")
        return event.value

    def _refuse_what_models_do_not_use(self, event: Any, route: Route) -> None:  # noqa: ANN401
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._problem("anchors and aliases (& and *) are not used in models", event, "Write the value out.")
        if event.tag is not None:
            raise self._problem(f"the tag {event.tag} is not used in models", event, "Remove it.")
        if len(route) > DEPTH:
            raise self._problem(f"nested more than {DEPTH} levels deep", event, "No model needs that.")

    def _sequence(self, route: Route) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*route, len(items))))
        return items

    def _mapping(self, route: Route) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            self._refuse_what_models_do_not_use(event, route)
            if not isinstance(event, yaml.ScalarEvent):
                raise self._problem("a key must be plain text", event, "Write it as one word.")
            key = str(event.value)
            if key in items:
                first = self._lines[(*route, key)]
                raise self._problem(f"the key `{key}` is repeated (first on line {first})", event, "Keep one of them.")
            self._lines[(*route, key)] = _line(event)
            items[key] = self._value(self._next(), (*route, key))
        return items

    def _problem(self, what: str, event: Any, do: str) -> UsageProblem:  # noqa: ANN401
        return refused(what, Place(self._path, _line(event)), do)

    def _not_yaml(self, problem: str, line: int | None) -> UsageProblem:
        do = "Look at this line and the one above."
        return refused(f"not YAML: {problem}", Place(self._path, line), do)


def _line(event: Any) -> int:  # noqa: ANN401
    return int(event.start_mark.line) + 1
