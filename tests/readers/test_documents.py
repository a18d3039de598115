"""Documents are cut into their records whatever their layout, in bounded memory, and up to where they break off."""

import gzip
import io
import json
import random
import tracemalloc

import pytest
from readers.log_support import INBOUND, as_text, read_bytes
from readers.wrapped import DOCUMENTS, LINES, compact

from vzflow.readers import envoy
from vzflow.readers.base import LINE_LIMIT, Context, Tally
from vzflow.readers.documents import elements, is_document

ACCESS = as_text(INBOUND).encode()
NUMBERED = [
    {"n": n, "text": 'a "quoted" \\ { [ ] } , : \n \u00e9 ' * (n % 3), "more": [n, {"k": None}]} for n in range(40)
]
ENVELOPES = {
    "array": NUMBERED,
    "hits": {"took": 1, "_shards": {"total": [1, 2]}, "hits": {"total": {"value": 40}, "hits": NUMBERED, "max": 1.5}},
    "items": {"total": 40, "items": NUMBERED},
    "logEvents": {"owner": "1", "subscriptionFilters": ["a", "b"], "logEvents": NUMBERED},
    "events": {"events": NUMBERED, "searchedLogStreams": [{"x": []}], "nextToken": None},
}


class Dripping(io.RawIOBase):
    """Gives *size* bytes at a time."""

    def __init__(self, data, size):
        self._stream, self._size = io.BytesIO(data), size

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._stream.readinto(memoryview(buffer)[: self._size])

    read1 = io.RawIOBase.read


def cut(data, size=1 << 20):
    tally = Tally()
    return [element.text for element in elements(Dripping(data, size), tally)], tally


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 0, 4])
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_records_of_an_envelope_are_cut_out_as_they_stand(envelope, indent, size):
    """Wherever the pieces of the stream end."""
    data = json.dumps(ENVELOPES[envelope], indent=indent).encode()
    assert is_document(data)
    texts, tally = cut(data, size)
    assert [json.loads(text) for text in texts] == NUMBERED
    assert all(text in data for text in texts)
    assert (tally.read, tally.damage) == (40, None)


def test_documents_one_after_the_other_are_numbered_through():
    """Also of several kinds, also without a blank between them."""
    data = (
        b"".join(json.dumps(envelope).encode() for envelope in ENVELOPES.values())
        + b"\n"
        + json.dumps(NUMBERED[3]).encode()
    )
    tally = Tally()
    found = list(elements(io.BytesIO(data), tally))
    assert [one.number for one in found] == list(range(1, 202))
    assert tally.read == 201


@pytest.mark.parametrize("data", [b"[]", b'{"hits":{"hits":[]}}\n', b'{"items": []}{"logEvents": []}', b"\n \n"])
def test_empty_lists_hold_no_records(data):
    """An answer without hits is no record itself."""
    assert cut(data)[0] == []


def test_labels_hold_for_their_own_stream_only():
    """A stream without labels is not the one before."""
    stream = {"stream": {"namespace": "a", "pod": "b"}, "values": [["1", "x"], ["2", "y", {"structured": "metadata"}]]}
    data = compact({"streams": [stream, {"values": [["3", "z"]]}]})
    found = list(elements(io.BytesIO(data), Tally()))
    assert [(one.text, one.pod) for one in found] == [(b"x", "a/b"), (b"y", "a/b"), (b"z", None)]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'{"a":1}\n{"a":2}\n', False),
        (b'{"hits":3}\n', False),
        (b'\n\n{"_source":{"hits":{"hits":[1]}}}\n', False),
        (b'{"a":1', False),
        (b"[2026-01-02T03:04:05.678Z] text", False),
        (b'[1767323045.1, {"log":"x"}]', False),
        (b"plain text", False),
        (b'[{2026-01-02T03:04:05.678Z] "GET / HTTP/1.1" 200\n', False),
        (b'[{"2026-01-02T03:04:05.678Z] "GET / HTTP/1.1" 200\n', False),
        (b"{\n2026-01-02T03:04:05.678Z\n", False),
        (b'[{"cut', True),
        (b"", False),
        (b"{", False),
        (b'{"broken\n{"a":1}', False),
        (b'{\n  "a": 1\n}\n', True),
        (b'[\n  {"a": 1}\n]\n', True),
        (b'[{"a":1},', True),
        (b'\xef\xbb\xbf[{"a":1}]', True),
        (b'{"event":1}{"event":2}', True),
        (b'{"took":1,"hits":{"hits":[{"_source":{"cut', True),
        (b'{"hits":{"hits":[{"a":1}]}}\n{"hits"', True),
        (b'{"status":"success","data":{"resultType":"streams","result":[{"stream":{', True),
    ],
)
def test_documents_are_told_by_how_they_begin(head, expected):
    """A log of one object a line is no document: it may grow."""
    assert is_document(head) is expected


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_document_that_ends_early_gives_what_is_whole(envelope, at):
    """And says that something is missing."""
    data = json.dumps(ENVELOPES[envelope]).encode()
    texts, tally = cut(data[: int(len(data) * at)])
    assert [json.loads(text) for text in texts] == NUMBERED[: len(texts)]
    assert (tally.damage, tally.rejected_by_reason()) == ("truncated_file", {"truncated_file": 1})
    assert tally.read == len(texts) + 1


