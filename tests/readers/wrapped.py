"""Log lines in everything that people find them in; names are those of the programs that wrap."""

from __future__ import annotations

import json

STAMP = "2026-01-02T03:04:05.123456789Z"
POD = {"pod_name": "web-0", "namespace_name": "shop", "container_name": "istio-proxy", "host": "node-1", "pod_id": "1"}
ELASTIC_POD = {"namespace": "shop", "pod": {"name": "web-0"}, "container": {"name": "istio-proxy"}}
LABELS = {"namespace": "shop", "pod": "web-0", "container": "istio-proxy", "job": "shop/web"}


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def cri(line, tag="F", stream="stdout"):
    return f"{STAMP} {stream} {tag} ".encode() + line


def docker(line, end="\n", stream="stdout"):
    return compact({"log": line.decode() + end, "stream": stream, "time": STAMP})


def pieces(line, count=3):
    """A line cut as a runtime cuts one that is too long for its buffer."""
    size = len(line) // count + 1
    return [line[at : at + size] for at in range(0, len(line), size)]


def fluent_bit(line):
    return {"date": 1767323045.5, "log": line.decode() + "\n", "stream": "stdout", "kubernetes": POD}


def hit(source):
    return {"_index": "logs-1", "_id": "a", "_score": 1.0, "_source": source}


def filebeat(line):
    return {
        "@timestamp": STAMP, "message": line.decode(), "kubernetes": ELASTIC_POD, "agent": {"type": "filebeat"},
        "ecs": {"version": "8.0.0"}, "log": {"file": {"path": "/var/log/containers/x.log"}, "offset": 1},
    }  # fmt: skip


def entries(lines):
    return [["1767323045123456789", line.decode()] for line in lines]


def answer(lines):
    stats = {"summary": {"bytesProcessedPerSecond": 1, "execTime": 0.1}}
    result = [{"stream": LABELS, "values": entries(lines)}]
    return {"status": "success", "data": {"resultType": "streams", "result": result, "stats": stats}}


def events(lines):
    return [{"id": str(n), "timestamp": 1767323045123, "message": line.decode()} for n, line in enumerate(lines)]


def subscription(lines):
    return {
        "messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "g", "logStream": "s", "subscriptionFilters": ["f"],
        "logEvents": events(lines),
    }  # fmt: skip


def each(wrap):
    """One line for each line."""
    return lambda lines: b"".join(wrap(line) + b"\n" for line in lines)


def prefix(text):
    return each(lambda line: text.encode() + line)


def cut_cri(lines):
    """Pieces, with empty lines of the other stream in between."""
    out = []
    for line in lines:
        *first, last = pieces(line)
        for piece in first:
            out += [cri(piece, "P"), cri(b"", stream="stderr")]
        out.append(cri(last))
    return b"".join(line + b"\n" for line in out)


def cut_docker(lines):
    out = []
    for line in lines:
        *first, last = pieces(line)
        out += [*(docker(piece, "") for piece in first), docker(last)]
    return b"".join(line + b"\n" for line in out)


def cut_fluent_bit(lines):
    about = {"stream": "stdout", "kubernetes": POD}
    out = []
    for line in lines:
        *first, last = pieces(line)
        tagged = [*((piece, "P") for piece in first), (last, "F")]
        out += [compact({"logtag": tag, "message": piece.decode(), **about}) for piece, tag in tagged]
    return b"".join(line + b"\n" for line in out)


