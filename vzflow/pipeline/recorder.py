"""A live cluster -> recordings of everything that happens to it, until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kubernetes import RESOURCES, TIMEOUT, ApiError, ApiServer, NoAnswerError, unauthorized, unreachable
from vzflow.identity.patience import PASSING, Patience
from vzflow.identity.recording import Limits, Recording
from vzflow.identity.watching import KindWatch
from vzflow.pipeline.bucket import into, is_uri
from vzflow.pipeline.cluster import check_names, safe_name
from vzflow.pipeline.health import pages, served

#: Seconds between looks at the recording, and what stopped threads are waited for.
_TICK, _LAST = 2.0, 5.0


def record(
    output: str | Path,
    stopping: threading.Event,
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    cluster: str | None = None,
    spool: str | Path | None = None,
    limits: Limits | None = None,
    listen: str | None = None,
    timeout: float = TIMEOUT,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """
    List and watch every kind that identity needs, and record it in *output* until *stopping* is set.

    What happens between two looks of `take_snapshot` is in no snapshot; here it is. An API server that goes away later
    is waited for.

    Args:
        output: Folder, made if there is none, or s3://BUCKET/PREFIX; see `identity.recording` for what is written.
        stopping: Ends the recording; its last file is whole then.
        kubeconfig: Path; null for where kubectl finds it, else for the pod's service account.
        context: Of the kubeconfig; null for its current one.
        cluster: Its name; null for the one that is named when the recording is read.
        spool: Folder in which files wait for their bucket; those that it did not take are there for the next recorder.
        limits: When a file of the recording is finished.
        listen: HOST:PORT for /healthz, /readyz and /metrics; null for none.
        timeout: Seconds to wait for more of an answer.
        say: Takes a line for people.

    Raises:
        ServiceUnavailable: The API server does not answer when it is first asked, or the bucket does not at the end.
        UsageProblem: The bucket has no spool, the kubeconfig, the credentials or the place to listen cannot be used, or
            a folder cannot be written, now or later.
    """
    check_names([], [] if cluster is None else [cluster])
    say = _one_at_a_time(say)
    folder, deliver = _places(str(output), spool)
    server = ApiServer(context, kubeconfig, timeout, connections=2 * len(RESOURCES))
    _reach(server, stopping)
    recording = Recording(folder, safe_name(cluster), cluster, limits, deliver)
    watches = [KindWatch(resource, server, recording, stopping, say) for resource in RESOURCES]
    threads = [_Thread(watch) for watch in watches]
    try:
        with served(listen, pages({watch.resource.kind: watch.counts for watch in watches}, recording)):
            for thread in threads:
                thread.start()
            trouble = ""
            while not stopping.wait(_TICK) and not any(thread.error for thread in threads):
                recording.tick()
                trouble = _delivered(recording, trouble, say)
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
    recording.deliver()


def _one_at_a_time(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return *say* for threads: their lines do not run into each other."""
    lock = threading.Lock()

    def said(line: str) -> None:
        with lock:
            say(line)

    return said


def _places(output: str, spool: str | Path | None) -> tuple[Path, Callable[[Path], None] | None]:
    """Return the folder to record in, and what takes finished files from there, if anything does."""
    if not is_uri(output):
        return Path(output), None
    if spool is None:
        raise UsageProblem("a bucket needs a folder on the way", at="--spool", do="Name one that outlasts the process.")
    return Path(spool), into(output)


def _delivered(recording: Recording, trouble: str, say: Callable[[str], None]) -> str:
    """Deliver what is finished; return why that is not possible, which is told of once."""
    try:
        recording.deliver()
    except ServiceUnavailable as error:
        if not trouble:
            say(str(error))
        return str(error)
    if trouble:
        say("finished files are delivered again")
    return ""


def _reach(server: ApiServer, stopping: threading.Event) -> None:
    """Ask for one object: who cannot be reached at first is told so at once."""
    try:
        Patience(sleep=stopping.wait).answer(
            lambda: server.ask(RESOURCES[0], RESOURCES[0].versions[0], limit=1).close()
        )
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
