"""Flows of a simulated cluster, made in Arrow directly, with who really held their addresses beside them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from identity.churn import BEGIN, HOST_PORT, PORT, SECOND, TARGET, Cluster

from vzflow.flow.batch import batch_of_columns, numbered
from vzflow.flow.schema import COUNT, TIME
from vzflow.flow.schema import PORT as PORT_TYPE

Numbers = npt.NDArray[np.int64]
#: The places of those who are no pod of the cluster.
NOBODY, OUTSIDE = -1, -2
_OUTSIDE = "20.1.2.3"
#: How near an end of a life the flows are that are made to be near one.
_NEAR = 100_000
_PEERS = 4


class Truth(NamedTuple):
    """For each flow the places in `Cluster.lives` of its ends, or OUTSIDE; and whether a Service was dialled."""

    initiator: Numbers
    responder: Numbers
    by_service: npt.NDArray[np.bool_]


class Flows:
    """
    Draws flows of a cluster.

    Args:
        cluster_name: What the flows' column `cluster` says.
        near: The share of flows within a tenth of a second of an end of a life of one of their ends, or while a pod
            that has ended still has its address.
        services: The share that dials a Service.
        seed: The same gives the same flows.
    """

    def __init__(
        self, cluster: Cluster, cluster_name: str, *, near: float = 0.0, services: float = 0.0, seed: int = 1
    ) -> None:
        lives = cluster.lives
        self._name, self._near, self._services = cluster_name, near, services
        self._random = np.random.default_rng(seed)
        self._addressed, self._finished, self._released, self._slot, self._workload = (
            np.array([getter(life) for life in lives], np.int64)
            for getter in (
                lambda x: x.addressed, lambda x: x.finished, lambda x: x.released, lambda x: x.slot,
                lambda x: x.workload.number,
            )
        )  # fmt: skip
        self._host = np.array([life.host_network for life in lives])
        self._by_slot = np.lexsort((self._addressed, self._slot))
        self._keys = self._key(self._slot, self._addressed)[self._by_slot]
        texts: dict[str, int] = {}
        self._code = np.array([texts.setdefault(life.address, len(texts)) for life in lives])
        self._by_address = np.lexsort((self._addressed, self._code))
        self._outside = texts.setdefault(_OUTSIDE, len(texts))
        served = [w for w in cluster.workloads if w.kind in ("Deployment", "StatefulSet")]
        self._service_code = np.full(max(w.slots.stop for w in cluster.workloads), self._outside)
        for workload in served:
            self._service_code[workload.number] = texts.setdefault(workload.cluster_ip, len(texts))
        self._texts = list(texts)
        self._slots = max(w.slots.stop for w in cluster.workloads)
        self._peers = self._random.choice([w.number for w in served], (self._slots, _PEERS))
        self._replicas = np.ones(self._slots, np.int64)
        for workload in cluster.workloads:
            self._replicas[workload.number] = len(workload.slots)

    @staticmethod
    def _key(slot: Numbers, moment: Numbers) -> Numbers:
        return slot * (1 << 41) + (moment - BEGIN)

    def _alive(self, slot: Numbers, moment: Numbers) -> Numbers:
        """Return the newest life of each slot that had its address and had not ended; NOBODY where there is none."""
        place = np.searchsorted(self._keys, self._key(slot, moment), side="right") - 1
        life = self._by_slot[np.maximum(place, 0)]
        good = (place >= 0) & (self._slot[life] == slot) & (self._addressed[life] <= moment)
        return np.where(good & (moment < self._finished[life]), life, NOBODY)

    def _peer(self, life: Numbers, moment: Numbers) -> Numbers:
        """Return somebody alive of a workload that this life's workload talks with."""
        workload = self._peers[self._workload[life], self._random.integers(0, _PEERS, len(life))]
        slot = workload + self._random.integers(0, 1 << 30, len(life)) % self._replicas[workload]
        return self._alive(slot, moment)

    def draw(self, count: int, since: int, until: int, first_record: int = 1) -> tuple[pa.RecordBatch, Truth]:
        """Return at most *count* flows that began in [since, until), by time, as a batch in FLOW_SCHEMA."""
        ends = [self._ordinary(round(count * (1 - self._near)), since, until)]
        ends += [self._close(count - len(ends[0][0]), since, until)] if self._near else []
        moment, initiator, responder = (np.concatenate(parts) for parts in zip(*ends, strict=True))
        kept = (
            (moment >= since)
            & (moment < until)
            & (initiator != NOBODY)
            & (responder != NOBODY)
            & (initiator != responder)
        )
        order = np.flatnonzero(kept)[np.argsort(moment[kept], kind="stable")]
        moment, initiator, responder = moment[order], initiator[order], responder[order]
        draw = self._random.random(len(order))
        dialled = self._service_code[self._workload[responder]]
        by_service = (draw < self._services) & (dialled != self._outside) & (moment < self._finished[responder])
        outside = draw > 0.97
        truth = Truth(initiator, np.where(outside & ~by_service, OUTSIDE, responder), by_service)
        return self._batch(moment, truth, np.where(by_service, dialled, self._code[responder]), first_record), truth

    def _ordinary(self, count: int, since: int, until: int) -> tuple[Numbers, Numbers, Numbers]:
        moment = self._random.integers(since, until, count)
        initiator = self._alive(self._random.integers(0, self._slots, count), moment)
        return moment, initiator, self._peer(initiator, moment)

    def _close(self, count: int, since: int, until: int) -> tuple[Numbers, Numbers, Numbers]:
        """Flows near ends, three times as many of lives whose address was held by another in the last seconds."""
        handed = self._by_address[1:][
            (np.diff(self._code[self._by_address]) == 0)
            & (self._addressed[self._by_address[1:]] - self._released[self._by_address[:-1]] < 5 * SECOND)
        ]
        before = self._by_address[:-1][np.isin(self._by_address[1:], handed)]
        inside = np.flatnonzero((self._addressed < until) & (self._released >= since))
        pool = np.concatenate(
            [inside, *(np.repeat(np.intersect1d(x, inside), 3 * len(inside) // (len(x) + 1)) for x in (handed, before))]
        )
        life = self._random.choice(pool, count)
        kind = self._random.integers(0, 3, count)
        fraction = self._random.random(count)
        shortly = (fraction * _NEAR).astype(np.int64)
        dying = self._finished[life] + (fraction * (self._released[life] - self._finished[life])).astype(np.int64)
        moment = np.select(
            [kind == 0, kind == 1], [self._addressed[life] + shortly, self._finished[life] - 1 - shortly], dying
        )
        moment = np.maximum(moment, self._addressed[life])
        other = self._alive(self._random.integers(0, self._slots, count), moment)
        asks = (kind < 2) & (self._random.random(count) < 0.5)
        held = moment < self._released[life]
        return moment, np.where(held, np.where(asks, life, other), NOBODY), np.where(asks, other, life)

    def _batch(self, moment: Numbers, truth: Truth, dialled: Numbers, first_record: int) -> pa.RecordBatch:
        count, draw = len(moment), self._random
        port = np.where(truth.by_service, PORT, np.where(self._host[truth.responder], HOST_PORT, TARGET))
        outside = truth.responder == OUTSIDE
        zeros = np.zeros(count, np.int64)
        clear = (draw.integers(0, 8, count) == 7).astype(np.int64)
        sent, received = draw.integers(200, 20_000, count), draw.integers(200, 200_000, count)
        return batch_of_columns(
            {
                "segment": numbered(["0" * 16], zeros),
                "record": pa.array(np.arange(first_record, first_record + count), COUNT),
                "source": numbered(["pcap"], zeros), "reporter": numbered(["tap"], zeros),
                "cluster": numbered([self._name], zeros),
                "first_seen": pa.array(moment).cast(TIME), "last_seen": pa.array(moment + sent * 50).cast(TIME),
                "protocol": numbered(["tcp"], zeros),
                "initiator_ip": numbered(self._texts, self._code[truth.initiator]),
                "initiator_port": pa.array(draw.integers(32_768, 61_000, count), PORT_TYPE),
                "responder_ip": numbered(self._texts, np.where(outside, self._outside, dialled)),
                "responder_port": pa.array(np.where(outside, 443, port), PORT_TYPE),
                "initiator_basis": numbered(["syn"], zeros), "hop": numbered(["wire"], zeros),
                "action": numbered(["unknown"], zeros), "connection_state": numbered(["established"], zeros),
                "packets_sent": pa.array(sent // 100, COUNT), "packets_received": pa.array(received // 200, COUNT),
                "bytes_sent": pa.array(sent, COUNT), "bytes_received": pa.array(received, COUNT),
                "payload_sent": pa.array(sent * 4 // 5, COUNT), "payload_received": pa.array(received * 9 // 10, COUNT),
                "duplicates": pa.array(zeros, COUNT), "connections": pa.array(zeros + 1, COUNT),
                "transport_seen": numbered(["tls", "plaintext"], clear),
                "transport_seen_basis": numbered(["istio_alpn", "clear_protocol"], clear),
                "tls_version": numbered(["TLSv1.3", None], clear),
                "app_protocol": numbered([None, "http"], clear),
            },
            count,
        )  # fmt: skip
