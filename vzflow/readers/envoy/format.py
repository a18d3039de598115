"""
Format strings of Envoy's access logs: the grammar, and the parser that a format string compiles into.

Text mode escapes nothing, so whoever sends a request chooses bytes of the line. A compiled layout takes a line only if
its columns can be told apart in exactly one way:

- **By counting.** Where all text that others choose stands between quotes of the format, no column may hold a quote.
  Then a line that fits has exactly the format's quotes, so each stands where the format has it; the same holds for
  blanks between them. This is one regular expression.
- **By looking at all ways.** Else (no quotes, headers separated by a blank, X-Forwarded-Client-Cert, whose own text
  holds quotes) every way in which the line can have been printed is counted, and two are one too many.

Source: envoyproxy/envoy source/common/formatter (command grammar, `%%`), docs/root/configuration/advanced/
substitution_formatter.rst.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vzflow.flow.terms import RejectReason
from vzflow.readers.envoy.clock import Clock, NotReadable, clock_of
from vzflow.readers.envoy.operators import HEADER_OPERATORS, NEED_ARGUMENT, PATTERNS, Shape, meaning_of
from vzflow.readers.log_lines import Unusable, invalid

#: `%NAME%`, `%NAME(argument)%`, `%NAME(argument):LENGTH%`. The argument ends at the first `)` and may hold `%`.
_COMMAND = re.compile(r"%([A-Z0-9_]+)(?:\(([^)]*)\))?(?::([0-9]+))?%")

#: A line longer than this is not looked at in all ways.
_LOOK_AT = 1 << 16

#: A server name as clients send it; Envoy since 1.31.2 puts `invalid:` before what is none, and `_` into it.
_SERVER_NAME = re.compile(rb"(?:invalid:)?[A-Za-z0-9._|*-]+")

_BLANK = re.compile(rb"[\x00-\x20]")

Columns = dict[str, str | None]


class FormatProblem(Exception):
    """A format string cannot be used: where in it (characters from 1), what is wrong, what to do."""

    def __init__(self, at: int | str, what: str, do: str) -> None:
        self.at = f"character {at}" if isinstance(at, int) else at
        self.what, self.do = what, do
        super().__init__(f"{self.at}: {what}. {do}")


class Field(NamedTuple):
    """
    One operator of a format string.

    Args:
        at: Where it stands, characters from 1.
        shown: As it was written.
        column: The column it fills; null if it is not read.
        shape: What it can print.
        pattern: The same as a regular expression; empty for FREE.
    """

    at: int
    shown: str
    column: str | None
    shape: Shape
    pattern: str = ""

    @property
    def printed(self) -> str:
        """The same with what is printed in place of nothing, where quotes tell it from the fields around it."""
        return r'[^"]*' if self.shape is Shape.FREE else f"(?:{self.pattern}|-?)"

    @property
    def chosen(self) -> bool:
        """Whether others than Envoy and its configuration choose the text."""
        return self.shape in (Shape.CHOSEN, Shape.FREE)


@dataclass(frozen=True)
class Parts:
    """A format string taken apart: a literal, then fields, each with the literal that follows it."""

    first: str
    fields: tuple[Field, ...]
    literals: tuple[str, ...]
    clocks: Mapping[str, Clock]
    notes: tuple[str, ...]


def parts_of(text: str) -> Parts:
    """
    Take a format string apart.

    Raises:
        FormatProblem: It breaks the grammar, has no operator, or could not be read a line at a time.
    """
    literals, fields, at = [""], list[Field](), 0
    clocks: dict[str, Clock] = {}
    notes: list[str] = []
    text = text.removesuffix("\n")
    while at < len(text):
        if text.startswith("%%", at):
            literals[-1] += "%"
            at += 2
        elif text[at] == "%":
            match = _COMMAND.match(text, at)
            if match is None:
                do = "Write %NAME%, %NAME(argument)%, or %% for a percent sign."
                raise FormatProblem(at + 1, _wrong(text, at), do)
            fields.append(_field(match, {f.column for f in fields}, clocks, notes))
            literals.append("")
            at = match.end()
        else:
            if text[at] in "\r\n":
                do = "Give it on one line, or use the JSON encoding, which prints one line."
                raise FormatProblem(at + 1, "a line break, so that one record is several lines", do)
            literals[-1] += text[at]
            at += 1
    if not fields:
        raise FormatProblem(1, "no operator such as %START_TIME%", "Give the value of accessLogFormat.")
    return Parts(literals[0], tuple(fields), tuple(literals[1:]), clocks, tuple(notes))


def _wrong(text: str, at: int) -> str:
    rest = text[at : at + 40].splitlines()[0]
    if "(" in rest.split("%")[1] and ")" not in text[at:]:
        return f"no `)` for the argument in {rest}"
    return f"no operator begins here: {rest}"


def _field(match: re.Match[str], known: set[str | None], clocks: dict[str, Clock], notes: list[str]) -> Field:
    name, argument, length = match.groups()
    at, shown = match.start() + 1, match.group()
    if name in NEED_ARGUMENT and not argument:
        raise FormatProblem(at, f"{shown} lacks its argument", f"Write %{name}(…)%.")
    if name in HEADER_OPERATORS and (argument or "").count("?") > 1:
        raise FormatProblem(at, f"more than one alternative in {shown}", "Envoy allows X?Y.")
    column, shape = meaning_of(name, argument)
    if length is not None and column is not None:
        notes.append(f"character {at}: {shown} cuts its value, so it is not read")
        return Field(at, shown, None, Shape.FREE)
    if column in known:
        column = None
    if shape is Shape.TIME:
        try:
            pattern, clock = clock_of(argument, local=name.endswith("_LOCAL"))
        except NotReadable as reason:
            notes.append(f"character {at}: {shown} {reason}, so it is not read")
            return Field(at, shown, None, Shape.FREE)
        if column is not None and argument:
            clocks[column] = clock
        return Field(at, shown, column, shape, pattern)
    return Field(at, shown, column, shape, PATTERNS.get(shape, ""))


class TextLayout:
    """
    The parser of one format string.

    Args:
        text: The format string.
        fixed: Columns whose value this layout implies.

    Raises:
        FormatProblem: See `parts_of`.
    """

    def __init__(self, text: str, fixed: Mapping[str, str | None] | None = None) -> None:
        self.text = text
        self._parts = parts = parts_of(text)
        self._fixed = dict(fixed or {})
        self.columns = frozenset(f.column for f in parts.fields if f.column is not None) | self._fixed.keys()
        literal = "".join((parts.first, *parts.literals))
        #: X-Forwarded-Client-Cert holds quotes of its own, so they cannot be counted.
        countable = all(f.column != "x_forwarded_client_cert" for f in parts.fields)
        self._quoted = '"' in literal and countable
        self._free = _free_texts(parts) if countable else None
        self._line = None if self._free is None else _expression(parts, self._free)
        self.notes = parts.notes + (_ambiguous(parts) if self._free is None else ())
        self._front = re.compile(_front(parts).encode(), re.ASCII)
        self._blanks = literal.count(" ")

    @property
    def plain(self) -> Parts | None:
        """
        Its parts, if a line whose texts hold no blank and no quote is told apart by going from one blank or quote to
        the next; free text alone between quotes may hold blanks. Null where a line cannot be read so.
        """
        parts = self._parts
        plain = self._line is not None and all(
            field.shape is Shape.TIME or literal.startswith((" ", '"')) or (not literal and field is parts.fields[-1])
            for field, literal in zip(parts.fields, parts.literals, strict=True)
        )
        return parts if plain else None

    @property
    def fixed(self) -> Mapping[str, str | None]:
        """Columns whose value this layout implies."""
        return self._fixed

    def begins(self, line: bytes) -> bool:
        """Whether *line* begins as this layout's lines do, up to its second column."""
        return self._front.match(line) is not None

    def resembles(self, line: bytes) -> bool:
        """Whether *line* may be one of this layout that was damaged: it begins so, or has about as many columns."""
        return self.begins(line) or (self._blanks > 2 and line.count(b" ") * 2 >= self._blanks and b'"' in line)

    def parse(self, line: bytes) -> Columns | None:
        """
        Return the columns of *line*, null for `-` and for nothing; null if it is not of this layout.

        Raises:
            Unusable: It is, in more than one way, or it is no text.
        """
        if self._line is not None and self._free is not None:
            match = self._line.fullmatch(line)
            if match is None:
                return None
            values = match.groupdict()
            check_server_name(values.get("requested_server_name", b""))
            for place, (field, beside) in enumerate(self._free):
                free = values[field.column] if field.column else values.pop(f"free{place}")
                if _BLANK.search(free):
                    values = {name: value for name, value in values.items() if name not in beside}
        else:
            spans = _only_way(line, self._parts, quoted=self._quoted)
            if spans is None:
                return None
            values = {
                f.column: line[begin:end]
                for f, (begin, end) in zip(self._parts.fields, spans, strict=True) if f.column is not None
            }  # fmt: skip
            check_server_name(values.get("requested_server_name", b""))
        try:
            columns = {name: absent(value.decode()) for name, value in values.items()}
        except UnicodeError as error:
            raise Unusable(RejectReason.NOT_TEXT, str(error)) from error
        return with_times(columns, self._parts.clocks) | self._fixed


