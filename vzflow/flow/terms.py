"""
The closed lists: every value a column, a reject or a skip may hold, each with one sentence.

A value that is not here does not exist: `batch.py` refuses it, the reference page is made from this file. `unknown` is
a value and never counts as good or bad; null means the source cannot say.
"""

from __future__ import annotations

from enum import StrEnum


class Closed(StrEnum):
    """A closed list; each member is its value and carries its sentence in `says`."""

    says: str

    def __new__(cls, value: str, says: str) -> Closed:
        member = str.__new__(cls, value)
        member._value_ = value
        member.says = says
        return member

    # A member is its text: an Enum's own hash would be a call into Python.
    __hash__ = str.__hash__


class Source(Closed):
    PCAP = "pcap", "Packets from a capture file."
    CALICO = "calico", "A Calico flow log record, or a line in which Calico tells of one packet."
    ENVOY = "envoy", "An Envoy access log line."
    ZTUNNEL = "ztunnel", "An access log line of ztunnel, the node proxy of Istio's ambient mode."
    HUBBLE = "hubble", "A Hubble event of Cilium: one packet or one message, and where it was seen."
    ZEEK = "zeek", "A row of Zeek's conn.log or ssl.log."


class Reporter(Closed):
    INITIATOR = "initiator", "Written at the side that opened the exchange."
    RESPONDER = "responder", "Written at the side that answered."
    PROXY = "proxy", "Written by a gateway, waypoint or forwarding node in between."
    TAP = "tap", "Seen on the wire by neither side."


class InitiatorBasis(Closed):
    SYN = "syn", "The sender of the TCP SYN."
    LOG = "log", "The log line says who connected."
    REPORTER = "reporter", "The reporter's own end is named in the record."
    REQUEST = "request", "The sender of an ICMP echo request, which names itself one."
    KNOWN_PORT = "known_port", "A guess: only the other side used a well-known or lower port."
    FIRST_SEEN = "first_seen", "A guess: the sender of the first packet seen."
    DECLARED_PORT = (
        "declared_port",
        "The recorded guess was turned: only the other side's port is declared by its holder.",
    )


class Hop(Closed):
    WIRE = "wire", "Seen between network namespaces."
    LOOPBACK = "loopback", "Seen on a loopback device or between loopback addresses."
    POD_INTERNAL = "pod_internal", "Between a process and the proxy of its own pod."
    OUTER_TUNNEL = "outer_tunnel", "The outside of a tunnel whose inside could not be read."
    MIXED = "mixed", "Seen on several kinds of hop, or the capture does not tell them apart."


class NamedKind(Closed):
    POD = "pod", "A workload endpoint."
    WORKLOAD = "workload", "What a mesh proxy knows under the address: mostly a pod's name, sometimes a workload's."
    HOST = "host", "A host endpoint."
    NETWORK_SET = "network_set", "A named set of addresses."
    PRIVATE_NETWORK = "private_network", "Something the log calls private: a hint, never proof."
    PUBLIC_NETWORK = "public_network", "Something the log calls public: a hint, never proof."
    NETWORK = "network", "An address the log could not name."


class ConnectionState(Closed):
    ESTABLISHED = "established", "The connection opened; for a proxy line, it reached its upstream."
    ATTEMPTED = "attempted", "Opened by one side, no answer seen."
    REFUSED = "refused", "Reset or turned away by the responder before it sent any payload."
    RESET = "reset", "Opened and ended by a reset that was not a refusal."
    MIDSTREAM = "midstream", "The opening was not seen."


class Action(Closed):
    ALLOWED = "allowed", "The reporter let it pass."
    DENIED = "denied", "The reporter's policy refused it."
    UNKNOWN = "unknown", "The source does not say what the network did."


class ClientCertificate(Closed):
    SEEN = "seen", "A client certificate was on the wire or in the line."
    EMPTY = "empty", "A client certificate was asked for and none was given, or the line says there was none."
    NOT_ASKED = "not_asked", "The server did not ask for one (TLS 1.2 or older)."
    NOT_VISIBLE = "not_visible", "TLS 1.3 or a resumed session: certificates cannot be seen."


class Ternary(Closed):
    YES = "yes", "Said so by the source."
    NO = "no", "Denied by the source."
    UNKNOWN = "unknown", "The source leaves it open."


