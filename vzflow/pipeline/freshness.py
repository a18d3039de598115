"""
Which classified partitions are still what they would be if they were classified now.

What a partition was made from goes into one text: the version, queries and model, its files, and what identity says of
the time in which its flows lasted. A snapshot that says nothing new about that time leaves it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa

from vzflow.flow.schema import NO_TIME, TEXT, TIME
from vzflow.store.duck import Duck
from vzflow.store.tables import Partition

# These queries compare what DuckDB itself made, in one process of one version, and decide nothing about flows: they may
# use its hash. A number for each interval stands for all that is said of those who held something then; the times
# are apart, because only their part within a partition counts.
_INTERVAL = """
WITH row_of AS (
  SELECT party_id, hash(r) AS said FROM party r
  UNION ALL SELECT party_id, hash(r) FROM party_address_term r
  -- Profiles stand for what they say, but for those that are a party's own id.
  UNION ALL
  SELECT p.party_id, hash(x) FROM party_port x JOIN party p ON p.profile = x.profile WHERE p.profile = p.party_id
), of_party AS (
  SELECT party_id, sum(said) AS said FROM row_of GROUP BY party_id
), of_set AS (
  SELECT m.set_id, sum(hash(p.party_id, p.said)) AS said
  FROM set_member m JOIN of_party p ON p.party_id = m.party_id GROUP BY m.set_id
), held AS (
  SELECT set_id, valid_from, valid_to, known_until, hash('address', cluster, address) AS said FROM holding
  UNION ALL
  SELECT set_id, valid_from, valid_to, known_until,
    hash('port', cluster, address, protocol, port, target_port, service, basis) FROM endpoint
  UNION ALL
  SELECT NULL, listed_at, known_until, NULL, hash('watched', cluster) FROM pods_listed
  -- A list that was taken while all was watched says nothing new.
  QUALIFY known_until > coalesce(max(known_until) OVER (PARTITION BY cluster ORDER BY listed_at
                                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), listed_at)
  UNION ALL
  SELECT set_id, valid_from, valid_to, known_until, hash('name', cluster, key) FROM named
  UNION ALL
  SELECT NULL, valid_from, valid_to, NULL, hash('unmasqueraded', cluster, address, why) FROM unmasqueraded
)
SELECT h.valid_from, h.valid_to, h.known_until, hash(h.said, h.set_id, s.said) AS said
FROM held h LEFT JOIN of_set s ON s.set_id = h.set_id
"""
_ALWAYS = """
SELECT CAST(sum(said) AS VARCHAR) AS said FROM (
  SELECT hash(r) AS said FROM policy_known r
  UNION ALL SELECT DISTINCT hash('known', cluster) FROM party WHERE kind <> 'range'
  UNION ALL SELECT DISTINCT hash('services', cluster) FROM endpoint WHERE basis = 'service'
)
"""
# As `queries/classify/address_class.sql` tells them apart: a new node's range of pods says nothing about old flows.
_RANGES = """
SELECT cluster, lo, hi,
  CASE WHEN kind IN ('loopback', 'link_local', 'multicast') THEN kind WHEN kind = 'named' THEN 'range:' || name
       ELSE 'inside' END AS class
FROM address_range ORDER BY cluster, lo
"""
_WITHIN = """
SELECT p.dt, p.hour, count(*) AS intervals,
  CAST(sum(hash(i.said, greatest(i.valid_from, p.since), least(i.valid_to, p.until),
    least(coalesce(i.known_until, p.until), p.until))) AS VARCHAR) AS said