def check_server_name(name: bytes) -> None:
    """
    Raises:
        Unusable: What stands in the place of the server name is none, so the columns are not those of the format.
    """
    if name and not _SERVER_NAME.fullmatch(name):
        raise invalid("requested_server_name", name.decode(errors="backslashreplace"))


def with_times(columns: Columns, clocks: Mapping[str, Clock]) -> Columns:
    """
    Return *columns* with the times of other formats in ISO 8601.

    Raises:
        Unusable: One is no time.
    """
    for name, clock in clocks.items():
        text = columns.get(name)
        if text is not None:
            moment = clock(text)
            if moment is None:
                raise invalid(name, text)
            columns[name] = moment.isoformat()
    return columns


def absent(text: str) -> str | None:
    """Return null for what Envoy prints in place of nothing: `-`, or an empty string if it is told to omit it."""
    return None if text in ("-", "") else text


def _segments(parts: Parts) -> list[list[Field]]:
    """Return the fields that stand between one quote of the format and the next."""
    found: list[list[Field]] = [[]]
    for field, literal in zip(parts.fields, parts.literals, strict=True):
        found[-1].append(field)
        found += [[] for _ in range(literal.count('"'))]
    return [segment for segment in found if segment]


#: A free text, and the columns beside it that are not certain where it holds a blank.
_FreeText = tuple[Field, frozenset[str]]


