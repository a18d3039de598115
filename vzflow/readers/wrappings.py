"""
What other programs put around a log line, peeled off by its form: runtimes, shippers, stores, terminals, syslog.

Each wrapping has a level, and inside a wrapping only those of a deeper level are looked for: what a container wrote is
text, whatever it looks like. So nobody who chooses bytes of a log line (a User-Agent, a whole line of an application)
can make them look like a wrapping of their own. Most forms could also be a record; they are *perhaps* a wrapping, and
a line is asked of its format first. An object is a wrapping only if all its keys are those of the program that wraps.

A pod that a wrapping names is who wrote the line; where two levels name different pods, nobody is known to have.

Sources: CRI: kubernetes/design-proposals-archive, node/kubelet-cri-logging.md, and cri-api constants.go (LogTag).
Docker: moby daemon/logger/jsonfilelog and copier.go (pieces of 16 KiB without a line end). kubectl: pkg/cmd/logs
(addPrefixIfNeeded). stern: cmd/cmd.go (generateTemplate), stern/tail.go. Fluent Bit: its manual on the kubernetes
filter and the file and stdout outputs. Fluentd: out_file. Elastic: search API, Common Schema `event.original`. Loki:
HTTP API, pkg/logcli/output/jsonl.go. CloudWatch: subscription filters, GetLogEvents. Splunk: HTTP Event Collector.
Syslog: RFC 3164, RFC 5424. The key names of `stern -o json` were not checked against its source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple


class Level(IntEnum):
    """What a text may still be wrapped in: everything of a larger level."""

    #: As it stands in the file.
    FILE = 0
    #: Out of a store: what a shipper sent there.
    STORED = 1
    #: Out of a shipper's record: what it read from a runtime's file.
    SHIPPED = 2
    #: Out of what a terminal program prints, which may have a time in front.
    PRINTED = 3
    #: What the container wrote, or whoever sent a syslog message.
    TEXT = 4


class Peeled(NamedTuple):
    """
    What was inside a wrapping.

    Args:
        text: The inner bytes, without line end.
        level: What it may be wrapped in further.
        pod: Namespace/name of the pod that wrote it, or its name alone; null if the wrapping does not say.
        stream: What pieces of one line have in common; null if this wrapping does not cut lines.
        whole: Whether this is the last piece of its line.
        sure: The line is this wrapping, whatever is inside.
        may_be_cut: The wrapping cuts what is too long for it.
    """

    text: bytes
    level: Level
    pod: str | None = None
    stream: str | None = None
    whole: bool = True
    sure: bool = True
    may_be_cut: bool = False


_TIME = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)"
_NAME = rb"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"

#: What a container runtime writes before each line or piece of one: its time, stream and tags, the first of which tells
#: pieces (P) from last pieces and whole lines (F).
CRI = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([PF])(?::\S*)?(?: |$)"
)

#: How Docker's json-file begins; and all it may hold.
_DOCKER = b'{"log":"'
_DOCKER_KEYS = frozenset(("log", "stream", "time", "attrs"))

#: `kubectl logs --prefix`, which does not name the namespace.
_KUBECTL = re.compile(rb"\[pod/(" + _NAME + rb")/" + _NAME + rb"\] ")
_NAMED = re.compile(rb"(" + _NAME + rb")/(" + _NAME + rb")\[" + _NAME + rb"\]: ")

#: stern without colours: pod and container, before them the namespace if there may be several.
_STERN = re.compile(rb"(" + _NAME + rb") " + _NAME + rb" ")
_STERN_NAMESPACE = re.compile(rb"(" + _NAME + rb") (" + _NAME + rb") " + _NAME + rb" ")

#: `kubectl logs --timestamps`, `stern -t`, CloudWatch exports.
_STAMP = re.compile(_TIME + rb" ")

#: RFC 5424, RFC 3164, and what rsyslog writes to files, which have no priority.
_OLD_TIME = rb"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|" + _TIME + rb")"
_HOST, _PROGRAM = rb"[^\s{\[\"]+", rb"[^\s:{\[\"]+(?:\[\d+\])?: ?"
_STRUCTURE = rb"(?:-|(?:\[(?:[^\"\]]|\"(?:[^\"\\]|\\.)*+\")*+\])++)"
_SYSLOG = re.compile(
    rb"<\d{1,3}>1 \S+ \S+ \S+ \S+ \S+ " + _STRUCTURE + rb" ?(?:\xef\xbb\xbf)?"
    rb"|<\d{1,3}>" + _OLD_TIME + b" " + _HOST + b" (?:" + _PROGRAM + b")?"
    rb"|" + _OLD_TIME + b" " + _HOST + b" " + _PROGRAM
)

#: Fluentd's file: time, tag, record. Fluent Bit's: tag, time and record; a tag is the shipper's, from a path.
_FLUENTD = re.compile(_TIME + rb"\t[^\t{\"]*\t(?=\{)")
_FLUENT_BIT = re.compile(rb"(?:\[\d+\] )?(?:[^\s\[\]{}\"]+: )?(?=\[)")

_HIT = frozenset(("sort", "fields", "highlight", "found", "matched_queries", "inner_hits"))
_HEC = frozenset(("event", "time", "host", "source", "sourcetype", "index", "fields"))
_LOKI = frozenset(("labels", "line", "timestamp"))
_CLOUDWATCH = frozenset(("id", "timestamp", "message", "ingestionTime", "eventId", "logStreamName", "extractedFields"))
_STERN_KEYS = frozenset(
    ("message", "nodeName", "namespace", "podName", "pod", "containerName", "container", "labels", "annotations")
)
#: All that Fluent Bit, Fluentd, Filebeat and Logstash put beside the line, unless they were told to take it apart.
_SHIPPER = frozenset((
    "log", "message", "log_processed", "stream", "logtag", "_p", "time", "date", "timestamp", "@timestamp", "@version",
    "@metadata", "kubernetes", "docker", "container", "container_id", "tag", "tags", "host", "hostname", "cluster",
    "cluster_name", "source", "file", "filename", "path", "offset", "event", "agent", "ecs", "input", "orchestrator",
    "cloud", "data_stream", "elastic_agent", "fields", "service", "fileset", "related", "beat", "prospector", "type",
))  # fmt: skip
#: Of these one has to be there.
_SHIPPED = frozenset(("kubernetes", "stream", "logtag", "date", "time", "@timestamp"))

_POD_FOLDER = re.compile(r"(?:^|/)([a-z0-9-]+)_([a-z0-9.-]+)_[0-9a-f-]{32,36}/[^/]+/[^/]+$")
_CONTAINER_LINK = re.compile(r"(?:^|/)([a-z0-9.-]+)_([a-z0-9-]+)_[a-z0-9.-]+-[0-9a-f]{64}\.log[^/]*$")

#: What kubectl and stern say of themselves.
_TOOL = re.compile(
    rb"Defaulted container \S+ out of: |Defaulting container name to |Found \d+ pods, using "
    rb"|Use 'kubectl describe pod/|[+-] \S+ (?:\S+ )?\xe2\x80\xba \S+\s*$"
)


#: How every line begins that has a wrapping: most have none, and are asked this only.
_SURELY = re.compile(rb"\d{4}-\S{10,40} std|\{\"(?:log\":\"|_index\":)|\[pod/|[a-z0-9][a-z0-9.-]*+/")
_PERHAPS = re.compile(
    rb"\{|<\d|[A-Z][a-z]{2} [ \d]|[a-z0-9][a-z0-9.-]*+ [a-z0-9]|(?:\[\d+\] )?(?:[^\s\[\]{}\"]+: )?\[[\d\[]|"
    + _TIME
    + rb"(?: |\t[^\t{\"]*+\t\{)"
)


def surely(line: bytes, level: Level) -> Peeled | None:
    """Return what is inside a wrapping that no record can be taken for; null if there is none."""
    if _SURELY.match(line) is None:
        return None
    if level <= Level.SHIPPED:
        if match := CRI.match(line):
            return Peeled(line[match.end() :], Level.TEXT, None, match[1].decode(), match[2] == b"F")
        if line.startswith(_DOCKER):
            return _docker(line)
    if level == Level.FILE:
        if line.startswith(b"{"):
            return _hit(_object(line) or {})
        if match := _KUBECTL.match(line):
            return Peeled(line[match.end() :], Level.PRINTED, match[1].decode())
        if match := _NAMED.match(line):
            return Peeled(line[match.end() :], Level.PRINTED, pod_name(match[1].decode(), match[2].decode()))
    return None


def unwrapped_by_runtime(line: bytes) -> tuple[bytes, bytes]:
    """Return a line without its time and stream, if a container runtime wrote both, and what stands between these."""
    match = CRI.match(line)
    if match is None or match[2] != b"F":
        return line, b""
    return line[match.end() :], line[match.start(1) - 1 : match.end()]


def perhaps(line: bytes, level: Level) -> Iterator[Peeled]:
    """Yield what is inside of what may be a wrapping of *line*, which is no record; the likeliest last."""
    if level == Level.TEXT or _PERHAPS.match(line) is None:
        return
    if level <= Level.STORED and line.startswith(b"{"):
        record = _object(line)
        if record is not None and (peeled := _of_object(record, level)) is not None:
            yield peeled
        return
    if level in (Level.FILE, Level.PRINTED) and (match := _STAMP.match(line)):
        yield Peeled(line[match.end() :], Level.TEXT, sure=False)
    if level == Level.FILE:
        if match := _STERN.match(line):
            yield Peeled(line[match.end() :], Level.PRINTED, match[1].decode(), sure=False)
        if match := _STERN_NAMESPACE.match(line):
            pod = pod_name(match[1].decode(), match[2].decode())
            yield Peeled(line[match.end() :], Level.PRINTED, pod, sure=False)
        if match := _SYSLOG.match(line):
            yield Peeled(line[match.end() :], Level.TEXT, sure=False, may_be_cut=True)
        yield from _of_shipper_file(line)


def pod_beside(line: bytes, level: Level) -> str | None:
    """Return the pod that a shipper names in a record whose fields are those of the line itself; null if none."""
    if b'"kubernetes"' not in line or level > Level.STORED:
        return None
    record = _object(line)
    return None if record is None else _shipped_pod(record)


def pod_of_labels(labels: object) -> str | None:
    """Return the pod that a Loki stream's labels name; null if they do not."""
    if not isinstance(labels, dict):
        return None
    return pod_name(labels.get("namespace"), labels.get("pod") or labels.get("pod_name"))


