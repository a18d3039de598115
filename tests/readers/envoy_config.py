"""The configuration of an Envoy that is client sidecar, server sidecar and waypoint, in the shapes of Istio's."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

CLIENT, SERVER, DIALLED, WAYPOINT = "127.0.0.10", "127.0.0.20", "127.0.0.30", "127.0.0.40"
TUNNEL_PORT = 15008
CLIENT_NAME, SERVER_NAME = "spiffe://cluster.local/ns/ns-a/sa/a", "spiffe://cluster.local/ns/ns-b/sa/b"
SNI = "outbound_.80_._.svc-b.ns-b.svc.cluster.local"
#: What marks the mesh's own handshakes on a PERMISSIVE port (istio/istio pilot/pkg/networking/util).
MESH_ALPN = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
#: How long what is impatient waits, in seconds.
PATIENCE = 0.1

_TYPE = "type.googleapis.com/envoy.extensions."
_HTTP_OPTIONS = "upstreams.http.v3.HttpProtocolOptions"
_ANYONE = {"permissions": [{"any": True}], "principals": [{"any": True}]}
_DENY = {"action": "DENY", "policies": {"ns[ns-b]-policy[nobody]-rule[0]": _ANYONE}}


class Server(NamedTuple):
    """A server's port: what its filter chains ask of clients, and what is behind it."""

    chains: tuple[str, ...]
    raw: bool = False
    inspects: bool = True
    denies: bool = False
    patience: float = 10.0
    app: str = "clear"


class Sidecar(NamedTuple):
    """How a client's sidecar passes on: what it shows, whom it wants, and where its route leads."""

    shows: str = "client"
    wants: str = SERVER_NAME
    newest: str = "TLSv1_3"
    route: str = "cluster"
    h2: bool = False
    once: bool = True
    inspects: bool = False
    timeout: float = 5.0


def _typed(kind, **config):
    return {"name": kind, "typed_config": {"@type": _TYPE + kind, **config}}


def _at(ip, port):
    return {"socket_address": {"address": ip, "port_value": port}}


def _log(path, layout):
    return _typed("access_loggers.file.v3.FileAccessLog", path=str(path), log_format=layout)


def _inspector():
    return [_typed("filters.listener.tls_inspector.v3.TlsInspector")]


def _route(cluster, **more):
    return {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": cluster, **more}}


def _http(routes, log, *, denies=False, **more):
    host = {"name": "x", "domains": ["*"], "routes": routes}
    deny = [_typed("filters.http.rbac.v3.RBAC", rules=_DENY)] if denies else []
    filters = {"access_log": log, "http_filters": [*deny, _typed("filters.http.router.v3.Router")]}
    kind = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    return [_typed(kind, stat_prefix="x", route_config={"virtual_hosts": [host]}, **filters, **more)]


def _tcp(cluster, log, *, denies=False, **more):
    deny = [_typed("filters.network.rbac.v3.RBAC", stat_prefix="x", rules=_DENY)] if denies else []
    kind = "filters.network.tcp_proxy.v3.TcpProxy"
    return [*deny, _typed(kind, stat_prefix="x", cluster=cluster, access_log=log, **more)]


def _tunnel(cluster, log):
    """Return the filter that takes HBONE: HTTP/2 CONNECT."""
    connect = [{"upgrade_type": "CONNECT", "connect_config": {}}]
    route = _route(cluster, upgrade_configs=connect) | {"match": {"connect_matcher": {}}}
    options = {"http2_protocol_options": {"allow_connect": True}, "upgrade_configs": [{"upgrade_type": "CONNECT"}]}
    return _http([route], log, **options)


def _tls(kind, files, *, root=None, wants=None, newest="TLSv1_3", alpn=(), **more):
    common = {"tls_params": {"tls_maximum_protocol_version": newest}, "alpn_protocols": list(alpn)}
    if files:
        chain, key = ({"filename": str(file)} for file in files)
        common["tls_certificates"] = [{"certificate_chain": chain, "private_key": key}]
    if root:
        names = [{"san_type": "URI", "matcher": {"exact": wants}}] if wants else []
        trusted = {"trusted_ca": {"filename": str(root)}, "match_typed_subject_alt_names": names}
        common["validation_context"] = trusted
    return _typed(f"transport_sockets.tls.v3.{kind}TlsContext", common_tls_context=common, **more)


def _cluster(name, address, *, source=None, tls=None, h2=False, once=True):
    """Return a cluster of one address, of none if it is null; *once* opens a connection for every request."""
    options = {"explicit_http_config": {"http2_protocol_options" if h2 else "http_protocol_options": {}}}
    if once:
        options["common_http_protocol_options"] = {"max_requests_per_connection": 1}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}] if address else []
    out = {"name": name, "type": "STATIC", "connect_timeout": "1s"}
    out["load_assignment"] = {"cluster_name": name, "endpoints": endpoints}
    out["typed_extension_protocol_options"] = {
        f"envoy.extensions.{_HTTP_OPTIONS}": {"@type": _TYPE + _HTTP_OPTIONS, **options}
    }
    out |= {"upstream_bind_config": {"source_address": _at(source, 0)["socket_address"]}} if source else {}
    return out | ({"transport_socket": tls} if tls else {})


