"""
Several inputs read at once, each by a process of its own.

Every process stores what it has read by itself; only the commits are made one after the other. Killing any of them
leaves its input out, as killing the whole program does.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection, get_context
from pathlib import Path
from types import TracebackType
from typing import Any

from vzflow.flow.errors import Place, VzflowError
from vzflow.pipeline.inputs import How
from vzflow.pipeline.one_input import InputResult, Progress, Told, read_one
from vzflow.store.lake import Lake

#: Seconds between looks at how far the others are.
_TICK = 0.1
#: Seconds that a process has to stop after it was told to.
_STOP = 10

Group = list[tuple[int, str]]


@dataclass
class _Worker:
    """One process: our end of its pipe, and the inputs that it has before it, the first one in work."""

    process: Any
    pipe: connection.Connection
    number: int
    group: Group | None = None


class Crew:
    """
    Processes that wait for inputs to read. Leaving it ends them.

    They are copies of this process where that can be, which takes no time; else new ones, which import everything.
    """

    def __init__(self, size: int, store: str, how: How) -> None:
        context: Any = get_context("fork" if _copyable() else "spawn")
        #: For each: work done, work in all, records, whether they are lines.
        self._board = context.RawArray("q", 4 * size)
        self._how = how
        self._workers: list[_Worker] = []
        for number in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(theirs, self._board, number, os.getpid(), store, how), daemon=True
            )
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours, number))

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if error is None and worker.group is None:
                with suppress(OSError):
                    worker.pipe.send(None)
            else:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_STOP)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def run(self, groups: list[Group], results: dict[int, InputResult], progress: Progress | None) -> None:
        """
        Read all inputs of *groups*, those of one group in order, and put what became of them into *results*.

        Some are left out if every process was killed; their places are missing in *results* then.

        Raises:
            VzflowError: The store cannot be used. The processes are ended by leaving the crew.
        """
        waiting = list(groups)
        total = sum(map(len, groups))
        while waiting or any(worker.group for worker in self._workers):
            for worker in self._workers:
                if worker.group is None and waiting:
                    worker.group = waiting.pop(0)
                    self._hand(worker)
            if not self._workers:
                break
            busy = {worker.pipe: worker for worker in self._workers if worker.group}
            for pipe in connection.wait(list(busy), _TICK):
                rest = self._take(busy[pipe], results)  # type: ignore[index]
                waiting[:0] = [rest] if rest else []
            if progress is not None:
                progress(self._told(len(results), total))

    def _hand(self, worker: _Worker) -> None:
        assert worker.group
        with suppress(OSError):  # it was killed: the end of its pipe says so
            worker.pipe.send(worker.group[0][1])

    def _take(self, worker: _Worker, results: dict[int, InputResult]) -> Group | None:
        """Note what a process says; return what is left of its inputs if it has died."""
        assert worker.group
        (place, name), *rest = worker.group
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers.remove(worker)
            results[place] = InputResult(name, "failed", error=_death(name, worker.process.exitcode))
            return rest
        if isinstance(said, VzflowError):
            raise said
        results[place] = said
        worker.group = rest or None
        if rest:
            self._hand(worker)
        return None

    def _told(self, done: int, total: int) -> Told:
        rows = [self._board[4 * w.number : 4 * w.number + 4] for w in self._workers if w.group]
        what = "records" if len({row[3] for row in rows}) > 1 else "lines" if rows and rows[0][3] else "packets"
        return Told(
            f"{done} of {total} inputs done", sum(row[0] for row in rows), sum(row[1] for row in rows),
            sum(row[2] for row in rows), what,
        )  # fmt: skip


def _death(name: str, code: int) -> VzflowError:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return VzflowError(f"the process that read it {how}", at=Place(name), do="Ingest it again.")


def _copyable() -> bool:
    """Whether a copy of this process would work: it has no thread that a copy would miss."""
    try:
        names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    except OSError:
        return False
    # jemalloc, which comes with pyarrow and deltalake, stops its own threads for a fork and starts them again.
    return len([name for name in names if name != "jemalloc_bg_thd"]) == 1


# -- below: what the processes do --------------------------------------------------------------------------------------


def _work(pipe: connection.Connection, board: Any, number: int, parent: int, store: str, how: How) -> None:  # noqa: ANN401
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all of us; whoever started this one ends it
    signal.signal(signal.SIGTERM, _stop)
    lake: Lake | None = None

    def note(told: Told) -> None:
        board[4 * number : 4 * number + 4] = [told.done, told.total or 0, told.records, told.unit == "lines"]

    try:
        while (name := _next(pipe, parent)) is not None:
            try:
                lake = lake or _in_turns(Lake.open(store))
                pipe.send(read_one(name, lake, how, note))
            except VzflowError as error:
                pipe.send(error)
            except Exception as error:  # noqa: BLE001 - a fault of ours: told in the same way wherever it happens
                said = (str(error).strip().splitlines() or [""])[0]
                what = f"internal error: {type(error).__name__}: {said}"
                pipe.send(InputResult(name, "failed", error=VzflowError(what, at=Place(name), do="Use --jobs 1.")))
    except KeyboardInterrupt:
        pass


def _stop(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame
    raise KeyboardInterrupt


def _next(pipe: connection.Connection, parent: int) -> str | None:
    """Wait for the next input; None when there is no more, or nobody who asks."""
    while not pipe.poll(1):
        if os.getppid() != parent:
            return None
    try:
        return pipe.recv()  # type: ignore[no-any-return]
    except EOFError:
        return None


def _in_turns(lake: Lake) -> Lake:
    """Return *lake* such that processes that have one like it commit one after the other."""
    return replace(lake, turn=partial(_alone, lake.root))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, which the system takes back from whoever is killed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot lock a folder: then commits are tried again
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