FROM lasted p JOIN interval_said i ON i.valid_from <= p.until AND i.valid_to > p.since
GROUP BY p.dt, p.hour
"""
_LASTED = pa.schema([("dt", TEXT), ("hour", TEXT), ("since", TIME), ("until", TIME)])
_HOUR = timedelta(hours=1)

_Span = tuple[datetime, datetime]


class Freshness:
    """What partitions are made from, by the lookups that are registered in *duck* and *base*, which all depend on."""

    def __init__(self, duck: Duck, base: Sequence[str]) -> None:
        duck.create_table("interval_said", _INTERVAL)
        self._duck = duck
        (always,) = duck.run(_ALWAYS).column("said").to_pylist()
        self._base = "\0".join([*base, always or "", *_joined(duck.run(_RANGES).to_pylist())])

    def made_from(
        self, files: Mapping[Partition, Sequence[str]], ends: Mapping[Partition, datetime]
    ) -> dict[Partition, str]:
        """
        Return 32 hex digits for each partition that stand for everything its classification depends on.

        Args:
            files: The data files of each partition.
            ends: When the last of its flows ended, or a little later; those without a time need none.
        """
        lasted = {p: _lasted(p, ends[p]) for p in files if NO_TIME not in p}
        within = self._within(lasted)
        said = {p: within[p]["said"] if p in within else "" for p in files}
        return {p: self._one(names, lasted.get(p), said[p]) for p, names in files.items()}

    def lived(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return how many intervals of addresses, ports and names there were in the hour of each partition."""
        hours = {p: (_begin(p), _later(_begin(p), 3600)) for p in partitions if NO_TIME not in p}
        return {p: row["intervals"] for p, row in self._within(hours).items()}

    def _within(self, spans: Mapping[Partition, _Span]) -> dict[Partition, dict[str, Any]]:
        """Return how many intervals reach into each span, and one text for all that is said of their part of it."""
        rows = [{"dt": p[0], "hour": p[1], "since": since, "until": until} for p, (since, until) in spans.items()]
        self._duck.register("lasted", pa.Table.from_pylist(rows, schema=_LASTED))
        return {(row["dt"], row["hour"]): row for row in self._duck.run(_WITHIN).to_pylist()}

    def _one(self, files: Sequence[str], lasted: _Span | None, said: str) -> str:
        state = blake2b(digest_size=12)
        for part in (self._base, said, *sorted(Path(f).name for f in files)):
            state.update(part.encode() + b"\0")
        seconds = int((lasted[1] - lasted[0]).total_seconds()) if lasted else 0
        return f"{state.hexdigest()}{seconds:08x}"


def _joined(ranges: Sequence[Mapping[str, str]]) -> list[str]:
    """Return ranges in order, those that touch and are of one class as one: it does not matter how they are cut."""
    found: list[tuple[str, str, int, int]] = []
    for row in ranges:
        cluster, kind, lo, hi = row["cluster"], row["class"], int(row["lo"], 16), int(row["hi"], 16)
        if found and found[-1][:2] == (cluster, kind) and found[-1][3] + 1 == lo:
            lo = found.pop()[2]
        found.append((cluster, kind, lo, hi))
    return [" ".join(map(str, one)) for one in found]


def end_in(partition: Partition, made_from: str | None) -> datetime | None:
    """Return until when the flows lasted that *made_from* stands for; None if it does not say."""
    if made_from is None or re.fullmatch(r"[0-9a-f]{32}", made_from) is None:
        return None
    return _later(_begin(partition), int(made_from[-8:], 16))


def _lasted(partition: Partition, end: datetime) -> _Span:
    """The span of a partition in whole seconds: what `end_in` tells again."""
    begin = _begin(partition)
    seconds = -(-(end - begin) // timedelta(seconds=1))
    return begin, _later(begin, min(max(seconds, 0), 0xFFFFFFFF))


def _later(moment: datetime, seconds: int) -> datetime:
    """Times of records are what the records say: also the end of time."""
    return moment + min(timedelta(seconds=seconds), datetime.max.replace(microsecond=0, tzinfo=UTC) - moment)


def _begin(partition: Partition) -> datetime:
    if NO_TIME in partition:
        return datetime.fromtimestamp(0, UTC)
    return datetime.fromisoformat(partition[0]).replace(tzinfo=UTC) + _HOUR * int(partition[1])
