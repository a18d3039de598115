"""Tells over HTTP how a recorder does: /healthz, /readyz and /metrics."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vzflow.flow.errors import UsageProblem
from vzflow.identity.recording import Recording
from vzflow.identity.watching import RETRY_MISSING, WATCH, Counts

#: Path -> what makes its status and text.
Pages = Mapping[str, Callable[[], tuple[int, str]]]
#: Seconds without a sign of life after which a thread counts as stuck: it waits that long for nothing.
_STUCK = 2.0 * max(RETRY_MISSING, *WATCH)
_OK, _NOT_FOUND, _UNAVAILABLE = 200, 404, 503


def pages(counts: Mapping[str, Counts], recording: Recording) -> Pages:
    """Return what is told of *recording* and of the watch of each kind."""
    return {
        "/healthz": lambda: _verdict(_stuck(counts)),
        "/readyz": lambda: _verdict(f"{kind}: not listed yet" for kind, c in counts.items() if not _known(c)),
        "/metrics": lambda: (_OK, metrics(counts, recording)),
    }


def _verdict(problems: Iterator[str]) -> tuple[int, str]:
    found = [*problems]
    return (_UNAVAILABLE, "".join(f"{one}\n" for one in found)) if found else (_OK, "ok\n")


def _stuck(counts: Mapping[str, Counts]) -> Iterator[str]:
    for kind, one in counts.items():
        silent = time.monotonic() - one.alive
        if silent > _STUCK:
            yield f"{kind}: no sign of life for {silent:.0f} s"


def _known(counts: Counts) -> bool:
    return bool(counts.lists or counts.missing)


def metrics(counts: Mapping[str, Counts], recording: Recording) -> str:
    """Return the figures in Prometheus' text format, version 0.0.4."""
    return "".join(_metrics(counts, recording))


def _metrics(counts: Mapping[str, Counts], recording: Recording) -> Iterator[str]:
    def of_kinds(value: Callable[[Counts], float]) -> list[tuple[str, float]]:
        return [(f'{{kind="{kind}"}}', value(one)) for kind, one in counts.items()]

    def of_maps(label: str, values: Callable[[Counts], Mapping[str, int]]) -> list[tuple[str, float]]:
        return [
            (f'{{kind="{kind}",{label}="{name}"}}', count)
            for kind, one in counts.items()
            for name, count in sorted(dict(values(one)).items())
        ]

    now = time.time()
    yield _metric("watch_events", "counter", "Events recorded, with bookmarks.", of_maps("type", lambda c: c.events))
    yield _metric("watch_errors", "counter", "Failures, by reason.", of_maps("reason", lambda c: c.errors))
    yield _metric("watch_lists", "counter", "Whole lists, one after each gap.", of_kinds(lambda c: c.lists))
    yield _metric("watch_reconnects", "counter", "Watches that ended.", of_kinds(lambda c: c.reconnects))
    yield _metric("watch_up", "gauge", "1 while a watch is open.", of_kinds(lambda c: c.watching))
    yield _metric("watch_missing", "gauge", "1 while a kind cannot be listed.", of_kinds(lambda c: bool(c.missing)))
    yield _metric(
        "watch_last_event_timestamp_seconds", "gauge", "When the last event came; 0 is never.",
        of_kinds(lambda c: c.last_event),
    )  # fmt: skip
    yield _metric(
        "watch_lag_seconds", "gauge", "Since the API server last said anything of the kind; NaN is never.",
        of_kinds(lambda c: max(0.0, now - c.last_contact) if c.last_contact else float("nan")),
    )  # fmt: skip
    yield _metric("recording_bytes", "counter", "Bytes recorded, before compression.", [("", recording.written)])
    yield _metric("recording_files", "counter", "Files finished.", [("", recording.finished)])
    yield _metric("recording_waiting_files", "gauge", "Files not delivered yet.", [("", recording.waiting)])


def _metric(name: str, form: str, says: str, values: list[tuple[str, float]]) -> str:
    full = f"vzflow_{name}{'_total' if form == 'counter' else ''}"
    lines = [f"# HELP {full} {says}\n", f"# TYPE {full} {form}\n"]
    return "".join(lines + [f"{full}{labels} {_number(value)}\n" for labels, value in values])


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) else f"{value:.3f}"


@contextmanager
def served(listen: str | None, found: Pages) -> Iterator[None]:
    """
    Serve pages at HOST:PORT meanwhile, or nothing when *listen* is null.

    Raises:
        UsageProblem: It is no such place, or is taken.
    """
    if listen is None:
        yield
        return
    server = _server(listen, found)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _server(listen: str, found: Pages) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds for a client to ask in

        def do_GET(self) -> None:
            status, text = found.get(self.path.partition("?")[0], lambda: (_NOT_FOUND, "not found\n"))()
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:  # noqa: ANN401
            """Probes are not told of."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if listen.startswith("[") else socket.AF_INET

        def handle_error(self, *_: Any) -> None:  # noqa: ANN401
            """A client that went away is not told of."""

    host, _, port = listen.rpartition(":")
    do = "Write HOST:PORT, as 0.0.0.0:8080."
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise UsageProblem(f"no place to listen at: {listen}", at="--listen", do=do)
    try:
        return Server((host.strip("[]"), int(port)), Handler)
    except OSError as error:
        raise UsageProblem(f"cannot listen at {listen}: {error.strerror or error}", at="--listen", do=do) from error
