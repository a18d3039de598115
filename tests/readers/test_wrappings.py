"""Wrappings are told by their form, give what is inside unchanged, and cannot be forged by what is inside."""

import io
import json
import random
from contextlib import suppress

import pytest
from readers.calico.test_flow_json import RECORD
from readers.log_support import CONTEXT, INBOUND, OUTBOUND, SAMPLES, TCP, as_json, as_text, one, read_bytes
from readers.wrapped import ALL, CUT, DOCUMENTS, LINES, NAMES_POD, OBJECTS, POD, STAMP, compact, cri, docker, fluent_bit

from vzflow.flow.errors import UnreadableInput
from vzflow.flow.terms import SkipReason
from vzflow.readers import calico, envoy
from vzflow.readers.base import HEAD, Context, Tally
from vzflow.readers.sniff import FORMATS, is_stream, sniff
from vzflow.readers.unwrapping import Unwrapper, records
from vzflow.readers.wrappings import pod_name, pod_of_path

UID = "0ac7a0b3-4d6c-4b2f-9b43-0a4b6a3f1c22"
ACCESS = as_text(INBOUND).encode()

#: Lines as they come, by format: rows, output of other programs, and what cannot be used.
SOURCES = {
    "envoy": [
        ACCESS,
        b"2026-01-02T03:04:05.678901Z\tinfo\tEnvoy proxy is ready",
        as_text(OUTBOUND | TCP | {"upstream_host": "198.51.100.7:3306"}).encode(),
        as_json(OUTBOUND).encode(),
        as_text(INBOUND)[:200].encode(),
    ],
    "calico": [
        compact(RECORD),
        compact(RECORD | {"reporter": "nobody"}),
        compact(RECORD | {"source_name_aggr": "q\u00e9-*", "reporter": "src"}),
    ],
}


def told(read, data, context=CONTEXT):
    """The rows without what tells them apart, and how many records were not rows."""
    rows, tally = read_bytes(read, data, context)
    shown = [{k: v for k, v in row.items() if k not in ("record", "reporter_name")} for row in rows]
    skipped = {k: n for k, n in tally.skipped.items() if k != "partial_line"}
    return shown, skipped, tally.rejected_by_reason(), tally


def plain(lines):
    return b"\n".join(lines)


def samples():
    """Files of the collection that a format reads, and whose lines are not wrapped already."""
    found = {}
    for path in sorted(SAMPLES.glob("*.*")) if SAMPLES.is_dir() else ():
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        try:
            form = sniff(plain(lines)[:HEAD], path.name)
        except UnreadableInput:
            continue
        if "cri" not in path.name and "kubectl" not in path.name:
            found[path.name] = (form, lines * 2 if len(lines) == 1 else lines)  # one object alone is no document
    return found


CASES = {name: (FORMATS[name], lines) for name, lines in SOURCES.items()} | samples()


@pytest.mark.parametrize("wrapping", ALL)
@pytest.mark.parametrize("case", CASES)
def test_line_means_the_same_in_every_wrapping(case, wrapping):
    """Also what is skipped or cannot be used, and the format is told by what is inside."""
    form, lines = CASES[case]
    data = ALL[wrapping](lines)
    assert sniff(data[:HEAD], "x") is form
    assert is_stream(form, data[:HEAD]) == (wrapping not in DOCUMENTS)
    rows, _, rejected, _ = told(form.read, data)
    expected, _, unusable, _ = told(form.read, plain(lines))
    assert rows == expected
    assert sum(rejected.values()) == sum(unusable.values())


@pytest.mark.parametrize("wrapping", OBJECTS)
def test_record_means_the_same_as_an_object_in_every_wrapping(wrapping):
    """Stores parse what is JSON and keep it so."""
    for name, lines in (
        ("calico", SOURCES["calico"]),
        ("envoy", [as_json(INBOUND).encode(), as_json(OUTBOUND).encode()]),
    ):
        data = OBJECTS[wrapping](lines)
        assert sniff(data[:HEAD], "x") is FORMATS[name]
        expected = told(FORMATS[name].read, plain(lines))
        assert told(FORMATS[name].read, data)[:3] == expected[:3]


@pytest.mark.parametrize("wrapping", ALL)
def test_pod_that_a_wrapping_names_is_the_reporter(wrapping):
    """If it names the namespace too: a pod's name alone is that of several."""
    rows, _ = read_bytes(envoy.read, ALL[wrapping]([ACCESS, ACCESS]))
    assert {row["reporter_name"] for row in rows} == {"shop/web-0" if wrapping in NAMES_POD else None}


