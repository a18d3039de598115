"""Where the files that travel with vzflow are: queries, pipelines, sample captures."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(folder: str) -> Path:
    """
    Return the folder `queries`, `pipelines` or `sample_captures` as installed, or as it lies in a checkout.

    A wheel carries these folders inside the package; an editable install does not see the mapped folder, so the
    checkout beside the package is looked at second.
    """
    installed = _PACKAGE / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