def pod_of_path(path: str) -> str | None:
    """
    Return the pod whose log is at *path*; null if it does not say.

    `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log` and `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`, wherever
    they were copied to, as long as the last parts are there.

    Source: Kubernetes pkg/kubelet/kuberuntime/helpers.go and legacy.go.
    """
    if match := _POD_FOLDER.search(path):
        return pod_name(match[1], match[2])
    if match := _CONTAINER_LINK.search(path):
        return pod_name(match[2], match[1])
    return None


def pod_name(namespace: object, name: object) -> str | None:
    """Return namespace/name, if these are names that Kubernetes would allow."""
    if not isinstance(namespace, str) or not isinstance(name, str) or len(namespace) > 63:
        return None
    if "." in namespace or not all(re.fullmatch(_NAME.decode(), part) for part in (namespace, name)):
        return None
    return f"{namespace}/{name}"


def is_tool_message(line: bytes) -> bool:
    """Whether kubectl or stern said it, and no container."""
    return _TOOL.match(line) is not None


def begin_of_unfinished(lines: bytes) -> int | None:
    """
    Return where the first line begins that a runtime has cut, and of which the last piece is not in *lines*.

    Args:
        lines: Whole lines from the end of what there is of a log, as a runtime or shipper writes them.

    Returns:
        Null if every line is whole. Only the last _LOOK_BACK lines are looked at: a runtime writes the pieces of a line
        one after the other, with at most a few of the other stream in between.
    """
    settled: set[str] = set()
    found: int | None = None
    end = len(lines)
    for _ in range(_LOOK_BACK):
        if not end or settled >= _STREAMS:
            break
        begin = lines.rfind(b"\n", 0, end - 1) + 1
        line = lines[begin:end].rstrip(b"\r\n")
        end = begin
        peeled = surely(line, Level.FILE)
        if peeled is None and b'"logtag"' in line:
            peeled = next(perhaps(line, Level.FILE), None)
        if peeled is None or peeled.stream is None or peeled.stream in settled:
            continue
        if peeled.whole:
            settled.add(peeled.stream)
        else:
            found = begin
    return found


