"""Which column of a table is which, told by the words in its header."""

from __future__ import annotations

import re
from collections.abc import Iterable

COMPONENT, PORT, FROM = "component", "port", "from"
PROTOCOL, TRANSPORT, DESCRIPTION, TO = "protocol", "transport", "description", "to"

#: The words of a header by what they mean, the most telling first: of two columns with one meaning the first counts.
#: "Service port" is none of them: rules speak of the pod's port.
_WORDS = {
    PORT: (
        "pod port", "pod ports", "container port", "container ports", "target port", "target ports", "port", "ports",
        "destination port", "destination ports", "listening port", "listening ports", "port number", "tcp port",
    ),
    FROM: (
        "from", "source", "sources", "from component", "source component", "source pod", "client", "clients",
        "initiator", "initiators", "caller", "callers", "allowed from", "accessed by", "called by", "used by",
        "allowed sources", "allowed clients", "ingress from", "inbound from", "src", "consumer", "consumers",
    ),
    COMPONENT: (
        "component", "components", "pod", "pods", "workload", "workloads", "destination component", "destination pod",
        "destination", "to component", "to", "target", "responder", "server", "deployment", "application", "app",
        "service", "name", "dest", "dst",
    ),
    PROTOCOL: ("protocol", "protocols", "proto", "ip protocol", "transport protocol", "l4 protocol"),
    TRANSPORT: (
        "transport", "transport security", "tls", "mtls", "encryption", "encrypted", "security", "protection",
        "tls mode", "mtls mode",
    ),
    DESCRIPTION: (
        "description", "purpose", "notes", "note", "comment", "comments", "reason", "details", "usage", "remarks",
    ),
}  # fmt: skip
_TO = frozenset({"to", "destination", "egress to", "outbound to", "destinations"})


def columns(header: Iterable[str]) -> dict[str, int]:
    """Return meaning -> position of the columns that are understood."""
    words = [_plain(text) for text in header]
    found: dict[str, int] = {}
    for meaning, known in _WORDS.items():
        position = next((words.index(word) for word in known if word in words), None)
        if position is not None:
            found[meaning] = position
    if any(word in _TO for word in words):
        found[TO] = next(n for n, word in enumerate(words) if word in _TO)
    return found


def tells_who_may_reach(found: dict[str, int]) -> bool:
    """Say whether a table with these columns is one to read; its component may stand in the heading above."""
    return PORT in found and FROM in found


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w]+", " ", text.casefold().replace("(s)", "s")).split())
