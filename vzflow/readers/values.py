"""Values of log fields, checked and typed; whatever no such field can hold raises Unusable with the field's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from vzflow.flow.key import canonical_address
from vzflow.readers.log_lines import LARGEST, invalid

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_END = re.compile(r"(?:\[([^\]\s]+)\]|([^\[\]:\s]+))(?::(\d{1,5}))?")
#: Letters and digits of a host or pod name.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")


class End(NamedTuple):
    """One end as logged: its address, or in place of it a name, and its port."""

    ip: str | None
    name: str | None
    port: int | None


def text(fields: Mapping[str, object], name: str) -> str | None:
    """Return a text field; null where it is missing, null or empty."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise invalid(name, value)
    return value


def count(fields: Mapping[str, object], name: str) -> int | None:
    """Return a number of things, written as a number or as its digits; null where it is missing or null."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise invalid(name, value)
    return value


def port(fields: Mapping[str, object], name: str) -> int | None:
    """Return a port; null where it is missing, null or 0, which stands for none."""
    number = count(fields, name)
    if number is not None and number > 65535:
        raise invalid(name, number)
    return number or None


def address(fields: Mapping[str, object], name: str) -> str | None:
    """Return an address as canonical text; null where it is missing, null or empty."""
    value = text(fields, name)
    if value is None:
        return None
    try:
        return _canonical(value)
    except ValueError as error:
        raise invalid(name, value) from error


def moment(fields: Mapping[str, object], name: str) -> datetime | None:
    """Return an RFC 3339 time in UTC, cut to microseconds; null where it is missing, null or empty."""
    value = text(fields, name)
    if value is None:
        return None
    if not _MOMENT.fullmatch(value):
        raise invalid(name, value)
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(name, value) from error


def end(fields: Mapping[str, object], name: str) -> End | None:
    """Return `ip:port`, `[v6]:port` or `name:port`; null where it is missing, null or empty."""
    value = text(fields, name)
    if value is None:
        return None
    match = _END.fullmatch(value)
    if match is None or int(match[3] or 0) > 65535:
        raise invalid(name, value)
    number = int(match[3]) if match[3] else None
    try:
        return End(_canonical(match[1] or match[2]), None, number)
    except ValueError as error:
        if match[2] is None or not _HOST.fullmatch(match[2]) or match[2].replace(".", "").isdigit():
            raise invalid(name, value) from error
        return End(None, match[2], number)


def is_loopback(ip: str | None) -> bool:
    """Whether an address, as canonical text, is one of this host to itself."""
    return ip is not None and (ip.startswith("127.") or ip == "::1")


@lru_cache(maxsize=1 << 16)
def _canonical(value: str) -> str:
    return canonical_address(value)
