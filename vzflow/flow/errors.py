"""What vzflow raises on purpose, and the records it puts aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vzflow.flow.terms import RejectReason

#: Bytes of a rejected record that are kept: enough to recognise it, too few to fill a disk with.
REJECT_KEEPS = 512


@dataclass(frozen=True)
class Place:
    """Where in an input something was found: a path and, when known, a record or line number counted from 1."""

    path: str
    record: int | None = None

    def __str__(self) -> str:
        return self.path if self.record is None else f"{self.path}:{self.record}"


@dataclass(frozen=True)
class Reject:
    """
    One input record that could not be used, or the rest of those with one reason.

    Args:
        record: Counts packets or lines from 1; null for the rest.
        raw: Its beginning.
        records: How many it stands for.
    """

    record: int | None
    reason: RejectReason
    detail: str
    raw: bytes = b""
    records: int = 1


class VzflowError(Exception):
    """Base of everything raised on purpose: one line that names the place and says what to do, and an exit code."""

    exit_code = 70

    def __init__(self, what: str, *, at: Place | str, do: str) -> None:
        self.what = what
        self.at = at if isinstance(at, Place) else Place(at)
        self.do = do
        super().__init__(f"{self.at}: {what}. {do}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.what, self.at, self.do)


def _again(kind: type[VzflowError], what: str, at: Place, do: str) -> VzflowError:
    """Make an error that comes from another process."""
    return kind(what, at=at, do=do)


class UsageProblem(VzflowError):
    """The command, its options or a configuration file (model, route) cannot be used."""

    exit_code = 2


class UnreadableInput(VzflowError):
    """An input or a snapshot cannot be read at all; nothing of it was stored."""

    exit_code = 3


class UnreadableStore(VzflowError):
    """The store cannot be opened, read or written."""

    exit_code = 3


class ServiceUnavailable(VzflowError):
    """A cluster, object store or lock did not answer."""

    exit_code = 5
