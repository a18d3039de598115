"""One Envoy access log line with its values checked and typed, however it was encoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from vzflow.flow.key import canonical_address
from vzflow.readers.envoy.flags import SHORT_BY_LONG
from vzflow.readers.log_lines import LARGEST, invalid

_ADDRESSES = (
    "upstream_host", "upstream_remote_address", "upstream_local_address", "downstream_local_address",
    "downstream_remote_address", "downstream_direct_remote_address",
)  # fmt: skip

#: What is printed of a client's certificate. Those of the first line are there for every certificate of a mesh, so that
#: `-` means that there was none; a subject or another kind of name need not be.
_OF_EVERY_CERTIFICATE = (
    "downstream_peer_uri_san", "downstream_peer_fingerprint_256", "downstream_peer_fingerprint_1",
    "downstream_peer_serial",
)  # fmt: skip
_OF_CERTIFICATES = (
    *_OF_EVERY_CERTIFICATE, "downstream_peer_subject", "downstream_peer_issuer", "downstream_peer_dns_san",
    "downstream_peer_ip_san", "downstream_peer_email_san",
)  # fmt: skip

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")
_PROTOCOL = re.compile(r"HTTP/\d(?:\.\d)?")
_FLAGS = re.compile(r"[A-Za-z0-9_]+(?:,[A-Za-z0-9_]+)*")
_IP_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([0-9.]+)):(\d{1,5})")

#: Addresses that are no IP address: unix sockets by path or abstract name.
PATHS = ("/", "@", "unix:", "pipe:")

#: Addresses of Envoy's internal listeners: `envoy://NAME/ID`, where the id may be the `IP:PORT` that was dialled.
_INTERNAL = "envoy://"


#: How names of clusters begin that tell which way the traffic passes, and nothing for others.
KINDS_OF_CLUSTERS = (
    "inbound-vip|", "inbound|", "InboundPassthroughCluster", "outbound|", "outbound_.", "PassthroughCluster",
    "BlackHoleCluster", "",
)  # fmt: skip


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
        own_ip: Address of the proxy's pod, if it is known.

    Raises:
        Unusable: A value is of the wrong kind.
    """

    def __init__(self, columns: Mapping[str, str | None], own_ip: str | None = None) -> None:
        self._columns = columns
        self.own_ip = own_ip
        duration = self._count("duration")
        self.begin, self.end = self._begin_and_end(duration)
        #: HTTP status; 0, as Envoy prints it, where there is none.
        self.code = self._count("response_code") or 0
        if self.code > 999:
            raise invalid("response_code", self.code)
        self.http = self._http()
        self.flags = self._flags()
        #: Whether it is sure that this is a connection whose bytes the proxy passed on without reading them; where they
        #: broke a protocol (DPE), it did read them.
        self.raw = self.logs("protocol") and self.http is None and "DPE" not in self.flags
        #: Bytes the proxy took from downstream, and gave to it; null if they are not logged.
        self.received = self._bytes("bytes_received")
        self.sent = self._bytes("bytes_sent")
        self.cluster = kind_of_cluster(self.text("upstream_cluster_raw") or self.text("upstream_cluster"))
        self.upstream_host = self._address("upstream_host")
        if not self.logs("upstream_host"):
            self.upstream_host = self._address("upstream_remote_address")
        self.upstream_local = self._address("upstream_local_address")
        self.downstream_local = self._address("downstream_local_address")
        self.peer = self._peer()
        #: Addresses of listeners inside one Envoy: the TLS columns of such a hop say nothing of the wire.
        self.internal = frozenset(name for name in _ADDRESSES if (columns.get(name) or "").startswith(_INTERNAL))

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
            return bool(self.sent) and self.has_upstream
        details = self.text("response_code_details")
        if self.logs("response_code_details"):
            return details is not None and details.startswith(("via_upstream", "upstream_reset_after_response_started"))
        return self.code > 0 and self.logs("response_flags") and not self.flags and self.has_upstream

    @property
    def logs_downstream(self) -> bool:
        """Whether the format has an address of the leg that the proxy accepted."""
        return any(self._logs_address(name) for name in _ADDRESSES if name.startswith("downstream_"))

    @property
    def has_upstream(self) -> bool:
        """Whether the line names what the proxy passed it on to."""
        return self.upstream_host != NOWHERE or self.upstream_local != NOWHERE

    @property
    def certificate(self) -> bool | None:
        """Whether the client showed a certificate; null if the line does not say."""
        if any(self.text(name) is not None for name in _OF_CERTIFICATES):
            return True
        mutual = self.text("connection_mtls")
        if mutual is not None:
            return mutual == "true"
        return False if any(self.logs(name) for name in _OF_EVERY_CERTIFICATE) else None

    def _begin_and_end(self, duration: int | None) -> tuple[datetime | None, datetime | None]:
        """Return begin and end; DURATION is in milliseconds, and a format may log only when the line was written."""
        begin, end = self._moment("start_time"), self._moment("emit_time")
        try:
            if begin is not None:
                return begin, begin + timedelta(milliseconds=duration) if duration is not None else None
            if end is not None and duration is not None:
                return end - timedelta(milliseconds=duration), end
        except OverflowError as error:
            raise invalid("duration", duration) from error
        return end, end

    def _moment(self, name: str) -> datetime | None:
        if not self.logs(name):
            return None
        value = self.text(name)
        if value is None or not _MOMENT.fullmatch(value):
            raise invalid(name, value)
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise invalid(name, value) from error

    def _http(self) -> str | None:
        """Return the version; `http` where only the rest of the line shows that it was a request."""
        value = self.text("protocol")
        if value is not None and not _PROTOCOL.fullmatch(value):
            raise invalid("protocol", value)
        if value is not None:
            return value.lower()
        if self.logs("protocol"):
            if self.text("method") is not None:
                raise invalid("protocol", None)
            return None
        return "http" if self.code > 0 or self.text("method") is not None else None

    def _flags(self) -> frozenset[str]:
        long = "response_flags_long"
        name = "response_flags" if self.logs("response_flags") or not self.logs(long) else long
        value = self.text(name)
        if value is not None and not _FLAGS.fullmatch(value):
            raise invalid(name, value)
        if value is None:
            return frozenset()
        return frozenset(SHORT_BY_LONG.get(flag, flag) for flag in value.split(","))

    def _count(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= LARGEST):
            raise invalid(name, value)
        return int(value)

    def _bytes(self, name: str) -> int | None:
        value = self._count(name)
        if value is None and self.logs(name):
            raise invalid(name, None)
        return value

    def _logs_address(self, name: str) -> bool:
        return self.logs(name) or self.logs(f"{name}_without_port")

    def _address(self, name: str) -> Address:
        """Return an address, put together where the format has IP and port apart."""
        value, ip = self.text(name), self.text(f"{name}_without_port")
        try:
            if value is not None:
                return address_of(value)
            if ip is None or self.logs(name):
                return NOWHERE
            port = self._count(f"{name.removesuffix('_address')}_port")
            if port is not None and port > 65535:
                raise invalid(f"{name.removesuffix('_address')}_port", port)
            return Address(canonical_address(ip), port) if not ip.startswith(PATHS) else NOWHERE
        except ValueError as error:
            raise invalid(name, value or ip) from error

    def _peer(self) -> Address:
        """
        Return who connected to the proxy.

        DOWNSTREAM_REMOTE_ADDRESS may be taken from X-Forwarded-For, which whoever sends the request may write: then its
        port is 0, and the line does not say who connected.
        """
        direct = "downstream_direct_remote_address"
        if self._logs_address(direct):
            return self._address(direct)
        peer = self._address("downstream_remote_address")
        return peer if peer.port or (peer.port is None and self.raw) else NOWHERE


def kind_of_cluster(name: str | None) -> str:
    """Return how the name of a cluster begins, if that tells which way the traffic passes; else nothing."""
    return next(kind for kind in KINDS_OF_CLUSTERS if (name or "").startswith(kind))


@lru_cache(maxsize=1 << 16)
def address_of(text: str) -> Address:
    """
    Return what `ip:port`, `[v6]:port`, `tcp://ip:port` or `envoy://name/ip:port` says; any other id names no address.

    Raises:
        ValueError: It is none of these, and no address without an IP either.
    """
    if text.startswith(PATHS):
        return NOWHERE
    if text.startswith(_INTERNAL):
        try:
            return _ip_and_port(text.removeprefix(_INTERNAL).partition("/")[2])
        except ValueError:
            return NOWHERE
    return _ip_and_port(text.removeprefix("tcp://"))


def _ip_and_port(text: str) -> Address:
    match = _IP_AND_PORT.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(text)
    return Address(canonical_address(match[1] or match[2]), int(match[3]))
