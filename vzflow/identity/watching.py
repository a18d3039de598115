"""Watches one kind of a cluster: its list, then its events, for as long as it is let, whatever the network does."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import urllib3

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kubernetes import ApiError, ApiServer, NoAnswerError, Resource
from vzflow.identity.listing import named, read_list, why_missing
from vzflow.identity.patience import Patience
from vzflow.identity.recording import Recording

#: Seconds after which the API server is asked to end a watch, which is then taken up again; drawn anew each time so
#: that many do not come back at once. It ends them by itself after half an hour to an hour.
WATCH = (240, 360)
#: Seconds after which a kind is listed again though nothing was missed: a file of the recording may get lost.
RELIST = 86_400.0
#: Seconds until a kind that is not permitted, or not in the cluster, is tried again.
RETRY_MISSING = 300.0
#: A watch that ends sooner, in seconds, is a failure: it must not be repeated as fast.
_AT_ONCE = 1.0
#: No object is larger (etcd takes 1.5 MB): a line that goes on is no event.
_LONGEST_LINE = 32 << 20
_PIECE = 1 << 16
_EVENTS = ("ADDED", "MODIFIED", "DELETED")


@dataclass
class Counts:
    """
    What has become of the watch of one kind. Times are seconds since 1970; 0 is never.

    Args:
        last_contact: When the API server last said anything of this kind, bookmarks included.
        alive: When the thread last did anything, by a clock that only grows.
        missing: Why the kind cannot be listed; empty when it can.
    """

    events: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lists: int = 0
    reconnects: int = 0
    last_event: float = 0.0
    last_contact: float = 0.0
    alive: float = 0.0
    watching: bool = False
    missing: str = ""


class ExpiredError(Exception):
    """The events since the last one seen are not kept any more: the kind must be listed again."""


class KindWatch:
    """
    Records one kind of *server* until *stopping* is set.

    Args:
        say: Takes a line for people whenever a kind becomes, or ceases to be, impossible to read.
    """

    def __init__(
        self,
        resource: Resource,
        server: ApiServer,
        recording: Recording,
        stopping: threading.Event,
        say: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        self.resource, self.counts = resource, Counts(alive=time.monotonic())
        self._server, self._recording, self._stopping, self._say = server, recording, stopping, say
        self._patience = patience or Patience(sleep=stopping.wait)
        self._version, self._seen = "", ""  # API version; resourceVersion of the newest event, empty before a list
        self._listed = 0.0
        self._failures = 0
        self._trouble = ""
        self._response: urllib3.HTTPResponse | None = None

    def run(self) -> None:
        """
        List and watch, again and again.

        Raises:
            UsageProblem: The recording cannot be written.
        """
        while not self._stopping.is_set():
            self._sign_of_life()
            try:
                if not self._seen:
                    self._list()
                if not self._stopping.is_set():
                    self._watch()
            except ExpiredError:
                self._seen = ""
                self._failed("expired", "")
            except ApiError as error:
                self._refused(error)
            except (NoAnswerError, ServiceUnavailable) as error:
                self._failed("no_answer", str(error))

    def stop(self) -> None:
        """End a wait for events; *stopping* is set before."""
        response = self._response
        if response is not None:
            with suppress(ValueError, OSError, RuntimeError, AttributeError):  # it has just ended by itself
                response.shutdown()

    def _list(self) -> None:
        with closing(self._recording.spool()) as spool:
            listed = read_list(self._server, self.resource, spool, self._patience)
            self._recording.listing(self.resource, listed, spool)
        self._version, self._seen = listed.version, listed.resource_version
        self._listed = time.monotonic()
        self.counts.lists += 1
        self.counts.last_contact = time.time()

    def _watch(self) -> None:
        """Record events until the API server ends the watch."""
        began = time.monotonic()
        seconds = random.randint(*WATCH)
        self._response = self._server.ask(
            self.resource, self._version, watch=True, allow_watch_bookmarks=True, resource_version=self._seen,
            timeout_seconds=seconds, wait=seconds + self._server.timeout,
        )  # fmt: skip
        self.counts.watching = True
        try:
            self._recovered()
            for event in () if self._stopping.is_set() else _events(self._response):
                self._take(event)
        finally:
            lasted = time.monotonic() - began
            if lasted >= _AT_ONCE:
                self._failures = 0
            self.counts.watching = False
            self.counts.reconnects += 1
            self._response.close()
            self._response = None
        if time.monotonic() - self._listed > RELIST:
            self._seen = ""
        if lasted < _AT_ONCE:
            self._failed("ended", "")

    def _take(self, event: dict[str, Any]) -> None:
        kind, item = event.get("type"), event.get("object")
        if kind == "ERROR" and isinstance(item, dict):
            raise _error_of(item)
        if (
            kind not in (*_EVENTS, "BOOKMARK")
            or not isinstance(item, dict)
            or not isinstance(item.get("metadata"), dict)
        ):
            raise NoAnswerError(ValueError("what came is no event"))
        self._recording.event(kind, named(item, self.resource, self._version), self._server.now())
        seen = item["metadata"].get("resourceVersion")
        if isinstance(seen, str) and seen:
            self._seen = seen
        self._failures = 0
        self._sign_of_life()
        self.counts.events[kind] += 1
        self.counts.last_contact = time.time()
        if kind in _EVENTS:
            self.counts.last_event = self.counts.last_contact

    def _refused(self, error: ApiError) -> None:
        if error.status == 410:
            self._seen = ""
            self._failed("expired", "")
        elif error.status == 401:
            self._failed("unauthorized", "the API server refuses the credentials (401)")
            with suppress(UsageProblem):  # the kubeconfig is being written, or its plugin has failed: later, then
                self._server.renew()
        elif error.status in (403, 404):
            self._seen = ""
            self.counts.errors["not_permitted" if error.status == 403 else "not_found"] += 1
            why = why_missing(self.resource, error)
            if self.counts.missing != why:
                self.counts.missing = why
                self._recording.refusal(self.resource.kind, why, self._server.now())
                self._say(f"{self.resource.plural}: {why}; not in the recording")
            self._stopping.wait(RETRY_MISSING)
        else:
            self._failed("failed", str(error), error.retry_after)

    def _failed(self, reason: str, trouble: str, asked: float | None = None) -> None:
        """Count a failure, tell of one that comes again, once, and wait a while longer each time."""
        if self._stopping.is_set():
            return  # the wait for events was cut short by `stop`
        self.counts.errors[reason] += 1
        if trouble and self._failures and not self._trouble:
            self._trouble = trouble
            self._say(f"{self.resource.plural}: {trouble}; trying again")
        self._sign_of_life()
        self._patience.wait(self._failures, asked)
        self._failures += 1

    def _recovered(self) -> None:
        if self._trouble or self.counts.missing:
            self._say(f"{self.resource.plural}: recorded again")
        self._trouble = self.counts.missing = ""

    def _sign_of_life(self) -> None:
        self.counts.alive = time.monotonic()


def _events(response: urllib3.HTTPResponse) -> Iterator[dict[str, Any]]:
    """
    Yield the events of a watch as they come, each a line of JSON. Half a line at the end of a cut answer is no event.

    Raises:
        NoAnswerError: The connection is cut, or what comes is no event.
    """
    begun = b""
    try:
        while piece := response.read1(_PIECE):
            *lines, begun = (begun + piece).split(b"\n")
            for line in filter(bytes.strip, lines):
                yield _event(line)
            if len(begun) > _LONGEST_LINE:
                raise NoAnswerError(ValueError("a line without an end"))
    except urllib3.exceptions.HTTPError as error:
        raise NoAnswerError(error) from error


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(ValueError("what came is not JSON")) from error
    return event if isinstance(event, dict) else {}


def _error_of(status: dict[str, Any]) -> Exception:
    """Return what a Status object inside a watch says."""
    code = status.get("code")
    if code == 410 or status.get("reason") in ("Expired", "Gone"):
        return ExpiredError()
    return ApiError(code if isinstance(code, int) else 500, str(status.get("message") or status.get("reason")))
