"""Observations of a cluster -> the same knowledge in fewer: of what stayed as it was, the first and the last."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pyarrow as pa

from vzflow.identity.lives import observations


def compacted(objects: pa.Table) -> pa.Table:
    """
    Return those rows of OBJECT_SCHEMA that `lives.states` needs to say the same; rows about snapshots all stay.

    Of an object that was seen a hundred times and changed once, four are kept: the first and the last of either state.
    """
    seen: dict[tuple[str, ...], list[tuple[int, bool, int, Any]]] = defaultdict(list)
    kept = []
    for place, (key, at, gone, looks) in enumerate(observations(objects)):
        if key is None:
            kept.append(place)  # a snapshot itself, or an object without any time
        else:
            seen[key].append((at, gone, place, looks))
    for own in seen.values():
        own.sort(key=lambda one: one[:3])
        for number, (_, gone, place, looks) in enumerate(own):
            inside = 0 < number < len(own) - 1
            if gone or not inside or not own[number - 1][3] == looks == own[number + 1][3]:
                kept.append(place)
    return objects.take(pa.array(sorted(kept), pa.int64()))
