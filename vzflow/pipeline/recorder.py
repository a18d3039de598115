"""Live clusters -> recordings of everything that happens to them, until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kubernetes import RESOURCES, TIMEOUT, ApiError, ApiServer, NoAnswerError, unauthorized, unreachable
from vzflow.identity.patience import PASSING, Patience
from vzflow.identity.recording import Limits, Recording
from vzflow.identity.watching import KindWatch
from vzflow.pipeline.bucket import into, is_uri
from vzflow.pipeline.cluster import check_names, safe_name
from vzflow.pipeline.health import Watched, pages, served

#: Seconds between looks at the recording, and what stopped threads are waited for.
_TICK, _LAST = 2.0, 5.0


@dataclass
class _Cluster:
    """One of the clusters that are recorded, and everything that runs for it."""

    name: str | None
    server: ApiServer
    recording: Recording
    watches: list[KindWatch]
    threads: list[_Thread] = field(default_factory=list)
    trouble: str = ""  # why finished files cannot be delivered

    def start(self) -> None:
        self.threads = [_Thread(watch) for watch in self.watches]
        for thread in self.threads:
            thread.start()

    def error(self) -> BaseException | None:
        """Return what ended one of its threads."""
        return next((thread.error for thread in self.threads if thread.error), None)


def record(
    output: str | Path,
    stopping: threading.Event,
    *,
    kubeconfig: str | None = None,
    contexts: Sequence[str] = (),
    clusters: Sequence[str] = (),
    spool: str | Path | None = None,
    limits: Limits | None = None,
    listen: str | None = None,
    timeout: float = TIMEOUT,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """
    List and watch every kind that identity needs, and record it in *output* until *stopping* is set.

    What happens between two looks of `take_snapshot` is in no snapshot; here it is. An API server that goes away later
    is waited for; so is, of several, one that does not answer when it is first asked.

    Args:
        output: Folder, made if there is none, or s3://BUCKET/PREFIX; see `identity.recording` for what is written.
        stopping: Ends the recording; its last files are whole then.
        kubeconfig: Path; null for where kubectl finds it, else for the pod's service account.
        contexts: Of the kubeconfig, a recording for each; none for its current one.
        clusters: A name for each context, in the same order. None: one cluster is left to be named when the recording
            is read, several are named by their contexts.
        spool: Folder in which files wait for their bucket; those that it did not take are there for the next recorder.
        limits: When a file of a recording is finished.
        listen: HOST:PORT for /healthz, /readyz and /metrics; null for none.
        timeout: Seconds to wait for more of an answer.
        say: Takes a line for people.

    Raises:
        ServiceUnavailable: No API server answers when it is first asked, or the bucket does not at the end.
        UsageProblem: The bucket has no spool, two clusters come to one file name, the kubeconfig, the credentials or
            the place to listen cannot be used, or a folder cannot be written, now or later.
    """
    named = _named(contexts, clusters)
    say = _one_at_a_time(say)
    folder, deliver = _places(str(output), spool)
    with ExitStack() as closing:
        servers = [ApiServer(one, kubeconfig, timeout, connections=2 * len(RESOURCES)) for one in contexts or (None,)]
        for server in servers:
            closing.callback(server.close)
        _reach(servers, stopping, say)
        watched: list[_Cluster] = []
        for name, server in zip(named, servers, strict=True):
            recording = Recording(folder, safe_name(name), name, limits, deliver)
            told = say if len(named) == 1 else _of_cluster(say, name)
            watches = [KindWatch(resource, server, recording, stopping, told) for resource in RESOURCES]
            watched.append(_Cluster(name if len(named) > 1 else None, server, recording, watches))
        _run(watched, stopping, listen, say)
    if (ended := next(filter(None, (one.error() for one in watched)), None)) is not None:
        raise ended
    _deliver_last(watched)


def _named(contexts: Sequence[str], clusters: Sequence[str]) -> Sequence[str | None]:
    """Return the name of each cluster; two that would write the same files are refused."""
    check_names(contexts, clusters)
    named = clusters or (contexts if len(contexts) > 1 else (None,))
    files = [safe_name(name) for name in named]
    for name, file in zip(named, files, strict=True):
        if files.count(file) > 1:
            what = f"{name} comes to the same file name as another: {file}"
            raise UsageProblem(what, at="--cluster", do="Name the clusters so that their letters and digits differ.")
    return named


def _run(
    watched: Sequence[_Cluster], stopping: threading.Event, listen: str | None, say: Callable[[str], None]
) -> None:
    """Record until *stopping* is set or a thread ends by an error, and finish the files."""
    told = [
        Watched(one.name, {watch.resource.kind: watch.counts for watch in one.watches}, one.recording)
        for one in watched
    ]  # fmt: skip
    try:
        with served(listen, pages(told)):
            for one in watched:
                one.start()
            while not stopping.wait(_TICK) and not any(one.error() for one in watched):
                for one in watched:
                    one.recording.tick()
                    one.trouble = _delivered(one.recording, one.trouble, say)
    finally:
        stopping.set()
        for one in watched:
            for watch in one.watches:
                watch.stop()
        until = time.monotonic() + _LAST
        for thread in [thread for one in watched for thread in one.threads if thread.is_alive()]:
            thread.join(max(0.0, until - time.monotonic()))
        for one in watched:
            one.recording.close()


def _deliver_last(watched: Sequence[_Cluster]) -> None:
    """Deliver what is left of each; one whose bucket does not take it does not keep back the others."""
    failed: ServiceUnavailable | None = None
    for one in watched:
        try:
            one.recording.deliver()
        except ServiceUnavailable as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _of_cluster(say: Callable[[str], None], name: str | None) -> Callable[[str], None]:
    return lambda line: say(f"{name}: {line}")


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


def _reach(servers: Sequence[ApiServer], stopping: threading.Event, say: Callable[[str], None]) -> None:
    """Ask each for one object: who cannot be reached at first is told so at once, and is fatal if nobody can be."""
    lost: list[ServiceUnavailable] = []
    for server in servers:
        try:
            _ask(server, stopping)
        except ServiceUnavailable as error:
            lost.append(error)
    if len(lost) == len(servers):
        raise lost[0]
    for one in lost:
        say(f"{one} It is waited for.")


def _ask(server: ApiServer, stopping: threading.Event) -> None:
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
