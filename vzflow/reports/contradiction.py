"""A contradiction between a record and an address, in two plain sentences: whom the record names, and who held it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vzflow.reports.plain import instant

#: Ends the intervals that nothing is known to have ended.
_LAST_YEAR = 9999

_SAID = {"name": "the record names {}", "principal": "the certificate is of {}"}


def both_sides(one: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the record says and who says so, and who held the address then and what shows it."""
    by = " of ".join(filter(None, (one["reporter"], one["reporter_name"])))
    told = _SAID[one["told_by"]].format(one["says"])
    record = f"{one['side']}: {told} ({one['source']}{', told by ' + by if by else ''}, {instant(one['first_seen'])})"
    shown = [f"{seen['snapshot']} {instant(seen['seen_until'])}" for seen in one["shown_by"]]
    held = f"{one['address']} was held then by {' or '.join(one['holders'])}"
    since = f", from {instant(one['valid_from'])} {_end(one)}"
    return record, held + since + (f"; shown by {', '.join(shown)}" if shown else "")


def _end(one: Mapping[str, Any]) -> str:
    if one["valid_to"].year < _LAST_YEAR:
        return f"to {instant(one['valid_to'])}"
    return f"on, vouched for until {instant(one['known_until'])}"
