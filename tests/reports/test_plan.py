"""The plan's settings are such that vzflow reads what they make."""

from __future__ import annotations

import json

import pytest

from vzflow.readers.envoy.given import compiled, given
from vzflow.reports import plan

ROW = {
    "rule_id": "R1", "transport": "mtls", "initiators": "a", "responders": "b", "ports": "80", "protocol": "tcp",
    "responder_proxy": True, "initiator_proxy": False, "calico": True, "proof": "responder_proxy", "coverage": None,
    "why": None,
}  # fmt: skip


def rendered(**changed):
    return plan.render(plan.with_commands([ROW | changed]))


def test_access_log_format_is_one_that_vzflow_reads():
    """A log that is turned on and cannot be read helps nobody."""
    text = plan.settings()["mesh_config"]["accessLogFormat"]
    layouts = compiled(given(text).formats)
    assert any(layouts)
    assert json.loads(text)["downstream_peer_uri_san"] == "%DOWNSTREAM_PEER_URI_SAN%"


@pytest.mark.parametrize(
    ("changed", "command"),
    [
        ({}, "tcpdump -i VETH -s 0 -w R1.pcap 'tcp port 80'"),
        ({"ports": "443, 80"}, "tcpdump -i VETH -s 0 -w R1.pcap 'tcp port 443 or tcp port 80'"),
        ({"ports": "80-90"}, "tcpdump -i VETH -s 0 -w R1.pcap 'tcp portrange 80-90'"),
        ({"protocol": "any"}, "tcpdump -i VETH -s 0 -w R1.pcap 'port 80'"),
        ({"ports": "any"}, "tcpdump -i VETH -s 0 -w R1.pcap"),
    ],
)
def test_capture_filter_is_of_the_rows_ports(changed, command):
    """Only what the row speaks of is captured; a row of any port captures all."""
    assert plan.tcpdump(ROW | changed) == command


def test_captures_are_for_rows_that_nothing_else_proves():
    """A capture costs more than a log line."""
    assert "tcpdump" not in rendered()
    assert "tcpdump" in rendered(proof="tap")


def test_envoys_settings_are_for_rows_that_a_proxy_sees():
    """Where no end is in the mesh an access log shows nothing."""
    assert "accessLogFormat" in rendered()
    assert "accessLogFormat" not in rendered(responder_proxy=False, proof="tap")


def test_coverage_of_a_store_is_shown():
    """What has been seen needs no plan."""
    assert "not_observable" in rendered(coverage="not_observable")
