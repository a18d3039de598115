"""The real captures beside the checkout, what tshark says of each, and what vzflow says, in tshark's words."""

import gzip
import io
import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address

import pytest
from readers.packet_support import CONTEXT, SECOND, rows_of, shared_captures

from vzflow.readers import pcap
from vzflow.readers.base import Tally

#: The manifest says it must be refused.
REFUSED = "solaris.snoop"


def names():
    """Captures that can be read; none where the folder is not there."""
    try:
        found = (shared_captures() / "truth").glob("*.json")
    except pytest.skip.Exception:
        return []
    return sorted({path.name[: -len(".json")] for path in found} - {REFUSED})


def content(name):
    path = shared_captures() / name
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@cache
def truth(name):
    """What tshark says of a capture: see the README of the folder."""
    return json.loads((shared_captures() / "truth" / f"{name}.json").read_text())


@cache
def told(name):
    """Rows and tally of a capture."""
    tally = Tally()
    rows = rows_of(pcap.read(io.BytesIO(content(name)), CONTEXT, tally))
    return rows, tally


def microseconds(text):
    """A time as tshark writes it; fractions of a microsecond are cut off."""
    seconds, _, fraction = text.partition(".")
    return int(seconds) * SECOND + int((fraction + "000000")[:6])


@dataclass
class Conversation:
    """Rows of one 5-tuple, whatever their encapsulation; A is the smaller (address, port), as in the truth files."""

    rows: list = field(default_factory=list)
    #: Of each row: the end that opened.
    opened: list = field(default_factory=list)

    def total(self, way, what, rows=None):
        """Sum of "packets" or "bytes" from A to B ("ab") or back ("ba")."""
        sides = {row["record"]: opened for row, opened in zip(self.rows, self.opened, strict=True)}
        return sum(
            row[f"{what}_{'sent' if sides[row['record']] == way[0] else 'received'}"]
            for row in (self.rows if rows is None else rows)
        )

    def sums(self, rows=None):
        """Packets and bytes each way, under the truth's names."""
        return {f"{what}_{way}": self.total(way, what, rows) for what in ("packets", "bytes") for way in ("ab", "ba")}

    def span(self):
        """First and last time; null where no packet has one."""
        times = [row[name] for row in self.rows for name in ("first_seen", "last_seen") if row[name] is not None]
        return (min(times), max(times)) if times else (None, None)

    def only(self, name):
        """The value of a column that is the same in all rows."""
        (value,) = {row[name] for row in self.rows}
        return value


def conversations(rows):
    """Rows by (protocol, A, its port, B, its port)."""
    found = defaultdict(Conversation)
    for row in rows:
        ends = [
            (int(ip_address(row[f"{side}_ip"])), row[f"{side}_port"] or 0, row[f"{side}_ip"])
            for side in ("initiator", "responder")
        ]
        (_, port_a, ip_a), (_, port_b, ip_b) = sorted(ends)
        one = found[row["protocol"], ip_a, port_a, ip_b, port_b]
        one.rows.append(row)
        one.opened.append("a" if ends == sorted(ends) else "b")
    return dict(found)


def key_of(one):
    """The key of a conversation, or of what is under `other_ip`, of a truth file."""
    protocol = one["proto"] if "proto" in one else str(one["ip_proto"])
    return protocol, one["ip_a"], one.get("port_a") or 0, one["ip_b"], one.get("port_b") or 0


def arps_inside(one):
    """How many packets of an outer conversation carry ARP: skipped by that name, and a decoded tunnel has no row."""
    return one.get("udp_app", {}).get("layers", {}).get("arp", 0)


def pairs(name, protocol=None):
    """The conversations of a truth file that have rows, each with them."""
    found = conversations(told(name)[0])
    for one in truth(name)["conversations"]:
        if key_of(one) in found and protocol in (None, one["proto"]):
            yield one, found[key_of(one)]


def via_of(context):
    """What `via` says where the truth says *context*; a VLAN, an interface and an MPLS label are no encapsulation."""
    names = {"vni": "vxlan", "geneve": "geneve", "grekey": "gre"}
    marks = [mark.split("=") for mark in context.split()]
    return "/".join(f"{names[kind]}:{number}" for kind, number in marks if kind in names) or None


_IN_IP = {("ip", "ip"): "ipip", ("ip", "ipv6"): "6in4", ("ipv6", "ip"): "4in6", ("ipv6", "ipv6"): "6in6"}


def via_of_chain(tunnel):
    """What `via` says where the truth has *tunnel*: layers as `ip:udp:vxlan:eth:ip`, and what identifies them."""
    layers = tunnel["chain"].split(":")
    between = [name for name in layers[1:-1] if name not in ("udp", "eth", "cmd")]
    return via_of(" ".join(tunnel["ids"])) if between else _IN_IP[layers[0], layers[-1]]