_LOOK_BACK = 1_000
_STREAMS = {"stdout", "stderr"}


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _bytes(value: str | dict[str, Any]) -> bytes:
    """Return a value as the line that it was; half a surrogate pair stays one, for the format to refuse."""
    text = value.rstrip("\r\n") if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def _docker(line: bytes) -> Peeled | None:
    record = _object(line)
    if record is None or not record.keys() <= _DOCKER_KEYS:
        return None
    log, stream = record["log"], record.get("stream")
    if not isinstance(log, str) or stream not in ("stdout", "stderr"):
        return None
    whole = log.endswith("\n")
    text = log.removesuffix("\n").removesuffix("\r") if whole else log
    return Peeled(text.encode("utf-8", "surrogatepass"), Level.TEXT, None, stream, whole)


def _hit(record: dict[str, Any]) -> Peeled | None:
    """Return what a store's index holds; only its own names begin so, and no program's log."""
    source = record.get("_source")
    if isinstance(source, dict) and all(key.startswith("_") or key in _HIT for key in record):
        return Peeled(_bytes(source), Level.STORED)
    return None


def _of_object(record: dict[str, Any], level: Level) -> Peeled | None:
    keys = record.keys()
    if level == Level.FILE:
        if (hit := _hit(record)) is not None:
            return hit
        if "event" in keys and keys <= _HEC and isinstance(event := record["event"], str | dict):
            return Peeled(_bytes(event), Level.STORED)
        if keys <= _LOKI and isinstance(line := record.get("line"), str):
            return Peeled(_bytes(line), Level.STORED, pod_of_labels(record.get("labels")))
        if (
            keys <= _STERN_KEYS
            and isinstance(name := record.get("podName") or record.get("pod"), str)
            and isinstance(message := record.get("message"), str | dict)
        ):
            return Peeled(_bytes(message), Level.PRINTED, pod_name(record.get("namespace"), name))
        if "timestamp" in keys and keys <= _CLOUDWATCH and isinstance(message := record.get("message"), str):
            return Peeled(_bytes(message), Level.STORED)
    return _of_shipper(record)


