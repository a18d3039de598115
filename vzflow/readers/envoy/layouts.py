"""
The layouts of access logs that people have without choosing one: Istio's of every release, and Envoy's own.

No two of them fit one line (a test shows it), so the first that fits is the one.

Source: istio/istio pilot/pkg/model/telemetry_logging.go (EnvoyTextLogFormat; before 1.5 pilot/pkg/networking) by
release tag; envoyproxy/envoy source/common/formatter (DEFAULT_FORMAT).
"""

from __future__ import annotations

from vzflow.readers.envoy.format import TextLayout

_REQUEST = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS%'
)
_NUMBERS = "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"
_HEADERS = '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"'
_ADDRESSES = "%UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%"
_REST = f"{_NUMBERS} {_HEADERS} {_ADDRESSES}"
_REASON = '"%UPSTREAM_TRANSPORT_FAILURE_REASON%"'
_MIXER = '"%DYNAMIC_METADATA(istio.mixer:status)%"'

#: Format strings by the releases that print them, the commonest first. Since 1.24 the cluster is
#: %UPSTREAM_CLUSTER_RAW%, which prints in the same place.
FORMATS = {
    "istio 1.9 and later": (
        f"{_REQUEST} %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% {_REASON} {_REST} "
        "%REQUESTED_SERVER_NAME% %ROUTE_NAME%"
    ),
    "istio 1.8": f"{_REQUEST} {_REASON} {_REST} %REQUESTED_SERVER_NAME% %ROUTE_NAME%",
    "istio 1.3 to 1.7": f"{_REQUEST} {_MIXER} {_REASON} {_REST} %REQUESTED_SERVER_NAME% %ROUTE_NAME%",
    "istio 1.2": f"{_REQUEST} {_MIXER} {_REASON} {_REST} %REQUESTED_SERVER_NAME%",
    "istio 1.1": f"{_REQUEST} {_MIXER} {_REST} %REQUESTED_SERVER_NAME%",
    "istio before 1.1": f"{_REQUEST} {_REST} %REQUESTED_SERVER_NAME%",
    "envoy": f"{_REQUEST} {_NUMBERS} {_HEADERS}",
    "istio 1.0 tcp": (
        f'[%START_TIME%] %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "%UPSTREAM_HOST%" {_ADDRESSES}'
    ),
    # There is no blank before the protocol.
    "istio 1.0": f"{_REQUEST} {_REST}".replace(" %PROTOCOL%", "%PROTOCOL%"),
}

#: What a layout implies without printing it.
_FIXED: dict[str, dict[str, str | None]] = {"istio 1.0 tcp": {"protocol": None, "response_code": "0"}}

KNOWN = {name: TextLayout(text, _FIXED.get(name)) for name, text in FORMATS.items()}