class Transport(Closed):
    MTLS = "mtls", "TLS with both sides authenticated."
    TLS = "tls", "Encrypted; client authentication not shown."
    PLAINTEXT = "plaintext", "Payload went in clear."
    NONE = "none", "No payload was ever sent."
    UNKNOWN = "unknown", "What protected the payload cannot be told from what was recorded."


class TransportBasis(Closed):
    CLIENT_CERTIFICATE = "client_certificate", "TLS 1.2 or older: a client certificate was sent and data followed."
    PEER_URI = "peer_uri", "A proxy printed the peer's URI SAN for a handshake that succeeded."
    MESH_IDENTITY = "mesh_identity", "ztunnel printed identities, as it does for mutual TLS only, and did not fail."
    ISTIO_ALPN = "istio_alpn", "The ClientHello offers an Istio ALPN and application data went both ways."
    OUTBOUND_SNI = "outbound_sni", "An inbound proxy ended TLS, or parsed HTTP, under an `outbound_` server name."
    CERTIFICATE_WITHHELD = "certificate_withheld", "The server asked for a client certificate and got none."
    PEER_EMPTY = "peer_empty", "A proxy logged TLS and an empty peer certificate."
    TLS_HANDSHAKE = "tls_handshake", "A TLS hello was seen; client authentication cannot be told."
    TLS_RESUMED = "tls_resumed", "A resumed session: no certificates on the wire."
    TLS_MIDSTREAM = "tls_midstream", "Only TLS records from the middle of a connection."
    TLS_FAILED = "tls_failed", "A TLS handshake was begun and did not succeed."
    QUIC = "quic", "A QUIC long header."
    TLS_VERSION = "tls_version", "A proxy printed a TLS version for a handshake that succeeded."
    SERVER_NAME = "server_name", "A proxy recorded a TLS server name for a raw TCP connection."
    CLEAR_PROTOCOL = "clear_protocol", "The payload parses as a protocol in clear."
    PEER_CERTIFICATE = (
        "peer_certificate",
        "A proxy's line shows that the client gave a certificate, but not its SPIFFE name.",
    )
    FORWARDED_CLIENT_CERT = (
        "forwarded_client_cert",
        "A sidecar named its client in X-Forwarded-Client-Cert, as it does for clients whose certificate it verified.",
    )
    BOTH_URIS = (
        "both_uris",
        "The proxy of the initiator ended TLS with a SPIFFE name at the other end and one of its own to show.",
    )
    NO_TLS_HTTP = "no_tls_http", "A sidecar printed `-` for the TLS version of an HTTP request it received."
    NO_TLS_UPSTREAM = (
        "no_tls_upstream",
        "A sidecar printed `-` for the TLS version of a request it forwarded and got answered.",
    )
    NO_PAYLOAD = "no_payload", "Neither side sent payload."
    NOT_RECORDED = "not_recorded", "This kind of record says nothing of TLS."
    FORMAT_SILENT = "format_silent", "This log format has no field that would tell."
    MIDSTREAM = "midstream", "The beginning of the connection was not seen."
    CUT = "cut", "The bytes that would tell were cut by the capture length, or were not captured."
    POOL_FULL = "pool_full", "The memory for first payload bytes was full, so they were not kept."
    DATAGRAM = "datagram", "Datagrams whose payload proves nothing."
    UNRECOGNISED = "unrecognised", "The payload is no protocol vzflow knows."
    NOT_ON_WIRE = "not_on_wire", "Seen on a hop inside a pod or host, which proves nothing about the wire."
    HOP_UNCERTAIN = "hop_uncertain", "The capture mixes loopback with unmarked interfaces."
    OTHER_ENCRYPTION = "other_encryption", "A protocol with an encryption of its own that is not TLS, such as SSH."
    TUNNEL = "tunnel", "The inside of the tunnel could not be read."
    FOREIGN_TRUST_DOMAIN = "foreign_trust_domain", "A certificate was shown whose trust domain is not the model's."
    RESPONDER_NOT_IN_MESH = (
        "responder_not_in_mesh",
        "An Istio handshake towards an end not known to terminate it in a sidecar.",
    )


