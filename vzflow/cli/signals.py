"""SIGINT and SIGTERM: what they end, and how."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading


def note_interrupts() -> list[int]:
    """Return a list that an interrupt fills: libraries turn it into errors of their own on its way up."""
    seen: list[int] = []

    def note(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame
        seen.append(number)
        raise KeyboardInterrupt

    # A shell that starts a job in the background has interrupts ignored: that stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, note)
    return seen


def until_told() -> threading.Event:
    """Return what SIGTERM and SIGINT set; a second one ends the program as anywhere else."""
    import threading

    stopping = threading.Event()

    def handler(before: Any) -> Callable[[int, Any], None]:  # noqa: ANN401 - as signal takes it
        def stop(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame
            signal.signal(number, before)
            stopping.set()

        return stop

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler(signal.getsignal(number)))
    return stopping
