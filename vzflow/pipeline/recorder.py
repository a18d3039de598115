"""A live cluster -> recordings of everything that happens to it, until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from vzflow.identity.kubernetes import RESOURCES, TIMEOUT, ApiError, ApiServer, NoAnswerError, unauthorized, unreachable
from vzflow.identity.patience import PASSING, Patience
from vzflow.identity.recording import Limits, Recording
from vzflow.identity.watching import KindWatch
from vzflow.pipeline.cluster import check_names, safe_name
from vzflow.pipeline.health import pages, served

#: Seconds between looks at the recording, and what stopped threads are waited for.
_TICK, _LAST = 2.0, 5.0


def record(
    folder: str | Path,
    stopping: threading.Event,
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    cluster: str | None = None,
    limits: Limits | None = None,
    listen: str | None = None,
    timeout: float = TIMEOUT,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """
    List and watch every kind that identity needs, and record it in *folder* until *stopping* is set.

    What happens between two looks of `take_snapshot` is in no snapshot; here it is. An API server that goes away later
    is waited for.

    Args:
        folder: Made if there is none; see `identity.recording` for what is written.
        stopping: Ends the recording; its last file is whole then.
        kubeconfig: Path; null for where kubectl finds it, else for the pod's service account.
        context: Of the kubeconfig; null for its current one.
        cluster: Its name; null for the one that is named when the recording is read.
        limits: When a file of the recording is finished.
        listen: HOST:PORT for /healthz, /readyz and /metrics; null for none.
        timeout: Seconds to wait for more of an answer.
        say: Takes a line for people.

    Raises:
        ServiceUnavailable: The API server does not answer when it is first asked.
        UsageProblem: The kubeconfig, the credentials or the place to listen cannot be used, or the folder cannot be
            written, now or later.
    """
    check_names([], [] if cluster is None else [cluster])
    server = ApiServer(context, kubeconfig, timeout, connections=2 * len(RESOURCES))
    _reach(server)
    recording = Recording(Path(folder), safe_name(cluster), cluster, limits)
    watches = [KindWatch(resource, server, recording, stopping, say) for resource in RESOURCES]
    threads = [_Thread(watch) for watch in watches]
    try:
        with served(listen, pages({watch.resource.kind: watch.counts for watch in watches}, recording)):
            for thread in threads:
                thread.start()
            while not stopping.wait(_TICK) and not any(thread.error for thread in threads):
                recording.tick()
    finally:
        stopping.set()
        for watch in watches:
            watch.stop()
        until = time.monotonic() + _LAST
        for thread in filter(_Thread.is_alive, threads):
            thread.join(max(0.0, until - time.monotonic()))
        recording.close()
        server.close()
    for thread in threads:
        if thread.error is not None:
            raise thread.error


def _reach(server: ApiServer) -> None:
    """Ask for one object: who cannot be reached at first is told so at once."""
    try:
        Patience().answer(lambda: server.ask(RESOURCES[0], RESOURCES[0].versions[0], limit=1).close())
    except NoAnswerError as error:
        raise unreachable(server.host, str(error)) from error
    except ApiError as error:
        if error.status == 401:
            raise unauthorized(server.host) from error
        if error.status in PASSING:
            raise unreachable(server.host, str(error)) from error


class _Thread(threading.Thread):
    """Runs one watch; what ends it is in `error`. A thread that hangs does not keep the program from ending."""

    def __init__(self, watch: KindWatch) -> None:
        super().__init__(name=f"watch-{watch.resource.plural}", daemon=True)
        self.error: BaseException | None = None
        self._watch = watch

    def run(self) -> None:
        with self:
            self._watch.run()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True
