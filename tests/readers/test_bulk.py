"""Many lines at once: what a line means does not depend on the road it took."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers.calico.test_flow_json import RECORD
from readers.log_support import CONTEXT, needs_core, sample, told_by_road

from vzflow.readers import bulk, calico, facets, line_core
from vzflow.readers.base import LINE_LIMIT, Tally
from vzflow.readers.calico import flow_json

#: What may stand in any field: right there, of another kind, out of range, or nothing.
ODD = [
    None,
    "",
    "-",
    "*",
    "é",
    'a"b',
    0,
    1,
    -1,
    65536,
    10**17,
    10**19,
    1.0,
    2.5,
    True,
    [],
    {},
    ["a=b"],
    "198.51.100.300",
]
FINE = {
    "reporter": ["src", "dst", "fwd", "dst,fwd", "src, fwd", "unspecified", "src,dst"],
    "action": ["allow", "deny", "unspecified", "pass"],
    "proto": ["tcp", "udp", "icmp", "icmp6", "50", 6, "256"],
    "source_type": ["wep", "hep", "ns", "net", "other"], "dest_type": ["wep", "hep", "ns", "net"],
    "source_name_aggr": ["shop-*", "shop-0", "pub", "pvt", "*", "-"], "source_name": ["shop-0", "-"],
    "start_time": [0, 1767323345, 1767323346, 253_402_300_800], "end_time": [0, 1767323044, 1767323345],
    "dest_labels": [None, {"labels": ["a=b", "c=d=e", "f"]}, ["a=b"], {"labels": "a=b"}],
    "policies": [None, {"all_policies": ["0|a|b|allow", "1|a|staged:b|deny"]}, {"enforced_policies": "x"}],
    "source_ip": ["192.0.2.1", "2001:DB8::0001", "::ffff:192.0.2.9", "-"], "source_port": [0, 1, 65535, 65536],
    "host": ["node-1", "-"], "num_flows": [0, 1, 7], "dest_port_num": [80],
    "kubernetes": [{"pod_name": "p", "namespace_name": "n"}],
    "_source": [dict(RECORD)], "Key": [{"proto": "tcp"}], "log": ["x"],
}  # fmt: skip


told = partial(told_by_road, calico.read)


@st.composite
def records(draw):
    record = dict(RECORD)
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from([*FINE, *RECORD]))
        record[name] = draw(st.sampled_from(FINE.get(name, ODD) if draw(st.booleans()) else ODD))
    for name in draw(st.lists(st.sampled_from([*RECORD]), max_size=1)):
        del record[name]
    return json.dumps(record, ensure_ascii=draw(st.booleans())).encode()


def hit(record, **beside):
    """A line of an index's export."""
    around = {"_index": "tigera_secure_ee_flows", "_id": "1", "_source": "here"} | beside
    return json.dumps(around).encode().replace(b'"here"', record)


def line(**changes):
    return json.dumps(RECORD | changes).encode()


@needs_core
@settings(max_examples=200)
@example([line(end_time=RECORD["start_time"]), line(end_time=RECORD["start_time"] - 1)])
@example([line(host=None), line(host=None, kubernetes={"pod_name": "p", "namespace_name": "n"})])
@given(st.lists(records() | st.sampled_from([b"", b"no flow", b"{", b"[]", b'{"a":1}\r']), min_size=1, max_size=12))
def test_both_roads_tell_the_same_of_every_record(lines):
    """Whatever stands in its fields: flows, rejects with their details, skips and counts."""
    data = b"\n".join(lines)
    assert told(data) == told(data, at_once=False)


BESIDE = [
    {}, {"sort": [1]}, {"kubernetes": {"pod_name": "p", "namespace_name": "n"}}, {"log": "x"}, {"Key": {"a": "b"}},
    {"_source2": {"proto": "udp"}}, {"reporter": "dst"}, {"_type": '"'},
]  # fmt: skip


@needs_core
@settings(max_examples=100)
@example([line(), hit(line()), hit(hit(line()))], {})
@example([hit(line()), line(), hit(hit(line())), hit(b"[]"), hit(b'{"_source": null}')], {})
@given(st.lists(records() | st.builds(hit, records() | st.just(b"1")), min_size=1, max_size=8), st.sampled_from(BESIDE))
def test_both_roads_tell_the_same_of_records_in_a_stores_export(lines, beside):
    """Whatever stands beside them, and if some stand alone."""
    data = b"\n".join([*lines, *(hit(one, **beside) for one in lines)])
    assert told(data) == told(data, at_once=False)


@needs_core
@pytest.mark.parametrize("around", [bytes, hit], ids=["alone", "export"])
def test_plain_records_take_the_fast_road(around):
    """Else nobody would notice that it is never taken."""
    data = b"".join(around(line(source_port=port)) + b"\n" for port in range(1, 1001))
    with patch.object(calico, "parse", side_effect=AssertionError("read one line at a time")):
        rows, rejects, read, _ = told(data)
    assert (len(rows), rejects, read) == (1000, [], 1000)
    assert [row["initiator_port"] for row in rows] == list(range(1, 1001))


