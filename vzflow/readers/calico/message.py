"""
The header of a system log's line: when, which host, which program, then its text.

A time is certain only where date, year and offset are written. Classic stamps have no year (RFC 3164), the kernel's own
clock counts from boot, and `dmesg -T` guesses a local time from it: they all give no time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_SYSLOG = re.compile(
    r"""(?:<\d{1,3}>)?
    (?:(?P<time>\d{4}-\d\d-\d\d[T ][\d:.,]{8,18}(?:Z|[+-]\d\d:?\d\d)?)
      |[A-Z][a-z]{2}[ ][ \d]\d(?:[ ]\d{4})?[ ]\d\d:\d\d:\d\d)
    [ ](?P<host>\S+)[ ](?P<program>[^\s:\[\]]+)(?:\[\d+\])?:[ ]*""",
    re.VERBOSE,
)
_RFC_5424 = re.compile(
    r"<\d{1,3}>1 (?P<time>\S+) (?P<host>\S+) (?P<program>\S+) \S+ \S+ "
    r"(?:-|(?:\[(?:[^\"\]]|\"(?:[^\"\\]|\\.)*+\")*+\])++) ?\ufeff?"
)
#: The kernel's clock, or what `dmesg -T` makes of it.
_UPTIME = re.compile(r"(?:<\d{1,3}>)?\[(?: *\d+\.\d+|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] *")

#: Who passes on what others have written, under a name of its own.
_DAEMONS = frozenset((
    "rsyslogd", "syslogd", "syslog-ng", "fluentd", "td-agent", "fluent-bit", "logstash", "filebeat", "vector",
))  # fmt: skip

_CERTAIN = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")


@dataclass(frozen=True)
class Message:
    """
    One line of a system log.

    Args:
        time: UTC; null where it is not certain.
        host: Name of the host that wrote it, if the line says so.
        program: Who wrote it, if the line says so.
        stamped: Whether there was a header at all.
        text: What was written.
    """

    time: datetime | None
    host: str | None
    program: str | None
    stamped: bool
    text: str


def message_of(line: str) -> Message:
    """
    Return the parts of *line*; without a header all of it is text.

    If log daemons have passed it on, each with a header of its own, the parts are those of the innermost: what it was
    where it was written. Only they are believed: in the text of any other program a header is that program's words.
    """
    message = _outermost(line)
    while message.program is not None and message.program.lower() in _DAEMONS:
        inner = _outermost(message.text)
        if inner.program is None or inner.host is None:
            break
        message = inner
    return message


def _outermost(line: str) -> Message:
    header = _SYSLOG.match(line) or _RFC_5424.match(line)
    time = _time(header["time"]) if header else None
    host, program = (header["host"], header["program"]) if header else (None, None)
    host = None if host == "-" else host
    rest = line[header.end() :] if header else line
    uptime = _UPTIME.match(rest)
    if uptime:
        rest = rest[uptime.end() :]
    if program is None and rest.startswith("kernel: "):
        rest, program = rest.removeprefix("kernel: "), "kernel"
    return Message(time, host, program, header is not None or uptime is not None, rest)


def _time(text: str | None) -> datetime | None:
    if text is None or not _CERTAIN.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.replace(",", ".")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
