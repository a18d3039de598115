"""What the compiled core says of a line is what `json` says; of every other line it says nothing."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.twin import interpreted

from vzflow.readers import line_core
from vzflow.readers.line_core import NUMBER, TEXT, WHOLE

#: Text at two levels, numbers at two levels.
FIELDS = [("a", TEXT), ("name", TEXT), ("in.a", TEXT), ("in.deep.x", TEXT), ("n", NUMBER), ("in.n", NUMBER)]
ROWS = 64
KEY = b"secretly"

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "n", "x", "deep"]), inner),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(["a", "name", "in", "n", "other", "nam", "names", 'q"', "\\", "é"]), values)


def cells(core, data, *, rows=ROWS, after=b"\0" * 8, **limits):
    """(line, what is said of its fields or None) for the lines of *data* that are whole; then where it stopped."""
    made = core.JsonLines(KEY, FIELDS, rows, **limits)
    found, at = [], 0
    while True:
        begin, at = at, made.feed(data + after, at, len(data))
        plain, begins, ends = made.lines
        for i in range(len(plain)):
            said = {}
            for place, (name, kind) in enumerate(FIELDS):
                if kind == NUMBER:
                    numbers, states = made.number(place)
                    if states[i] == WHOLE:
                        said[name] = int(numbers[i])
                else:
                    codes, texts = made.text(place)
                    if codes[i]:
                        said[name] = json.loads(texts[codes[i] - 1])
            found.append((data[begins[i] : ends[i]], said if plain[i] else None))
        if at == begin:
            return found, at


def expected(line):
    """What `json` says of the same fields; null numbers are none."""
    record = json.loads(line)
    said = {}
    for name, kind in FIELDS:
        *outer, last = name.split(".")
        inner = record
        for part in outer:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and last in inner and not (kind == NUMBER and inner[last] is None):
            said[name] = inner[last]
    return said


def agrees(found):
    for line, said in found:
        if said is not None:
            assert said == expected(line), line


@settings(max_examples=300)
@given(st.lists(objects, min_size=1, max_size=8), st.booleans(), st.sampled_from([None, (",", ":"), (" ,\t", " : ")]))
def test_a_line_that_is_read_holds_what_json_says(records, ascii_only, separators):
    """Whatever the writer's habits are; what is not plain is left, and never costs the line after it."""
    lines = [json.dumps(record, ensure_ascii=ascii_only, separators=separators) for record in records]
    data = "".join(f"{line}\n" for line in lines).encode()
    found, at = cells(line_core, data)
    assert at == len(data)
    assert [line.decode() for line, _ in found] == lines
    agrees(found)


def test_plain_lines_are_all_read():
    """Else the fast road would be no road; order, blanks, unknown names and nested values make no difference."""
    lines = [
        b'{"a":"x","n":1}', b'{"n": -7, "a": "x", "other": [1, 2.5e3, {"b": [true, false, null]}, []], "z": {}}',
        b'{}', b'{"in":{"deep":{"x":"y","z":{"a":1}},"a":null,"n":0},"name":{"k":["v"]}} \t\r', b'{"n":null}',
        b'{"a":"x y","other":"a longer text than eight bytes"}',
    ]  # fmt: skip
    found, _ = cells(line_core, b"\n".join(lines) + b"\n")
    assert [said for _, said in found] == [expected(line) for line in lines]


