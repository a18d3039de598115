"""What the model says of a flow that nobody saw: a made-up record, judged by the queries that judge recorded ones."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa

from vzflow.flow.errors import UsageProblem
from vzflow.flow.lookups import FOREVER
from vzflow.identity.party import LAST_PORT, NEVER_CAPTURED, SIDECAR
from vzflow.model import catalogue, classify
from vzflow.store.duck import Duck, connect
from vzflow.store.tables import RECORDED_SCHEMA

#: The transports a flow may be supposed to have, and the evidence that would show each.
TRANSPORTS = {"mtls": "client_certificate", "tls": "tls_handshake", "plaintext": "clear_protocol"}

#: Ends that are no pods, and what they are to the queries.
PLACES = ("node", "own_node", "api_server", "external")
_SUPPOSED_NODE = "supposed node"

#: Addresses that nobody has (RFC 6666): they stand for ends given by name.
_STAND_INS = {"initiator": "100::1", "responder": "100::2"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Supposed:
    """A flow to ask about: both ends as they were written, the responder's port, TCP or another protocol."""

    initiator: str
    responder: str
    port: int
    protocol: str = "tcp"


@dataclass
class _End:
    """An end as the queries find it: its address, and the lookup rows by which they know who that is."""

    address: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    account: tuple[str, str] = ("-", "-")  # namespace and service account, as a certificate names them
    node: str = _SUPPOSED_NODE
    made_up: bool = False


def written(initiator: str, target: str) -> Supposed:
    """
    Return the flow that `FROM TO:PORT` or `FROM TO:PORT/PROTOCOL` asks about.

    Raises:
        UsageProblem: TO has no port.
    """
    responder, _, rest = target.rpartition(":")
    found = re.fullmatch(r"([0-9]{1,5})(?:/([a-z0-9]+))?", rest)
    if not responder or found is None or not 0 < int(found[1]) <= LAST_PORT:
        raise UsageProblem("no port", at=target, do="Write TO:PORT, as keycloak/mysql:3306 or dns:53/udp.")
    return Supposed(initiator.strip(), responder.strip().strip("[]"), int(found[1]), found[2] or "tcp")


def check(
    lookups: Mapping[str, pa.Table], flow: Supposed, transports: Sequence[str] = tuple(TRANSPORTS)
) -> dict[str, Any]:
    """
    Return what is said of *flow* for each of *transports*, and the rules that were considered.

    A name stands for the pods that *lookups* (`flow.lookups`) knows last; a component without any is one made-up pod,
    as the model describes it. Payload both ways is supposed.

    Raises:
        UsageProblem: An end is nobody that the model or a snapshot knows.
    """
    with connect(threads=1) as duck:
        classify.prepare(duck, lookups)
        classify.describe(duck)
        cluster, moment = _where_and_when(lookups)
        on_one_node = flow.initiator == "own_node"
        responder = _end(duck, lookups, flow.responder, "responder", cluster, moment, on_one_node=on_one_node)
        initiator = _end(duck, lookups, flow.initiator, "initiator", cluster, moment, node=responder.node)
        ends = {"initiator": initiator, "responder": responder}
        classify.prepare(duck, _with_ends(lookups, ends.values(), cluster))
        rows = [_record(flow, number, one, ends, lookups, cluster, moment) for number, one in enumerate(transports, 1)]
        duck.register("recorded", pa.Table.from_pylist(rows, schema=RECORDED_SCHEMA))
        classify.classify(duck)
        columns = (
            "record, initiator_kind, initiator_namespace, initiator_workload, initiator_component, responder_kind, "
            "responder_namespace, responder_workload, responder_component, target_port, verdict, reason, rule_id, "
            "rule_status, transport_required, transport_status"
        )
        answers = duck.run(f"SELECT {columns} FROM classified ORDER BY record").to_pylist()  # noqa: S608
        shown = {name: duck.run(catalogue.explanations()[name].sql).to_pylist() for name in ("matches", "near")}
    return {
        "initiator": flow.initiator, "responder": flow.responder, "port": flow.port, "protocol": flow.protocol,
        "time": moment, "made_up": [side for side, end in ends.items() if end.made_up],
        "answers": [{"if": one} | {k: v for k, v in row.items() if k != "record"}
                    for one, row in zip(transports, answers, strict=True)],
        "rules": _distinct(shown["matches"], ("rule_id", "kind", "transport", "revoked_by", "says")),
        "near": _distinct(shown["near"], tuple(shown["near"][0]) if shown["near"] else ()),
    }  # fmt: skip


