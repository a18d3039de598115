"""Which flows are classified at a time: as many as memory holds, whatever hours they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from vzflow.flow.schema import NO_TIME
from vzflow.pipeline.freshness import Freshness
from vzflow.store.duck import Duck
from vzflow.store.lake import Lake
from vzflow.store.tables import RECORDED_SCHEMA, Partition

#: So many flows, and intervals of those who lived meanwhile, are held together, at most.
_PASS = 1_000_000

# Where to part the rows of `{table}` by the column `{key}`, in order; none if it is null in all.
_BOUNDS = """
SELECT DISTINCT CAST(bound AS VARCHAR) AS bound, bound AS place
FROM (SELECT unnest(approx_quantile({key}, {shares})) AS bound FROM {table})
ORDER BY place
"""


def weights(lake: Lake, fresh: Freshness, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """Return what classifying each partition holds in memory: its flows, and who lived in its hour."""
    flows, lived = lake.sizes("recorded"), fresh.lived(partitions)
    return {p: flows.get(p, 0) + lived.get(p, 0) for p in partitions}


def passes(partitions: Sequence[Partition], sizes: Mapping[Partition, int]) -> Iterator[list[Partition]]:
    """
    Put neighbours together as far as memory allows: looking through the lookups takes as long for a few flows.

    Args:
        partitions: In order.
        sizes: How much each has, as `weights` counts.
    """
    together: list[Partition] = []
    weight = 0
    for partition in partitions:
        size = sizes.get(partition, 0)
        if together and (weight + size > _PASS or NO_TIME in partition):
            yield together
            together, weight = [], 0
        together.append(partition)
        weight += size
    if together:
        yield together


def parts(duck: Duck, name: str, files: Sequence[str], weight: int) -> Iterator[None]:
    """
    Let queries read the flows of *files* as the view *name*, all of them or, if memory holds fewer, a part at a time.

    Parts are spans of time, in which fewer lived; flows without a time are parted by their records. At each yield the
    next part is what the view reads.

    Args:
        duck: Where the view is made, and `every_NAME`, which has all of them.
        name: Of the view.
        files: Of the table `recorded`.
        weight: Of all the flows, as `weights` counts.
    """
    many = -(-weight // _PASS)
    if many <= 1:
        duck.parquet_view(name, files, RECORDED_SCHEMA)
        yield
        return
    whole = f"every_{name}"
    duck.parquet_view(whole, files, RECORDED_SCHEMA)
    for condition in _conditions(duck, whole, many):
        duck.create_view(name, f"SELECT * FROM {whole} WHERE {condition}")  # noqa: S608
        yield


def _conditions(duck: Duck, table: str, many: int) -> Iterator[str]:
    shares = [n / many for n in range(1, many)]
    for key, kind in (("first_seen", "TIMESTAMPTZ"), ("record", "BIGINT")):
        rows = duck.run(_BOUNDS.format(key=key, shares=shares, table=table)).column("bound").to_pylist()
        if rows:
            bounds = [None, *(f"{kind} '{bound}'" for bound in rows), None]
            break
    for since, until in pairwise(bounds):
        yield " AND ".join([*([f"{key} >= {since}"] if since else []), *([f"{key} < {until}"] if until else [])])
