"""Time formats: the strftime argument of Envoy's time operators -> a pattern, and what a text of it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

#: What `%START_TIME%` prints without an argument: ISO 8601, milliseconds, Z.
DEFAULT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

#: strftime conversions, each as (name of what it tells, pattern); null tells nothing that is needed.
_CONVERSIONS: dict[str, tuple[str | None, str]] = {
    "Y": ("year", r"\d{4}"), "m": ("month", r"\d\d"), "d": ("day", r"\d\d"), "e": ("day", r"[ \d]\d"),
    "H": ("hour", r"\d\d"), "M": ("minute", r"\d\d"), "S": ("second", r"\d\d"), "s": ("epoch", r"\d{1,12}"),
    "z": ("zone", r"[+-]\d{4}"), "b": ("month_name", r"[A-Za-z]{3}"), "h": ("month_name", r"[A-Za-z]{3}"),
    "y": ("short_year", r"\d\d"), "I": ("hour12", r"\d\d"), "p": ("half", r"[AP]M"), "f": ("fraction", r"\d{1,9}"),
    "Ez": ("zone", r"[+-]\d\d:\d\d"), "a": (None, r"[A-Za-z]{3}"), "A": (None, r"[A-Za-z]{6,9}"),
    "B": ("month_name", r"[A-Za-z]{3,9}"), "j": (None, r"\d{3}"), "Z": (None, r"[A-Z]{1,5}"), "u": (None, r"\d"),
}  # fmt: skip
_SHORT = {"T": "%H:%M:%S", "F": "%Y-%m-%d", "R": "%H:%M", "D": "%m/%d/%y"}
_CONVERSION = re.compile(r"%(?:([1-9])f|E([1-9*])S|(Ez|[A-Za-z%]))")

Clock = Callable[[str], datetime | None]


class NotReadable(ValueError):
    """A time format that does not tell a moment, or uses a conversion that is not known."""


def clock_of(argument: str | None, *, local: bool) -> tuple[str, Clock]:
    """
    Return the pattern of what a time operator prints, and what turns such a text into a moment (null: not a time).

    Args:
        argument: strftime format, with Envoy's `%s`, `%f`, `%1f` to `%9f`, and `%E3S`.
        local: It prints the proxy's local time, which is a moment only where the format has the offset.

    Raises:
        NotReadable: Nobody could say from such a text when it was.
    """
    if not argument:
        return DEFAULT.pattern, datetime.fromisoformat
    pattern, names = _pattern(argument)
    has_day = {"year", "short_year"} & names and {"month", "month_name"} & names and "day" in names
    if "epoch" not in names and not (has_day and {"hour", "hour12"} & names and "minute" in names):
        raise NotReadable("has no full date and time")
    if local and not {"zone", "epoch"} & names:
        raise NotReadable("is local time without its offset")
    compiled = re.compile(pattern)

    def read(text: str) -> datetime | None:
        match = compiled.fullmatch(text)
        try:
            return None if match is None else _moment({k: v for k, v in match.groupdict().items() if v is not None})
        except (ValueError, OverflowError):
            return None

    return re.sub(r"\?P<\w+>", "?:", pattern), read


def _pattern(argument: str) -> tuple[str, set[str]]:
    out, names, done = "", set[str](), 0
    for short, whole in _SHORT.items():
        argument = argument.replace(f"%{short}", whole)
    for match in _CONVERSION.finditer(argument):
        out += re.escape(argument[done : match.start()])
        done = match.end()
        digits, parts, letter = match.groups()
        if letter == "%":
            out += "%"
            continue
        if parts is not None:
            out += _group("second", r"\d\d", names) + r"(?:\." + _group("fraction", r"\d{1,9}", names) + ")?"
            continue
        if digits is not None:
            out += _group("fraction", rf"\d{{{digits}}}", names)
            continue
        if letter not in _CONVERSIONS:
            raise NotReadable(f"has the conversion %{letter}, which is not known")
        name, pattern = _CONVERSIONS[letter]
        out += _group(name, pattern, names)
    if "%" in argument[done:]:
        raise NotReadable("has a % that begins no conversion")
    return out + re.escape(argument[done:]), names


def _group(name: str | None, pattern: str, names: set[str]) -> str:
    if name is None or name in names:
        return f"(?:{pattern})"
    names.add(name)
    return f"(?P<{name}>{pattern})"


def _moment(told: dict[str, str]) -> datetime:
    microseconds = int(told.get("fraction", "0").ljust(9, "0")[:6])
    if "epoch" in told:
        return datetime.fromtimestamp(int(told["epoch"]), UTC) + timedelta(microseconds=microseconds)
    year = int(told["year"]) if "year" in told else 2000 + int(told["short_year"])
    month = int(told["month"]) if "month" in told else _MONTHS.index(told["month_name"][:3].lower()) + 1
    hour = int(told["hour"]) if "hour" in told else int(told["hour12"]) % 12 + 12 * (told.get("half") == "PM")
    moment = datetime(year, month, int(told["day"]), hour, int(told["minute"]), int(told.get("second", 0)), tzinfo=UTC)
    if "zone" in told:
        zone = told["zone"].replace(":", "")
        minutes = int(zone[1:3]) * 60 + int(zone[3:])
        moment = moment.replace(tzinfo=timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes)))
    return moment.astimezone(UTC) + timedelta(microseconds=microseconds)