@pytest.mark.parametrize(
    "line",
    [
        b"", b" {}", b"[]", b"{", b"{}}", b"{} {}", b'{"a"}', b'{"a":}', b'{"a":1,}', b'{"a" "b"}', b"{'a':1}",
        b'{"a":01}', b'{"a":-}', b'{"a":1.}', b'{"a":.5}', b'{"a":1e}', b'{"a":+1}', b'{"a":NaN}', b'{"a":Infinity}',
        b'{"a":tru}', b'{"a":nulll}', b'{"a":"x}', b'{"a":"\t"}', b'{"a":"\\n"}', b'{"a":"\xc3\xa9"}', b'{"\\u0061":1}',
        b'{"a":1,"a":2}', b'{"n":1,"n":2}', b'{"n":null,"n":2}', b'{"n":1.0}', b'{"n":1e3}', b'{"n":"1"}',
        b'{"n":true}',
        b'{"n":1234567890123456789}', b'{"n":007}', b'{"n":-}', b'{"n":[]}', b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"in":{"n":1},"in":{"n":2}}', b'{"in":{"n":1},"in":{}}', b'{"in":{"n":1},"in":2}',
        b'{"in":{"deep":{"x":1},"deep":null}}', b'{"a":' + b"1" * 641 + b"}", b'{"x":[-' + b"1" * 5000 + b"]}",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left(line):
    """No JSON, or JSON that says less than it seems to: one line at a time is read with more care."""
    found, at = cells(line_core, b'{"n":5}\n' + line + b'\n{"n":6}\n')
    assert [said for _, said in found] == [{"n": 5}, None, {"n": 6}]
    assert at == len(line) + 17


@pytest.mark.parametrize(
    "line", [b'{"other":"%s"}', b'{"in":{"%s":1}}', b'{"a":"7 bytes%s and more"}'], ids=["text", "name", "known text"]
)
def test_no_bytes_are_taken_for_the_number_that_stands_for_an_exception(line):
    """Eight bytes are looked at as one number, and a line may hold any."""
    data = line % b"a longer" + b"\n" + line % b"\t\0\0\0\0\0\0\0" + b"\n"
    found, _ = cells(line_core, data)
    assert [said is None for _, said in found] == [False, True]


def test_as_many_digits_as_json_may_be_told_to_refuse_are_read():
    """Of a number that nobody wants as one: with more, a record would be a reject one line at a time."""
    found, _ = cells(line_core, b'{"a":%s,"x":0.%s}\n' % (b"1" * 640, b"1" * 5000))
    assert [said for _, said in found] == [{"a": int("1" * 640)}]


def test_names_share_a_place_only_as_the_key_has_it():
    """Else whoever chooses names could make each of them cost as much as all that are known."""

    def places(key, names):
        made = interpreted("vzflow.readers.line_core").JsonLines(key, FIELDS, ROWS)
        for made.buf in names:
            yield made._name_hash(0, len(made.buf), 0) % (4 * line_core.MAX_NAMES)

    names = [b"%d" % i for i in range(100_000)]
    together = [name for name, place in zip(names, places(KEY, names), strict=True) if place == 0]
    assert len(together) > 10
    assert len(set(places(b"another1", together))) > len(together) / 2


def test_a_line_that_has_no_end_yet_waits():
    """However much of it is there; what lies behind the range is not read."""
    line = b'{"a":"value","n":12,"in":{"n":3,"deep":{"x":[1,2]}}}\n'
    for size in range(len(line)):
        for after in (b"\n" * 8, b'}}}}"\n\n\n', b"\0" * 8):
            assert cells(line_core, line + line[:size], after=after) == ([(line[:-1], expected(line))], len(line))


def test_texts_without_a_place_are_left_and_numbered_from_the_beginning_afterwards():
    """Memory is bounded, however many different texts a log holds."""
    lines = [json.dumps({"a": f"text {i}", "n": i}).encode() for i in range(100)]
    for limits in ({"max_texts": 10}, {"max_text_bytes": 100}):
        found, _ = cells(line_core, b"\n".join(lines) + b"\n", **limits)
        assert [line for line, _ in found] == lines
        agrees(found)
        assert 0 < sum(said is None for _, said in found) < 20


def test_more_names_than_have_a_place_are_passed_over():
    """A hostile line may hold a new name each time."""
    lines = [json.dumps({f"key {i} {j}": j for j in range(300)} | {"n": i}).encode() for i in range(20)]
    found, _ = cells(line_core, b"\n".join(lines) + b"\n")
    assert [said for _, said in found] == [{"n": i} for i in range(20)]


def corpus(seed, count=400):
    """Lines of JSON with wrong bytes here and there."""
    rng = random.Random(seed)
    said = ['"x"', '"a text of more than eight"', "12", "-3", "null", "true", "1.5", "[1,[2]]", '{"x":"y"}', '{"n":4}']
    for _ in range(count):
        names = rng.sample(["a", "name", "in", "n", "other", "deep", "in.a", ""], rng.randrange(6))
        line = bytearray(("{" + ",".join(f'"{name}":{rng.choice(said)}' for name in names) + "}").encode())
        for _ in range(rng.choice([0, 0, 1, 2])):
            place = rng.randrange(len(line))
            line[place : place + rng.randrange(2)] = rng.choice(
                [b'"', b"{", b"}", b",", b"\n", b"\\", b"\xff", b"0", b""]
            )
        yield bytes(line)


@pytest.mark.parametrize("seed", range(5))
def test_damaged_lines_are_left_or_read_as_json_reads_them_and_both_ways_of_running_agree(seed):
    """The compiled core, and the same source under Python."""
    data = b"\n".join(corpus(seed)) + b"\n"
    found, at = cells(line_core, data)
    assert b"\n".join(line for line, _ in found) + b"\n" == data
    agrees(found)
    assert sum(said is not None for _, said in found) > 100
    assert cells(interpreted("vzflow.readers.line_core"), data) == (found, at)


def test_a_range_beyond_the_buffer_is_refused():
    """It would be read past its end."""
    made = line_core.JsonLines(KEY, FIELDS, ROWS)
    for begin, end in ((0, 1), (-1, 0), (2, 1)):
        with pytest.raises(ValueError, match="bad range"):
            made.feed(b"\0" * 8, begin, end)