def test_reporter_of_the_user_and_of_the_record_win():
    """In this order."""
    data = LINES["fluent bit"]([compact(RECORD | {"host": "node-7"})])
    assert one(calico.read, data)["reporter_name"] == "node-7"
    given = Context("x", "0" * 16, "c", reporter_name="a/b")
    assert read_bytes(calico.read, data, given)[0][0]["reporter_name"] == "a/b"


@pytest.mark.parametrize(
    ("path", "pod"),
    [
        (f"/var/log/pods/shop_web-0_{UID}/istio-proxy/0.log", "shop/web-0"),
        (f"dump/shop_web-0_{UID}/istio-proxy/0.log.20260102-030405.gz", "shop/web-0"),
        (f"shop_web-0_{'ab' * 16}/etcd/3.log", "shop/web-0"),
        (f"/var/log/containers/web-0_shop_istio-proxy-{'0f' * 32}.log", "shop/web-0"),
        (f"/var/log/containers/web-0_shop_istio-proxy-{'0f' * 32}.log.1.gz", "shop/web-0"),
        ("/var/log/pods/shop_web-0/istio-proxy/0.log", None),
        (f"/var/log/pods/shop_web-0_{UID}/0.log", None),
        (f"/var/log/pods/Shop_web-0_{UID}/istio-proxy/0.log", None),
        ("shop/web-0.log", None),
        ("-", None),
    ],
)
def test_path_of_a_pods_log_names_it(path, pod):
    """Kubelet's folders and links, also copied elsewhere, rotated and compressed."""
    assert pod_of_path(path) == pod
    rows, _ = read_bytes(envoy.read, LINES["cri"]([ACCESS]), Context(path, "0" * 16, "c"))
    assert rows[0]["reporter_name"] == pod


@pytest.mark.parametrize("wrapping", ["kubectl prefix", "kubectl both", "stern", "stern timestamps"])
def test_pods_name_without_its_namespace_names_nobody_but_can_contradict(wrapping):
    """Pods of several namespaces may bear it: what the path says of another name is then no longer believed."""
    for pod, named in (("shop_web-0", "shop/web-0"), ("shop_web-1", None)):
        path = f"/var/log/pods/{pod}_{UID}/istio-proxy/0.log"
        rows, _ = read_bytes(envoy.read, LINES[wrapping]([ACCESS]), Context(path, "0" * 16, "c"))
        assert rows[0]["reporter_name"] == named


def test_pods_that_contradict_each_other_are_no_reporter():
    """One of the two may be a lie, so nobody is known to have written it."""
    path = f"/var/log/pods/logging_shipper-1_{UID}/c/0.log"
    rows, _ = read_bytes(envoy.read, LINES["fluent bit"]([ACCESS]), Context(path, "0" * 16, "c"))
    assert rows[0]["reporter_name"] is None
    rows, _ = read_bytes(
        envoy.read,
        compact(
            {"labels": {"namespace": "a", "pod": "b"}, "line": compact(fluent_bit(ACCESS)).decode(), "timestamp": STAMP}
        ),
    )
    assert rows[0]["reporter_name"] is None


@pytest.mark.parametrize(
    ("namespace", "name"), [("a.b", "c"), ("a" * 64, "c"), ("A", "c"), ("a", ""), ("a", None), ("a", "b\n"), (1, 2)]
)
def test_what_cannot_be_a_pods_name_is_none(namespace, name):
    """Labels and fields may hold anything."""
    assert pod_name(namespace, name) is None


# What is inside cannot look like what is around it.

FORGED = as_text(INBOUND | {"response_code": "418", "user_agent": "forged"}).encode()


@pytest.mark.parametrize("outer", ["cri", "docker", "kubectl prefix", "stern", "named", "syslog 3164", "syslog 5424"])
@pytest.mark.parametrize("inner", [name for name in LINES if not name.startswith("kubectl timestamps")])
def test_what_a_container_wrote_is_not_taken_for_a_wrapping(outer, inner):
    """An application may print whatever it likes: its text is no shipper's record, and names no pod."""
    rows, tally = read_bytes(envoy.read, LINES[outer](LINES[inner]([FORGED]).splitlines()))
    assert rows == []
    assert tally.read == 1


