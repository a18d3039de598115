"""
The command operators of Envoy's log formats: which column each one fills, and what it can print.

What an operator can print decides whether the columns of a text line can be told apart, so every shape is as wide as
the truth: a value outside it must be impossible, not merely unusual. Text that clients or upstreams choose is FREE or a
CHOSEN word; everything else is Envoy's own, or that of whoever configures it.

Source: envoyproxy/envoy docs/root/configuration/advanced/substitution_formatter.rst and, for the log types,
api/envoy/data/accesslog/v3/accesslog.proto.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple


class Shape(Enum):
    """What an operator can print besides `-` and nothing; PATTERNS has the bytes of all but FREE and TIME."""

    COUNT = auto()
    PROTOCOL = auto()
    TLS_VERSION = auto()
    WORDS = auto()
    ADDRESS = auto()
    IP = auto()
    #: No blank and no quote: Envoy puts `_` in place of blanks, or it is a name of the configuration.
    TOKEN = auto()
    #: A word in every honest line, but others choose it and may put anything into it.
    CHOSEN = auto()
    #: Anything: headers, names that users give.
    FREE = auto()
    #: The time; its format is its argument.
    TIME = auto()


_WORD = r"[^\x00-\x20\"]"

PATTERNS = {
    Shape.COUNT: r"\d+",
    Shape.PROTOCOL: r"HTTP/\d(?:\.\d)?",
    Shape.TLS_VERSION: r"(?:TLS|SSL)v[\d.]+",
    Shape.WORDS: r"[A-Za-z0-9_,./-]+",
    Shape.ADDRESS: (
        r"(?:tcp://)?(?:\[[0-9A-Fa-f:.%\w]*\]|[0-9.]+):\d+|envoy://" + _WORD + r"*|(?:unix:|pipe:|/|@)" + _WORD + "*"
    ),
    Shape.IP: r"[0-9A-Fa-f:.]+(?:/\d+)?",
    Shape.TOKEN: _WORD + "+",
    Shape.CHOSEN: _WORD + "+",
}


class Meaning(NamedTuple):
    """What is made of an operator: the column it fills, null if it is not read, and what it can print."""

    column: str | None
    shape: Shape


UNREAD = Meaning(None, Shape.FREE)

_ADDRESSES = (
    "DOWNSTREAM_REMOTE", "DOWNSTREAM_DIRECT_REMOTE", "DOWNSTREAM_LOCAL", "DOWNSTREAM_DIRECT_LOCAL",
    "UPSTREAM_REMOTE", "UPSTREAM_LOCAL",
)  # fmt: skip

#: Operators that fill a column of their own name, in lower case.
_READ: dict[str, Shape] = {
    "PROTOCOL": Shape.PROTOCOL,
    "RESPONSE_CODE": Shape.COUNT,
    "RESPONSE_FLAGS": Shape.WORDS,
    "RESPONSE_FLAGS_LONG": Shape.WORDS,
    "RESPONSE_CODE_DETAILS": Shape.TOKEN,
    "CONNECTION_TERMINATION_DETAILS": Shape.FREE,
    "UPSTREAM_TRANSPORT_FAILURE_REASON": Shape.TOKEN,
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": Shape.TOKEN,
    "BYTES_RECEIVED": Shape.COUNT,
    "BYTES_SENT": Shape.COUNT,
    "DURATION": Shape.COUNT,
    "UPSTREAM_HOST": Shape.ADDRESS,
    "UPSTREAM_CLUSTER": Shape.TOKEN,
    "UPSTREAM_CLUSTER_RAW": Shape.TOKEN,
    "DOWNSTREAM_TLS_VERSION": Shape.TLS_VERSION,
    "DOWNSTREAM_TLS_CIPHER": Shape.WORDS,
    "UPSTREAM_TLS_VERSION": Shape.TLS_VERSION,
    "ACCESS_LOG_TYPE": Shape.WORDS,
    **{f"{name}_ADDRESS": Shape.ADDRESS for name in _ADDRESSES},
    **{f"{name}_ADDRESS_WITHOUT_PORT": Shape.IP for name in _ADDRESSES},
    **{f"{name}_PORT": Shape.COUNT for name in _ADDRESSES},
    # From certificates, which whoever connects brings: Envoy prints them for handshakes that it turned down, too.
    **{f"DOWNSTREAM_PEER_{what}": Shape.CHOSEN for what in ("URI_SAN", "DNS_SAN", "IP_SAN", "EMAIL_SAN", "SERIAL")},
    **{f"DOWNSTREAM_PEER_{what}": Shape.FREE for what in ("SUBJECT", "ISSUER")},
    **{f"DOWNSTREAM_PEER_{what}": Shape.WORDS for what in ("FINGERPRINT_256", "FINGERPRINT_1")},
    "DOWNSTREAM_LOCAL_URI_SAN": Shape.CHOSEN,
    "UPSTREAM_PEER_URI_SAN": Shape.CHOSEN,
    "UPSTREAM_LOCAL_URI_SAN": Shape.CHOSEN,
}

#: Operators that are not read and print numbers and words of Envoy's own, or names of its configuration.
_OTHERS: dict[str, Shape] = {
    **dict.fromkeys(
        ("CONNECTION_ID", "UPSTREAM_CONNECTION_ID", "STREAM_ID", "UNIQUE_ID", "REQUEST_DURATION", "RESPONSE_DURATION",
         "RESPONSE_TX_DURATION", "ROUNDTRIP_DURATION", "REQUEST_TX_DURATION", "DOWNSTREAM_HANDSHAKE_DURATION",
         "COMMON_DURATION", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "UPSTREAM_PROTOCOL", "DOWNSTREAM_TLS_SESSION_ID",
         "UPSTREAM_TLS_SESSION_ID", "DOWNSTREAM_TLS_GROUP", "UPSTREAM_TLS_GROUP", "UPSTREAM_TLS_CIPHER", "TRACE_ID",
         "SPAN_ID", "HOSTNAME", "GRPC_STATUS", "GRPC_STATUS_NUMBER", "TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT"),
        Shape.WORDS,
    ),
    **dict.fromkeys(("UPSTREAM_HOST_NAME", "UPSTREAM_SERVER_NAME", "FILTER_CHAIN_NAME"), Shape.TOKEN),
}  # fmt: skip
_COUNTERS = re.compile(r"(?:UPSTREAM|DOWNSTREAM)_[A-Z_]*BYTES_(?:SENT|RECEIVED)|[A-Z_]*HEADERS_BYTES|[A-Z]+_BYTES")

#: Request headers that are read, by their lower-cased names; no header but these is.
_HEADERS = {
    ":method": Meaning("method", Shape.CHOSEN),
    ":authority": Meaning("authority", Shape.FREE),
    "x-forwarded-client-cert": Meaning("x_forwarded_client_cert", Shape.FREE),
}
_REQUEST_HEADERS = ("REQ", "REQUEST_HEADER")

#: Operators that mean nothing without an argument.
NEED_ARGUMENT = frozenset((
    *_REQUEST_HEADERS, "RESP", "RESPONSE_HEADER", "TRAILER", "RESPONSE_TRAILER", "DYNAMIC_METADATA", "FILTER_STATE",
    "CLUSTER_METADATA", "UPSTREAM_METADATA", "METADATA", "ENVIRONMENT", "CEL", "TYPED_CEL", "QUERY_PARAM",
))  # fmt: skip
#: Operators whose argument may name a second header after `?`.
HEADER_OPERATORS = frozenset((*_REQUEST_HEADERS, "RESP", "RESPONSE_HEADER", "TRAILER", "RESPONSE_TRAILER"))


def meaning_of(name: str, argument: str | None) -> Meaning:
    """Return what is made of `%NAME(argument)%`; an operator that is not known is text that is not read."""
    if name in ("START_TIME", "START_TIME_LOCAL", "EMIT_TIME", "EMIT_TIME_LOCAL"):
        return Meaning(name.removesuffix("_LOCAL").lower(), Shape.TIME)
    if name in _REQUEST_HEADERS:
        return _HEADERS.get((argument or "").lower(), UNREAD)
    if name == "REQUESTED_SERVER_NAME":
        # With these arguments it may print a Host header, which is no evidence of TLS.
        of_hello = argument is None or argument.upper().startswith("SNI_ONLY")
        return Meaning("requested_server_name" if of_hello else None, Shape.CHOSEN)
    if name in ("CEL", "TYPED_CEL"):
        is_mtls = re.sub(r"\s", "", argument or "") == "connection.mtls"
        return Meaning("connection_mtls", Shape.WORDS) if is_mtls else UNREAD
    if name in _READ:
        # `%…_WITHOUT_PORT(24)%` prints a network.
        masked = name.endswith("_WITHOUT_PORT") and argument is not None
        return Meaning(None if masked else name.lower(), _READ[name])
    if name in ("RESP", "RESPONSE_HEADER") and (argument or "").lower() == "x-envoy-upstream-service-time":
        return Meaning(None, Shape.CHOSEN)
    if name in _OTHERS:
        return Meaning(None, _OTHERS[name])
    return Meaning(None, Shape.COUNT) if _COUNTERS.fullmatch(name) else UNREAD


#: Columns that are read: Istio's JSON keys, and for the rest the lower-cased names of the operators.
COLUMNS = frozenset((
    "start_time", "emit_time", "requested_server_name", "method", "authority", "x_forwarded_client_cert",
    "connection_mtls", *(name.lower() for name in _READ),
))  # fmt: skip
