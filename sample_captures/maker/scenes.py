"""The connections of `connections.tsv`, as things to do on the stage."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from maker import apps, lab
from maker.cast import CONTROL_PLANE, SERVICES, WORKER, address
from maker.stage import Scene

_Address = tuple[str, int]
_Play = Callable[[], object]

_BROWSER, _CURL, _SCRAPER = "Mozilla/5.0", "curl/7.77.0", "Prometheus/2.13.1"
#: What the browser behind NGINX has, by NGINX's word.
_BROWSER_IP = "203.0.113.9"


def _vip(service: str) -> _Address:
    return SERVICES[service].cluster_ip, SERVICES[service].port


def _asks(key: str, to: _Address, path: str, agent: str, forwarded_for: str | None = None) -> _Play:
    """One HTTP request."""

    def play() -> object:
        return apps.http_get(apps.dial(key, address(key), *to), f"{to[0]}:{to[1]}", path, agent, forwarded_for)

    return play


def _in_mesh(name: str, ends: tuple[str, str], path: str, agent: str, forwarded_for: str | None = None) -> Scene:
    """One HTTP request to the responder's Service, through both sidecars."""
    to = _vip(ends[1])
    play = _asks(ends[0], to, path, agent, forwarded_for)
    return Scene(name, ends, SERVICES[ends[1]].target_port, to, play, ends)


def _plain(name: str, ends: tuple[str, str], port: int, path: str, agent: str, *logged: str) -> Scene:
    """One HTTP request in clear to the responder's own address."""
    to = (address(ends[1]), port)
    return Scene(name, ends, port, to, _asks(ends[0], to, path, agent), logged)


def _said(name: str, ends: tuple[str, str], port: int, what: bytes) -> Scene:
    """The first bytes of some other protocol in clear, and the wait for the answer."""
    to = (address(ends[1]), port)
    return Scene(name, ends, port, to, lambda: apps.exchange(apps.dial(ends[0], address(ends[0]), *to), what))


def _dns(name: str, initiator: str, server: str, service: str) -> Scene:
    """One DNS query over UDP."""

    def play() -> object:
        return apps.dns_query(initiator, address(initiator), server, SERVICES[service].host)

    return Scene(name, (initiator, "coredns"), 53, (server, 53), play)


def _blocked(name: str, ends: tuple[str, str], port: int) -> Scene:
    """An attempt that the responder's end drops: a SYN and its repetition, no answer."""
    to = (address(ends[1]), port)

    def play() -> None:
        lab.drop_between(*ends)
        with suppress(TimeoutError):
            apps.dial(ends[0], address(ends[0]), *to, patience=1.5).close()

    return Scene(name, ends, port, to, play)


def _mysql(name: str, ends: tuple[str, str], to: _Address, *logged: str) -> Scene:
    """A MySQL session, or the wait for a greeting that does not come."""
    return Scene(name, ends, 3306, to, lambda: apps.mysql_session(apps.dial(ends[0], address(ends[0]), *to)), logged)


def _knock(name: str, ends: tuple[str, str], port: int) -> Scene:
    """A connection that is closed as soon as it is open."""
    to = (address(ends[1]), port)
    return Scene(name, ends, port, to, lambda: apps.dial(ends[0], address(ends[0]), *to).close())


@dataclass(frozen=True)
class _OverTls:
    """One HTTP request over one-way TLS of the application's own; *root* is the certificate it trusts."""

    root: str

    def __call__(self, name: str, ends: tuple[str, str], host: str, agent: str, to: _Address) -> Scene:
        def play() -> object:
            line = apps.tls(apps.dial(ends[0], address(ends[0]), *to), host, self.root, ["http/1.1"])
            return apps.http_get(line, host, "/", agent)

        return Scene(name, ends, to[1], to, play)


def before_the_address_changes_hands() -> list[Scene]:
    """Return what happens while the Job's pod still holds the address that Kibana's will have."""
    return [_plain("reindex-es-refused", ("reindex", "es-ingest"), 9200, "/_reindex", _CURL, "es-ingest")]