def _free_texts(parts: Parts) -> tuple[_FreeText, ...] | None:
    """
    Return the free texts that have such columns beside them; null if counting does not tell the columns apart.

    Between two quotes only one field may hold blanks: what is left and right of it is then found from both ends. A
    word that others choose may hold a blank in truth; it has to stand beside the free text, so that nothing else moves.
    """
    between = dict(zip(parts.fields, parts.literals, strict=True))
    found = []
    for segment in _segments(parts):
        if not all(_BLANK.search(between[field].encode()) for field in segment[:-1]):
            return None
        free = [field for field in segment if field.shape is Shape.FREE]
        if len(free) > 1:
            return None
        if free and len(segment) > 1:
            chosen = [place for place, field in enumerate(segment) if field.chosen]
            if chosen != list(range(chosen[0], chosen[-1] + 1)):
                return None
            beside = frozenset(c for place in chosen if (c := segment[place].column) and segment[place] != free[0])
            found += [(free[0], beside)] if beside else []
    return tuple(found)


def _expression(parts: Parts, free: Sequence[_FreeText]) -> re.Pattern[bytes]:
    """Return the expression of a layout whose columns are told apart by counting; its groups are the columns."""
    names = {field: f"free{place}" for place, (field, _) in enumerate(free)}
    out = re.escape(parts.first)
    for field, literal in zip(parts.fields, parts.literals, strict=True):
        name = field.column or names.get(field)
        out += (f"(?P<{name}>{field.printed})" if name is not None else field.printed) + re.escape(literal)
    return re.compile(out.encode(), re.ASCII)


def _front(parts: Parts) -> str:
    out = re.escape(parts.first)
    for field, literal in list(zip(parts.fields, parts.literals, strict=True))[:2]:
        out += "(?:" + (field.pattern or r"[^\s\"]*") + "|-)" + re.escape(literal)
    return out