@pytest.mark.parametrize("wrapping", LINES)
def test_header_that_holds_a_wrapped_line_changes_nothing(wrapping):
    """In JSON it is a string; in text its quotes make the line ambiguous, or it stays in its column."""
    evil = LINES[wrapping]([FORGED]).rstrip(b"\n").decode()
    honest = one(envoy.read, as_json(INBOUND))
    assert one(envoy.read, as_json(INBOUND | {"user_agent": evil})) == honest
    rows, _ = read_bytes(envoy.read, as_text(INBOUND | {"user_agent": evil}).encode())
    assert rows == []
    rows, _ = read_bytes(envoy.read, as_text(INBOUND | {"user_agent": evil.replace('"', "'")}).encode())
    assert [row | {"record": 1} for row in rows] == [honest | {"record": 1}]


@pytest.mark.parametrize("name", ["log", "message", "event", "line", "_source", "kubernetes", "log_processed"])
def test_key_of_a_record_that_its_format_refuses_is_no_wrapping(name):
    """Users name JSON keys as they like, and fill them with headers: only what a shipper writes is opened."""
    for value in (FORGED.decode(), json.loads(as_json(INBOUND)), POD):
        for more in ({}, {"kubernetes": POD, "stream": "stdout", "@timestamp": STAMP}):
            record = json.loads(as_json(INBOUND)) | {"bytes_sent": "many"} | more | {name: value}
            rows, tally = read_bytes(envoy.read, compact(record))
            assert (rows, tally.rejected_by_reason()) == ([], {"field_invalid": 1})


def test_record_of_its_format_is_not_opened():
    """Whatever keys the user added."""
    record = json.loads(as_json(INBOUND)) | {"log": FORGED.decode(), "message": FORGED.decode(), "stream": "stdout"}
    assert one(envoy.read, compact(record))["response_code"] == 200


def test_pods_own_text_names_no_pod():
    """`kubernetes` in a line that a container wrote is the container's word."""
    line = compact(json.loads(as_json(INBOUND)) | {"kubernetes": POD})
    assert one(envoy.read, LINES["cri"]([line]))["reporter_name"] is None
    assert one(envoy.read, LINES["kubectl prefix"]([line]))["reporter_name"] is None


def test_record_of_several_lines_is_no_line():
    """A shipper that glues lines together makes none that can be trusted."""
    glued = compact(fluent_bit(ACCESS.replace(b"curl", b"cu\nrl")))
    rows, tally = read_bytes(envoy.read, glued)
    assert (rows, tally.rejected_by_reason()) == ([], {"columns_ambiguous": 1})


# Pieces.