@needs_core
@pytest.mark.parametrize("reporter", [None, "shop/front-0"])
@pytest.mark.parametrize(
    "path", ["flows.log", "/var/log/pods/calico-system_felix-x_0123456789abcdef0123456789abcdef/c/0.log"]
)
def test_both_roads_name_the_same_reporter(reporter, path):
    """The user's word, else the record's, else the path's."""
    lines = [RECORD, RECORD | {"host": None}, RECORD | {"host": "é"}]
    data = b"\n".join(json.dumps(line).encode() for line in lines)
    context = replace(CONTEXT, path=path, reporter_name=reporter)
    assert told(data, context) == told(data, context, at_once=False)


@needs_core
@pytest.mark.parametrize("seed", range(20))
def test_blocks_of_any_size_hold_the_same_lines(seed):
    """A line that two blocks share is one line; a very long one costs itself; the last one needs no end."""
    rng = random.Random(seed)
    lines = []
    for i in range(80):
        line = json.dumps(RECORD | {"source_port": i, "x": "y" * rng.randrange(400)}).encode()
        if rng.random() < 0.1:
            line = rng.choice([b"", b"x" * rng.randrange(3000), b"{" + b" " * 2500, line[: rng.randrange(len(line))]])
        lines.append(line + rng.choice([b"\n", b"\n", b"\n", b"\r\n"]))
    data = b"".join(lines).removesuffix(b"\n")
    with patch("vzflow.readers.base.LINE_LIMIT", 2000), patch.object(bulk, "LINE_LIMIT", 2000):
        expected = told(data, at_once=False)
        for block in (2003, 2500, 4096, 1 << 20):
            assert told(data, block=block, rows=rng.choice([1, 7, 64])) == expected


@needs_core
def test_a_line_without_end_costs_one_reject_and_no_memory():
    """A compressed bomb of one line, read in blocks."""

    class Endless(io.RawIOBase):
        left = 20 * LINE_LIMIT

        def readable(self):
            return True

        def readinto(self, buffer):
            count = min(len(buffer), self.left)
            buffer[:count] = b"x" * count
            self.left -= count
            return count

    tally = Tally()
    with patch.object(bulk, "BLOCK", 2 * LINE_LIMIT):
        assert list(calico.read(Endless(), replace(CONTEXT, document=False), tally)) == []
    assert (tally.read, tally.rejected, tally.rejects[0].reason) == (1, 1, "line_too_long")


@needs_core
def test_of_a_line_that_is_too_long_both_roads_look_at_the_same_beginning():
    """What follows cannot make it a record of the one road and none of the other."""
    data = line() + b"\r" * 2000 + b"x\n" + line() + b"\n"
    with patch("vzflow.readers.base.LINE_LIMIT", 2000), patch.object(bulk, "LINE_LIMIT", 2000):
        assert told(data) == told(data, at_once=False)


@needs_core
@pytest.mark.parametrize("field", ["host", "bytes_in", "other"])
def test_a_number_that_json_refuses_is_a_reject_on_both_roads(field):
    """Python reads no integer of more than 4300 digits."""
    data = line(**{field: 7}).replace(b'"%s": 7' % field.encode(), b'"%s": %s' % (field.encode(), b"9" * 5000)) + b"\n"
    rows, rejects, _, _ = told(data * 2)
    assert (rows, [reject[1] for reject in rejects]) == ([], ["not_json"] * 2)
    assert told(data * 2, at_once=False) == told(data * 2)


@needs_core
def test_combinations_of_few_texts_are_not_remembered_without_end():
    """Of a thousand names and a thousand aggregated names a million may be made."""
    lines = [line(source_name=f"shop-{i % 20}", source_name_aggr=f"shop-{i // 20}-*") for i in range(400)]
    known: list[int] = []
    add = bulk.Answers.add

    def noted(self, answers):
        add(self, answers)
        known.append(len(self._answers))

    with patch.object(bulk.Answers, "add", noted), patch.object(facets, "MAX_HELD", 50 * facets.ANSWER):
        assert told(b"\n".join(lines), rows=16) == told(b"\n".join(lines), at_once=False)
    assert max(known) < 100


@needs_core
def test_a_batch_holds_the_texts_of_its_own_rows_only():
    """Whoever gathers small batches would hold all that was ever seen, once for each."""
    data = b"".join(line(source_name=f"shop-{i}") + b"\n" for i in range(64))
    with patch.object(bulk, "ROWS", 8):
        batches = list(calico.read(io.BytesIO(data), CONTEXT, Tally()))
    assert [len(batch.column("initiator_named_name").dictionary) for batch in batches] == [8] * 8


@needs_core
def test_when_texts_are_numbered_anew_what_they_mean_is_asked_anew():
    """A number is another text's then."""
    made = line_core.JsonLines

    def small(*given):
        return made(*given, max_texts=40)

    data = b"".join(
        json.dumps(RECORD | {"source_name": f"shop-{i}", "source_ip": f"192.0.2.{i % 250}"}).encode() + b"\n"
        for i in range(500)
    )
    with patch.object(facets, "JsonLines", small):
        assert told(data) == told(data, at_once=False)


def test_every_field_of_the_plan_is_of_one_kind():
    """A number among the texts would be read as neither."""
    plan = flow_json.PLAN
    texts = {*plan.needed, *plan.foreign, *(name for facet in plan.facets for name in facet.fields)}
    assert not texts & set(plan.numbers)
    assert all(len(facet.fields) <= 3 for facet in plan.facets)


def test_published_records_are_told_alike():
    """Aggregation levels, reporters and policy strings as people have them."""
    data = sample("calico-enterprise-flows.jsonl")
    assert told(data) == told(data, at_once=False)