class Configuration:
    """
    Envoy's configuration for every case.

    Args:
        logs: By the side that writes it (`in`, `listener`, `out`) pairs of a path and a layout.
        files: Certificate and key by who shows them (`server`, `client`, `forged`, `nothing`), and the mesh's `root`.
        apps: Addresses by name: `clear`, `with tls`, `down`, and `pod` for one that the waypoint reaches.
    """

    def __init__(self, logs, files, apps):
        self.logs = {side: [_log(path, layout) for path, layout in pairs] for side, pairs in logs.items()}
        self.files, self.apps = files, {name: _at(*address) for name, address in apps.items()}
        takes = partial(_tls, "Downstream", files["server"], alpn=["h2", "http/1.1"])
        self.takes = {
            "required": takes(root=files["root"], require_client_certificate=True),
            "optional": takes(root=files["root"], require_client_certificate=False),
            "one way": takes(), "passed on": None, "clear": None,
        }  # fmt: skip
        self.listeners, self.clusters = [], []

    def add_server(self, port, server):
        """Add a server's port, its sidecar's way to the app, and the listener's own log."""
        name = f"inbound|{port}||"
        if server.raw:
            filters = _tcp(name, self.logs["in"], denies=server.denies, idle_timeout=f"{server.patience}s")
        else:
            filters = _http([_route(name)], self.logs["in"], denies=server.denies)
        self._listen(
            _at(SERVER, port), [self._chain(asks, server, filters) for asks in server.chains],
            listener_filters=_inspector() if server.inspects else [], listener_filters_timeout=f"{server.patience}s",
            continue_on_listener_filters_timeout=True, access_log=self.logs["listener"],
        )  # fmt: skip
        self.clusters.append(_cluster(name, self.apps[server.app], source="127.0.0.6"))

    def _chain(self, asks, server, filters):
        chain = {"filters": filters} | ({"transport_socket": self.takes[asks]} if self.takes[asks] else {})
        if server.inspects:
            permissive = asks == "required" and "clear" in server.chains
            chain["filter_chain_match"] = {"transport_protocol": "raw_buffer" if asks == "clear" else "tls"}
            chain["filter_chain_match"] |= {"application_protocols": MESH_ALPN} if permissive else {}
        return chain

    def add_client(self, dialled, to, name, sidecar, *, raw):
        """Add what the client's sidecar does with what its app dials: it goes *to* an address."""
        names = {"passthrough": "PassthroughCluster", "black hole": "BlackHoleCluster"}
        cluster, log = names.get(sidecar.route, f"outbound|80||{name}.ns-b.svc.cluster.local"), self.logs["out"]
        routes = {
            "none": [],
            "direct": [{"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}],
        }.get(sidecar.route, [_route(cluster, timeout=f"{sidecar.timeout}s")])
        tunnel = {"tunneling_config": {"hostname": f"{SERVER}:8080"}} if sidecar.route == "tunnel" else {}
        filters = _tcp(cluster, log, **tunnel) if raw else _http(routes, log)
        inspector = _inspector() if sidecar.inspects else []
        self._listen(_at(*dialled), [{"filters": filters}], listener_filters=inspector)
        self.clusters.append(_cluster(
            cluster, _at(*to) if sidecar.route != "black hole" else None, source=CLIENT, tls=self._shown(sidecar),
            h2=sidecar.h2, once=sidecar.once,
        ))  # fmt: skip

    def _shown(self, sidecar):
        if sidecar.shows == "clear":
            return None
        alpn = ["h2"] if sidecar.h2 else ["istio", "http/1.1"]
        wants = {"root": self.files["root"], "wants": sidecar.wants, "newest": sidecar.newest}
        return _tls("Upstream", self.files[sidecar.shows], alpn=alpn, sni=SNI, **wants)

    def add_tunnels(self):
        """Add where tunnels end: at the server's sidecar, and at a waypoint, which reads inside and asks the pod."""
        service, inner = "inbound-vip|80|http|svc-b.ns-b.svc.cluster.local", "main_internal"
        for ip, to in ((SERVER, "inbound|8080||"), (WAYPOINT, inner)):
            filters = _tunnel(to, self.logs["in"])
            self._listen(_at(ip, TUNNEL_PORT), [{"filters": filters, "transport_socket": self.takes["required"]}])
        internal = {"server_listener_name": inner, "endpoint_id": "x"}
        self._listen(None, [{"filters": _http([_route(service)], self.logs["in"])}], internal_listener={}, name=inner)
        self.clusters += [
            _cluster("inbound|8080||", self.apps["clear"], source="127.0.0.6"),
            _cluster(inner, {"envoy_internal_address": internal}),
            _cluster(service, self.apps["pod"], source=WAYPOINT),
        ]

    def _listen(self, address, chains, **more):
        one = {"name": str(len(self.listeners)), "filter_chains": chains, **more}
        self.listeners.append(one | ({"address": address} if address else {}))

    def document(self, admin_port):
        """Return the whole."""
        return {
            "admin": {"address": _at("127.0.0.1", admin_port)},
            "bootstrap_extensions": [_typed("bootstrap.internal_listener.v3.InternalListener")],
            "static_resources": {"listeners": self.listeners, "clusters": self.clusters},
        }
