"""Every published line of Calico's, compared with what a reader of the line would write down."""

from datetime import UTC, datetime

import pytest
from readers.log_support import read_bytes, sample

from vzflow.readers.calico import read, recognises


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


#: What every row of these says.
ALWAYS = {
    "segment": "00000000000000ab", "cluster": "c1", "source": "calico", "hop": "wire", "transport_seen": "unknown",
    "transport_seen_basis": "not_recorded",
}  # fmt: skip
LOG = ALWAYS | {"initiator_basis": "log", "protocol": "tcp"}

#: The pods of the policy demo.
ACCESS = {
    "initiator_named_kind": "pod", "initiator_named_namespace": "policy-demo",
    "initiator_named_name_prefix": "access-6b687c8dcb-",
    "initiator_named_labels": '{"app": "access", "pod-template-hash": "6b687c8dcb"}',
}  # fmt: skip
NGINX = {
    "responder_named_kind": "pod", "responder_named_namespace": "policy-demo", "responder_port": 80,
    "responder_named_name_prefix": "nginx-86c57db685-",
    "responder_named_labels": '{"app": "nginx", "pod-template-hash": "86c57db685"}',
}  # fmt: skip
ONE_ACCESS = ACCESS | {"initiator_ip": "192.168.47.9", "initiator_named_name": "access-6b687c8dcb-zn5s2"}
ONE_NGINX = NGINX | {"responder_ip": "192.168.213.223", "responder_named_name": "nginx-86c57db685-rkhnf"}

