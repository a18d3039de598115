"""
The small tables that classification joins flows against: what identity and model hand to the queries.

Every table is declared here once, because the floor that makes it and the SQL that reads it never import each other.
Intervals are half-open [valid_from, valid_to) and disjoint per key, so that a flow finds at most one row.
"""

from __future__ import annotations

import pyarrow as pa

from vzflow.flow.schema import COUNT, FLAG, PORT, TEXT, TIME

#: Ends an interval that nothing is known to have ended.
FOREVER = 253_402_300_799_000_000  # 9999-12-31T23:59:59Z in microseconds


def _table(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


#: Made by `identity.tables`.
IDENTITY: dict[str, pa.Schema] = {
    # One row per state of a holder: a pod's life is cut where a PeerAuthentication that speaks of it changes.
    # kind: pod | node | api_server | service | range. in_mesh: has a sidecar, or is an Istio gateway.
    # masqueraded: leaves the cluster with its node's address (null: nothing says so); masqueraded_to_nodes: also where
    # it dials a node.
    # known_until: the newest moment a snapshot vouches for this holder (null: it is known to have ended).
    # label_set: by which party_label speaks of it, and of all who have these labels; profile: the same for party_port,
    # party_capture and party_policy. What is no pod, or has no labels, goes by its own id.
    "party": _table(
        party_id=TEXT,
        cluster=TEXT,
        kind=TEXT,
        namespace=TEXT,
        pod=TEXT,
        workload=TEXT,
        workload_kind=TEXT,
        service_account=TEXT,
        labels=TEXT,
        node=TEXT,
        in_mesh=FLAG,
        host_network=FLAG,
        label_set=TEXT,
        profile=TEXT,
        masqueraded=FLAG,
        masqueraded_to_nodes=FLAG,
    ),
    "party_label": _table(label_set=TEXT, key=TEXT, value=TEXT),
    # Terms that follow from the address rather than from the object: `node` for every holder of a node address,
    # `api_server` for every holder of an API server address, `range:NAME`.
    "party_address_term": _table(party_id=TEXT, term=TEXT),
    # Declared ports; role: container | endpoint | probe | probe_connect (a probe that only connects).
    "party_port": _table(profile=TEXT, protocol=TEXT, port=PORT, role=TEXT),
    # Inbound TCP ports the mesh captures, as disjoint closed ranges; no row for a pod outside of it.
    # proxy: sidecar | ztunnel (which speaks mutual TLS in its own tunnel only).
    "party_capture": _table(profile=TEXT, port_lo=PORT, port_hi=PORT, proxy=TEXT),
    # PeerAuthentications that select the party. level: 1 workload, 2 namespace, 3 mesh; 0 is a Sidecar whose proxy
    # speaks TLS of its own on that port. port null: all ports.
    # mode: STRICT | PERMISSIVE | DISABLE (UNSET rows are left out). since: creation, for ties (oldest wins).
    "party_policy": _table(profile=TEXT, level=COUNT, port=PORT, mode=TEXT, name=TEXT, since=TIME),
    # Clusters whose PeerAuthentications were read, and from when: without a row nothing is known about requirement.
    "policy_known": _table(cluster=TEXT),
    # Who holds an address, by address alone. basis: IdentityBasis value.
    "holding": _table(cluster=TEXT, address=TEXT, valid_from=TIME, valid_to=TIME, known_until=TIME, set_id=TEXT),
    # Who answers on an address and port: Service addresses, NodePorts, host-network ports. basis: service | host_port.
    "endpoint": _table(
        cluster=TEXT,
        address=TEXT,
        protocol=TEXT,
        port=PORT,
        valid_from=TIME,
        valid_to=TIME,
        known_until=TIME,
        set_id=TEXT,
        target_port=PORT,
        service=TEXT,
        basis=TEXT,
    ),
    # Who a record names. key: pod:NS/NAME, prefix:NS/PREFIX, host:NAME; from:public and to:public are whoever may stand
    # behind an address that a log only calls public, at any time, as sets `public:…`.
    "named": _table(cluster=TEXT, key=TEXT, valid_from=TIME, valid_to=TIME, known_until=TIME, set_id=TEXT),
    # When pods of all namespaces were listed, and until when they were watched from then on (else the same moment).
    "pods_listed": _table(cluster=TEXT, listed_at=TIME, known_until=TIME),
    # Addresses of nodes for which no pod of a pool leaves masqueraded (why: pool), or only pods that are
    # masqueraded_to_nodes do (why: node). Spans of which that is not certain are left out.
    "unmasqueraded": _table(cluster=TEXT, address=TEXT, why=TEXT, valid_from=TIME, valid_to=TIME),
    # Spans that two pods, or two Services, claim by their own records though one address has one holder: the later
    # start kept it. lost and kept: KIND/NAMESPACE/NAME.
    "contested": _table(cluster=TEXT, address=TEXT, valid_from=TIME, valid_to=TIME, lost=TEXT, kept=TEXT),
    "set_member": _table(set_id=TEXT, party_id=TEXT),
    # Configured and well-known address ranges, flattened to disjoint closed ranges of 32-hex-digit keys.
    # kind: pod_range | service_range | node_range | private | loopback | link_local | multicast | named
    "address_range": _table(cluster=TEXT, lo=TEXT, hi=TEXT, kind=TEXT, name=TEXT),
}

#: Made by `model.document`.
MODEL: dict[str, pa.Schema] = {
    # in_scope: flows to it are judged (a component); false for a named peer such as CoreDNS.
    # mesh: yes | no | gateway, null if not said. egress: closed | open | rules | unmodelled.
    "component": _table(component=TEXT, in_scope=FLAG, mesh=TEXT, egress=TEXT),
    # A component claims a pod when, for one alternative, every row matches. key null: the namespace
    # alone; namespace null: any; value null: the key is there, whatever its value. keys: how many rows must match.
    "selector": _table(component=TEXT, alternative=COUNT, namespace=TEXT, key=TEXT, value=TEXT, keys=COUNT),
    "protected_namespace": _table(namespace=TEXT),
    "trust_domain": _table(trust_domain=TEXT),
    # kind: documented | infrastructure | amended | accepted. transport: mtls | tls | plaintext_ok | unspecified.
    # expires: when an accepted edge holds no longer (null: never).
    "rule": _table(
        rule_id=TEXT,
        kind=TEXT,
        transport=TEXT,
        transport_provenance=TEXT,
        says=TEXT,
        source=TEXT,
        model=TEXT,
        revoked_by=TEXT,
        expires=TIME,
    ),
    # A rule spelled out: one row per initiator term, responder term and port range.
    # Terms: component:NAME namespace:NAME node own_node api_server external range:NAME pod mesh sidecar any.
    # Both ports null: any port, also none. port_class probe: only ports that the responder declares for probes.
    "rule_grant": _table(
        rule_id=TEXT,
        from_term=TEXT,
        to_term=TEXT,
        protocol=TEXT,
        port_lo=PORT,
        port_hi=PORT,
        port_class=TEXT,
    ),
}

#: What a report was asked for: one row; null asks for everything.
ASKED: dict[str, pa.Schema] = {
    "asked": _table(since=TIME, until=TIME, namespace=TEXT, workload=TEXT, port=PORT, verdict=TEXT),
}

_JUDGED = {
    "code": TEXT, "cluster": TEXT, "initiator": TEXT, "responder": TEXT, "port": PORT, "protocol": TEXT,
    "verdict": TEXT, "reason": TEXT, "transport_status": TEXT, "outcome": TEXT,
}  # fmt: skip

#: What a report is compared with: findings of an earlier one, and what that could not decide (code, cluster null).
#: `found` are the findings now, by their place in the report. Both are empty without a comparison.
COMPARED: dict[str, pa.Schema] = {"baseline": _table(**_JUDGED), "found": _table(place=COUNT, **_JUDGED)}
