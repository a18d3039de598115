"""One Envoy access log line with its values checked and typed, however it was encoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from vzflow.flow.key import canonical_address
from vzflow.readers.log_lines import LARGEST, invalid, missing

#: Columns that are read, by Istio's JSON keys; from `downstream_direct_remote_address` on by the lower-cased name of
#: the operator, as users name what they add.
COLUMNS = frozenset((
    "start_time", "protocol", "response_code", "response_flags", "response_code_details",
    "connection_termination_details", "upstream_transport_failure_reason", "bytes_received", "bytes_sent", "duration",
    "upstream_host", "upstream_cluster", "upstream_local_address", "downstream_local_address",
    "downstream_remote_address", "requested_server_name",
    "downstream_direct_remote_address", "downstream_tls_version", "downstream_peer_uri_san",
    "downstream_transport_failure_reason", "upstream_cluster_raw", "upstream_tls_version", "upstream_peer_uri_san",
))  # fmt: skip

#: Without one of these a line would be misread rather than read in part.
_NEEDED = (
    "start_time", "protocol", "response_code", "response_flags", "bytes_received", "bytes_sent", "upstream_host",
    "upstream_local_address", "downstream_local_address",
)  # fmt: skip
_NEEDED_ONE_OF = (
    ("upstream_cluster", "upstream_cluster_raw"),
    ("downstream_remote_address", "downstream_direct_remote_address"),
)

_ADDRESSES = (
    "upstream_host", "upstream_local_address", "downstream_local_address", "downstream_remote_address",
    "downstream_direct_remote_address",
)  # fmt: skip

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_PROTOCOL = re.compile(r"HTTP/\d(?:\.\d)?")
_FLAGS = re.compile(r"[A-Za-z0-9_]+(?:,[A-Za-z0-9_]+)*")
_IP_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([0-9.]+)):(\d{1,5})")

#: Addresses that are no IP address: unix sockets by path or abstract name.
_NOT_IP = ("/", "@", "unix:", "pipe:")

#: Addresses of Envoy's internal listeners: `envoy://NAME/`, or `envoy://NAME/IP:PORT` with what was dialled.
_INTERNAL = "envoy://"


class Address(NamedTuple):
    """An address as logged; both null when there was none or it is no IP address."""

    ip: str | None
    port: int | None


NOWHERE = Address(None, None)


class Line:
    """
    One line: a request over HTTP, or a connection.

    Args:
        columns: Text by the names of COLUMNS; null where Envoy had nothing to say. A name that is not there was not in
            the log format, which is something else: see `logs`.

    Raises:
        Unusable: A column that every line has is missing, or a value is of the wrong kind.
    """

    def __init__(self, columns: Mapping[str, str | None]) -> None:
        for name in _NEEDED:
            if name not in columns:
                raise missing(name)
        for names in _NEEDED_ONE_OF:
            if not any(name in columns for name in names):
                raise missing(names[0])
        self._columns = columns
        self.begin = self._begin()
        self.end = self._end()
        self.http = self._http()
        #: HTTP status; 0, as Envoy prints it, where there is none.
        self.code = self._count("response_code") or 0
        if self.code > 999:
            raise invalid("response_code", self.code)
        self.flags = self._flags()
        #: Bytes the proxy took from downstream, and gave to it.
        self.received = self._bytes("bytes_received")
        self.sent = self._bytes("bytes_sent")
        self.cluster = self.text("upstream_cluster_raw") or self.text("upstream_cluster") or ""
        self.upstream_host = self._address("upstream_host")
        self.upstream_local = self._address("upstream_local_address")
        self.downstream_local = self._address("downstream_local_address")
        self.peer = self._peer()
        #: Whether one leg is a hop between listeners of one Envoy, whose TLS columns say nothing of the wire.
        self.internal = any((columns.get(name) or "").startswith(_INTERNAL) for name in _ADDRESSES)

    def logs(self, name: str) -> bool:
        """Return whether the log format has this column, whatever it says here."""
        return name in self._columns

    def text(self, name: str) -> str | None:
        """Return what the column says; null where it says nothing or is not logged."""
        return self._columns.get(name)

    @property
    def answered(self) -> bool:
        """Whether an upstream answered: an HTTP code that is its own, or bytes of a raw connection."""
        if self.http is None:
            return self.sent > 0 and self.upstream_host != NOWHERE
        details = self.text("response_code_details")
        if self.logs("response_code_details"):
            return details is not None and details.startswith(("via_upstream", "upstream_reset_after_response_started"))
        return self.code > 0 and not self.flags and self.upstream_host != NOWHERE

    def _begin(self) -> datetime:
        value = self.text("start_time")
        if value is None or not _MOMENT.fullmatch(value):
            raise invalid("start_time", value)
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise invalid("start_time", value) from error

    def _end(self) -> datetime | None:
        """Return the end; DURATION is in milliseconds."""
        duration = self._count("duration")
        if duration is None:
            return None
        try:
            return self.begin + timedelta(milliseconds=duration)
        except OverflowError as error:
            raise invalid("duration", duration) from error

    def _http(self) -> str | None:
        value = self.text("protocol")
        if value is not None and not _PROTOCOL.fullmatch(value):
            raise invalid("protocol", value)
        return None if value is None else value.lower()

    def _flags(self) -> frozenset[str]:
        value = self.text("response_flags")
        if value is not None and not _FLAGS.fullmatch(value):
            raise invalid("response_flags", value)
        return frozenset(value.split(",")) if value is not None else frozenset()

    def _count(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= LARGEST):
            raise invalid(name, value)
        return int(value)

    def _bytes(self, name: str) -> int:
        value = self._count(name)
        if value is None:
            raise invalid(name, None)
        return value

    def _address(self, name: str) -> Address:
        value = self.text(name)
        if value is None:
            return NOWHERE
        try:
            return _address_of(value)
        except ValueError as error:
            raise invalid(name, value) from error

    def _peer(self) -> Address:
        """
        Return who connected to the proxy.

        DOWNSTREAM_REMOTE_ADDRESS may be taken from X-Forwarded-For, which whoever sends the request may write: then its
        port is 0, and the line does not say who connected.
        """
        direct = "downstream_direct_remote_address"
        peer = self._address(direct if self.logs(direct) else "downstream_remote_address")
        return peer if peer.port else NOWHERE


@lru_cache(maxsize=1 << 16)
def _address_of(text: str) -> Address:
    """
    Return what `ip:port`, `[v6]:port`, `tcp://ip:port` or `envoy://name/ip:port` says.

    Raises:
        ValueError: It is none of these, and no address without an IP either.
    """
    if text.startswith(_NOT_IP):
        return NOWHERE
    if text.startswith(_INTERNAL):
        text = text.removeprefix(_INTERNAL).partition("/")[2]
        if not text:
            return NOWHERE
    match = _IP_AND_PORT.fullmatch(text.removeprefix("tcp://"))
    if match is None or int(match[3]) > 65535:
        raise ValueError(text)
    return Address(canonical_address(match[1] or match[2]), int(match[3]))
