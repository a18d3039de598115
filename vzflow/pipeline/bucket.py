"""Puts files into an object store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from vzflow.flow.errors import UsageProblem

_PIECE = 1 << 20


def is_uri(text: str) -> bool:
    """Tell whether *text* names a place in an object store, as s3://BUCKET/PREFIX does."""
    return "://" in text


def into(uri: str) -> Callable[[Path], None]:
    """
    Return what puts a file under *uri*, with its own name, whole or not at all.

    Credentials, region and endpoint are found where the store's own tools find them. What is returned raises OSError
    when the store does not take the file.

    Raises:
        UsageProblem: There is no such kind of store, or this is not how a place in it is written.
    """
    try:
        store, prefix = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"not a place in an object store: {' '.join(str(error).split()).rstrip('.')}"
        raise UsageProblem(what, at=uri, do="Write s3://BUCKET/PREFIX, or name a folder.") from error

    def put(path: Path) -> None:
        target = f"{prefix.rstrip('/')}/{path.name}"
        with path.open("rb") as source, store.open_output_stream(target, compression=None) as sink:
            while piece := source.read(_PIECE):
                sink.write(piece)

    return put
