"""A test API server: real HTTP, in threads, that answers lists and watches as a test tells it, faults included."""

from __future__ import annotations

import json
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from vzflow.identity.kubernetes import RESOURCES

PODS = "/api/v1/pods"
ISTIO_V1 = "/apis/security.istio.io/v1/peerauthentications"
ISTIO_V1BETA1 = "/apis/security.istio.io/v1beta1/peerauthentications"
#: Objects a page, whatever is asked for.
PER_PAGE = 2
CUT, END = "cut", "end"  # of a watch: without and with the last chunk
SECONDS = 10.0


def path_of(plural: str, group: str, version: str) -> str:
    return f"/api/{version}/{plural}" if not group else f"/apis/{group}/{version}/{plural}"


@dataclass
class Fault:
    """What one request is answered instead: a status, half a body, one that trickles, or nothing."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "{}"
    cut: bool = False
    silent: bool = False
    trickle: float = 0.0  # seconds between blanks, for ever


class ApiServer:
    """Whatever was not given is an empty list, and a watch without a script stays open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lists: dict[str, list[dict[str, Any]]] = {path_of(r.plural, r.group, r.versions[0]): [] for r in RESOURCES}
        self.version = 7
        self.date: str | None = None
        self.status: dict[str, int] = {}  # always
        self.faults: dict[str, list[Fault]] = defaultdict(list)  # once each, before anything else
        self.watches: dict[str, list[list[Any]]] = defaultdict(list)  # path -> scripts: events, CUT, END, a Fault
        self.answers: dict[str, Any] = {}  # path -> content, instead of a list
        self.allowed: set[str] | None = None  # values of Authorization
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.over = threading.Event()

    def queries(self, path: str, *, watch: bool = False) -> list[dict[str, str]]:
        return [query for _, asked, query in self.asked if asked == path and ("watch" in query) == watch]


def named(*names: str) -> list[dict[str, Any]]:
    return [{"metadata": {"name": n, "namespace": "shop", "uid": n}} for n in names]


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": str(version)}
    return {"type": kind, "object": {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}}


def bookmark(version: int) -> dict[str, Any]:
    return {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": str(version)}}}


def gone() -> dict[str, Any]:
    return {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: ApiServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path, dict(parse_qsl(parts.query))
        self.api.asked.append((self.command, path, query))
        if self.api.allowed is not None and self.headers.get("Authorization") not in self.api.allowed:
            self.answer(401, "{}")
        elif "watch" in query and self.api.watches[path]:
            self.watch(self.api.watches[path].pop(0))
        elif "watch" not in query and self.api.faults[path]:
            self.fault(self.api.faults[path].pop(0))
        elif path in self.api.answers:
            self.answer(200, json.dumps(self.api.answers[path]))
        elif path in self.api.status:
            self.answer(self.api.status[path], json.dumps({"kind": "Status"}))
        elif path not in self.api.lists:
            self.answer(404, "{}")
        elif "watch" in query:
            self.watch([])
        else:
            self.answer(200, json.dumps(self.page(path, int(query.get("continue", "0")))))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def page(self, path: str, begin: int) -> dict[str, Any]:
        items = self.api.lists[path]
        metadata = {"resourceVersion": str(self.api.version)}
        if begin + PER_PAGE < len(items):
            metadata["continue"] = str(begin + PER_PAGE)
        return {"kind": "XList", "metadata": metadata, "items": items[begin : begin + PER_PAGE]}

    def answer(self, status: int, body: str, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        data = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def fault(self, fault: Fault) -> None:
        if fault.silent:
            self.api.over.wait(SECONDS)
        elif fault.trickle:
            self.answer(200, "", length=1 << 30)
            while not self.api.over.wait(fault.trickle):
                self.wfile.write(b" ")
        elif fault.cut:
            self.answer(200, fault.body, length=len(fault.body) + 100)
        else:
            self.answer(fault.status, fault.body, fault.headers)
            return
        self.close_connection = True

    def watch(self, script: Iterable[Any]) -> None:
        script = list(script)
        if script and isinstance(script[0], Fault):
            self.fault(script[0])
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for step in script:
            if step == END:
                self.wfile.write(b"0\r\n\r\n")
                return
            if step == CUT:
                self.close_connection = True
                return
            data = step if isinstance(step, bytes) else json.dumps(step).encode() + b"\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()
        self.api.over.wait(SECONDS)
        self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.api.date or super().date_time_string(timestamp)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what many tests are about."""


@contextmanager
def api_server(tls: ssl.SSLContext | None = None) -> Iterator[ApiServer]:
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    api = ApiServer(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
    handler.api = api
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        api.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def kubeconfig(folder: Path, urls: dict[str, str], user: dict[str, Any] | None = None, **cluster: Any) -> str:
    """Write a kubeconfig with a context for each name and URL, the first being the current one."""
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(urls)),
        "contexts": [{"name": name, "context": {"cluster": name, "user": "u"}} for name in urls],
        "clusters": [{"name": name, "cluster": {"server": url, **cluster}} for name, url in urls.items()],
        "users": [{"name": "u", "user": user or {"token": "t0ken"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)
