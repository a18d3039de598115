"""
Messages of Envoy's gRPC access log service (ALS), stored as protobuf JSON: one message a line, of one or many entries.

Only the first message of a stream names the proxy. Receivers mix streams, so a message without a name has no reporter:
the one before it may be another proxy's.

Source: envoyproxy/envoy api/envoy/service/accesslog/v3/als.proto, api/envoy/data/accesslog/v3/accesslog.proto; protobuf
JSON: 64-bit numbers are strings, what has its default value is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vzflow.readers.envoy.flags import SHORT_BY_FIELD
from vzflow.readers.envoy.format import Columns
from vzflow.readers.log_lines import invalid

#: `KIND~IP~POD.NAMESPACE~DOMAIN`: istio/istio pkg/model/proxy.go (ServiceNode).
_NODE = re.compile(r"[a-z]+~([0-9A-Fa-f:.]+)~([^~]+)\.([^~.]+)~[^~]*")
_SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?s")
_VERSIONS = {"HTTP10": "HTTP/1.0", "HTTP11": "HTTP/1.1", "HTTP2": "HTTP/2", "HTTP3": "HTTP/3"}

Entry = Mapping[str, Any]


class Node(NamedTuple):
    """The proxy that wrote something: its pod as namespace/name, and its address; both null if it is not named."""

    name: str | None
    ip: str | None


NOBODY = Node(None, None)


def is_message(record: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a message."""
    return any(isinstance(_of(record, name), dict) for name in ("httpLogs", "tcpLogs"))


def node_of(text: object) -> Node:
    """Return the proxy that a node id names."""
    match = _NODE.fullmatch(text) if isinstance(text, str) else None
    return Node(f"{match[3]}/{match[2]}", match[1]) if match is not None else NOBODY


def entries(message: Mapping[str, Any]) -> tuple[Node, list[Columns]]:
    """
    Return who wrote a message, and the columns of each of its entries.

    Raises:
        Unusable: A field is not what such a message holds.
    """
    identifier = _object(message, "identifier")
    return node_of(_object(identifier, "node").get("id")), [*_http(message), *_tcp(message)]


def _http(message: Mapping[str, Any]) -> Iterator[Columns]:
    for entry in _entries(message, "httpLogs"):
        request, response = _object(entry, "request"), _object(entry, "response")
        version = _of(entry, "protocolVersion")
        yield _common(_object(entry, "commonProperties")) | {
            "protocol": _VERSIONS.get(version, "HTTP/1.1") if isinstance(version, str) else "HTTP/1.1",
            "method": _text(request, "requestMethod"),
            "authority": _text(request, "authority"),
            "response_code": _number(response, "responseCode"),
            "bytes_received": _number(request, "requestBodyBytes"),
            "bytes_sent": _number(response, "responseBodyBytes"),
            # Left out where it is empty, and by receivers that know only older versions of the message.
            **_if_there(response, "responseCodeDetails", "response_code_details"),
        }


def _tcp(message: Mapping[str, Any]) -> Iterator[Columns]:
    for entry in _entries(message, "tcpLogs"):
        connection = _object(entry, "connectionProperties")
        yield _common(_object(entry, "commonProperties")) | {
            "protocol": None,
            "response_code": "0",
            "bytes_received": _number(connection, "receivedBytes"),
            "bytes_sent": _number(connection, "sentBytes"),
        }


def _common(common: Entry) -> Columns:
    columns: Columns = {
        "start_time": _text(common, "startTime"),
        "duration": _milliseconds(common),
        "response_flags": _flags(_object(common, "responseFlags")),
        "upstream_host": _address(common, "upstreamRemoteAddress"),
        "upstream_local_address": _address(common, "upstreamLocalAddress"),
        "downstream_local_address": _address(common, "downstreamLocalAddress"),
        "downstream_remote_address": _address(common, "downstreamRemoteAddress"),
        "upstream_cluster": _text(common, "upstreamCluster"),
        "connection_termination_details": _text(common, "connectionTerminationDetails"),
        "upstream_transport_failure_reason": _text(common, "upstreamTransportFailureReason"),
        "access_log_type": _text(common, "accessLogType"),
        **_if_there(common, "downstreamTransportFailureReason", "downstream_transport_failure_reason"),
    }
    if _of(common, "intermediateLogEntry") is True:
        columns["access_log_type"] = "DownstreamPeriodic"
    direct = _address(common, "downstreamDirectRemoteAddress")
    if direct is not None:
        columns["downstream_direct_remote_address"] = direct
    return columns | _tls(common, is_told=direct is not None)


