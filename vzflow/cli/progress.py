"""A bar on a terminal's stderr while inputs are read."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vzflow.pipeline.one_input import Progress, Told


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress | None]:
    """Yield a callback that draws a bar on a terminal's stderr, or None where nobody watches."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from vzflow.reports.plain import printable

    drawn = began = 0.0
    before, done = "", 0

    def draw(told: Told) -> None:
        nonlocal drawn, began, before, done
        now = time.monotonic()
        anew = told.name != before or told.done < done  # another input, or the same once more
        before, done = told.name, told.done
        if anew:
            began = now
        elif told.done != told.total and now - drawn < 0.1:
            return
        drawn = now
        line = printable(progress_line(told, now - began))[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def progress_line(told: Told, seconds: float) -> str:
    """Return a bar, the name, the rate and the time left, as far as these are known."""
    parts = [Path(told.name).name]
    if told.total is None:
        parts.insert(0, f"{told.done / 1e6:.1f} MB")
    else:
        share = told.done / told.total if told.total else 1.0
        parts.insert(0, f"[{'#' * int(30 * share):.<30}] {100 * share:3.0f} %")
    if told.records and seconds >= 1:
        parts.append(f"{told.records / seconds:,.0f} {told.unit}/s")
    if told.total and seconds >= 1 and 0 < told.done < told.total:
        left = round(seconds * (told.total - told.done) / told.done)
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    return " ".join(parts)