def _ambiguous(parts: Parts) -> tuple[str, ...]:
    """Return a warning for each two fields of chosen text that only blanks keep apart."""
    return tuple(
        f"character {b.at}: only a blank stands between {a.shown} and {b.shown}, and both may hold blanks: lines where "
        "they do are put aside. Put them into quotes, or use the JSON encoding"
        for a, b, literal in zip(parts.fields, parts.fields[1:], parts.literals, strict=False)
        if a.chosen and b.chosen and not literal.strip() and Shape.FREE in (a.shape, b.shape)
    )


#: The longest that a field of its own pattern can be, but for times.
_RUN = re.compile(rb"[^\x00-\x20\"]*")

# -- below: looking at all ways in which a line can have been printed --------------------------------------------------


class _Ways(NamedTuple):
    """In how many ways (at most 2 matter) the line can have been printed up to a place, and where its field began."""

    number: int
    begin: int


def _only_way(line: bytes, parts: Parts, *, quoted: bool) -> list[tuple[int, int]] | None:
    """
    Return begin and end of each field if the line can have been printed in one way; null if in none.

    Raises:
        Unusable: It can have been printed in several.
    """
    first = parts.first.encode()
    if not line.startswith(first):
        return None
    if len(line) > _LOOK_AT:
        raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, f"longer than the {_LOOK_AT} bytes whose columns are looked for")
    fences = [m.start() for m in re.finditer(b'"', line)] if quoted else []
    literals = [text.encode() for text in parts.literals]
    reached = {len(first): _Ways(1, 0)}
    steps: list[dict[int, _Ways]] = []
    for place, (field, literal) in enumerate(zip(parts.fields, literals, strict=True)):
        if place == len(literals) - 1:
            ends = [len(line) - len(literal)] if line.endswith(literal) else []
        else:
            ends = [m.start() for m in re.finditer(b"(?=" + re.escape(literal) + b")", line)]
        adjoins = (place > 0 and not literals[place - 1]) or (place < len(literals) - 1 and not literal)
        found = _free(reached, ends, fences) if field.chosen else _narrow(line, field, reached, ends, adjoins=adjoins)
        if not found:
            return None
        steps.append(found)
        reached = {end + len(literal): ways for end, ways in found.items()}
    ((end, ways),) = steps[-1].items()
    if ways.number > 1:
        raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "the line can have been printed in more than one way")
    spans = []
    for place in reversed(range(len(steps))):
        begin = steps[place][end].begin
        spans.append((begin, end))
        end = begin - len(literals[place - 1])
    return spans[::-1]


def _free(reached: Mapping[int, _Ways], ends: Sequence[int], fences: Sequence[int]) -> dict[int, _Ways]:
    """Return where text that may be anything can end; no text goes beyond a fence."""
    begins = sorted(reached)
    sums = [0]
    for begin in begins:
        sums.append(sums[-1] + reached[begin].number)
    found = {}
    for end in ends:
        fence = fences[at - 1] if (at := bisect_left(fences, end)) else -1
        low, high = bisect_right(begins, fence), bisect_right(begins, end)
        count = sums[high] - sums[low]
        if count:
            found[end] = _Ways(min(count, 2), begins[low])
    return found


def _narrow(
    line: bytes, field: Field, reached: Mapping[int, _Ways], ends: Sequence[int], *, adjoins: bool
) -> dict[int, _Ways]:
    """Return where a field of its own pattern can end. One that adjoins another is never nothing at all."""
    pattern = re.compile(f"(?:{field.pattern}|{'-' if adjoins else '-?'})".encode(), re.ASCII)
    run = pattern if field.shape is Shape.TIME else _RUN
    found: dict[int, _Ways] = {}
    for begin, ways in reached.items():
        longest = run.match(line, begin)
        if longest is None:
            continue
        for end in ends[bisect_left(ends, begin) : bisect_right(ends, longest.end())]:
            if pattern.fullmatch(line, begin, end):
                before = found.get(end)
                found[end] = _Ways(min(ways.number + (before.number if before else 0), 2), begin)
    return found