def _tls(common: Entry, *, is_told: bool) -> Columns:
    """
    Return what is said of the client's TLS. Its absence says something only if this Envoy fills it in.

    tls_properties came to be filled with Envoy 1.10 or 1.11, downstream_direct_remote_address with 1.12.
    """
    tls = _of(common, "tlsProperties")
    if not isinstance(tls, dict):
        if tls is not None:
            raise invalid("tlsProperties", tls)
        return {"downstream_tls_version": None, "downstream_peer_uri_san": None} if is_told else {}
    peer, own = _object(tls, "peerCertificateProperties"), _object(tls, "localCertificateProperties")
    version = _text(tls, "tlsVersion")
    return {
        "downstream_tls_version": version.replace("_", ".") if version is not None else "TLS",
        "requested_server_name": _text(tls, "tlsSniHostname"),
        "downstream_peer_uri_san": _uris(peer),
        "downstream_peer_subject": _text(peer, "subject"),
        "downstream_local_uri_san": _uris(own),
    }


def _uris(certificate: Entry) -> str | None:
    names = _of(certificate, "subjectAltName") or []
    if not isinstance(names, list) or not all(isinstance(name, dict) for name in names):
        raise invalid("subjectAltName", names)
    return ",".join(uri for name in names if (uri := _text(name, "uri")) is not None) or None


def _flags(flags: Entry) -> str | None:
    """Return the short names of the flags that are set; one that is not known keeps its own."""
    return ",".join(sorted(SHORT_BY_FIELD.get(_camel(name), name) for name, value in flags.items() if value)) or None


def _address(common: Entry, name: str) -> str | None:
    address = _object(common, name)
    socket = _object(address, "socketAddress")
    if socket:
        ip, port = _text(socket, "address") or "", _number(socket, "portValue")
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    internal = _object(address, "envoyInternalAddress")
    if internal:
        return f"envoy://{_text(internal, 'serverListenerName') or ''}/{_text(internal, 'endpointId') or ''}"
    return f"pipe:{_text(_object(address, 'pipe'), 'path') or ''}" if _of(address, "pipe") is not None else None


def _milliseconds(common: Entry) -> str | None:
    text = _text(common, "duration") or _text(common, "timeToLastDownstreamTxByte")
    if text is None:
        return None
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise invalid("duration", text)
    return str(int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0")[:3]))


def _entries(message: Mapping[str, Any], name: str) -> list[Entry]:
    found = _of(_object(message, name), "logEntry") or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise invalid(name, found)
    return found


def _if_there(record: Entry, name: str, column: str) -> Columns:
    value = _text(record, name)
    return {column: value} if value is not None else {}


def _of(record: Entry, name: str) -> Any:  # noqa: ANN401 - a JSON value
    """Return a field by its JSON name, or by the name that it has in the proto file."""
    if name in record:
        return record[name]
    return record.get(re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), name))


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda m: m[1].upper(), name)


def _object(record: Entry, name: str) -> Entry:
    value = _of(record, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, value)
    return value


def _text(record: Entry, name: str) -> str | None:
    value = _of(record, name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise invalid(name, value)
    return value


def _number(record: Entry, name: str) -> str:
    """Return a number, which is left out where it is 0."""
    value = _of(record, name)
    if value is None:
        return "0"
    if type(value) is int or isinstance(value, str):
        return str(value)
    raise invalid(name, value)