@pytest.mark.parametrize("bad", [b"}", b"]", b'"', b'\n"', b'{"a":"\n"}'])
def test_document_that_is_no_json_from_some_byte_on_gives_what_is_before(bad):
    """Nobody can say where the next record would begin."""
    data = b'[{"a":1},{"b":2}' + bad + b',{"c":3}]'
    texts, tally = cut(data)
    assert texts[:2] == [b'{"a":1}', b'{"b":2}']
    assert tally.damage is not None


def test_record_that_is_no_json_inside_its_brackets_costs_itself():
    """Brackets and strings tell where it ends; what it holds is for its format to judge."""
    texts, tally = cut(b'[{"a":1},{"b":NOT JSON, 01 "x" ""},{"c":3}]')
    assert texts == [b'{"a":1}', b'{"b":NOT JSON, 01 "x" ""}', b'{"c":3}']
    assert tally.damage is None


@pytest.mark.parametrize("value", ['"%s"', '{"a":"%s"}', '["%s"]', '{"%s":1}'], ids=["text", "object", "array", "key"])
@pytest.mark.parametrize("around", ['[{"a":1},%s,{"b":2}]', '{"x":%s}{"a":1}{"b":2}'], ids=["element", "document"])
def test_record_that_is_too_long_costs_itself_and_no_memory(around, value):
    """Thirty megabytes in one string."""
    data = (around % (value % ('y\\"' * 10_000_000))).encode()
    tracemalloc.start()
    texts, tally = cut(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts == [b'{"a":1}', b'{"b":2}']
    assert tally.rejected_by_reason() == {"line_too_long": 1}
    assert peak < 16 * LINE_LIMIT


def test_envelope_that_is_very_long_before_its_records_fills_no_memory():
    """What is passed over is not kept."""
    data = b'{"x":[' + b'{"y":"%b"},' % (b"z" * 1000) * 30_000 + b'1],"items":[{"a":1}]}'
    tracemalloc.start()
    texts, _ = cut(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts == [b'{"a":1}']
    assert peak < 14 * LINE_LIMIT < len(data) / 2


def test_very_deep_brackets_are_only_counted():
    """In an envelope and in a record."""
    deep = b"[" * 100_000 + b"]" * 100_000
    assert cut(b'{"a":%b,"items":[{"a":1}]}' % deep)[0] == [b'{"a":1}']
    assert cut(b'[%b,{"a":1}]' % deep)[0] == [deep, b'{"a":1}']
    assert cut(b'{"a":' * 100_000)[1].damage == "truncated_file"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_compressed_document_that_is_damaged_gives_what_is_whole(name):
    """As any compressed log."""
    packed = gzip.compress(
        DOCUMENTS[name]([as_text(INBOUND | {"path": f"/{random.Random(n).random()}"}).encode() for n in range(3000)])
    )

    class Breaking(io.RawIOBase):
        def __init__(self):
            self.stream = gzip.GzipFile(fileobj=io.BytesIO(packed[: len(packed) // 2]))

        def readable(self):
            return True

        def readinto(self, buffer):
            data = self.stream.read1(min(len(buffer), 5_000))
            buffer[: len(data)] = data
            return len(data)

    tally = Tally()
    context = Context("x", "0" * 16, "c", document=True)
    rows = sum(batch.num_rows for batch in envoy.read(io.BufferedReader(Breaking()), context, tally))
    assert 500 < rows < 3000
    assert (tally.damage, tally.read, tally.balanced) == ("bad_compression", rows + 1, True)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_mutated_document_keeps_what_stands_before_the_mutation(name):
    """The first half of the records is untouched, so it is there."""
    rng = random.Random(name)
    lines = [as_text(INBOUND | {"bytes_sent": str(n)}).encode() for n in range(20)]
    data = DOCUMENTS[name](lines)
    whole, _ = read_bytes(envoy.read, data)
    assert [row["bytes_received"] for row in whole] == list(range(20))
    for _ in range(100):
        out = bytearray(data)
        at = rng.randrange(len(out) // 2, len(out))
        out[at : at + rng.randrange(30)] = bytes(rng.choices(b'{}[]",:\\\n \0\xffa', k=rng.randrange(4)))
        rows, tally = read_bytes(envoy.read, bytes(out))
        assert rows[:8] == whole[:8]
        assert tally.read >= 9 or tally.damage


def test_lines_of_a_store_are_not_a_document():
    """One hit a line may grow; a document is whole."""
    for name, wrap in LINES.items():
        assert not is_document(wrap([ACCESS, ACCESS])), name
