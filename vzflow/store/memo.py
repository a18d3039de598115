"""Tables that take long to make, kept in a store under the digest of all that they are made from: only a cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

_FOLDER, _SUFFIX = ".memo", ".arrow"


def recall(store: Path, digest: str) -> dict[str, pa.Table] | None:
    """Return the tables by name, which stay on disk until they are read; None if they are not there, or damaged."""
    try:
        paths = sorted((store / _FOLDER / digest).glob(f"*{_SUFFIX}"))
        return {path.stem: pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths} or None
    except (OSError, pa.ArrowException):
        return None


def keep(store: Path, digest: str, tables: Mapping[str, pa.Table]) -> None:
    """
    Keep *tables*, and no others from then on; where they cannot be written nothing is kept.

    They appear whole or not at all. Whoever reads others meanwhile still has them: what is taken away is its name.
    """
    folder = store / _FOLDER
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as made:
            unfinished = Path(made) / digest
            unfinished.mkdir()
            for name, table in tables.items():
                _write(unfinished / f"{name}{_SUFFIX}", table)
            unfinished.rename(folder / digest)
        for other in folder.iterdir():
            if other.name != digest:
                shutil.rmtree(other, ignore_errors=True)


def _write(path: Path, table: pa.Table) -> None:
    with path.open("wb") as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())
