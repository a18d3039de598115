"""
OpenTelemetry logs, stored as JSON (a collector's file exporter): one export request a line, of one or many records.

Istio puts the text line into the body and the labels of a `logFormat` into string attributes.

Source: opentelemetry-proto opentelemetry/proto/logs/v1/logs.proto; istio/istio pilot/pkg/model/telemetry_logging.go;
envoyproxy/envoy api/envoy/extensions/access_loggers/open_telemetry/v3/logs_service.proto (node_name).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vzflow.readers.envoy.als import NOBODY, Node, node_of
from vzflow.readers.log_lines import invalid


class LogRecord(NamedTuple):
    """One log record: who wrote it, its body, and its attributes (in a JSON template's shape)."""

    node: Node
    body: object
    attributes: Mapping[str, Any]


def is_export(record: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a request."""
    return isinstance(record.get("resourceLogs"), list)


def records(export: Mapping[str, Any]) -> Iterator[LogRecord]:
    """
    Yield the log records of one export request.

    Raises:
        Unusable: A field is not what such a request holds.
    """
    for resource in _objects(export, "resourceLogs"):
        node = _node(_attributes(_object(resource, "resource")))
        # `instrumentationLibraryLogs` before opentelemetry-proto 0.15.
        for scope in _objects(resource, "scopeLogs") or _objects(resource, "instrumentationLibraryLogs"):
            for record in _objects(scope, "logRecords"):
                yield LogRecord(node, _value(record.get("body")), _attributes(record))


def _node(attributes: Mapping[str, Any]) -> Node:
    named = node_of(attributes.get("node_name"))
    if named != NOBODY:
        return named
    namespace, pod = attributes.get("k8s.namespace.name"), attributes.get("k8s.pod.name")
    ip = attributes.get("k8s.pod.ip")
    name = f"{namespace}/{pod}" if isinstance(namespace, str) and isinstance(pod, str) else None
    return Node(name, ip if isinstance(ip, str) else None)


def _attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for pair in _objects(record, "attributes"):
        key = pair.get("key")
        if not isinstance(key, str) or key in found:
            raise invalid("attributes", key)
        found[key] = _value(pair.get("value"))
    return found


def _value(value: object) -> Any:  # noqa: ANN401 - a JSON value
    """Return the plain value of an AnyValue; numbers of 64 bits are strings there."""
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > 1:
        raise invalid("value", value)
    for kind, inner in value.items():
        if kind in ("stringValue", "boolValue", "intValue", "doubleValue"):
            return inner
        if kind == "kvlistValue" and isinstance(inner, dict):
            return {str(pair.get("key")): _value(pair.get("value")) for pair in _objects(inner, "values")}
        if kind == "arrayValue" and isinstance(inner, dict):
            return [_value(one) for one in _objects(inner, "values")]
        raise invalid("value", value)
    return None


def _object(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, value)
    return value


def _objects(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = record.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise invalid(name, value)
    return value
