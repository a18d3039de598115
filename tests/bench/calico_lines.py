"""
Lines of a Calico Enterprise flow log as Fluentd ships them, of a made-up cluster.

Every line has ports, counters and times of its own; its other texts are those of the cluster. It has all fields of the
documentation, TCP statistics included, and is about 1700 bytes long.

Source: Calico Enterprise documentation, "Flow log data types".
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from bench.cluster import Cluster, End, Workload

#: 2025-10-09T08:53:20Z in seconds.
BEGIN = 1_760_000_000
#: Lines a second.
RATE = 400
#: Seconds of an export window at most; shares of denied and UDP flows, and of either end outside of the cluster.
WINDOW, DENIED, UDP, OUTSIDE = 300, 0.04, 0.06, 0.04
#: Ephemeral ports of Linux: 32768 and the following.
FIRST_PORT, PORTS = 32_768, 28_232

_KINDS = {"pod": "wep", "public": "net", "set": "ns", "host": "hep"}


class Calico:
    """Writes flow logs in JSON: allowed flows with all their fields, denied ones without a source port (level 1)."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._sources = [_end(cluster, end, "source") for end in cluster.ends]
        self._dests = [_end(cluster, end, "dest") for end in cluster.ends]
        self._services = [_service(cluster, end) for end in cluster.ends]
        self._policies = [
            {(way, action): _policies(workload, number, way, action)
             for way in ("src", "dst") for action in ("allow", "deny")}
            for number, workload in enumerate(cluster.workloads)
        ]  # fmt: skip
        self._ports = np.array(
            [cluster.workloads[end.workload].port if end.workload >= 0 else 443 for end in cluster.ends]
        )

    def lines(self, first: int, count: int, random: np.random.Generator) -> Iterator[str]:
        """Yield *count* lines, the first of them being the log's *first*."""
        cluster = self._cluster
        clients, servers = cluster.exchanges(count, random)
        outer, side = random.random(count), cluster.outside(count, random)
        clients = np.where(outer < OUTSIDE, side, clients)
        servers = np.where(outer > 1 - OUTSIDE, side, servers)
        # An end outside reports nothing.
        by_source = (random.random(count) < 0.5) & (clients < cluster.pods) | (servers >= cluster.pods)
        denied, udp = random.random(count) < DENIED, random.random(count) < UDP
        end = BEGIN + (first + np.arange(count)) // RATE
        start = end - random.integers(1, WINDOW, count)
        sport = FIRST_PORT + random.integers(0, PORTS, count)
        sent = np.where(denied, 0, random.lognormal(7.5, 2.2, count).astype(np.int64) + 60)
        received = np.where(denied, 60, random.lognormal(8.5, 2.4, count).astype(np.int64) + 60)
        flows = 1 + random.geometric(0.7, count)
        rtt = random.lognormal(6.5, 0.8, (3, count)).astype(np.int64)
        window = random.integers(10, 90, count)
        for c, s, mine, no, datagram, begin, until, port, target, out, into, n, mean, most, least, cwnd in zip(
            *(a.tolist() for a in (clients, servers, by_source, denied, udp, start, end, sport,
                                   np.where(udp, 53, self._ports[servers]), sent, received, flows, *rtt, window)),
            strict=True,
        ):  # fmt: skip
            reporter, action = "src" if mine else "dst", "deny" if no else "allow"
            own = cluster.ends[c if mine else s]
            tcp = (cwnd, cwnd - 9, mean, mean + most, least, least + most, 1448, 1448) if not datagram else (0,) * 8
            yield (
                f'{{"start_time":{begin},"end_time":{until},{self._sources[c][0]}"nat_outgoing_ports":null,'
                f'"source_port":{"null" if no else port},{self._sources[c][1]}{self._dests[s][0]}"dest_port":{target},'
                f'{self._dests[s][1]}{self._services[s]}"proto":"{"udp" if datagram else "tcp"}","action":"{action}",'
                f'"reporter":"{reporter}","policies":{self._policies[own.workload][reporter, action]},'
                f'"bytes_in":{into if mine else out},"bytes_out":{out if mine else into},"num_flows":{n},'
                f'"num_flows_started":{n - 1},"num_flows_completed":{n // 2},'
                f'"packets_in":{(into if mine else out) // 700 + 1},"packets_out":{(out if mine else into) // 700 + 1},'
                '"http_requests_allowed_in":0,"http_requests_denied_in":0,"process_name":"-","num_process_names":0,'
                '"process_id":"-","num_process_ids":0,"process_args":["-"],"num_process_args":0,'
                '"original_source_ips":null,"num_original_source_ips":0,'
                f'"tcp_mean_send_congestion_window":{tcp[0]},"tcp_min_send_congestion_window":{tcp[1]},'
                f'"tcp_mean_smooth_rtt":{tcp[2]},"tcp_max_smooth_rtt":{tcp[3]},"tcp_mean_min_rtt":{tcp[4]},'
                f'"tcp_max_min_rtt":{tcp[5]},"tcp_mean_mss":{tcp[6]},"tcp_min_mss":{tcp[7]},'
                '"tcp_total_retransmissions":0,"tcp_lost_packets":0,"tcp_unrecovered_to":0,'
                f'"host":"{own.node}","@timestamp":{until}000}}\n'
            )


def _end(cluster: Cluster, end: End, side: str) -> tuple[str, str]:
    """Return what stands before the port of an end, and after it."""
    namespace, aggregated, labels = "-", end.name, None
    if end.kind == "pod":
        workload = cluster.workloads[end.workload]
        namespace, aggregated = workload.namespace, f"{workload.name}-{workload.template}-*"
        labels = {"labels": [f"app={workload.name}", f"pod-template-hash={workload.template}"]}
    elif end.kind == "public":
        aggregated = "pub"
    elif end.kind == "host":
        aggregated = end.node
    return (
        f'"{side}_ip":"{end.ip}","{side}_name":"{end.name}","{side}_name_aggr":"{aggregated}",'
        f'"{side}_namespace":"{namespace}",',
        f'"{side}_type":"{_KINDS[end.kind]}","{side}_labels":{_json(labels)},',
    )


def _service(cluster: Cluster, end: End) -> str:
    namespace, name, port, number = "-", "-", "-", "null"
    if end.kind == "pod":
        workload = cluster.workloads[end.workload]
        namespace, name, port, number = workload.namespace, workload.name, workload.port_name, str(workload.port)
    domains = [f"api-{end.ip.replace('.', '-')}.example.net"] if end.kind == "public" else None
    return (
        f'"dest_service_namespace":"{namespace}","dest_service_name":"{name}","dest_service_port":"{port}",'
        f'"dest_service_port_num":{number},"dest_domains":{_json(domains)},'
    )


def _policies(workload: Workload, number: int, way: str, action: str) -> str:
    """Return the policies that saw a flow: for some workloads one of a tier above, then the workload's own."""
    where = "egress" if way == "src" else "ingress"
    seen = [] if number % 3 else [f"0|security|security.{where}-{number % 7}|pass|{number % 3}"]
    own = f"{workload.namespace}/knp.default.{where}-{workload.name}"
    seen.append(f"{len(seen)}|default|{own}|{action}|{number % 4 if action == 'allow' else -1}")
    return _json({"enforced_policies": seen, "pending_policies": seen})


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
