"""Files that appear whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vzflow.flow.errors import Place, UsageProblem


def write_whole(path: Path, text: str) -> None:
    """
    Write *path* whole or not at all: whoever reads it meanwhile sees the old file.

    Raises:
        UsageProblem: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        what = f"cannot be written: {error.strerror or error}"
        raise UsageProblem(what, at=Place(str(path)), do="Give another path.") from error
