"""Tells over HTTP how a recorder does: /healthz, /readyz and /metrics."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Watched:
    """The watch of each kind of one cluster, and its recording. The name is null for the only one."""

    cluster: str | None
    counts: Mapping[str, Counts]
    recording: Recording


def pages(watched: Sequence[Watched]) -> Pages:
    """Return what is told of the clusters that are recorded."""
    return {
        "/healthz": lambda: _verdict(_stuck(watched)),
        "/readyz": lambda: _verdict(f"{kind}: not listed yet" for kind, c in _kinds(watched) if not _known(c)),
        "/metrics": lambda: (_OK, metrics(watched)),
    }


def _kinds(watched: Sequence[Watched]) -> Iterator[tuple[str, Counts]]:
    for one in watched:
        before = "" if one.cluster is None else f"{one.cluster} "
        yield from ((f"{before}{kind}", counts) for kind, counts in one.counts.items())


def _verdict(problems: Iterator[str]) -> tuple[int, str]:
    found = [*problems]
    return (_UNAVAILABLE, "".join(f"{one}\n" for one in found)) if found else (_OK, "ok\n")


def _stuck(watched: Sequence[Watched]) -> Iterator[str]:
    for kind, one in _kinds(watched):
        silent = time.monotonic() - one.alive
        if silent > _STUCK:
            yield f"{kind}: no sign of life for {silent:.0f} s"


def _known(counts: Counts) -> bool:
    return bool(counts.lists or counts.missing)


def metrics(watched: Sequence[Watched]) -> str:
    """Return the figures in Prometheus' text format, version 0.0.4; of several clusters with a label `cluster`."""
    return "".join(_metrics(watched))


def _metrics(watched: Sequence[Watched]) -> Iterator[str]:
    every = [(one, kind, counts) for one in watched for kind, counts in one.counts.items()]

    def of_kinds(value: Callable[[Counts], float]) -> list[tuple[str, float]]:
        return [(_labels(one, kind=kind), value(counts)) for one, kind, counts in every]

    def of_maps(label: str, values: Callable[[Counts], Mapping[str, int]]) -> list[tuple[str, float]]:
        return [
            (_labels(one, kind=kind, **{label: name}), count)
            for one, kind, counts in every
            for name, count in sorted(dict(values(counts)).items())
        ]

    def of_recordings(value: Callable[[Recording], float]) -> list[tuple[str, float]]:
        return [(_labels(one), value(one.recording)) for one in watched]

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
    yield _metric(
        "recording_bytes", "counter", "Bytes recorded, before compression.", of_recordings(lambda r: r.written)
    )
    yield _metric("recording_files", "counter", "Files finished.", of_recordings(lambda r: r.finished))
    yield _metric("recording_waiting_files", "gauge", "Files not delivered yet.", of_recordings(lambda r: r.waiting))


def _labels(watched: Watched, **more: str) -> str:
    its = more if watched.cluster is None else {"cluster": watched.cluster} | more
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in its.items()) + "}" if its else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


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
