"""The running stage: the network, the sidecars, the applications and the capture, and what was played on it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from maker import apps, lab
from maker.cast import CONTROL_PLANE, PODS, SERVICES, WORKER, address
from maker.certificates import Authority
from maker.packets import Conversation
from maker.sidecars import Sidecar

#: The last segments of closing pass within this many seconds; the next connection must not begin before.
_SETTLE = 0.03
#: Sidecars that are declared and not run, because no connection passes them: see README.md.
_NOT_RUN = ("es-master",)


@dataclass(frozen=True)
class Scene:
    """
    One connection to be made.

    Args:
        name: Its name in `connections.tsv`.
        ends: Cast members that open and answer it.
        port: Port on the wire.
        dialled: Address and port that the application dials.
        play: Makes it; returns when it is over.
        logged: Sidecars that will write one line each, the initiator's first.
    """

    name: str
    ends: tuple[str, str]
    port: int
    dialled: tuple[str, int]
    play: Callable[[], object]
    logged: tuple[str, ...] = ()


@dataclass
class Played:
    """A scene that took place: when (epoch seconds), the log lines it left, and its packets once they are found."""

    scene: Scene
    began: float
    ended: float = 0.0
    lines: list[tuple[str, str]] = field(default_factory=list)
    talk: Conversation | None = None


class Stage:
    """
    Everything that runs while scenes are played.

    Args:
        folder: For certificates, configurations, logs and the capture.
        envoy: The Envoy binary.
        pcap: File to capture to.
    """

    def __init__(self, folder: Path, envoy: str, pcap: Path) -> None:
        self.began = time.time()
        self.played: list[Played] = []
        self._folder, self._envoy, self._pcap = folder, envoy, pcap
        self._authority = Authority(folder)
        self._sidecars: dict[str, Sidecar] = {}
        lab.build()
        self._capture = self._start_capture()
        self._start_sidecars([key for key, pod in PODS.items() if pod.sidecar and key not in ("kibana", *_NOT_RUN)])
        self._start_apps()

    @property
    def root(self) -> str:
        """File of the root certificate."""
        return str(self._authority.root)

    def _start_capture(self) -> subprocess.Popen[bytes]:
        said = self._folder / "tcpdump.stderr"
        command = ["tcpdump", "-i", lab.BRIDGE, "-w", str(self._pcap), "-U", "--immediate-mode", "-s", "0", "-n"]
        with said.open("wb") as out:
            process = lab.start(None, [*command, "-Z", "root"], out)
        _until(lambda: b"listening on" in said.read_bytes(), "tcpdump does not listen")
        return process

    def _start_sidecars(self, keys: list[str]) -> None:
        started = [Sidecar(key, self._envoy, self._authority, self._folder) for key in keys]
        for sidecar in started:
            sidecar.wait_ready()
            self._sidecars[sidecar.key] = sidecar

    def _start_apps(self) -> None:
        for key in ("console", "keycloak", "prometheus", "es-ingest"):
            for captured in PODS[key].inbound:
                apps.serve(key, "127.0.0.1", captured.port, apps.http_server({"service": key, "status": "ok"}))
        apps.serve("mysql", "127.0.0.1", 3306, apps.mysql_server)
        # Pilot-agent: behind the sidecar's 15021, and on 15020 itself for rewritten probes.
        apps.serve("console", "127.0.0.1", 15020, apps.http_server({}))
        apps.serve("keycloak", address("keycloak"), 15020, apps.http_server({}))
        apps.serve("es-ingest", address("es-ingest"), 9300, apps.transport_server)
        apps.serve("rancher", address("rancher"), 80, apps.http_server({"type": "apiRoot"}))
        apps.serve(WORKER, address(WORKER), 9100, apps.http_server({"node_load1": 0.4}))
        apps.serve("stranger", address("stranger"), 5432, apps.postgres_server)
        self._serve_tls("application-operator", 9443, "verrazzano-application-operator.verrazzano-system.svc")
        self._serve_tls("coherence", 9443, "coherence-operator-webhook-service")
        self._serve_tls("rancher", 443, "rancher.cattle-system.svc")
        self._serve_tls("internet", 443, "charts.example.com")
        self._serve_tls("istiod", 15012, "istiod.istio-system.svc", SERVICES["istiod"].cluster_ip)
        self._serve_tls(CONTROL_PLANE, 443, "kubernetes.default.svc", SERVICES["kubernetes"].cluster_ip)
        names = {SERVICES[name].host: SERVICES[name].cluster_ip for name in ("keycloak", "prometheus")}
        apps.dns_server("coredns", SERVICES["kube-dns"].cluster_ip, names)
        apps.dns_server("coredns", address("coredns"), names)

    def _serve_tls(self, key: str, port: int, name: str, ip: str | None = None) -> None:
        """Serve HTTP over one-way TLS of the application's own, on the end's address or on *ip*."""
        chain, secret = self._authority.issue(f"app-{key}", x509.DNSName(name))
        handle = apps.over_tls(apps.http_server({"status": "ok"}), str(chain), str(secret), ["h2", "http/1.1"])
        apps.serve(key, ip or address(key), port, handle)

    def play(self, scene: Scene) -> None:
        """Make one connection, wait for the lines it leaves, and remember both."""
        before = {key: len(self._sidecars[key].lines()) for key in scene.logged}
        played = Played(scene, began=time.time())
        scene.play()
        for key in scene.logged:
            played.lines.append((key, self._next_line(key, before[key], scene.name)))
        time.sleep(_SETTLE)
        played.ended = time.time()
        self.played.append(played)

    def _next_line(self, key: str, before: int, name: str) -> str:
        _until(lambda: len(self._sidecars[key].lines()) > before, f"{key} logged nothing of {name}")
        new = self._sidecars[key].lines()[before:]
        if len(new) != 1:
            raise RuntimeError(f"{key} logged {len(new)} lines of {name}")
        return new[0]

    def hand_over_address(self) -> tuple[float, float]:
        """
        Let the Job's pod finish and Kibana's start with its address.

        Returns when the one finished and the other began, in epoch seconds. Kubernetes cuts times to seconds: a second
        between the connection, the end and the beginning keeps their order true in its notation.
        """
        finished = next_second()
        lab.remove("reindex")
        began = next_second()
        lab.add("kibana")
        self._start_sidecars(["kibana"])
        return finished, began

    def end(self) -> None:
        """Stop the sidecars, then the capture; both write what they still hold."""
        for sidecar in self._sidecars.values():
            sidecar.stop()
        time.sleep(0.2)
        self._capture.send_signal(signal.SIGINT)
        self._capture.wait(timeout=10)


def _until(done: Callable[[], bool], otherwise: str, patience: float = 5.0) -> None:
    limit = time.monotonic() + patience
    while not done():
        if time.monotonic() > limit:
            raise RuntimeError(otherwise)
        time.sleep(0.02)


def next_second() -> float:
    """Sleep into the next whole second and return it."""
    then = float(int(time.time()) + 1)
    time.sleep(then - time.time() + 0.01)
    return then
