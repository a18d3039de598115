"""Lines of every shape, damaged: never an exception, never a lost count, never a neighbour's damage."""

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.calico import test_columns, test_ebpf_trace, test_felix_syslog, test_goldmane, test_kernel, test_whisker
from readers.calico.test_flow_json import RECORD
from readers.log_support import read_bytes

from vzflow.readers.calico import read, recognises

LINES = {
    "flow_json": json.dumps(RECORD),
    "hit": json.dumps({"_index": "i", "_id": "1", "_source": RECORD}),
    "columns": test_columns.line(),
    "goldmane": json.dumps(test_goldmane.FLOW),
    "whisker": json.dumps(test_whisker.FLOW),
    "event": f"data: {json.dumps(test_whisker.FLOW)}",
    "felix_syslog": test_felix_syslog.LINE,
    "kernel": test_kernel.LINE,
    "ebpf_trace": test_ebpf_trace.LINE,
}

#: What no damage makes of a column.
FIRM = {"action": {"allowed", "denied", "unknown"}, "transport_seen": {"unknown"}, "mesh_mtls": {None}}


def damaged(line: bytes, luck: random.Random) -> bytes:
    """Return *line* with one to three places changed, cut, doubled or swapped."""
    for _ in range(luck.randint(1, 3)):
        at, to = sorted((luck.randrange(len(line) + 1), luck.randrange(len(line) + 1)))
        to = min(to, at + luck.choice((1, 2, 8, 40)))
        line = luck.choice(
            (
                line[:at] + line[to:],
                line[:at] + bytes((luck.randrange(256),)) + line[at + 1 :],
                line[:to] + line[at:to] + line[to:],
                line[:at],
                line[at:],
                line[:at]
                + luck.choice((b'"', b"\\", b"{", b"]", b"=", b" ", b"\x00", b"\xff", b"-", b"9"))
                + line[at:],
            )
        )
    return line.replace(b"\n", b"")


@pytest.mark.parametrize("shape", LINES)
@pytest.mark.parametrize("seed", range(4))
def test_damaged_line_costs_only_itself(shape, seed):
    """The lines before and after it are read as ever, at their own numbers."""
    luck = random.Random(f"{shape} {seed}")
    good = LINES[shape].encode()
    bad = [damaged(good, luck) for _ in range(200)]
    data = b"\n".join(part for line in bad for part in (good, line)) + b"\n" + good
    recognises(data[: 1 << 16])
    rows, tally = read_bytes(read, data)
    whole = {row["record"]: row for row in rows}
    first = whole[1]
    assert all(whole[number] == first | {"record": number} for number in range(1, 402, 2))
    for column, values in FIRM.items():
        assert {row[column] for row in rows} <= values
    assert tally.read == 401


@pytest.mark.parametrize("shape", LINES)
def test_line_cut_anywhere_is_no_other_flow(shape):
    """
    What is left of a line never names other ends or another action than the whole line.

    Only a trace line ends in a port, which can lose digits unseen.
    """
    line = LINES[shape].encode()
    (whole,), _ = read_bytes(read, line)
    firm = ("initiator_ip", "responder_ip", "initiator_named_name", "responder_named_name", "action",
            "initiator_basis", "initiator_port", "responder_port")  # fmt: skip
    firm = firm if shape != "ebpf_trace" else firm[:-1]
    for end in range(1, len(line)):
        for row in read_bytes(read, line[:end])[0]:
            assert [row[name] for name in firm] == [whole[name] for name in firm]


PARTS = (*LINES.values(), "", "{", "[", "[{", "]", '{"items":[', "data:", ":", "kernel: ")


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.binary(max_size=30))
@settings(max_examples=150)
def test_any_order_of_lines_balances(lines, noise):
    """Shapes may be mixed, lists may begin and never end."""
    data = "\n".join(lines).encode() + noise
    recognises(data)
    read_bytes(read, data)


@pytest.mark.parametrize(
    "flood",
    [
        b"-" * 900_000, b"a" * 900_000, b"a=" * 400_000, b'a="' * 300_000, b" " * 900_000, b"[" * 900_000,
        b"{" * 900_000,
        b'{"items":[' + b"[" * 900_000, b"x-1 [000] 1.1: bpf_trace_printk: " + b"-" * 900_000,
        b"x-1 [000] 1.1: bpf_trace_printk: " + b"a-" * 400_000 + b": policy ALLOWED",
        b"Jan  2 03:04:05 h kernel: " + b": IN=" * 180_000, b"calico-packet: IN=a OUT=b " + b"A= " * 300_000,
        b"calico-felix: action= dstIP= " + b"a=b " * 220_000, b"1767323045 1767323345 wep " + b"x " * 400_000,
        b"[{\n" + b'"a":1,\n' * 120_000, b"data: " * 150_000, b"[" + b'{"a":"' + b"\\" * 900_000,
    ],
    ids=range(17),
)  # fmt: skip
def test_flood_takes_no_time(flood):
    """No line makes a pattern try again and again."""
    began = time.process_time()
    recognises(flood[: 1 << 16])
    read_bytes(read, flood)
    assert time.process_time() - began < 3