class TransportGrade(Closed):
    PROVEN = "proven", "The record itself shows it."
    INFERRED = "inferred", "It follows from the record together with what ran at the responder."


class EvidenceOrigin(Closed):
    TAP = "tap", "Packets."
    RESPONDER_PROXY = "responder_proxy", "The line of the responder's proxy."
    INITIATOR_PROXY = "initiator_proxy", "The line of the initiator's proxy."
    LOG = "log", "Another log record."


class Kind(Closed):
    POD = "pod", "A pod."
    NODE = "node", "A node address, standing for whatever runs on the host network there."
    API_SERVER = "api_server", "The Kubernetes API server."
    SERVICE = "service", "A Service whose pods are not known."
    EXTERNAL = "external", "A globally routable address outside the cluster, or a configured range."
    LOOPBACK = "loopback", "A loopback address."
    LINK_LOCAL = "link_local", "A link-local or multicast address."
    AMBIGUOUS = "ambiguous", "Several holders are possible and would be judged differently."
    UNKNOWN = "unknown", "Nobody known held this address then."


class IdentityBasis(Closed):
    ADDRESS = "address", "The address was held by it at that time."
    AFTER_SNAPSHOT = "after_snapshot", "It held the address in an older snapshot, and none vouches for this moment."
    SERVICE = "service", "The address is a Service's; its pods at that time stand for it."
    HOST_PORT = "host_port", "A node address and a port that a host-network pod declares."
    NAME = "name", "The record itself names it."
    PRINCIPAL = (
        "principal",
        "A proxy verified its certificate: the pods that ran under that service account then stand for it.",
    )
    NETWORK = "network", "The record only calls it public: whoever has a public address is a candidate."
    NAME_AND_ADDRESS = "name_and_address", "The record's name and the address's holder differ: both are candidates."
    RANGE = "range", "The address lies in a configured or well-known range."
    NOT_FOUND = "not_found", "No snapshot says who held this address then."
    NOT_RECORDED = "not_recorded", "The record holds neither an address nor a name that could be looked up."
    NO_TIME = "no_time", "The record has no time, so nobody can be looked up."


class Outcome(Closed):
    SERVED = "served", "Payload both ways, or an HTTP answer from upstream."
    REACHED = "reached", "Opened; payload one way or none."
    REFUSED = "refused", "Turned away by the other end or by a proxy."
    BLOCKED = "blocked", "Denied by a network policy."
    BLOCKED_L7 = "blocked_l7", "Denied by an authorization policy."
    ATTEMPTED = "attempted", "No answer."
    UNKNOWN = "unknown", "The record does not say how it ended."


class RuleStatus(Closed):
    DOCUMENTED = "documented", "A row of the document allows it."
    INFRASTRUCTURE = "infrastructure", "Allowed by the document's prose or by what every cluster needs."
    AMENDED = "amended", "Allowed by an amendment to the document."
    ACCEPTED = "accepted", "Allowed by a site overlay."
    NONE = "none", "No rule allows it."
    UNMODELLED = "unmodelled", "The model says nothing about such flows."
    UNDECIDED = "undecided", "The possible holders of the addresses would be judged differently."


class TransportRequired(Closed):
    MTLS = "mtls", "Mutual TLS is required."
    TLS = "tls", "TLS is required."
    PLAINTEXT_OK = "plaintext_ok", "Plaintext is allowed."
    NONE = "none", "Nothing requires TLS here."
    UNKNOWN = "unknown", "What is required is not known."


class TransportStatus(Closed):
    REQUIREMENT_UNKNOWN = "requirement_unknown", "No rule states it and no PeerAuthentication of that time is known."
    EXEMPT = "exempt", "The rule allows plaintext, or the port is excluded from the sidecar's capture."
    NOT_REQUIRED = "not_required", "No rule states it and nothing enforces mTLS there."
    MET = "met", "What is required is proven."
    MET_INFERRED = "met_inferred", "What is required follows from the evidence."
    NOT_MUTUAL = "not_mutual", "One-way TLS is proven where mTLS is required."
    VIOLATED = "violated", "Plaintext is proven where TLS is required."
    UNVERIFIED = "unverified", "Required, and the evidence does not show whether it was met."
    DISPUTED = "disputed", "Sources of one exchange contradict each other (exchanges only)."