def _of_shipper(record: dict[str, Any]) -> Peeled | None:
    """Return the line that Fluent Bit, Fluentd or an Elastic agent sent."""
    pod = _shipped_pod(record)
    event = record.get("event")
    if isinstance(event, dict) and isinstance(original := event.get("original"), str) and "@timestamp" in record:
        return Peeled(_bytes(original), Level.SHIPPED, pod)
    if not record.keys() <= _SHIPPER or not record.keys() & _SHIPPED:
        return None
    if isinstance(processed := record.get("log_processed"), dict):
        return Peeled(_bytes(processed), Level.TEXT, pod)
    log = record.get("log")
    line = log if isinstance(log, str) else record.get("message")
    if not isinstance(line, str):
        return None
    if record.get("logtag") in ("P", "F") and isinstance(stream := record.get("stream"), str):
        whole = record["logtag"] == "F"
        return Peeled(_bytes(line), Level.SHIPPED, pod, f"{pod} {stream}", whole)
    return Peeled(_bytes(line), Level.SHIPPED, pod)


def _shipped_pod(record: dict[str, Any]) -> str | None:
    """Return the pod by the names of Fluent Bit and Fluentd, or by those of Elastic."""
    about = record.get("kubernetes")
    if not isinstance(about, dict):
        return None
    if isinstance(pod := about.get("pod"), dict):
        return pod_name(about.get("namespace"), pod.get("name"))
    return pod_name(about.get("namespace_name"), about.get("pod_name"))


def _of_shipper_file(line: bytes) -> Iterator[Peeled]:
    """Yield the record of a line that Fluentd or Fluent Bit wrote to a file."""
    if match := _FLUENTD.match(line):
        yield Peeled(line[match.end() :], Level.STORED, sure=False)
        return
    match = _FLUENT_BIT.match(line)
    if match is None or not line.endswith(b"]"):
        return
    try:
        value = json.loads(line[match.end() :].decode())
    except (ValueError, RecursionError):
        return
    if (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], int | float | str | list)
        and isinstance(value[1], dict)
    ):
        yield Peeled(_bytes(value[1]), Level.STORED)
