"""
Lines of denied (or allowed) flows that felix writes to the system log of hosts outside a cluster: `key="value"` pairs.

In and out are as the endpoint saw it whose rule decided; `ruleDir` says which end that is.

Source: tigera-cs/observability-clinic, "3. CLI/readme.md" (no other description was found).
"""

from __future__ import annotations

import json
import re
from typing import Any

from vzflow.flow.terms import Action, InitiatorBasis, RejectReason, Reporter
from vzflow.readers.calico.fields import SAID_BY_ALL, WITHOUT_PORTS, address_of, number_in, port_of, protocol_of
from vzflow.readers.calico.message import Message
from vzflow.readers.log_lines import Unusable, invalid, missing

_PAIR = re.compile(r'(?:^| )([A-Za-z]{1,30})=(?:"([^"]*)"|([^\s"]+))(?= |$)')

_NEEDED = ("action", "srcIP", "dstIP", "proto", "ruleDir")

_ACTIONS = {"allow": Action.ALLOWED, "deny": Action.DENIED}

#: Direction of the rule -> whose rule it was, and which of in and out are the initiator's.
_ENDS = {"egress": (Reporter.INITIATOR, "out", "in"), "ingress": (Reporter.RESPONDER, "in", "out")}


def looks_like(message: Message) -> bool:
    """Whether it is felix's line of a flow: its other lines hold no such pairs."""
    return message.program in (None, "calico-felix") and all(
        f" {name}=" in f" {message.text}" for name in ("action", "dstIP")
    )


def flow_of(message: Message) -> dict[str, Any]:
    """
    Return the recorded columns of the one flow.

    Raises:
        Unusable: A field is missing, occurs twice or holds what it cannot hold.
    """
    fields: dict[str, str] = {}
    for name, quoted, bare in _PAIR.findall(message.text):
        if name in fields:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, f"{name[:20]} twice")
        fields[name] = quoted or bare
    for name in _NEEDED:
        if not fields.get(name):
            raise missing(name)
    if fields["action"] not in _ACTIONS:
        raise invalid("action", fields["action"])
    if fields["ruleDir"] not in _ENDS:
        raise invalid("ruleDir", fields["ruleDir"])
    reporter, sent, received = _ENDS[fields["ruleDir"]]
    protocol = protocol_of(fields, "proto")
    ports = {name: number_in(fields, name) for name in ("srcPort", "dstPort")}
    return {
        **SAID_BY_ALL,
        "reporter": reporter,
        "reporter_name": message.host,
        "first_seen": message.time,
        "last_seen": message.time,
        "protocol": protocol,
        "initiator_ip": address_of(fields, "srcIP"),
        "initiator_port": None if protocol in WITHOUT_PORTS else port_of(ports, "srcPort"),
        "responder_ip": address_of(fields, "dstIP"),
        "responder_port": None if protocol in WITHOUT_PORTS else port_of(ports, "dstPort"),
        "initiator_basis": InitiatorBasis.LOG,
        "packets_sent": number_in(fields, f"{sent}Packets"),
        "bytes_sent": number_in(fields, f"{sent}Bytes"),
        "packets_received": number_in(fields, f"{received}Packets"),
        "bytes_received": number_in(fields, f"{received}Bytes"),
        "connections": 1,
        "action": _ACTIONS[fields["action"]],
        "policies": _policy(fields),
    }


def _policy(fields: dict[str, str]) -> str | None:
    """Return the policy as flow logs write it; its place among those that were asked is not told."""
    if "policy" not in fields:
        return None
    tier, name, rule = fields.get("tier", "-"), fields["policy"], fields.get("rule", "-")
    return json.dumps([f"-|{tier}|{name}|{fields['action']}|{rule}"])
