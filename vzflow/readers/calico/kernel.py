"""
Kernel LOG lines that Calico's Log rules and DropActionOverride make, of iptables and nftables, IPv4 and IPv6.

One line is one packet, seen where a rule was evaluated and often limited in rate. A Log rule says nothing of what
became of the packet, and `calico-drop` is written for LogAndDrop and for LogAndAccept alike: the action is unknown. Who
opened is certain only where the packet is a TCP SYN or an echo request; every other packet may be an answer, and an
ICMP error is one to somebody else's packet, so its sender is but the first one seen.

The operator may choose the prefix, and let it name the policy (tier, kind, name); what stands for what is not in the
line, so a prefix that is not Calico's own is kept as it is, in place of the policies.

Source: Linux net/netfilter/nf_log_syslog.c (the lines); projectcalico/calico felix/rules/policy.go (prefixes) and
felix/rules (calico-drop); tigera/docs calico/network-policy/policy-rules/log-rules.mdx.
"""

from __future__ import annotations

import json
import re
from typing import Any

from vzflow.flow.terms import Action, Hop, InitiatorBasis, RejectReason, Reporter
from vzflow.readers.calico.fields import SAID_BY_ALL, WITHOUT_PORTS, address_of, number_in, port_of, protocol_of
from vzflow.readers.calico.message import Message
from vzflow.readers.log_lines import Unusable, missing

#: felix ends every prefix with a colon and a blank; the body begins with the interfaces, of which one may be empty.
_LINE = re.compile(r"(?P<prefix>[^=]*?): (?P<body>IN=(?P<came>\S*) OUT=(?P<goes>\S*) .*)")

_OWN_PREFIXES = ("calico-packet", "calico-drop")

#: How workloads' interfaces begin (FelixConfiguration interfacePrefix): Calico's own, AWS's, Azure's, OpenStack's.
_WORKLOADS = ("cali", "eni", "azv", "tap")

_FLAGS = frozenset(("CWR", "ECE", "URG", "ACK", "PSH", "RST", "SYN", "FIN"))

#: Echo requests: RFC 792, RFC 4443.
_REQUESTS = {"icmp": 8, "icmpv6": 128}


def looks_like(message: Message) -> bool:
    """Whether it is the kernel's line of a packet, with a prefix as felix writes them, or what is left of one."""
    return message.program in (None, "kernel") and (
        message.text.startswith(_OWN_PREFIXES) or _LINE.match(message.text) is not None
    )


def is_surely_calicos(message: Message) -> bool:
    """Whether such a line bears Calico's own prefix, or names an interface of Calico's; other firewalls log alike."""
    line = _LINE.match(message.text)
    return line is not None and (
        line["prefix"].startswith(_OWN_PREFIXES) or line["came"].startswith("cali") or line["goes"].startswith("cali")
    )


def flow_of(message: Message) -> dict[str, Any]:
    """
    Return the recorded columns of the one packet.

    Raises:
        Unusable: The line is damaged, or is of a fragment that holds no ports.
    """
    line = _LINE.match(message.text)
    if line is None:
        raise missing("IN")
    # An ICMP error quotes the packet it is about in brackets: not this one.
    outer = line["body"].partition(" [")[0]
    network, _, transport = outer.partition(" PROTO=")
    name, *words = transport.split() or [""]
    packet = _fields(network.split())
    protocol = protocol_of({"PROTO": name}, "PROTO")
    if protocol is None:
        raise missing("PROTO")
    above = _fields(words)
    ports = _ports(packet, above, protocol, "FRAG:" in network)
    length = number_in(packet, "LEN")
    if length is None:
        raise missing("LEN")
    return {
        **SAID_BY_ALL,
        "reporter": _reporter(line["came"], line["goes"]),
        "reporter_name": message.host,
        "first_seen": message.time,
        "last_seen": message.time,
        "protocol": protocol,
        "initiator_ip": _address(packet, "SRC"),
        "initiator_port": ports[0],
        "responder_ip": _address(packet, "DST"),
        "responder_port": ports[1],
        "initiator_basis": _basis(protocol, above, _FLAGS.intersection(words)),
        "hop": Hop.LOOPBACK if "lo" in (line["came"], line["goes"]) else Hop.WIRE,
        "packets_sent": 1,
        "bytes_sent": length,
        "action": Action.UNKNOWN,
        "policies": None if line["prefix"] in _OWN_PREFIXES else json.dumps([line["prefix"]]),
    }


def _fields(words: list[str]) -> dict[str, str]:
    """Return `KEY=value` words; LEN and ID occur in both layers, which are looked at apart."""
    fields: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in fields:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, f"{key[:20]} twice")
        if equals:
            fields[key] = value
    return fields


def _address(packet: dict[str, str], name: str) -> str:
    address = address_of(packet, name)
    if address is None:
        raise missing(name)
    return address


def _ports(
    packet: dict[str, str], above: dict[str, str], protocol: str, fragment: bool
) -> tuple[int | None, int | None]:
    if "SPT" in above and "DPT" in above:
        numbers = {name: number_in(above, name) for name in ("SPT", "DPT")}
        return port_of(numbers, "SPT"), port_of(numbers, "DPT")
    if protocol not in ("tcp", "udp", *WITHOUT_PORTS):
        return None, None
    if fragment:
        raise Unusable(RejectReason.LONE_FRAGMENT, f"a fragment of {packet.get('SRC', '')[:45]} without ports")
    if protocol in WITHOUT_PORTS:
        return None, None
    raise missing("SPT" if "SPT" not in above else "DPT")


def _basis(protocol: str, above: dict[str, str], flags: frozenset[str]) -> InitiatorBasis:
    if protocol == "tcp" and flags & {"SYN", "ACK", "RST", "FIN"} == {"SYN"}:
        return InitiatorBasis.SYN
    if protocol in _REQUESTS and number_in(above, "TYPE") == _REQUESTS[protocol]:
        return InitiatorBasis.REQUEST
    return InitiatorBasis.FIRST_SEEN


def _reporter(came: str, goes: str) -> Reporter | None:
    """
    Return whose node wrote it, as far as the interfaces tell.

    A packet from a workload's interface is seen at its sender, one to a workload's at its receiver; between two of
    them it is both. Without one, an empty OUT may be the host itself or a chain before routing.
    """
    sender, receiver = came.startswith(_WORKLOADS), goes.startswith(_WORKLOADS)
    if sender == receiver:
        return Reporter.PROXY if came and goes and not sender and "lo" not in (came, goes) else None
    return Reporter.INITIATOR if sender else Reporter.RESPONDER