class Verdict(Closed):
    EXPECTED = "expected", "Allowed by a rule, and nothing shows that it went wrong."
    UNEXPECTED = "unexpected", "No rule allows it, or it was allowed only over TLS that it did not use."
    PLAINTEXT = "plaintext", "Allowed, mTLS required, and plaintext proven."
    UNKNOWN = "unknown", "The evidence does not decide."
    OUT_OF_SCOPE = "out_of_scope", "Nothing the model speaks of."


class Reason(Closed):
    ALLOWED = "allowed", "A rule allows it."
    MTLS_VIOLATED = (
        "mtls_violated",
        "A rule allows it over mTLS; it went in clear, or the mesh passed it on as it came.",
    )
    NOT_MUTUAL = "not_mutual", "A rule allows it over mTLS, and TLS was one-way."
    TLS_MISSING = "tls_missing", "A rule allows it over TLS, and it went in clear."
    NO_RULE = "no_rule", "No rule speaks of this protocol, which has no ports, at the responder."
    PORT_NOT_DOCUMENTED = "port_not_documented", "No rule speaks of this port of the responder."
    SOURCE_NOT_DOCUMENTED = "source_not_documented", "Rules speak of this port, none of this initiator."
    SOURCE_NOT_MODELLED = (
        "source_not_modelled",
        "A rule lets in a component of which the model does not say which pods it is; this pod may be of it.",
    )
    UNCLAIMED_WORKLOAD = "unclaimed_workload", "The responder is in a protected namespace and belongs to no component."
    DOCUMENTED_IN_ERROR = "documented_in_error", "Only a row that an amendment revokes allows it."
    EGRESS_NOT_ALLOWED = "egress_not_allowed", "The initiator's egress rules do not allow it."
    EGRESS_UNMODELLED = "egress_unmodelled", "A component reached something the model does not describe."
    FOREIGN = "foreign", "Neither end is in scope."
    LOOPBACK = "loopback", "A hop inside a host or pod."
    POD_INTERNAL = "pod_internal", "A hop between a process and the proxy of its own pod."
    HAIRPIN = "hairpin", "A pod reached itself, by way of its own Service."
    TUNNEL_UNREADABLE = "tunnel_unreadable", "The inside of the tunnel could not be read."
    NO_TIME = "no_time", "Without a time nobody can be identified."
    NO_IDENTITY = "no_identity", "Neither end could be identified."
    INITIATOR_UNKNOWN = "initiator_unknown", "Who opened it is not known, and it matters."
    RESPONDER_UNKNOWN = "responder_unknown", "Who answered is not known."
    PRINCIPAL_CONTRADICTS = "principal_contradicts", "A certificate is of an account that no holder of the address has."
    INITIATOR_AMBIGUOUS = "initiator_ambiguous", "Several initiators are possible and would be judged differently."
    RESPONDER_AMBIGUOUS = "responder_ambiguous", "Several responders are possible and would be judged differently."
    DIRECTION_UNKNOWN = "direction_unknown", "Which side opened it is only a guess, and no declared port settles it."
    PORT_NOT_RECORDED = "port_not_recorded", "The record holds no responder port."
    SOURCES_DISAGREE = "sources_disagree", "Sources of one exchange contradict each other (exchanges only)."


class RuleCoverage(Closed):
    SEEN = "seen", "An exchange was judged by this rule."
    SHADOWED = "shadowed", "Exchanges it allows were seen; all of them count for another rule."
    NOT_SEEN = "not_seen", "Not seen, though a source was there that would have shown it."
    UNCERTAIN = "uncertain", "Not seen, and whether it would have been seen cannot be told."
    NOT_OBSERVABLE = "not_observable", "No source that was given could have shown it."


class CoverageReason(Closed):
    NOBODY_THERE = "nobody_there", "No pod of one of its ends is known to have lived in the window."
    NO_VANTAGE = "no_vantage", "No source reports for either of its ends."
    PORT_NOT_CAPTURED = (
        "port_not_captured",
        "Only the responder's proxy reports, and it leaves the port alone.",
    )
    TAP_PLACE = "tap_place", "A tap saw one of its ends, never both together: where it stood is not known."
    UNDECIDED_EXCHANGE = "undecided_exchange", "An exchange that could not be decided may have been the rule's."


