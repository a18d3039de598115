"""Hostile bytes: never a crash, a hang or unbounded memory, and what can be used is used. See `mutations.py`."""

import contextlib
import gc
import gzip
import io
import os
import random
import struct
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers import mutations
from readers.mutations import CHECKOUT, Dribble, damaged, held, same, seeds, told
from readers.packet_support import (
    BEGIN,
    CONTEXT,
    SECOND,
    SYN,
    Talk,
    block,
    enhanced,
    ethernet,
    interface,
    ipv4,
    ipv6,
    option,
    pcap_file,
    read,
    section,
    tcp,
    udp,
)
from readers.test_roads import PACKETS
from readers.twin import interpreted

from vzflow.flow.errors import UnreadableInput
from vzflow.readers import packet_core, pcap
from vzflow.readers.base import Tally

#: More by `VZFLOW_FUZZ=200000 make test K=damaged`; beyond that `make fuzz`.
FILES = int(os.environ.get("VZFLOW_FUZZ", "10000"))
SEED = "1"
FRAME = ethernet(ipv4(tcp(40_000, 8_000, SYN)))


# --- Damaged files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(10))
def test_no_packet_of_a_damaged_file_is_lost_and_nothing_is_raised(part):
    """Each packet is in a flow, skipped or rejected by name, whatever the bytes and however small the tables."""
    packets = 0
    for number in range(part * FILES // 10, (part + 1) * FILES // 10):
        data, limits = damaged(SEED, number)
        try:
            packets += held(data, **limits)
        except BaseException as error:
            path = saved(number, data)
            raise AssertionError(f"file {number} of run {SEED}, {limits}: saved as {path}") from error
    assert packets > FILES // 10  # the damage leaves enough to decode


def saved(number, data):
    path = CHECKOUT / "build" / "fuzz" / f"{SEED}-{number}.pcap"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("part", range(4))
def test_damaged_file_is_read_the_same_compiled_interpreted_and_in_dribs(part):
    """Machine code wraps around and Python does not; a pipe may end a read anywhere."""
    core = interpreted("vzflow.readers.packet_core")
    for number in range(part, max(FILES // 50, 4), 4):
        same(SEED, number, core)


@settings(max_examples=300)
@given(
    seed=st.sampled_from(seeds()),
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 1 << 16),
    limits=st.fixed_dictionaries({"max_flows": st.integers(4, 40), "payload_pool": st.integers(1, 6_000)}),
)
def test_wrong_bytes_anywhere_lose_no_packet(seed, edits, cut, limits):
    """Hypothesis looks for the smallest file that does."""
    data = bytearray(seed)
    for at, value in edits:
        data[at % len(data)] = value
    held(bytes(data[: cut or None]), **limits)


@settings(max_examples=200)
@given(
    link=st.sampled_from([0, 1, 9, 12, 50, 101, 108, 113, 127, 195, 239, 276]),
    frames=st.lists(st.tuples(st.binary(max_size=90), st.integers(0, 100)), min_size=1, max_size=6),
    head=st.sampled_from([b"", FRAME[:14], FRAME[:34], FRAME, ipv6(b"")]),
)
def test_any_packets_are_read_the_same_compiled_and_interpreted(link, frames, head):
    """Whatever stands where headers should."""
    data = pcap_file(
        [(BEGIN + n, head + some, len(head + some) + beyond) for n, (some, beyond) in enumerate(frames)], link
    )
    assert told(data, core=interpreted("vzflow.readers.packet_core")) == told(data)


# --- One packet in a buffer that ends with it ------------------------------------------------------------------------

UNITS = 1_000_000
ALONE = PACKETS | {name: (101, data) for name, data in mutations.HEADERS.items()}


def outcome(core, link, data, before, after, length):
    """All that the core says of one packet, with these bytes around its record."""
    said = []

    def note(*given):
        said.append(given)
        return True

    made = core.Core(b"k" * 16, note, note, lambda: None, max_flows=4, payload_pool=1 << 14)
    made.set_pcap(False, UNITS, 16, link)
    record = struct.pack("<IIII", 1, 2, len(data), length) + data
    buffer = before + record + after
    assert made.feed(buffer, len(before), len(before) + len(record)) == (len(before) + len(record), "more")
    made.finish()
    keys, rows = made.row_memory
    numbers = np.frombuffer(rows, "i8").reshape(-1, len(core.ROW_FIELDS))[:, core.ROW_FIELDS.index("facts")]
    return said, made.counts, bytes(keys), bytes(rows), [made.facts_of(number) for number in numbers.tolist()]


@pytest.mark.parametrize(("link", "data"), ALONE.values(), ids=ALONE.keys())
def test_what_lies_around_a_packet_is_never_read(link, data):
    """Bounds checks guard the buffer; length tests guard the packet, so its neighbours must make no difference."""
    for size in range(len(data) + 1):
        for length in {size, len(data)}:
            alone = outcome(packet_core, link, data[:size], b"", b"", length)
            for byte in (b"\0", b"\xff", b"\x45"):
                assert outcome(packet_core, link, data[:size], byte * 80, byte * 80, length) == alone


def test_what_lies_around_a_damaged_packet_is_never_read():
    """The same for headers that lie, in a buffer that ends where the packet does."""
    chance = random.Random(1)
    corpus = list(ALONE.values())
    twin = interpreted("vzflow.readers.packet_core")
    for number in range(4_000):
        link, data = chance.choice(corpus)
        data = mutations.wrong(data, chance)[:2_000]
        length = len(data) + chance.choice((0, 0, 1, 40, 1_500))
        alone = outcome(packet_core, link, data, b"", b"", length)
        around = chance.choice((b"\0", b"\xff", b"\x06")) * 300
        assert outcome(packet_core, link, data, around, around, length) == alone
        if number % 40 == 0:
            assert outcome(twin, link, data, b"", b"", length) == alone


# --- Flows that collide ----------------------------------------------------------------------------------------------

FLOWS = 200_000
ONES = (1 << 64) - 1


def rotl(word, by):
    return (word << by | word >> 64 - by) & ONES


def addresses(kind):
    """Addresses that all have one hash where it is made of XOR and rotation, or the same low bits; or any."""
    chance = random.Random(kind)
    for n in range(FLOWS):
        low = n * 0x9E3779B97F4A7C15 & ONES
        if kind == "rotated":
            yield rotl(low, 17) ^ 0x20010DB8_00000000, low
        elif kind == "low_bits":
            yield 0x20010DB8_00000000 | n << 24, n << 40 & ONES
        elif kind == "only_high":
            yield 0x20010DB8_00000000 | n, 7
        else:
            yield chance.getrandbits(64), chance.getrandbits(64)


def flood(kind):
    """Records of one packet for each address."""
    ip = struct.pack("!IHBB", 6 << 28, 8, 17, 64)
    tail = ipv6(udp(1, 2), following=17)[24:]
    head = struct.pack("<IIII", 1_700_000_000, 0, 48, 48) + ip
    return b"".join(head + struct.pack("!QQ", *ends) + tail for ends in addresses(kind))


def seconds(data):
    """Of the processor, to count the flows of *data*; the least of two tries."""
    took = []
    for _ in range(2):
        core = packet_core.Core(os.urandom(16), None, None, None, max_flows=FLOWS + 2)
        core.set_pcap(False, UNITS, 16, 101)
        begin = time.process_time()
        assert core.feed(data, 0, len(data))[0] == len(data)
        took.append(time.process_time() - begin)
        assert core.counts[1] == FLOWS
    return min(took)


@pytest.mark.skipif(not packet_core.COMPILED, reason="measured in machine code")
@pytest.mark.parametrize("kind", ["rotated", "low_bits", "only_high"])
def test_flows_chosen_to_collide_take_no_longer_than_others(kind):
    """The hash is keyed: whoever writes packets cannot know which flows share a place. Else this takes minutes."""
    assert seconds(flood(kind)) < 4 * seconds(flood("any")) + 0.05


def test_flood_would_collide_without_a_key():
    """Else the test above shows nothing."""
    assert len({high ^ rotl(low, 17) for high, low in addresses("rotated")}) == 1
    assert len({(high ^ low) & 0xFFFFFF for high, low in addresses("low_bits")}) == 1


def test_every_run_has_its_own_key(monkeypatch):
    """A key that does not change can be found out."""
    keys = []
    made = packet_core.Core

    class Module:
        @staticmethod
        def Core(key, *given, **options):
            keys.append(bytes(key))
            return made(key, *given, **options)

    for _ in range(2):
        list(pcap.read(io.BytesIO(pcap_file([(BEGIN, FRAME)])), CONTEXT, Tally(), core=Module))
    assert len(set(keys)) == 2
    assert all(len(key) == 16 for key in keys)


@pytest.mark.parametrize("number", range(0, 60, 4))
def test_what_is_said_does_not_depend_on_the_key(number):
    """Nor, with it, on chance: full tables make room by time, not by place."""
    data, limits = damaged(SEED, number + 1)

    class Keyed:
        def __init__(self, key):
            self.key = key

        def Core(self, key, *given, **options):
            return packet_core.Core(self.key, *given, **options)

    first, second = (told(data, core=Keyed(key), **limits) for key in (bytes(16), b"another key 1234"))
    assert first == second


# --- Sizes that lie --------------------------------------------------------------------------------------------------

GOOD = section() + interface() + enhanced(BEGIN, FRAME)
LYING = {
    "record_of_4_gib": pcap_file([(BEGIN, FRAME)]) + struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 60) + FRAME,
    "record_of_4_gib_big_endian": pcap_file([(BEGIN, FRAME)], order=">") + struct.pack(">IIII", 1, 1, 0xFFFFFFFF, 6),
    "packet_block_of_4_gib": GOOD + struct.pack("<II", 6, 0xFFFFFFFC) + FRAME,
    "interface_block_of_4_gib": GOOD + struct.pack("<II", 1, 0xFFFFFFFC) + FRAME,
    "unknown_block_of_4_gib": GOOD + struct.pack("<II", 9, 0xFFFFFFFC) + FRAME,
    "section_of_4_gib": GOOD + struct.pack("<IIIHHq", 0x0A0D0D0A, 0xFFFFFFFC, 0x1A2B3C4D, 1, 0, -1) + FRAME,
    "section_of_odd_length": GOOD + struct.pack("<IIIHHq", 0x0A0D0D0A, 29, 0x1A2B3C4D, 1, 0, -1) + FRAME,
    "section_shorter_than_its_header": GOOD + struct.pack("<IIIHHq", 0x0A0D0D0A, 16, 0x1A2B3C4D, 1, 0, -1) + FRAME,
    "unknown_block_of_length_zero": GOOD + struct.pack("<II", 9, 0) + FRAME,
    "packet_block_of_length_zero": GOOD + struct.pack("<II", 6, 0) + FRAME,
    "section_of_length_zero": GOOD + struct.pack("<IIIHHq", 0x0A0D0D0A, 0, 0x1A2B3C4D, 1, 0, -1) + FRAME,
}


@pytest.mark.parametrize("data", LYING.values(), ids=LYING.keys())
def test_size_that_lies_is_one_named_reject_and_what_came_before_stays(data):
    """Nothing is read, or kept, by a length that cannot be."""
    for stream in (io.BytesIO(data), Dribble(data, random.Random(1), 5)):
        tally = Tally()
        batches = list(pcap.read(stream, CONTEXT, tally))
        assert (tally.read, tally.in_flows, len(tally.rejects)) == (2, 1, 1)
        assert tally.damage in ("bad_record", "truncated_file")
        assert sum(batch.num_rows for batch in batches) == 1


def test_interfaces_without_end_are_damage_where_nobody_has_so_many():
    """The first 65,536 are remembered, and packets of theirs are read."""
    data = section() + interface() * 65_536 + enhanced(BEGIN, FRAME, 65_535) + interface() * 4_464
    rows, tally = read(data)
    assert (rows[0]["packets_sent"], tally.in_flows, tally.damage) == (1, 1, "bad_record")


OPTIONS = {
    "without_an_end": b"",
    "of_length_zero": struct.pack("<HH", 2, 0) * 1_000,
    "longer_than_the_block": struct.pack("<HH", 9, 0xFFFF) + b"\6",
    "end_in_the_middle": struct.pack("<HH", 0, 0) + option(9, b"\x09"),
    "cut_in_its_head": b"\x09\0\1",
    "resolution_of_two_bytes": option(9, b"\x09\x09"),
    "resolution_beyond_any": option(9, b"\x7f"),
    "resolution_of_two_beyond_any": option(9, b"\xff"),
    "offset_before_all_time": option(14, struct.pack("<q", -(1 << 63))),
    "offset_after_all_time": option(14, struct.pack("<q", (1 << 63) - 1)),
    "as_long_as_a_block_may_be": option(2, b"n" * 65_000) * 16,
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("stamp", [0, 1, BEGIN, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_interface_options_that_lie_give_a_time_or_none(options, stamp):
    """The packet is kept either way, with the same time by machine code and by Python."""
    data = section() + interface(options=options) + enhanced(stamp, FRAME)
    rows, tally = read(data)
    assert (rows[0]["packets_sent"], tally.damage) == (1, None)
    assert told(data, core=interpreted("vzflow.readers.packet_core")) == told(data)


def test_a_packet_from_the_far_future_ends_no_flow_for_good():
    """A clock that was wrong once must not make the table useless."""
    talk = Talk().open().say(b"GET / HTTP/1.1\r\n\r\n").answer(b"HTTP/1.1 204 No\r\n\r\n").close().frames
    late = ((1 << 32) - 1) * SECOND, ethernet(ipv4(udp(9, 9, b"?"), protocol=17))
    rows, _ = read([*talk[:3], late, *talk[3:]])
    assert [row["packets_sent"] for row in rows] == [5, 1]
    assert rows[0]["transport_seen"] == "plaintext"


# --- Bombs -----------------------------------------------------------------------------------------------------------

GIB = 1 << 30
READ_A_BOMB = """
    import sys
    from pathlib import Path
    from vzflow.pipeline.unpacked import Plain
    from vzflow.readers import pcap
    from vzflow.readers.base import Context, Tally

    tally = Tally()
    with Path(sys.argv[1]).open("rb", buffering=0) as file:
        flows = sum(batch.num_rows for batch in pcap.read(Plain(file), Context("bomb", "s", "c"), tally))
    assert tally.balanced
    used = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    print(tally.read, flows, len(tally.rejects), used)
"""


def packed(head, codec):
    """*head* and 1 GiB of zeros: members, or frames, of 16 MiB."""
    press = gzip.compress if codec == "gz" else lambda data: pa.compress(data, codec, asbytes=True)
    return press(head) + press(bytes(1 << 24)) * (GIB >> 24)


ZERO_PACKETS, ONE_BLOCK = pcap_file([(BEGIN, FRAME)]), GOOD + struct.pack("<II", 9, (1 << 31) - 4)


@pytest.mark.skipif(not packet_core.COMPILED, reason="a GiB is long without machine code")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much memory was used")
@pytest.mark.parametrize("codec", ["gz", "zstd"])
@pytest.mark.parametrize(
    ("head", "records", "rejects"), [(ZERO_PACKETS, 1 + GIB // 16, 1_000), (ONE_BLOCK, 2, 1)], ids=["packets", "block"]
)
def test_a_bomb_fills_neither_memory_nor_the_rejects(codec, head, records, rejects, tmp_path):
    """1 GiB of zeros, which are empty packets or the inside of a block, from 1 MB or less."""
    path = tmp_path / "bomb"
    path.write_bytes(packed(head, codec))
    assert path.stat().st_size < 1.2 * (1 << 20)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READ_A_BOMB), str(path)], capture_output=True, text=True, check=True,
        cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    seen, flows, kept, kibibytes = map(int, done.stdout.split())
    assert (seen, flows, kept) == (records, 1, rejects)
    assert kibibytes < 300 << 10


@pytest.mark.parametrize(
    "bad",
    [
        b"\0" * 16,
        struct.pack("<IIII", 1, 1, 14, 14) + FRAME[:14],
        struct.pack("<IIII", 1, 1, 15, 60) + FRAME[:14] + b"\x45",
        struct.pack("<IIII", 1, 1, 34, 34) + FRAME[:14] + b"\x95" + FRAME[15:34],
    ],
    ids=["empty", "ends", "cut", "malformed"],
)
def test_rejects_without_end_are_counted(bad):
    """A thousand of a reason are kept; each of the others is counted, by whatever road it came."""
    rows, tally = read(pcap_file([(BEGIN, FRAME)]) + bad * 5_000)
    assert (len(rows), tally.read, tally.rejected, len(tally.rejects)) == (1, 5_001, 5_000, 1_000)


def test_packet_blocks_without_end_that_contradict_themselves_are_counted():
    """The same for blocks."""
    bad = block(6, b"") + enhanced(BEGIN, FRAME, 7) + block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99))
    _, tally = read(GOOD + bad * 2_000)
    assert (tally.in_flows, tally.rejected, len(tally.rejects)) == (1, 6_000, 1_000)


@pytest.mark.parametrize("data", [ZERO_PACKETS, ZERO_PACKETS[:30], b"no capture"])
def test_tables_are_let_go_with_their_capture(data):
    """A thousand small captures in one process must not hold a thousand tables until Python looks for circles."""
    gc.disable()
    try:
        capture = pcap.Capture(io.BytesIO(data), CONTEXT, Tally())
        gone = weakref.ref(capture)
        with contextlib.suppress(UnreadableInput):
            list(capture.batches())
        del capture
        assert gone() is None
    finally:
        gc.enable()


# --- Pipes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 13, 5_000])
def test_a_pipe_that_dribbles_is_read_like_a_file(most):
    """Standard input gives what there is, however little, and its end is the end."""
    for data in seeds()[::9]:
        chance = random.Random(most)
        near, far = os.pipe()

        def write(data=data, far=far, chance=chance):
            at = 0
            while at < len(data):
                at += os.write(far, data[at : at + chance.randint(1, most)])
            os.close(far)

        writer = threading.Thread(target=write)
        writer.start()
        with open(near, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
            found = told(data, stream)
        writer.join()
        assert found == told(data)


def test_standard_input_that_was_set_not_to_wait_is_waited_for():
    """Node and others leave their pipes so: nothing yet is neither an error nor the end."""
    code = """
        import sys
        from vzflow.pipeline.unpacked import open_input
        from vzflow.readers import pcap
        from vzflow.readers.base import Context, Tally

        print(sum(batch.num_rows for batch in pcap.read(open_input("-").plain, Context("-", "s", "c"), Tally())))
    """
    near, far = os.pipe()
    os.set_blocking(near, False)
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=near, stdout=subprocess.PIPE, cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    os.close(near)
    for part in (ZERO_PACKETS[:9], ZERO_PACKETS[9:50], ZERO_PACKETS[50:]):
        time.sleep(0.3)
        with contextlib.suppress(BrokenPipeError):
            os.write(far, part)
    os.close(far)
    assert child.communicate()[0] == b"1\n"