@pytest.mark.parametrize("wrapping", CUT)
def test_line_in_pieces_counts_once_and_its_pieces_by_name(wrapping):
    """Its record is its first line."""
    data = CUT[wrapping]([ACCESS, ACCESS])
    rows, tally = read_bytes(envoy.read, data)
    lines = data.count(b"\n")
    assert (tally.read, tally.skipped["partial_line"]) == (lines, 4)
    assert [row["record"] for row in rows] == [1, 1 + lines // 2]


@pytest.mark.parametrize("end", ["cri", "docker"])
def test_line_whose_last_piece_is_missing_is_one_reject(end):
    """It is told by its first piece."""
    piece = {"cri": lambda text: cri(text, "P"), "docker": lambda text: docker(text, "")}[end]
    data = b"\n".join([cri(ACCESS), piece(ACCESS[:50]), piece(ACCESS[50:80])])
    rows, tally = read_bytes(envoy.read, data)
    assert (len(rows), tally.read, dict(tally.skipped)) == (1, 3, {"partial_line": 1})
    assert [(r.record, r.reason) for r in tally.rejects] == [(2, "truncated")]


def test_pieces_are_joined_for_each_stream():
    """Both streams of a container write to one file."""
    other = as_text(OUTBOUND).encode()
    data = [cri(ACCESS[:50], "P"), cri(other[:70], "P", "stderr"), cri(ACCESS[50:]), cri(other[70:], "F", "stderr")]
    rows, _ = read_bytes(envoy.read, b"\n".join(data))
    assert [(row["record"], row["reporter"]) for row in rows] == [(1, "responder"), (2, "initiator")]


def test_endless_pieces_are_one_reject_and_fill_no_memory():
    """Pieces of 16 KiB, more of them than a line may be long; what follows is whole."""
    data = b"\n".join([*[cri(b"x" * (1 << 14), "P")] * 200, cri(b"end"), cri(ACCESS)])
    rows, tally = read_bytes(envoy.read, data)
    assert [row["record"] for row in rows] == [202]
    assert [(r.record, r.reason) for r in tally.rejects] == [(1, "line_too_long")]


def test_unfinished_lines_of_very_many_streams_are_bounded():
    """Room is made by giving up the oldest one."""
    about = {"logtag": "P", "message": "x", "stream": "stdout"}
    pods = (POD | {"pod_name": f"pod-{number}"} for number in range(99))
    data = b"\n".join(compact(about | {"kubernetes": pod}) for pod in pods)
    found = records(io.BytesIO(data), CONTEXT, Tally(), lambda _: SkipReason.NOT_ACCESS_LOG)
    told = [(record.number, record.outcome.reason, record.pod) for record in found]
    assert told == [(number + 1, "truncated", f"shop/pod-{number}") for number in range(99)]
    unwrapper = Unwrapper(lambda _: SkipReason.NOT_ACCESS_LOG)
    for number, line in enumerate(data.splitlines()):
        assert unwrapper.read(number, line) is None
    assert [record.number for record in unwrapper.unfinished(16)] == list(range(99 - 16))


def test_piece_alone_is_never_read_as_a_line():
    """A client chooses the length of its headers, and so where the runtime cuts: the rest is no line of its own."""
    evil = as_text(INBOUND | {"user_agent": 'x" ' + "\0"}).encode()
    first, _ = evil.split(b"\0")
    rows, tally = read_bytes(envoy.read, b"\n".join([cri(first, "P"), cri(FORGED)]))
    assert (rows, tally.rejected_by_reason()) == ([], {"columns_ambiguous": 1})


# What is cut, blank or said by tools.


@pytest.mark.parametrize("header", ["syslog 3164", "syslog 5424", "syslog file"])
@pytest.mark.parametrize("size", [1, 20, 300, 700])
def test_object_that_syslog_cut_is_one_reject_named_so(header, size):
    """Calico's archiving cuts at 1024 bytes by default."""
    data = LINES[header]([compact(RECORD)[:size]]) + LINES[header]([compact(RECORD)])
    rows, tally = read_bytes(calico.read, data)
    assert [row["record"] for row in rows] == [2]
    assert [(r.record, r.reason) for r in tally.rejects] == [(1, "truncated")]


def test_object_that_is_wrong_but_whole_is_not_called_cut():
    """The reason tells the user where to look."""
    _, tally = read_bytes(calico.read, LINES["syslog 3164"]([b'{"a":1,}']))
    assert tally.rejected_by_reason() == {"not_json": 1}


@pytest.mark.parametrize("wrapping", LINES)
def test_empty_line_in_a_wrapping_is_a_blank_line(wrapping):
    """It is one whoever carried it."""
    rows, tally = read_bytes(envoy.read, LINES[wrapping]([ACCESS, b"", ACCESS]))
    assert len(rows) == 2
    assert sum(tally.skipped.values()) == 1


@pytest.mark.parametrize(
    "line",
    [
        'Defaulted container "istio-proxy" out of: istio-proxy, web, istio-init (init)',
        "Defaulting container name to istio-proxy.",
        "Found 2 pods, using pod/web-0",
        "+ web-0 \u203a istio-proxy",
        "- shop web-0 \u203a istio-proxy",
    ],
)
@pytest.mark.parametrize(
    ("read", "record"), [(envoy.read, ACCESS), (calico.read, compact(RECORD))], ids=["envoy", "calico"]
)
def test_what_kubectl_and_stern_say_is_skipped_by_name(line, read, record):
    """In the same file as the log, if standard error went there too."""
    rows, tally = read_bytes(read, b"\n".join([line.encode(), record]))
    assert (len(rows), dict(tally.skipped), tally.rejects) == (1, {"tool_message": 1}, [])


# Anything at all.


def mutated(rng, line):
    """The line with bytes changed, cut out, cut off or put in; it stays one line."""
    out = bytearray(line)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            out[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del out[at : at + rng.randrange(1, 60)]
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = rng.choice((b'"', b"\\", b"{", b"}", b"[", b"]", b" ", b"\0", b"\xff", b"\\u0000", b"\\ud800"))
        else:
            out[at:at] = line[: rng.randrange(len(line) + 1)]
    return bytes(out).replace(b"\n", b" ").replace(b"\r", b" ")


@pytest.mark.parametrize("wrapping", LINES)
@pytest.mark.parametrize("source", ["envoy", "calico"])
def test_mutated_line_costs_nothing_but_itself(source, wrapping):
    """Of three lines the outer two are as before, unless what is in between became a piece of the next one."""
    read, line = FORMATS[source].read, SOURCES[source][0]
    whole = LINES[wrapping]([line]).rstrip(b"\n")
    (expected,), _ = read_bytes(read, whole)
    rng = random.Random(f"{source} {wrapping}")
    for _ in range(150):
        changed = mutated(rng, whole)
        rows, tally = read_bytes(
            read, b"\n".join([whole, changed, whole]), Context("x", "00000000000000ab", "c1", document=False)
        )
        assert tally.read == 3
        kept = {row["record"]: row for row in rows}
        assert kept[1] == expected
        if "partial_line" not in tally.skipped:
            assert kept[3] == expected | {"record": 3}


@pytest.mark.parametrize("wrapping", ALL)
def test_mutated_files_never_crash_and_are_accounted_for(wrapping):
    """Bytes changed anywhere, lines joined, files cut: read = in flows + skipped + rejected."""
    rng = random.Random(wrapping)
    for source, lines in SOURCES.items():
        data = ALL[wrapping](lines)
        for _ in range(60):
            out = bytearray(data)
            for _ in range(rng.randint(1, 3)):
                at = rng.randrange(len(out))
                out[at : at + rng.choice((0, 1, 1, 30, 10_000))] = bytes(
                    rng.choices(b'{}[]",:\\\n \0\xffa1', k=rng.randrange(3))
                )
            tally = Tally()
            for batch in FORMATS[source].read(io.BytesIO(bytes(out)), CONTEXT, tally):
                assert batch.num_rows
            assert tally.balanced


@pytest.mark.parametrize("name", sorted(p.name for p in SAMPLES.glob("*.*")) if SAMPLES.is_dir() else [])
@pytest.mark.parametrize("wrapping", ALL)
def test_every_line_of_every_sample_is_accounted_for_by_every_format(name, wrapping):
    """Also by those whose lines they are not."""
    lines = [line for line in (SAMPLES / name).read_bytes().splitlines() if line.strip()]
    data = ALL[wrapping](lines)
    for form in FORMATS.values():
        if form.is_log:
            rows, tally = read_bytes(form.read, data)
            assert tally.read >= len(lines)
            assert len(rows) <= len(lines)


KEYS = (
    "_source", "_index", "event", "original", "@timestamp", "log", "message", "stream", "logtag", "kubernetes", "pod",
    "pod_name", "namespace", "namespace_name", "name", "labels", "line", "timestamp", "time", "log_processed", "hits",
    "data", "result", "values", "streams", "items", "events", "logEvents", "podName",
)  # fmt: skip
LEAVES = (
    None,
    True,
    1,
    1e300,
    "",
    "stdout",
    "P",
    "F",
    "web-0",
    "\ud800",
    "x\ny",
    ACCESS.decode(),
    cri(ACCESS).decode(),
)


def any_value(rng, depth=0):
    kind = rng.randrange(6 if depth < 5 else 3)
    if kind < 3:
        return rng.choice(LEAVES)
    if kind == 3:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(KEYS): any_value(rng, depth + 1) for _ in range(rng.randrange(6))}


@pytest.mark.parametrize("form", ["envoy", "calico"])
@pytest.mark.parametrize("seed", range(20))
def test_keys_of_wrappings_with_any_values_never_crash(form, seed):
    """As lines, and as documents."""
    rng = random.Random(seed)
    values = [any_value(rng) for _ in range(150)]
    for data in (
        b"\n".join(map(compact, values)),
        b"".join(map(compact, values)),
        json.dumps(values, indent=1).encode(),
    ):
        with suppress(UnreadableInput):
            sniff(data[:HEAD], "x")
        rows, tally = read_bytes(FORMATS[form].read, data)
        assert 1 <= tally.read >= len(rows)
        for row in rows:
            assert row["reporter_name"] in (None, "web-0/web-0", "stdout/web-0", "web-0/stdout", "stdout/stdout")
