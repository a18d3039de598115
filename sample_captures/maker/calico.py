"""
Calico Enterprise flow log lines, derived from the connections that really took place.

No Calico ran: who, what port, how many packets and bytes are taken from the capture, the action from what the network
was told to do; names, labels and policies from the cast. Field meanings: tigera/docs, flow/datatypes.mdx.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maker.cast import OUTSIDE, PODS, SERVICES, Pod
from maker.packets import Conversation

#: Aggregation levels: 0 keeps everything, 1 drops the source port, 2 also addresses and pod names.
FULL, NO_SOURCE_PORT, NAMES_ONLY = 0, 1, 2


@dataclass(frozen=True)
class Wanted:
    """Which lines a connection gets: aggregation level, reporters in order, and whether the responder's end denies."""

    level: int
    reporters: tuple[str, ...] = ("src", "dst")
    denied: bool = False


#: The default allow level is 2 and the default deny level 1; one file with all of them is several settings' worth.
WANTED: dict[str, Wanted] = {
    "nginx-console-mtls": Wanted(FULL),
    "nginx-console-plaintext": Wanted(FULL),
    "keycloak-mysql-mtls": Wanted(FULL),
    "fluentd-keycloak-mtls": Wanted(NO_SOURCE_PORT),
    "grafana-prometheus-mtls": Wanted(NAMES_ONLY),
    "master-ingest-transport": Wanted(NO_SOURCE_PORT),
    "netshoot-keycloak-denied": Wanted(NO_SOURCE_PORT, denied=True),
    "prometheus-cert-manager-blocked": Wanted(NO_SOURCE_PORT, denied=True),
    "fluentd-dns": Wanted(FULL),
    "rancher-internet": Wanted(NO_SOURCE_PORT, ("src",)),
}


def line(
    wanted: Wanted, reporter: str, talk: Conversation, ends: tuple[str, str], window: tuple[int, int]
) -> dict[str, Any]:
    """
    Return one record of *talk* between the cast members *ends*, as *reporter* (`src`, `dst`) would write it.

    *window* is the aggregation window in epoch seconds. Bytes are the reporting end's own in and out.
    """
    out, back = (talk.sent, talk.received) if reporter == "src" else (talk.received, talk.sent)
    denied = wanted.denied and reporter == "dst"
    initiator, responder = ends
    service = _service(talk)
    target = SERVICES[service].target_port if service else talk.responder[1]
    return {
        "start_time": window[0],
        "end_time": window[1],
        **_end("source", initiator, talk.initiator[1] if wanted.level == FULL else None, wanted.level),
        **_end("dest", responder, target, wanted.level),
        "dest_service_namespace": SERVICES[service].namespace if service else "-",
        "dest_service_name": SERVICES[service].name if service else "-",
        "dest_service_port": SERVICES[service].port_name if service else "-",
        "dest_service_port_num": SERVICES[service].port if service else None,
        "dest_domains": None,
        "proto": talk.protocol,
        "action": "deny" if denied else "allow",
        "reporter": reporter,
        "policies": {"enforced_policies": [_policy(initiator, responder, reporter, denied)]},
        "bytes_in": back[1],
        "bytes_out": out[1],
        "packets_in": back[0],
        "packets_out": out[0],
        "num_flows": 1,
        "num_flows_started": 1,
        "num_flows_completed": 1,
        "http_requests_allowed_in": 0,
        "http_requests_denied_in": 0,
        "original_source_ips": None,
        "num_original_source_ips": 0,
    }


def _service(talk: Conversation) -> str | None:
    """The Service whose address was dialled on the wire, if one was."""
    return next((name for name, s in SERVICES.items() if s.cluster_ip == talk.responder[0]), None)


def _end(side: str, key: str, port: int | None, level: int) -> dict[str, Any]:
    pod = PODS.get(key)
    named = pod is not None and level != NAMES_ONLY
    return {
        f"{side}_ip": None if level == NAMES_ONLY else pod.ip if pod else OUTSIDE[key],
        f"{side}_name": pod.name if pod and named else "-",
        f"{side}_name_aggr": _aggregated(pod) if pod else "pub",
        f"{side}_namespace": pod.namespace if pod else "-",
        f"{side}_port": port,
        f"{side}_type": "wep" if pod else "net",
        f"{side}_labels": {"labels": [f"{k}={v}" for k, v in sorted(pod.labels.items())]} if pod else None,
    }


def _aggregated(pod: Pod) -> str:
    return f"{pod.generate_name}*" if pod.generate_name else pod.name


def _policy(initiator: str, responder: str, reporter: str, denied: bool) -> str:
    """index|tier|policy|action|rule: the responder's own policy decides there, the namespace's profile elsewhere."""
    if reporter == "src":
        namespace = PODS[initiator].namespace
        return f"0|__PROFILE__|__PROFILE__.kns.{namespace}|allow|0"
    pod = PODS[responder]
    name = f"{pod.namespace}/knp.default.{responder}"
    return f"0|default|{name}|deny|-1" if denied else f"0|default|{name}|allow|0"