#: One line for each line, and nothing around all of them.
LINES = {
    "cri": each(cri),
    "docker": each(docker),
    "kubectl prefix": prefix("[pod/web-0/istio-proxy] "),
    "kubectl timestamps": prefix(f"{STAMP} "),
    "kubectl both": prefix(f"[pod/web-0/istio-proxy] {STAMP} "),
    "stern": prefix("web-0 istio-proxy "),
    "stern namespace": prefix("shop web-0 istio-proxy "),
    "stern timestamps": prefix("web-0 istio-proxy 2026-01-02T03:04:05.123456789+01:00 "),
    "stern json": each(
        lambda line: compact(
            {"message": line.decode(), "nodeName": "n", "namespace": "shop", "podName": "web-0", "containerName": "c"}
        )
    ),
    "stern extjson": each(
        lambda line: (
            b'{"pod": "web-0", "container": "c", "message": %b}'
            % (line if line.startswith(b"{") else compact(line.decode()))
        )
    ),
    "named": prefix("shop/web-0[istio-proxy]: "),
    "fluent bit": each(lambda line: compact(fluent_bit(line))),
    "fluent bit message": each(
        lambda line: compact({"stream": "stdout", "logtag": "F", "message": line.decode(), "kubernetes": POD})
    ),
    "fluent bit of cri": each(lambda line: compact(fluent_bit(cri(line)))),
    "fluent bit array": each(lambda line: b"[1767323045.123456789, %b]" % compact(fluent_bit(line))),
    "fluent bit file": each(lambda line: b"kube.var.log: [1767323045.1, %b]" % compact(fluent_bit(line))),
    "fluent bit stdout": each(lambda line: b"[0] kube.var.log: [[1767323045.1, {}], %b]" % compact(fluent_bit(line))),
    "fluentd file": each(lambda line: b"2026-01-02T03:04:05+00:00\tkubernetes.var\t" + compact(fluent_bit(line))),
    "filebeat": each(lambda line: compact(filebeat(line))),
    "event.original": each(
        lambda line: compact({"@timestamp": STAMP, "event": {"original": line.decode()}, "istio": {"access": {}}})
    ),
    "hit": each(lambda line: compact(hit(fluent_bit(line)))),
    "hit of fluent bit of cri": each(lambda line: compact(hit(fluent_bit(cri(line))))),
    "logcli": each(lambda line: compact({"labels": LABELS, "line": line.decode(), "timestamp": STAMP})),
    "logcli of fluent bit": each(
        lambda line: compact({"labels": LABELS, "line": compact(fluent_bit(line)).decode(), "timestamp": STAMP})
    ),
    "hec": each(lambda line: compact({"time": 1767323045.1, "host": "n", "event": line.decode()})),
    "hec object": each(lambda line: compact({"event": fluent_bit(line), "sourcetype": "x"})),
    "syslog 3164": prefix("<134>Jan  2 03:04:05 node-1 fluentd[12]: "),
    "syslog 5424": prefix('<134>1 2026-01-02T03:04:05.678Z node-1 fluentd 12 - [a@1 b="c] d"] '),
    "syslog file": prefix("2026-01-02T03:04:05.678901+00:00 node-1 fluentd: "),
}

#: Lines in pieces.
CUT = {"cri in pieces": cut_cri, "docker in pieces": cut_docker, "fluent bit in pieces": cut_fluent_bit}

#: One document, or several.
DOCUMENTS = {
    "hits": lambda lines: compact(
        {"took": 1, "hits": {"total": {}, "hits": [hit(fluent_bit(line)) for line in lines]}}
    ),
    "hits pretty": lambda lines: json.dumps(
        {"hits": {"hits": [hit(fluent_bit(one)) for one in lines]}}, indent=2
    ).encode(),
    "loki query": lambda lines: compact(answer(lines)),
    "loki queries": lambda lines: b"\n".join(compact(answer([line])) for line in lines),
    "loki push": lambda lines: compact({"streams": [{"stream": LABELS, "values": entries(lines)}]}),
    "cloudwatch": lambda lines: b"".join(compact(subscription([line])) for line in lines),
    "cloudwatch events": lambda lines: json.dumps({"events": events(lines), "nextToken": "x"}, indent=4).encode(),
    "array": lambda lines: compact([fluent_bit(line) for line in lines]),
    "hec stream": lambda lines: b"".join(compact({"event": line.decode(), "host": "n"}) for line in lines),
    "stern ppextjson": lambda lines: b"".join(
        b'{\n  "pod": "web-0",\n  "container": "c",\n  "message": %b\n}\n'
        % (line if line.startswith(b"{") else compact(line.decode()))
        for line in lines
    ),
}

#: Wrappings that hold a record that is itself JSON as an object, not as text.
OBJECTS = {
    "hit": each(lambda line: b'{"_index":"a","_source":%b}' % line),
    "hits": lambda lines: b'{"hits":{"hits":[%b]}}' % b",".join(b'{"_index":"a","_source":%b}' % one for one in lines),
    "hits pretty": lambda lines: json.dumps(
        {"hits": {"hits": [hit(json.loads(line)) for line in lines]}}, indent=2
    ).encode(),
    "array": lambda lines: b"[%b]" % b",".join(lines),
    "items": lambda lines: b'{"total":1,"items":[%b]}\n' % b",".join(lines),
    "pretty records": lambda lines: b"\n".join(json.dumps(json.loads(line), indent=2).encode() for line in lines),
    "hec": each(lambda line: b'{"event":%b,"time":1}' % line),
    "log_processed": each(
        lambda line: compact(
            {"log": line.decode(), "log_processed": json.loads(line), "kubernetes": POD, "stream": "stdout"}
        )
    ),
    "merged": each(lambda line: compact({**json.loads(line), "kubernetes": POD, "stream": "stdout"})),
    "fluentd file": each(lambda line: b"2026-01-02T03:04:05+00:00\tflows\t" + line),
}

#: Those that name namespace and pod.
NAMES_POD = frozenset((
    "stern namespace", "stern json", "named", "fluent bit", "fluent bit message", "fluent bit of cri",
    "fluent bit array", "fluent bit file", "fluent bit stdout", "fluentd file", "filebeat", "hit",
    "hit of fluent bit of cri", "logcli", "logcli of fluent bit", "hec object", "fluent bit in pieces", "hits",
    "hits pretty", "loki query", "loki queries", "loki push", "array",
))  # fmt: skip

ALL = {**LINES, **CUT, **DOCUMENTS}
