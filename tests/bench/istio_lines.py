"""
Lines of Istio's default text of a made-up cluster: the sidecars of both ends of exchanges, and a gateway.

Every line has times, ports, sizes and a request id of its own; its other texts are those of the cluster, of a hundred
user agents, and paths with numbers in them. A line is about 400 bytes long.

Source: istio/istio pilot/pkg/model/telemetry_logging.go, EnvoyTextLogFormat since 1.9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from bench.cluster import Cluster, End, Workload

#: 2025-10-09T08:53:20Z in milliseconds; lines a second.
BEGIN, RATE = 1_760_000_000_000, 2000
#: Ephemeral ports of Linux: 32768 and the following.
FIRST_PORT, PORTS = 32_768, 28_232
#: Shares of requests that failed, that came through the gateway, that travelled in a connection of many.
FAILED, OUTER, SHARED = 0.03, 0.05, 0.5
#: Lines in which a shared connection lives.
SHARED_FOR = 100_000
GATEWAY = "10.244.200.7"

#: What is asked for, by role, with `{}` for a number; other roles speak no HTTP.
_PATHS = {
    "api": (
        "GET /api/v1/orders/{}", "POST /api/v2/customers/{}/cart?expand=items", "GET /api/v1/prices?sku={}&c=EUR",
        "GET /api/v1/search?q=shoes&page={}&sort=price", "GET /healthz", "DELETE /internal/v1/tokens/{}",
    ),
    "web": (
        "GET /", "GET /products/{}", "GET /static/js/app.{}.js", "GET /img/{}.webp?w=640", "POST /cart?session={}",
        "GET /login?next=/orders/{}",
    ),
    "worker": (
        "POST /orders.v1.OrderService/GetOrder", "POST /stock.v1.Stock/Reserve", "GET /jobs/{}/status",
        "POST /grpc.health.v1.Health/Check", "POST /events.v1.Events/Publish", "PUT /mail/{}",
    ),
}  # fmt: skip
_PROTOCOLS = {"api": "HTTP/1.1", "web": "HTTP/1.1", "worker": "HTTP/2"}
_BROWSERS = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for version in range(112, 142)
    for system in ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64")
)
_AGENTS = (
    "Go-http-client/1.1", "Go-http-client/2.0", "okhttp/4.12.0", "python-requests/2.32.3", "curl/8.5.0", "axios/1.7.7",
    "grpc-go/1.67.1", "grpc-java-netty/1.68.0", "kube-probe/1.31", "Apache-HttpClient/5.4 (Java/21.0.4)",
)  # fmt: skip
#: Status, flags and details of what failed; the last one is what did not.
_RESULTS = (
    (404, "-", "via_upstream"), (500, "-", "via_upstream"), (403, "-", "via_upstream"),
    (504, "UT", "response_timeout"), (0, "DC", "downstream_remote_disconnect"), (200, "-", "via_upstream"),
)  # fmt: skip


class _Draw(NamedTuple):
    """Of a request: numbers of its ends (`outside` is -1 within the mesh), ports, sizes, and what else is drawn."""

    client: int
    server: int
    outside: int
    inbound: bool
    port: int
    other_port: int
    result: int
    milliseconds: int
    received: int
    sent: int
    pick: int


class Istio:
    """Writes access logs, a line each request or connection: as many of servers' sidecars as of clients'."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def lines(self, first: int, count: int, random: np.random.Generator) -> Iterator[str]:
        """Yield *count* lines, the first of them being the log's *first*."""
        nth = first + np.arange(count)
        times = np.datetime_as_string((BEGIN + nth * 1000 // RATE).astype("datetime64[ms]")).tolist()
        ids = random.bytes(16 * count).hex()
        draws = zip(*(column.tolist() for column in self._draws(nth, random)), strict=True)
        for number, (time, draw) in enumerate(zip(times, draws, strict=True)):
            yield f"[{time}Z] {self._told(_Draw(*draw), ids[32 * number : 32 * number + 32])}\n"

    def _draws(self, nth: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The columns of `_Draw`."""
        count = len(nth)
        clients, servers = self._cluster.exchanges(count, random)
        outside = np.where(random.random(count) < OUTER, self._cluster.outside(count, random), -1)
        shared = clients * 31 + servers * 17 + nth // SHARED_FOR
        port = np.where(random.random(count) < SHARED, shared, random.integers(0, PORTS, count))
        last = len(_RESULTS) - 1
        return (
            clients, servers, outside, random.random(count) < 0.5,
            FIRST_PORT + port % PORTS, FIRST_PORT + random.integers(0, PORTS, count),
            np.where(random.random(count) < FAILED, random.integers(0, last, count), last),
            random.lognormal(2.5, 1.4, count).astype(int),
            *random.lognormal(7, 1.8, (2, count)).astype(int), random.integers(0, 1 << 30, count),
        )  # fmt: skip

    def _told(self, draw: _Draw, tag: str) -> str:
        server = self._cluster.ends[draw.server]
        workload = self._cluster.workloads[server.workload]
        ends = self._ends(draw, server, workload)
        if workload.role not in _PATHS:
            return (
                f'"- - -" 0 - - - "-" {draw.received} {draw.sent} {draw.milliseconds * 100} - "-" "-" "-" "-" {ends} -'
            )
        code, flags, details = _RESULTS[draw.result]
        asked = _PATHS[workload.role][draw.pick % 6].format(draw.pick % 1_000_003)
        answered = details == "via_upstream"
        outer = draw.outside >= 0
        forwarded = self._cluster.ends[draw.outside].ip if outer else "-"
        agent = _BROWSERS[draw.pick % len(_BROWSERS)] if outer else _AGENTS[draw.client % len(_AGENTS)]
        return (
            f'"{asked} {_PROTOCOLS[workload.role]}" {code} {flags} {details} - "-" '
            f"{0 if asked.startswith('GET') else draw.received} {draw.sent if answered else 0} {draw.milliseconds} "
            f'{draw.milliseconds * 7 // 8 if answered else "-"} "{forwarded}" "{agent}" '
            f'"{tag[:8]}-{tag[8:12]}-4{tag[13:16]}-9{tag[17:20]}-{tag[20:]}" '
            f'"{"www.example.com" if outer else f"{workload.host}:{workload.port}"}" {ends} '
            f"{'-' if outer else 'default'}"
        )

    def _ends(self, draw: _Draw, server: End, workload: Workload) -> str:
        """Upstream host, cluster, the three addresses, SNI; as the gateway or the sidecar of either end prints them."""
        upstream, port = f"{server.ip}:{workload.port}", workload.port
        if draw.outside >= 0:
            client = self._cluster.ends[draw.outside].ip
            return (
                f'"{upstream}" outbound|{port}||{workload.host} {GATEWAY}:{draw.other_port} {GATEWAY}:8443 '
                f"{client}:{draw.port} www.example.com"
            )
        client = self._cluster.ends[draw.client].ip
        if draw.inbound:
            return (
                f'"{upstream}" inbound|{port}|| 127.0.0.6:{draw.other_port} {upstream} {client}:{draw.port} '
                f"outbound_.{port}_._.{workload.host}"
            )
        return (
            f'"{upstream}" outbound|{port}||{workload.host} {client}:{draw.port} {workload.service_ip}:{port} '
            f"{client}:{draw.other_port} -"
        )