def _distinct(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    return [dict(one) for one in dict.fromkeys(tuple((key, row[key]) for key in keys) for row in rows)]


def _where_and_when(lookups: Mapping[str, pa.Table]) -> tuple[str, datetime]:
    """The one cluster that is known, and the last moment at which its pods were: now, where none ever were."""
    clusters = sorted(set(lookups["party"].column("cluster").to_pylist()))
    if len(clusters) > 1:
        raise UsageProblem(f"several clusters: {', '.join(clusters)}", at="--store", do="Ask of one, by --identity.")
    listed = [row["known_until"] for row in lookups["pods_listed"].to_pylist()]
    return (clusters or ["default"])[0], max(listed, default=datetime.now(UTC))


def _end(
    duck: Duck, lookups: Mapping[str, pa.Table], name: str, side: str, cluster: str, moment: datetime, *,
    node: str = _SUPPOSED_NODE, on_one_node: bool = False,
) -> _End:  # fmt: skip
    with suppress(ValueError):
        return _End(str(ipaddress.ip_address(name)))
    ranges = {f"range:{row['name']}" for row in lookups["address_range"].to_pylist() if row["kind"] == "named"}
    if name in PLACES or name in ranges:
        return _place(name, side, cluster, node)
    query = catalogue.explanations()["named_pods"]
    pods = duck.run(query.sql, {"name": name, "time": moment.isoformat()}).to_pylist()
    if pods:
        pods = pods[:1] if on_one_node else pods
        members = [{"set_id": f"supposed:{side}", "party_id": pod["party_id"]} for pod in pods]
        account = (pods[0]["namespace"], pods[0]["service_account"] or "default")
        end = _held(side, cluster, f"supposed:{side}", {"set_member": members}, account)
        end.node = pods[0]["node"]
        return end
    components = {row["component"]: row for row in lookups["component"].to_pylist()}
    if name not in components:
        raise UsageProblem(
            "nobody of that name is known",
            at=name,
            do=f"Give a component of the model, NS/WORKLOAD of a snapshot, an address, or {', '.join(PLACES)}.",
        )
    return _pod_of(components[name], lookups, side, cluster)


def _held(side: str, cluster: str, held_by: str, rows: dict[str, list[Row]], account: tuple[str, str]) -> _End:
    address = _STAND_INS[side]
    always = {"valid_from": _time(0), "valid_to": _time(FOREVER)}
    holding = [{"cluster": cluster, "address": address, "set_id": held_by, **always}]
    return _End(address, {**rows, "holding": holding}, account)


def _place(name: str, side: str, cluster: str, node: str) -> _End:
    if name == "external" or name.startswith("range:"):
        return _held(side, cluster, name, {}, ("-", "-"))
    party, term = f"supposed:{side}", "node" if name == "own_node" else name
    host = {"node": f"another {_SUPPOSED_NODE}", "own_node": node, "api_server": None}[name]
    one = {
        "party_id": party,
        "cluster": cluster,
        "kind": term,
        "workload": name,
        "node": host,
        "in_mesh": False,
        "label_set": party,
        "profile": party,
    }
    return _held(
        side, cluster, party,
        {"party": [one], "party_address_term": [{"party_id": party, "term": term}],
         "set_member": [{"set_id": party, "party_id": party}]},
        ("-", "-"),
    )  # fmt: skip


def _pod_of(component: Row, lookups: Mapping[str, pa.Table], side: str, cluster: str) -> _End:
    """A pod that the first alternative of the component's selector claims, with a sidecar where the model says so."""
    selectors = [r for r in lookups["selector"].to_pylist() if r["component"] == component["component"]]
    if not selectors:
        raise UsageProblem("a component without a selector", at=component["component"], do="Give NS/WORKLOAD.")
    first = min(row["alternative"] for row in selectors)
    mine = [row for row in selectors if row["alternative"] == first]
    namespace = mine[0]["namespace"] or "default"
    party = f"supposed:{side}"
    one = {
        "party_id": party, "cluster": cluster, "kind": "pod", "namespace": namespace, "pod": party,
        "workload": component["component"], "service_account": "default", "node": _SUPPOSED_NODE,
        "label_set": party, "profile": party, "in_mesh": component["mesh"] in ("yes", "gateway"), "host_network": False,
    }  # fmt: skip
    ports = sorted({0, *NEVER_CAPTURED, LAST_PORT + 1})
    ranges = [(lo + 1, hi - 1) for lo, hi in pairwise(ports) if lo + 1 <= hi - 1]
    capture = [{"profile": party, "port_lo": lo, "port_hi": hi, "proxy": SIDECAR} for lo, hi in ranges]
    labels = [{"label_set": party, "key": r["key"], "value": r["value"] or ""} for r in mine if r["key"] is not None]
    end = _held(
        side, cluster, party,
        {"party": [one], "party_label": labels, "party_capture": capture if component["mesh"] == "yes" else [],
         "set_member": [{"set_id": party, "party_id": party}]},
        (namespace, "default"),
    )  # fmt: skip
    end.made_up = True
    return end


def _with_ends(lookups: Mapping[str, pa.Table], ends: Any, cluster: str) -> dict[str, pa.Table]:  # noqa: ANN401
    """Return *lookups* with the rows of *ends*; which PeerAuthentications would bind a made-up pod nobody knows."""
    tables = dict(lookups)
    for end in ends:
        for name, rows in end.rows.items():
            tables[name] = pa.concat_tables([tables[name], pa.Table.from_pylist(rows, schema=tables[name].schema)])
        if end.made_up:
            known = [row for row in tables["policy_known"].to_pylist() if row["cluster"] != cluster]
            tables["policy_known"] = pa.Table.from_pylist(known, schema=tables["policy_known"].schema)
    return tables


def _record(
    flow: Supposed, number: int, transport: str, ends: Mapping[str, _End], lookups: Mapping[str, pa.Table],
    cluster: str, moment: datetime,
) -> Row:  # fmt: skip
    domains = sorted(lookups["trust_domain"].column("trust_domain").to_pylist())
    namespace, account = ends["initiator"].account
    principal = f"spiffe://{domains[0]}/ns/{namespace}/sa/{account}" if domains and transport == "mtls" else None
    return {
        "segment": "supposed", "record": number, "source": "pcap", "reporter": "tap", "cluster": cluster,
        "first_seen": moment, "last_seen": moment, "protocol": flow.protocol, "initiator_basis": "syn", "hop": "wire",
        "initiator_ip": ends["initiator"].address, "initiator_port": LAST_PORT,
        "responder_ip": ends["responder"].address, "responder_port": flow.port, "initiator_principal": principal,
        "connection_state": "established", "action": "unknown", "packets_sent": 1, "packets_received": 1,
        "payload_sent": 1, "payload_received": 1, "transport_seen": transport,
        "transport_seen_basis": TRANSPORTS[transport], "dt": moment.date().isoformat(), "hour": f"{moment.hour:02d}",
    }  # fmt: skip


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
