"""
Lines of the trace pipe in which Calico's eBPF data plane tells of a packet that matched a Log rule.

The verdict is final, of all rules together. The clock counts from boot, so there is no time. A program for policy runs
for packets that belong to no known connection: mostly the first ones, which is a good guess and no proof of who opened.
For ICMP the destination's port is the type, with the code above it.

Source: tigera/docs calico/network-policy/policy-rules/log-rules.mdx; projectcalico/calico felix/bpf-gpl (types.h: the
union of port and ICMP type, in the byte order of the machines Calico runs on).
"""

from __future__ import annotations

import re
from typing import Any

from vzflow.flow.terms import Action, InitiatorBasis, Reporter
from vzflow.readers.calico.fields import SAID_BY_ALL, WITHOUT_PORTS, address_of, number_in, port_of, protocol_of
from vzflow.readers.log_lines import missing

#: task-pid [cpu] flags uptime: who: (linux Documentation/trace/ftrace.rst); older kernels print an address for who.
_TRACE = re.compile(
    r" *.{1,16}-\d+ +(?:\([ \d-]+\) +)?\[\d+\] +(?:\S{4,8} +)?\d+\.\d+: +(?:bpf_trace_printk|0x[0-9a-f]+): (?P<text>.*)"
)
_POLICY = re.compile(
    r"(?P<interface>\S{1,15}?)-{1,16}(?P<hook>[EIX]): policy (?P<verdict>ALLOWED|DENIED)"
    r" proto (?P<proto>\d{1,3}) src (?P<src>\S{2,50}):(?P<sport>\d{1,5}) dest (?P<dst>\S{2,50}):(?P<dport>\d{1,5})"
)

_ACTIONS = {"ALLOWED": Action.ALLOWED, "DENIED": Action.DENIED}
_REQUESTS = {"icmp": 8, "icmpv6": 128}


def text_of(line: str) -> str | None:
    """Return what a line of the trace pipe says after its header; null for any other line."""
    trace = _TRACE.match(line)
    return trace["text"] if trace else None


def looks_like(text: str) -> bool:
    """Whether such a text tells of a verdict."""
    return ": policy ALLOWED" in text or ": policy DENIED" in text


def is_whole(text: str) -> bool:
    """Whether it tells of the packet too."""
    return _POLICY.fullmatch(text.rstrip()) is not None


def flow_of(text: str) -> dict[str, Any]:
    """
    Return the recorded columns of the one packet.

    Raises:
        Unusable: An address, port or protocol is none, or missing: kernels before 5.16 print the verdict alone.
    """
    told = _POLICY.fullmatch(text.rstrip())
    if told is None:
        raise missing("src")
    fields = {name: told[name].strip("[]") for name in ("proto", "src", "sport", "dst", "dport")}
    protocol = protocol_of(fields, "proto")
    ports = {name: number_in(fields, name) for name in ("sport", "dport")}
    portless = protocol in WITHOUT_PORTS
    request = portless and (ports["dport"] or 0) & 0xFF == _REQUESTS[protocol or ""]
    return {
        **SAID_BY_ALL,
        "reporter": _reporter(told["interface"], told["hook"]),
        "protocol": protocol,
        "initiator_ip": address_of(fields, "src"),
        "initiator_port": None if portless else port_of(ports, "sport"),
        "responder_ip": address_of(fields, "dst"),
        "responder_port": None if portless else port_of(ports, "dport"),
        "initiator_basis": InitiatorBasis.REQUEST if request else InitiatorBasis.FIRST_SEEN,
        "action": _ACTIONS[told["verdict"]],
    }


def _reporter(interface: str, hook: str) -> Reporter | None:
    """Return whose node wrote it: a workload's egress is its sender's, its ingress the receiver's."""
    if not interface.startswith("cali"):
        return None
    return {"E": Reporter.INITIATOR, "I": Reporter.RESPONDER}.get(hook)
