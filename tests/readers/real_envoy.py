"""
The real Envoy on loopback as client sidecar (dialled at 127.0.0.30), server sidecar (127.0.0.20) and waypoint.

Every case has a port of the server and one of the client's sidecar for itself, by which its lines are found.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from readers.envoy_config import (
    CLIENT,
    CLIENT_NAME,
    DIALLED,
    PATIENCE,
    SERVER,
    SERVER_NAME,
    TUNNEL_PORT,
    WAYPOINT,
    Configuration,
    Server,
    Sidecar,
)

from vzflow.flow.data import shipped

ENVOY = Path(sys.executable).parent / "envoy"
#: How long the app thinks of a slow answer, in seconds.
SLOW = 0.2
BODY = b"x" * 1000
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


# What clients do at an address


def ask(address, *, path="/", times=1, body=None, patience=5.0, forwarded_for=None):
    """Ask over HTTP, *times* on one connection."""
    connection = http.client.HTTPConnection(*address, timeout=patience, source_address=(CLIENT, 0))
    headers = {"User-Agent": "agent of/1.0"} | ({"X-Forwarded-For": forwarded_for} if forwarded_for else {})
    with suppress(OSError, http.client.HTTPException):
        for _ in range(times):
            connection.request("POST" if body else "GET", path, body, headers)
            connection.getresponse().read()
    connection.close()


def talk(address, *, wrap=lambda line: line):
    """Send REQUEST and return all that comes back, nothing if the connection fails."""
    got = b""
    with suppress(OSError), socket.create_connection(address, 5, (CLIENT, 0)) as plain, wrap(plain) as line:
        line.sendall(REQUEST)
        while more := line.recv(4096):
            got += more
    return got


def own_tls(line):
    """TLS of the app's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(line, server_hostname="db.example.test")


def wait(address):
    """Connect, say nothing until the other side gives up, and return the port it was connected from."""
    with socket.create_connection(address, 5, (CLIENT, 0)) as line:
        port = line.getsockname()[1]
        line.recv(1)
    return port


def leave(address):
    """Connect and close at once."""
    socket.create_connection(address, 5, (CLIENT, 0)).close()


class Case(NamedTuple):
    """The server's port, the client's sidecar if it has one, and what the client does."""

    server: str
    sidecar: Sidecar | None
    act: Callable[..., object] = ask


SERVERS = {
    "strict": Server(("required",)),
    "permissive": Server(("required", "clear")),
    "one way": Server(("one way",)),
    "optional": Server(("optional",)),
    "clear": Server(("clear",), inspects=False),
    "not inspecting": Server(("required",), inspects=False),
    "denying": Server(("required",), denies=True),
    "without app": Server(("required",), app="down"),
    "impatient": Server(("required",), patience=PATIENCE),
    "raw strict": Server(("required",), raw=True),
    "raw permissive": Server(("required", "passed on", "clear"), raw=True),
    "raw with tls": Server(("required", "passed on", "clear"), raw=True, app="with tls"),
    "raw impatient": Server(("required",), raw=True, patience=PATIENCE),
    "raw denying": Server(("required",), raw=True, denies=True),
}
MESH, NAMELESS, FORGED, CLEAR = (Sidecar(shows) for shows in ("client", "nothing", "forged", "clear"))
TUNNEL = Sidecar(h2=True, route="tunnel")

CASES = {
    "mutual": Case("strict", MESH),
    "mutual to permissive": Case("permissive", MESH),
    "mutual of http/2": Case("strict", Sidecar(h2=True)),
    "resumed": Case("strict", MESH, partial(ask, times=2)),
    "resumed 1.2": Case("strict", Sidecar(newest="TLSv1_2"), partial(ask, times=2)),
    "kept alive": Case("strict", Sidecar(once=False), partial(ask, times=2)),
    "optional": Case("optional", MESH),
    "one way": Case("one way", NAMELESS),
    "body": Case("strict", MESH, partial(ask, body=BODY)),
    "slow": Case("strict", MESH, partial(ask, path="/slow")),
    "clear to permissive": Case("permissive", CLEAR),
    "forwarded": Case("permissive", None, partial(ask, forwarded_for="203.0.113.9")),
    "own tls to permissive": Case("permissive", None, partial(talk, wrap=own_tls)),
    "clear to strict": Case("strict", CLEAR),
    "clear, not inspected": Case("not inspecting", None, talk),
    "nameless to strict": Case("strict", NAMELESS),
    "nameless 1.2 to strict": Case("strict", Sidecar("nothing", newest="TLSv1_2")),
    "forged to strict": Case("strict", FORGED),
    "other server": Case("strict", Sidecar(wants=CLIENT_NAME)),
    "tls to clear": Case("clear", MESH),
    "silent": Case("impatient", None, wait),
    "left": Case("strict", None, leave),
    "closed port": Case("none", CLEAR),
    "no route": Case("none", Sidecar(route="none")),
    "direct response": Case("none", Sidecar(route="direct")),
    "denied": Case("denying", MESH),
    "app is down": Case("without app", MESH),
    "app hangs up": Case("strict", MESH, partial(ask, path="/hangup")),
    "too slow": Case("strict", Sidecar(timeout=PATIENCE), partial(ask, path="/never")),
    "client leaves": Case("strict", MESH, partial(ask, path="/never", patience=PATIENCE)),
    "raw": Case("raw strict", MESH, talk),
    "raw passthrough": Case("raw permissive", Sidecar("clear", route="passthrough"), talk),
    "raw own tls": Case("raw with tls", Sidecar("clear", inspects=True), partial(talk, wrap=own_tls)),
    "raw nameless": Case("raw strict", NAMELESS, talk),
    "raw clear to strict": Case("raw strict", CLEAR, talk),
    "raw closed port": Case("raw none", MESH, talk),
    "raw black hole": Case("raw none", Sidecar("clear", route="black hole"), talk),
    "raw idle": Case("raw impatient", MESH, wait),
    "raw denied": Case("raw denying", MESH, talk),
    "tunnel": Case("tunnel", TUNNEL, talk),
    "waypoint": Case("waypoint", TUNNEL, talk),
}


