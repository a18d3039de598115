"""
COLUMNS: the one list of flow columns.

The Arrow schemas, the checks in `batch.py`, the tables of `docs/schema.md` and the empty tables that queries are bound
against are all made from it. Recorded columns are written by readers and never changed; resolved columns are written by
classification; a flow's verdict row has the verdict columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from vzflow.flow import terms

TIME = pa.timestamp("us", tz="UTC")
TEXT = pa.string()
COUNT = pa.int64()
PORT = pa.int32()
FLAG = pa.bool_()
#: Text as a number for each row and one copy of each text: how a batch may hold any column of TEXT.
NUMBERED = pa.dictionary(pa.int32(), TEXT)

Stage = Literal["recorded", "resolved", "verdict", "receipt", "reject"]


@dataclass(frozen=True)
class Column:
    """One column: what it says in one sentence, its unit, what null means, and the closed list it draws from."""

    name: str
    type: pa.DataType
    says: str
    null_means: str = "never null"
    unit: str = field(default="-", kw_only=True)
    values: type[terms.Closed] | None = field(default=None, kw_only=True)
    stage: Stage = field(default="recorded", kw_only=True)

    @property
    def nullable(self) -> bool:
        return self.null_means != "never null"


def _recorded() -> list[Column]:
    aggregated = "aggregated away, or the source does not record it"
    silent = "the source cannot say"

    def end(side: str) -> list[Column]:
        what = "opened the exchange" if side == "initiator" else "answered"
        return [
            Column(f"{side}_ip", TEXT, f"Address of the side that {what}, as recorded.", aggregated),
            Column(f"{side}_port", PORT, f"Port of the side that {what}, as recorded.", f"{aggregated}; or no ports"),
        ]

    def named(side: str) -> list[Column]:
        unnamed = "the record does not name it"
        return [
            Column(f"{side}_named_namespace", TEXT, f"Namespace the record gives for the {side}.", unnamed),
            Column(f"{side}_named_name", TEXT, f"Full name the record gives for the {side}.", unnamed),
            Column(f"{side}_named_name_prefix", TEXT, f"What aggregation leaves of the {side}'s name.", unnamed),
            Column(f"{side}_named_kind", TEXT, f"What the record calls the {side}.", unnamed, values=terms.NamedKind),
            Column(f"{side}_named_labels", TEXT, f"Labels the record gives for the {side}, a JSON object.", unnamed),
            Column(f"{side}_named_service", TEXT, f"Service (namespace/name) recorded for the {side}.", unnamed),
            Column(f"{side}_principal", TEXT, f"SPIFFE URI that the {side} presented.", "none was visible"),
        ]

    return [
        Column("segment", TEXT, "The input this row is from: 16 hex digits."),
        Column("record", COUNT, "First packet or line number there, from 1; + 2^40 per further entry of a line."),
        Column("source", TEXT, "What kind of record it is.", values=terms.Source),
        Column("reporter", TEXT, "Which side wrote the record.", silent, values=terms.Reporter),
        Column("reporter_name", TEXT, "Namespace/pod or host that wrote it.", "not known"),
        Column("cluster", TEXT, "Cluster the addresses belong to, as named at ingest."),
        Column("first_seen", TIME, "Begin of the exchange or of the aggregation window.", "the source has no time"),
        Column("last_seen", TIME, "End of the exchange or of the aggregation window.", "the source has no time"),
        Column("protocol", TEXT, "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or the IP protocol number.", silent),
        *end("initiator"),
        *end("responder"),
        Column("initiator_basis", TEXT, "How it is known who opened.", values=terms.InitiatorBasis),
        Column(
            "dialled_ip", TEXT, "Address the initiator dialled, before translation.", "the source does not show both"
        ),
        Column("dialled_port", PORT, "Port the initiator dialled.", "the source does not show both"),
        Column("via", TEXT, "Encapsulation, outermost first, as in `vxlan:4096`.", "none"),
        Column("hop", TEXT, "Where on the way it was seen.", values=terms.Hop),
        *named("initiator"),
        *named("responder"),
        Column("packets_sent", COUNT, "Packets from the initiator.", silent, unit="packets"),
        Column("bytes_sent", COUNT, "IP total length for packets, as logged for logs.", silent, unit="bytes"),
        Column("packets_received", COUNT, "Packets from the responder.", silent, unit="packets"),
        Column("bytes_received", COUNT, "As `bytes_sent`, the other way.", silent, unit="bytes"),
        Column("payload_sent", COUNT, "Bytes above TCP or UDP from the initiator.", silent, unit="bytes"),
        Column("payload_received", COUNT, "Bytes above TCP or UDP from the responder.", silent, unit="bytes"),
        Column("duplicates", COUNT, "Copies of packets already counted.", "not packets", unit="packets"),
        Column("connections", COUNT, "Connections the row stands for.", "one request of a reused connection"),
        Column("connection_state", TEXT, "How far the connection came.", silent, values=terms.ConnectionState),
        Column("action", TEXT, "What the network did.", values=terms.Action),
        Column("policies", TEXT, "Policies the record names, a JSON array.", "none named"),
        Column("response_code", PORT, "HTTP status.", "not an HTTP record"),
        Column("response_flags", TEXT, "Envoy response flags, comma-joined.", "none, or not a proxy's line"),
        Column("tls_version", TEXT, "Negotiated version, as `TLSv1.3`.", "no TLS seen"),
        Column("tls_sni", TEXT, "Server name the client asked for.", "none seen"),
        Column("tls_alpn", TEXT, "Protocols the client offered, comma-joined.", "none seen"),
        Column("tls_resumed", FLAG, "Whether the session was resumed.", silent),
        Column(
            "client_certificate", TEXT, "What is known of a client certificate.", silent, values=terms.ClientCertificate
        ),
        Column("app_protocol", TEXT, "Application protocol recognised by its bytes or logged.", "not recognised"),
        Column("transport_seen", TEXT, "What the record alone proves about the payload.", values=terms.Transport),
        Column("transport_seen_basis", TEXT, "Why.", values=terms.TransportBasis),
        Column("mesh_mtls", TEXT, "Whether a proxy says the mesh protected it.", silent, values=terms.Ternary),
    ]


def _resolved() -> list[Column]:
    def column(
        name: str, kind: pa.DataType, says: str, null_means: str, values: type[terms.Closed] | None = None
    ) -> Column:
        return Column(name, kind, says, null_means, values=values, stage="resolved")

    def end(side: str) -> list[Column]:
        open_ = "not a pod, or several holders that differ"
        return [
            column(f"{side}_kind", TEXT, f"What the {side} is.", "never null", terms.Kind),
            column(f"{side}_namespace", TEXT, f"Namespace of the {side}.", open_),
            column(f"{side}_pod", TEXT, f"Pod name of the {side}.", open_),
            column(f"{side}_workload", TEXT, "Owner users know, as a Deployment.", open_),
            column(f"{side}_workload_kind", TEXT, "Kind of that owner.", open_),
            column(f"{side}_service_account", TEXT, f"Service account of the {side}.", open_),
            column(f"{side}_labels", TEXT, f"Labels of the {side} then, a JSON object.", open_),
            column(f"{side}_node", TEXT, f"Node of the {side}.", open_),
            column(f"{side}_in_mesh", FLAG, f"Whether the {side} ran a sidecar or is a gateway.", open_),
            column(f"{side}_component", TEXT, "Component or peer of the model.", "none claims it, or they differ"),
            column(f"{side}_identity_basis", TEXT, "How that is known.", "never null", terms.IdentityBasis),
            column(f"{side}_candidates", TEXT, f"Everyone the {side} may have been, a JSON array.", "one holder"),
        ]

    return [
        *end("initiator"),
        *end("responder"),
        column("responder_service", TEXT, "Service (namespace/name) that was dialled.", "no Service was"),
        column("target_port", PORT, "Pod port after translation: the port rules speak of.", "not known"),
        column("transport", TEXT, "What protected the payload.", "never null", terms.Transport),
        column("transport_basis", TEXT, "Why.", "never null", terms.TransportBasis),
        column("transport_grade", TEXT, "How strong that is.", "transport is unknown", terms.TransportGrade),
        column("evidence_origin", TEXT, "Who saw it.", "never null", terms.EvidenceOrigin),
        column("outcome", TEXT, "How it ended.", "never null", terms.Outcome),
    ]


def _verdict() -> list[Column]:
    def column(name: str, says: str, null_means: str, values: type[terms.Closed] | None = None) -> Column:
        return Column(name, TEXT, says, null_means, values=values, stage="verdict")

    return [
        column("flow_id", "`segment:record` of the flow.", "never null"),
        column("verdict", "vzflow's judgement.", "never null", terms.Verdict),
        column("reason", "Why.", "never null", terms.Reason),
        column("rule_id", "The rule that allows it, or the revoked one that would.", "no rule does"),
        column("rule_status", "What kind of rule that is.", "never null", terms.RuleStatus),
        column(
            "transport_required",
            "What protection is required.",
            "no rule and no mesh speak of it",
            terms.TransportRequired,
        ),
        column(
            "transport_status",
            "How what was seen compares with what is required.",
            "no rule and no mesh speak of it",
            terms.TransportStatus,
        ),
    ]


COLUMNS: tuple[Column, ...] = (*_recorded(), *_resolved(), *_verdict())

RECORDED = tuple(c for c in COLUMNS if c.stage == "recorded")
RESOLVED = tuple(c for c in COLUMNS if c.stage == "resolved")
VERDICT = tuple(c for c in COLUMNS if c.stage == "verdict")


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of *columns*, in their order."""
    return pa.schema([pa.field(c.name, c.type, c.nullable) for c in columns])


#: What readers yield and `recorded/` holds (the store adds the partition columns dt and hour).
FLOW_SCHEMA = schema_of(RECORDED)

#: The partition of rows without a time.
NO_TIME = "unknown"

#: What `classified/` holds per recorded row, besides the partition and what it was made from.
CLASSIFIED_SCHEMA = pa.schema(
    [
        pa.field("segment", TEXT, nullable=False),
        pa.field("record", COUNT, nullable=False),
        pa.field("turned", FLAG, nullable=False),
        *schema_of(RESOLVED),
        *(field for field in schema_of(VERDICT) if field.name != "flow_id"),
    ]
)