class BlindClass(Closed):
    NO_TLS_IN_LOG = "no_tls_in_log", "Calico and Hubble logs say nothing of TLS: their flows are unverified."
    FORMAT_SILENT = (
        "format_silent",
        "Envoy lines without a TLS operator, as Istio's default, tell no transport.",
    )
    FAILED_HANDSHAKE = (
        "failed_handshake",
        "Istio's default logs leave no line for TLS without a client certificate to a STRICT port.",
    )
    CAPTURED_PORTS_ONLY = "captured_ports_only", "A sidecar logs TCP on the ports it captures, and nothing else."
    CERTIFICATE_HIDDEN = (
        "certificate_hidden",
        "TLS 1.3 hides certificates: from packets alone mTLS is inferred, never proven.",
    )
    PORT_AGGREGATED = "port_aggregated", "Calico records aggregated at level 3 have no port: no rule can speak of them."
    TUNNEL = "tunnel", "The inside of a tunnel that could not be read is not seen."


class Readiness(Closed):
    READY = "ready", "All inbound of the window was mutual TLS, and every documented client of the mesh was seen."
    CLIENTS_NOT_SEEN = "clients_not_seen", "All inbound was mutual TLS; documented clients were not seen."
    TOO_SHORT = "too_short", "All inbound was mutual TLS, over less time than asked for."
    UNPROVEN = "unproven", "Some inbound is not known to have been mutual TLS."
    BLOCKED = "blocked", "Some inbound was in clear or one-way TLS: STRICT would refuse it."
    NOT_SEEN = "not_seen", "No inbound that would count was seen."


class RejectReason(Closed):
    TRUNCATED_FILE = "truncated_file", "The file ends in the middle of a record."
    BAD_RECORD = "bad_record", "A record's own lengths contradict each other; what follows cannot be found."
    BAD_COMPRESSION = "bad_compression", "The compressed stream is damaged from here on."
    TRUNCATED_PACKET = "truncated_packet", "The capture length cut the packet inside its headers."
    MALFORMED_PACKET = "malformed_packet", "A header contradicts itself."
    LONE_FRAGMENT = "lone_fragment", "An IP fragment whose first part, which holds the ports, was not captured."
    UNKNOWN_LINK_TYPE = "unknown_link_type", "The capture's link type cannot be decoded."
    NOT_JSON = "not_json", "The line is not a JSON object."
    NOT_TEXT = "not_text", "The line is not UTF-8 text."
    LINE_TOO_LONG = "line_too_long", "The line is longer than any record can be."
    FIELD_MISSING = "field_missing", "A field that every record has is missing."
    FIELD_INVALID = "field_invalid", "A field holds a value of the wrong kind."
    COLUMNS_AMBIGUOUS = "columns_ambiguous", "The line's columns cannot be told apart with certainty."
    TRUNCATED = "truncated", "The line was cut on its way: by a packet size, or its last piece is missing."


class SkipReason(Closed):
    ARP = "arp", "An ARP packet."
    NOT_IP = "not_ip", "A packet of another network protocol."
    BLANK_LINE = "blank_line", "An empty line."
    NOT_ACCESS_LOG = "not_access_log", "A line of a container log that is not an access log line."
    PARTIAL_LINE = "partial_line", "A further piece of a line that the container runtime cut into pieces."
    TOOL_MESSAGE = "tool_message", "What the program that fetched the log (kubectl, stern) says of itself."
    NOT_A_FLOW = "not_a_flow", "A line of a system log or event stream that tells of no flow."
    OTHER_PROGRAM = "other_program", "A line in Calico's or the kernel's words that another program wrote: no evidence."
    STREAM_ERROR = "stream_error", "An error message in an event stream: flows may be missing after it."
    NOT_FINAL = "not_final", "An Envoy line of a connection or request that goes on; its last line tells the whole."
    NOT_A_PACKET = "not_a_packet", "A block of a capture file that holds no packet."
    CONNECTION_OPENED = "connection_opened", "ztunnel's debug line at a connection's begin; another tells how it ended."
    LOST_EVENTS = "lost_events", "Hubble's word that events were lost; its count of them is not added up."
    SOCKET_EVENT = "socket_event", "A socket call that Cilium saw or translated: no packet and no message."
    NO_FLOW_EVENT = "no_flow_event", "A Hubble event of an agent, a node or the datapath itself, not of traffic."
    LOG_HEADER = "log_header", "A line that says how a Zeek log is written."
    OTHER_LOG = "other_log", "A row of another Zeek log than conn and ssl."
    TUNNEL_OUTSIDE = "tunnel_outside", "The outside of a tunnel whose inside Zeek logs as connections of their own."