EXPECTED = {
    "calico-enterprise-flows.jsonl": [
        LOG | ONE_ACCESS | NGINX | {
            "reporter": "responder", "reporter_name": "bz-n8kf-kadm-node-1", "action": "allowed", "connections": 1,
            "first_seen": utc(2020, 8, 11, 17, 14, 43), "last_seen": utc(2020, 8, 11, 17, 19, 43),
            "initiator_port": 42106, "responder_ip": "192.168.138.79",
            "responder_named_name": "nginx-86c57db685-h6792",
            "policies": '["0|tier1|ns1/tier1.policy1|pass|3", "1|default|policy-demo/default.access-nginx|allow|2"]',
            "packets_sent": 6, "bytes_sent": 388, "packets_received": 5, "bytes_received": 1113,
        },
        LOG | ACCESS | NGINX | {
            "reporter": "responder", "reporter_name": "bz-n8kf-kadm-node-1", "action": "allowed", "connections": 47,
            "first_seen": utc(2020, 8, 10, 19, 14, 9), "last_seen": utc(2020, 8, 10, 19, 19, 27),
            "policies": '["0|default|policy-demo/default.access-nginx|allow"]',
            "packets_sent": 282, "bytes_sent": 18236, "packets_received": 239, "bytes_received": 52519,
        },
        LOG | ONE_ACCESS | ONE_NGINX | {
            "reporter": "initiator", "reporter_name": "bz-n8kf-kadm-node-1", "action": "allowed", "connections": 50,
            "first_seen": utc(2020, 8, 11, 16, 53, 36), "last_seen": utc(2020, 8, 11, 16, 58, 51),
            "policies": '["0|__PROFILE__|__PROFILE__.kns.policy-demo|allow"]',
            "packets_sent": 52, "bytes_sent": 3120, "packets_received": 0, "bytes_received": 0,
        },
        LOG | ONE_ACCESS | ONE_NGINX | {
            "reporter": "responder", "reporter_name": "bz-n8kf-kadm-node-2", "action": "denied", "connections": 50,
            "first_seen": utc(2020, 8, 11, 16, 53, 36), "last_seen": utc(2020, 8, 11, 16, 58, 45),
            "policies": '["0|default|policy-demo/default.deny-access-nginx|deny"]',
            "packets_sent": 52, "bytes_sent": 3120, "packets_received": 0, "bytes_received": 0,
        },
        LOG | ONE_ACCESS | ONE_NGINX | {
            "reporter": "initiator", "reporter_name": "bz-n8kf-kadm-node-1", "action": "allowed", "connections": 47,
            "first_seen": utc(2020, 8, 11, 17, 22, 47), "last_seen": utc(2020, 8, 11, 17, 28, 13),
            "policies": '["0|__PROFILE__|__PROFILE__.kns.policy-demo|allow"]',
            "packets_sent": 282, "bytes_sent": 18236, "packets_received": 235, "bytes_received": 52311,
        },
        LOG | {
            "reporter": "responder", "action": "denied", "connections": 1,
            "first_seen": utc(2022, 8, 4, 13, 59, 2), "last_seen": utc(2022, 8, 4, 14, 4, 2),
            "initiator_ip": "10.48.116.157", "initiator_named_kind": "pod", "initiator_named_namespace": "default",
            "initiator_named_name": "multitool", "initiator_named_labels": '{"run": "multitool"}',
            "responder_ip": "10.48.127.224", "responder_port": 5050, "responder_named_kind": "pod",
            "responder_named_namespace": "hipstershop",
            "responder_named_name": "checkoutservice-598d5b586d-wsvmz",
            "responder_named_name_prefix": "checkoutservice-598d5b586d-",
            "responder_named_labels": '{"app": "checkoutservice", "pod-template-hash": "598d5b586d", '
            '"tenant": "hipstershop"}',
            "policies": '["0|security|security.tenant-histershop|pass|0", '
            '"1|app-hipstershop|hipstershop/app-hipstershop.checkoutservice|deny|-1"]',
            "packets_sent": 5, "bytes_sent": 300, "packets_received": 0, "bytes_received": 0,
        },
        LOG | {
            "reporter": "proxy", "reporter_name": "my-host", "action": "allowed",
            "initiator_ip": "34.0.113.100", "initiator_named_kind": "public_network",
            "responder_ip": "66.11.155.1", "responder_port": 30080, "responder_named_kind": "public_network",
            "policies": '["0|default|default.allow-external-http|allow|0"]',
        },
    ],
    "calico-enterprise-flows-space-delimited.log": [
        LOG | {
            "reporter": "initiator", "action": "allowed", "connections": 7,
            "first_seen": utc(2018, 6, 12, 22, 29, 11), "last_seen": utc(2018, 6, 12, 22, 34, 11),
            "initiator_named_kind": "pod", "initiator_named_namespace": "dev",
            "initiator_named_name_prefix": "rails-81531", "responder_named_kind": "pod",
            "responder_named_namespace": "dev", "responder_named_name_prefix": "memcached-38456",
            "responder_port": 3000, "packets_sent": 61, "bytes_sent": 49404, "packets_received": 154,
            "bytes_received": 70111,
        },
    ],
    "calico-felix-syslog-deny.log": [
        LOG | {
            "reporter": "initiator", "reporter_name": "bastion", "action": "denied", "connections": 1,
            "initiator_ip": "10.0.1.10", "initiator_port": port, "responder_ip": "147.75.40.148",
            "responder_port": 443, "policies": '["-|security|hep-external|deny|-1"]',
            "packets_sent": 2, "bytes_sent": 120, "packets_received": 0, "bytes_received": 0,
        }
        for port in (57312, 57314)
    ],
    "calico-log-action-kernel.log": [
        ALWAYS | {
            "reporter": "initiator", "reporter_name": "c1-control", "action": "unknown", "protocol": "tcp",
            "first_seen": utc(2024, 11, 19, 20, 15, 3, 23805), "last_seen": utc(2024, 11, 19, 20, 15, 3, 23805),
            "initiator_basis": "syn", "initiator_ip": "172.16.193.134", "initiator_port": 45588,
            "responder_ip": "69.147.80.15", "responder_port": 80, "packets_sent": 1, "bytes_sent": 60,
        },
        ALWAYS | {
            "reporter": "initiator", "reporter_name": "c1-control", "action": "unknown", "protocol": "icmp",
            "first_seen": utc(2024, 11, 19, 20, 15, 28, 648818), "last_seen": utc(2024, 11, 19, 20, 15, 28, 648818),
            "initiator_basis": "request", "initiator_ip": "172.16.193.134", "responder_ip": "8.8.8.8",
            "packets_sent": 1, "bytes_sent": 84,
        },
        ALWAYS | {
            "reporter": "responder", "reporter_name": "ubuntu", "action": "unknown", "protocol": "tcp",
            "initiator_basis": "syn", "initiator_ip": "192.168.128.30", "initiator_port": 56248,
            "responder_ip": "192.168.157.26", "responder_port": 80, "packets_sent": 1, "bytes_sent": 60,
        },
    ],
    "calico-ebpf-trace.log": [
        ALWAYS | {
            "reporter": "initiator", "action": "allowed", "protocol": "tcp", "initiator_basis": "first_seen",
            "initiator_ip": "172.16.193.131", "initiator_port": 56042, "responder_ip": "69.147.80.12",
            "responder_port": 80,
        },
        ALWAYS | {
            "reporter": "initiator", "action": "allowed", "protocol": "icmp", "initiator_basis": "request",
            "initiator_ip": "172.16.193.131", "responder_ip": "8.8.8.8",
        },
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_every_published_line_says_what_a_reader_would_write_down(name):
    """Column by column; a column that is not named is null."""
    rows, tally = read_bytes(read, sample(name))
    assert (tally.rejected, tally.skipped.total()) == (0, 0)
    assert [{name: value for name, value in row.items() if value is not None} for row in rows] == [
        expected | {"record": number} for number, expected in enumerate(EXPECTED[name], 1)
    ]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_published_file_is_recognised(name):
    """By its content."""
    assert recognises(sample(name))


@pytest.mark.parametrize(
    "name",
    ["envoy-als-grpc-as-json.jsonl", "envoy-default-text.log", "istio-cri.log", "istio-json-1.3-allstrings.jsonl",
     "istio-json-1.9plus.jsonl", "istio-text-1.3-mixer.log", "istio-text-1.9plus-failures.log",
     "istio-text-1.9plus-http.log", "istio-text-1.9plus-tcp.log", "istio-text-pre-1.2.log",
     "istio-text-custom-with-peer-san-kubectl-prefix.log", "istio-waypoint-text-kubectl-timestamps.log",
     "ztunnel-cri.log", "ztunnel-errors-and-eras.log", "ztunnel-text-kiali.log"],
)  # fmt: skip
def test_logs_of_proxies_are_nobodys_here(name):
    """They are neither recognised nor read as flows."""
    data = sample(name)
    assert not recognises(data)
    assert read_bytes(read, data)[0] == []
