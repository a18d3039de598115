"""Lines of flows that felix writes to the system log of hosts outside a cluster."""

from datetime import UTC, datetime

import pytest
from readers.log_support import CONTEXT, one, read_bytes, rejected

from vzflow.readers.calico import read, recognises

LINE = (
    '2026-01-02T03:04:05Z edge calico-felix[312412]: INFO <nil> <nil>:  action="deny" dstIP="192.0.2.20" dstPort="443" '
    'inBytes=7 inPackets=1 outBytes=120 outPackets=2 policy="hep-external" proto="6" rule="-1" ruleDir="egress" '
    'srcIP="192.0.2.10" srcPort="57312" tier="security" trafficDir="outbound" updateType=report'
)


def test_every_field_with_a_column_is_read():
    """Told at the initiator, whose egress rule it was; the policy is written as flow logs write it."""
    row = one(read, LINE)
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "calico",
        "reporter": "initiator",
        "reporter_name": "edge",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 57312,
        "responder_ip": "192.0.2.20",
        "responder_port": 443,
        "initiator_basis": "log",
        "hop": "wire",
        "packets_sent": 2,
        "bytes_sent": 120,
        "packets_received": 1,
        "bytes_received": 7,
        "connections": 1,
        "action": "denied",
        "policies": '["-|security|hep-external|deny|-1"]',
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


def test_ingress_rule_is_the_responders():
    """In is then what the initiator sent."""
    row = one(read, LINE.replace('ruleDir="egress"', 'ruleDir="ingress"'))
    assert (row["reporter"], row["bytes_sent"], row["bytes_received"]) == ("responder", 7, 120)


def test_classic_stamp_gives_no_time():
    """It has no year."""
    row = one(read, LINE.replace("2026-01-02T03:04:05Z", "Jan  2 03:04:05"))
    assert (row["first_seen"], row["reporter_name"]) == (None, "edge")


def test_icmp_has_no_ports():
    """Whatever stands in their place."""
    row = one(read, LINE.replace('proto="6"', 'proto="1"').replace('dstPort="443"', 'dstPort="8"'))
    assert (row["protocol"], row["initiator_port"], row["responder_port"]) == ("icmp", None, None)


def test_allowed_flow_is_allowed():
    """The same line may tell of either."""
    assert one(read, LINE.replace('action="deny"', 'action="allow"'))["action"] == "allowed"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('action="deny"', 'action="drop"', "field_invalid"), ('srcIP="192.0.2.10" ', "", "field_missing"),
        ('proto="6"', 'proto="six"', "field_invalid"), ('ruleDir="egress" ', "", "field_missing"),
        ('ruleDir="egress"', 'ruleDir="both"', "field_invalid"), ("inBytes=7", "inBytes=-7", "field_invalid"),
        ('dstPort="443"', 'dstPort="443" dstPort="80"', "columns_ambiguous"),
        ('dstIP="192.0.2.20"', 'dstIP="host"', "field_invalid"),
        (LINE[LINE.index(" srcIP") :], "", "field_missing"),
    ],
)  # fmt: skip
def test_damaged_line_is_a_reject_by_name(old, new, reason):
    """Half a flow is none."""
    assert old in LINE
    assert rejected(read, LINE.replace(old, new)) == reason


def test_other_lines_of_felix_are_skipped_by_name():
    """They tell of felix, not of flows."""
    rows, tally = read_bytes(read, f"2026-01-02T03:04:05Z edge calico-felix[1]: INFO a.go 1: ready\n{LINE}\n".encode())
    assert (len(rows), sum(tally.skipped.values())) == (1, 1)


def test_is_recognised():
    """By the program's name and the pairs; pairs alone may be anybody's."""
    assert recognises(LINE.encode())
    assert not recognises(LINE[LINE.index("action") :].encode())
    assert not recognises(LINE.replace("calico-felix", "other").encode())