class Severity(Closed):
    CRITICAL = "critical", "Plaintext proven where mTLS was required."
    HIGH = "high", "A flow that no rule allows took place."
    MEDIUM = "medium", "A flow that no rule allows was attempted, blocked or refused."
    LOW = "low", "The document, the evidence or the coverage needs attention."


class Level(Closed):
    ERROR = "error", "Part of the document or model is lost or contradicts itself."
    WARNING = "warning", "It can be read, and probably does not say what is meant."
    NOTE = "note", "Worth knowing."


class LintCode(Closed):
    """What can be wrong with a document or a model. 30xx layout, 31xx rows, 32xx the whole, 33xx models, 34xx pods."""

    level: Level
    do: str

    def __new__(cls, value: str, level: Level, says: str, do: str) -> LintCode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.level, member.says, member.do = level, says, do
        return member

    SEPARATOR_MISMATCH = (
        "VZ3001", Level.WARNING, "The separator line of a table has another number of cells than its header.",
        "Give it one cell for each column: renderers show no table otherwise.",
    )  # fmt: skip
    SEPARATOR_MISSING = (
        "VZ3002", Level.WARNING, "A table has no separator line under its header.",
        "Add one, as |---|---|: renderers show no table otherwise.",
    )  # fmt: skip
    BAR_NOT_CLOSED = (
        "VZ3003", Level.NOTE, "Rows open with a bar and do not close with one.",
        "Close them, so that a cell that is cut off shows.",
    )  # fmt: skip
    CELLS_MISMATCH = (
        "VZ3004", Level.WARNING, "A row has more or fewer cells than the header.",
        "Give it one cell for each column; write a bar inside a cell as \\|.",
    )  # fmt: skip
    ROW_OUTSIDE_TABLE = (
        "VZ3005", Level.WARNING, "A line looks like a row and belongs to no table, so it is not read.",
        "Put it directly under its table, without a blank line between.",
    )  # fmt: skip
    TABLE_IN_CODE = (
        "VZ3006", Level.NOTE, "A table stands in a code fence, so it is not read.", "Take it out if it is meant.",
    )  # fmt: skip
    NOT_CLOSED = (
        "VZ3007", Level.WARNING, "A code fence, comment or table is not closed.", "Close it: it hides what follows.",
    )  # fmt: skip
    TABLE_NOT_READ = (
        "VZ3008", Level.NOTE, "A table has no columns for component, pod port and source, so it is not read.",
        "Name its columns Component, Pod Port and From if it says who may reach whom.",
    )  # fmt: skip
    NO_ROWS = (
        "VZ3009", Level.WARNING, "A table has a header and no rows, so it allows nothing.",
        "Give it its rows, or take it out.",
    )  # fmt: skip
    NO_COMPONENT = (
        "VZ3101", Level.ERROR, "A row names no component, so it is not read.", "Name it in the row itself.",
    )  # fmt: skip
    NO_PORT = (
        "VZ3102", Level.ERROR, "A row names no port, or something that is none, so it is not read.",
        "Write 9443, 9300-9400, a list of them, or any; with /udp where it is not TCP.",
    )  # fmt: skip
    NO_SOURCE = (
        "VZ3103", Level.ERROR, "A row names no source, so it is not read.", "Say who may connect.",
    )  # fmt: skip
    SEVERAL_SOURCES = (
        "VZ3104", Level.WARNING, "A cell names several sources.",
        "Give each a row of its own: they may differ in transport and purpose.",
    )  # fmt: skip
    CLASS_AS_SOURCE = (
        "VZ3105", Level.WARNING, "A source is a class of peers and no component.",
        "Name the components where they are known.",
    )  # fmt: skip
    SOURCE_UNKNOWN = (
        "VZ3106", Level.WARNING, "A word in From resolves to nothing.",
        "Add its component to the table, or give a model that knows it with --model.",
    )  # fmt: skip
    COMPONENT_UNKNOWN = (
        "VZ3107", Level.WARNING, "No model given knows a component of the document.",
        "Say under components which pods it is, or make its name an alias.",
    )  # fmt: skip
    DUPLICATE = (
        "VZ3108", Level.WARNING, "The same is said twice.", "Keep one.",
    )  # fmt: skip
    CONTRADICTION = (
        "VZ3109", Level.ERROR, "One edge is given two transports.", "Decide; until then the stricter one counts.",
    )  # fmt: skip
    WEBHOOK_SOURCE = (
        "VZ3110", Level.WARNING, "A webhook is called by another than the API server.",
        "Webhooks are called by the API server: correct the source, or the description.",
    )  # fmt: skip
    WEBHOOK_POD = (
        "VZ3111", Level.WARNING, "A webhook is listed at a component whose webhook is another pod.",
        "Name the pod that listens.",
    )  # fmt: skip
    PROXY_PORT = (
        "VZ3112", Level.WARNING, "A port is that of a proxy and is listed at other components too.",
        "Say whether the component itself listens, or a proxy in its pod.",
    )  # fmt: skip
    VALUE_NOT_READ = (
        "VZ3113", Level.WARNING, "A word in the protocol or transport column is not understood.",
        "Protocols: tcp, udp, sctp. Transports: mTLS, TLS, plaintext.",
    )  # fmt: skip
    TRANSPORT_UNSTATED = (
        "VZ3201", Level.WARNING, "Rows or rules do not say what must protect the payload.",
        "Add a column Transport, or `transport` to the rules: mTLS, TLS or plaintext.",
    )  # fmt: skip
    EGRESS_UNSTATED = (
        "VZ3202", Level.WARNING, "Nothing says what components may reach outside of the table.",
        "Say it per component: `egress: closed`, `open`, or `rules`.",
    )  # fmt: skip
    SPELLING = (
        "VZ3203", Level.NOTE, "One name is spelled in several ways.", "Keep one spelling.",
    )  # fmt: skip
    PODS_UNKNOWN = (
        "VZ3301", Level.WARNING, "Nothing says which pods a name stands for, so rules with it match nothing.",
        "Give it namespaces and selectors, here or in an overlay.",
    )  # fmt: skip
    NEVER_USED = (
        "VZ3302", Level.NOTE, "A peer is in no rule.", "Remove it, or use it.",
    )  # fmt: skip
    EXPIRED = (
        "VZ3303", Level.WARNING, "An accepted edge has expired and allows nothing.", "Renew it, or remove it.",
    )  # fmt: skip
    SAME_PODS = (
        "VZ3304", Level.WARNING, "All pods of one component are pods of another too.",
        "Make the selectors exclude each other: rules of both apply.",
    )  # fmt: skip
    NOT_PROTECTED = (
        "VZ3305", Level.NOTE, "Components run in a namespace that is not protected.",
        "Name it under protected_namespaces, so that pods which no component claims are judged too.",
    )  # fmt: skip
    NO_INFRASTRUCTURE = (
        "VZ3306", Level.NOTE, "The model has no infrastructure rules, so probes and DNS count as undocumented.",
        "Add them, or overlay the shipped ones: `--model kubernetes`.",
    )  # fmt: skip
    UNDECLARED = (
        "VZ3307", Level.ERROR, "No file states whether the mesh is on, or its trust domains: no flow is judged so.",
        "Write `mesh: on` or `mesh: off`, and `trust_domains: [cluster.local]` or what they are.",
    )  # fmt: skip
    NO_PODS = (
        "VZ3401", Level.WARNING, "No pod of the snapshots belongs to a component.",
        "Correct namespaces or selectors, or remove what no longer runs.",
    )  # fmt: skip
    NOT_LISTENING = (
        "VZ3402", Level.WARNING, "No pod of a component declares a port that a rule is about.",
        "Correct the port: it is the pod's, not the Service's. A pod may also listen without declaring it.",
    )  # fmt: skip