def afterwards(root: str) -> list[Scene]:
    """Return what happens when Kibana's pod holds it; *root* is the file of the trusted certificate."""
    tls = _OverTls(root)
    webhook, coherence = "kube-apiserver-admission", "coherence-operator-webhook-service"
    return [
        _in_mesh("kibana-es-mtls", ("kibana", "es-ingest"), "/.kibana/_search", "Kibana/7.6.1"),
        _in_mesh("nginx-console-mtls", ("nginx", "console"), "/", _BROWSER),
        _plain("nginx-console-plaintext", ("nginx-bare", "console"), 8000, "/", _BROWSER, "console"),
        _in_mesh("nginx-keycloak-forwarded", ("nginx", "keycloak"), "/auth/realms/vz", _BROWSER, _BROWSER_IP),
        Scene("nginx-rancher-plaintext", ("nginx", "rancher"), 80, _vip("rancher"),
              _asks("nginx", _vip("rancher"), "/v3", _BROWSER), ("nginx",)),
        _mysql("keycloak-mysql-mtls", ("keycloak", "mysql"), _vip("mysql"), "keycloak", "mysql"),
        _in_mesh("fluentd-keycloak-mtls", ("fluentd", "keycloak"), "/auth/realms/master", "Ruby"),
        _in_mesh("grafana-prometheus-mtls", ("grafana", "prometheus"), "/api/v1/query?query=up", "Grafana/6.4.4"),
        _plain("stranger-es-refused", ("stranger", "es-ingest"), 9200, "/_cat/indices", _CURL, "es-ingest"),
        _mysql("netshoot-mysql-refused", ("netshoot", "mysql"), (address("mysql"), 3306), "mysql"),
        _said("master-ingest-transport", ("es-master", "es-ingest"), 9300, apps.transport_hello()),
        _blocked("netshoot-keycloak-denied", ("netshoot", "keycloak"), 8080),
        tls("netshoot-rancher-undocumented-port", ("netshoot", "rancher"), "rancher.cattle-system.svc", _CURL,
            (address("rancher"), 443)),
        tls("netshoot-internet", ("netshoot", "internet"), "charts.example.com", _CURL, (address("internet"), 443)),
        _plain("prometheus-console-15090", ("prometheus", "console"), 15090, "/stats/prometheus", _SCRAPER),
        _plain("prometheus-node-exporter", ("prometheus", WORKER), 9100, "/metrics", _SCRAPER),
        _blocked("prometheus-cert-manager-blocked", ("prometheus", "cert-manager"), 9402),
        tls("prometheus-coherence-9443", ("prometheus", "coherence"), coherence, _SCRAPER,
            (address("coherence"), 9443)),
        _dns("fluentd-dns", "fluentd", SERVICES["kube-dns"].cluster_ip, "keycloak"),
        _dns("grafana-dns", "grafana", address("coredns"), "prometheus"),
        _plain("probe-console-15021", (WORKER, "console"), 15021, "/healthz/ready", "kube-probe/1.20"),
        _plain("probe-keycloak-15020", (WORKER, "keycloak"), 15020, "/app-health/keycloak/readyz", "kube-probe/1.20"),
        _knock("probe-mysql-tcp", (WORKER, "mysql"), 3306),
        tls("apiserver-operator-webhook", (CONTROL_PLANE, "application-operator"),
            "verrazzano-application-operator.verrazzano-system.svc", webhook, (address("application-operator"), 9443)),
        tls("apiserver-coherence-webhook", (CONTROL_PLANE, "coherence"), coherence, webhook,
            (address("coherence"), 9443)),
        tls("operator-apiserver", ("application-operator", CONTROL_PLANE), "kubernetes.default.svc", "operator/1.0.0",
            _vip("kubernetes")),
        tls("console-istiod", ("console", "istiod"), "istiod.istio-system.svc", "grpc-go/1.30.0", _vip("istiod")),
        tls("rancher-internet", ("rancher", "internet"), "charts.example.com", "Go-http-client/1.1",
            (address("internet"), 443)),
        _said("rancher-stranger", ("rancher", "stranger"), 5432, apps.POSTGRES_STARTUP),
    ]  # fmt: skip