class App(BaseHTTPRequestHandler):
    """Answers `hello`; ends the connection without an answer at `/hangup`, when the other side has, at `/never`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/never":
            self.rfile.read(1)
        if self.path in ("/hangup", "/never"):
            self.close_connection = True
            return
        if self.path == "/slow":
            time.sleep(SLOW)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    do_POST = do_GET

    def log_message(self, *args):
        pass


def free_ports(ip, count):
    """Return ports of *ip* that nothing listens on."""
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.socket()) for _ in range(count)]
        for line in lines:
            line.bind((ip, 0))
        return [line.getsockname()[1] for line in lines]


def certificates(folder):
    """Return what each side shows, made as the samples' certificates are."""
    from cryptography import x509

    spec = importlib.util.spec_from_file_location("certificates", shipped("sample_captures") / "maker/certificates.py")
    made, uri = importlib.util.module_from_spec(spec), x509.UniformResourceIdentifier
    spec.loader.exec_module(made)
    (folder / "foreign").mkdir()
    mesh, stranger = made.Authority(folder), made.Authority(folder / "foreign")
    return {
        "root": mesh.root, "server": mesh.issue("server", uri(SERVER_NAME)),
        "client": mesh.issue("client", uri(CLIENT_NAME)), "forged": stranger.issue("x", uri(CLIENT_NAME)),
        "nothing": None,
    }  # fmt: skip


class World:
    """
    One Envoy that was client and server of every case.

    Args:
        folder: Where its logs are, as `SIDE.LAYOUT`.
        layouts: Log formats by name, as Envoy is told them.
    """

    def __init__(self, folder, layouts):
        self.folder, self.layouts = folder, layouts
        self.ports = dict(zip(CASES, free_ports(SERVER, len(CASES)), strict=True))
        self.doors = dict(zip(CASES, free_ports(DIALLED, len(CASES)), strict=True))
        (self.admin,) = free_ports("127.0.0.1", 1)
        #: By case: begin, end, what the client got.
        self.done = {}

    def run(self):
        """Do everything, one case after the other, then stop Envoy, which writes all its logs."""
        files = certificates(self.folder)
        with ExitStack() as stack:
            apps = {name: stack.enter_context(ThreadingHTTPServer((ip, 0), App))
                    for name, ip in (("clear", "127.0.0.1"), ("with tls", "127.0.0.1"), ("pod", SERVER))}  # fmt: skip
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files["server"])
            apps["with tls"].socket = context.wrap_socket(apps["with tls"].socket, server_side=True)
            for app in apps.values():
                threading.Thread(target=app.serve_forever, args=(0.02,), daemon=True).start()
                stack.callback(app.shutdown)
            self.pod = apps["pod"].server_address[1]
            down = stack.enter_context(socket.socket())
            down.bind(("127.0.0.1", 0))  # and not listening: nobody answers here, and nobody else takes it
            served = {name: app.server_address for name, app in apps.items()}
            config = self.configuration(files, served | {"down": down.getsockname()})
            self.serve(config.document(self.admin))

    def configuration(self, files, apps):
        logs = {side: [(self.folder / f"{side}.{name}", layout) for name, layout in self.layouts.items()]
                for side in ("in", "listener", "out")}  # fmt: skip
        config = Configuration(logs, files, apps)
        for case, (server, sidecar, _) in CASES.items():
            if server in SERVERS:
                config.add_server(self.ports[case], SERVERS[server])
            if sidecar:
                ends = {"tunnel": (SERVER, TUNNEL_PORT), "waypoint": (WAYPOINT, TUNNEL_PORT)}
                to = ends.get(server, (SERVER, self.ports[case]))
                raw = server.startswith("raw") or server in ends
                config.add_client((DIALLED, self.doors[case]), to, case.replace(" ", "-"), sidecar, raw=raw)
        config.add_tunnels()
        return config

    def serve(self, document):
        config, told = self.folder / "envoy.json", self.folder / "stderr"
        config.write_text(json.dumps(document))
        command = [ENVOY, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        with told.open("wb") as err:
            process = subprocess.Popen(command, stdout=err, stderr=err)
        try:
            self.until_ready(process, told)
            for case, (_, sidecar, act) in CASES.items():
                begin = datetime.now(UTC)
                got = act((DIALLED, self.doors[case]) if sidecar else (SERVER, self.ports[case]))
                self.done[case] = begin, datetime.now(UTC), got
            self.statistics = self.get("stats?filter=session_reused")
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/{path}", timeout=2) as answer:
            return answer.read().decode()

    def until_ready(self, process, told):
        limit = time.monotonic() + 20
        while time.monotonic() < limit and process.poll() is None:
            with suppress(OSError):
                if "LIVE" in self.get("ready"):
                    return
            time.sleep(0.02)
        raise RuntimeError(told.read_text()[-2000:])
