"""What cluster objects say of something, over time: spans in which one answer holds; where two may hold, both do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

from vzflow.flow.lookups import FOREVER
from vzflow.identity.lives import State

_ALWAYS = -FOREVER

Answer = TypeVar("Answer", bound=Hashable)
Step = tuple[int, int, State[Any] | None]  # since, until, the object as it was; null: it is gone
Phase = tuple[int, int, Answer]  # since, until, what holds


def steps_of(states: Iterable[State[Any]]) -> dict[tuple[str, str | None], dict[str, list[Step]]]:
    """Return (cluster, namespace) -> object -> its states in order, and that it is gone once nothing vouches for it."""
    found: dict[tuple[str, str | None], dict[str, list[Step]]] = defaultdict(dict)
    for state in states:
        own = found[state.cluster, state.namespace]
        own.setdefault(f"{state.kind}/{state.name}/{state.uid}", []).append((state.since, state.until, state))
    for objects in found.values():
        for steps in objects.values():
            last = steps[-1][2]
            if last is not None and last.until < FOREVER:
                steps.append((last.sure_until, FOREVER, None))
    return found


def phases(relevant: list[list[Step]], answer: Callable[[list[State[Any]]], Answer]) -> list[Phase[Answer]]:
    """
    Return the spans in which *answer* says one thing of those objects that hold then; together they cover all time.

    Between two snapshots that differ, both answers may have held: such spans overlap. Mixtures of the older and the
    newer snapshot are not spelled out.
    """
    times = {t for steps in relevant for since, until, _ in steps for t in (since, until)}
    spans: dict[Answer, list[tuple[int, int]]] = defaultdict(list)
    for begin, end in pairwise(sorted({_ALWAYS, *times, FOREVER})):
        holding = [[state for a, b, state in steps if a <= begin < b] for steps in relevant]
        for choice in (0, -1):
            held = answer([state for h in holding if h and (state := h[choice]) is not None])
            if spans[held] and spans[held][-1][1] >= begin:
                spans[held][-1] = (spans[held][-1][0], end)
            else:
                spans[held].append((begin, end))
    return [(begin, end, held) for held, own in spans.items() for begin, end in own]


def within(held: Iterable[Phase[Answer]], since: int, until: int) -> Iterator[Phase[Answer]]:
    """Yield *held* cut to [since, until)."""
    for begin, end, answer in held:
        if max(begin, since) < min(end, until):
            yield max(begin, since), min(end, until), answer


def certainly(held: Iterable[Phase[bool]]) -> list[tuple[int, int]]:
    """Return the spans, in order, in which true may hold and false may not."""
    known = list(held)
    found: list[tuple[int, int]] = []
    for begin, end in pairwise(sorted({time for since, until, _ in known for time in (since, until)})):
        if {answer for since, until, answer in known if since < end and begin < until} == {True}:
            if found and found[-1][1] == begin:
                found[-1] = (found[-1][0], end)
            else:
                found.append((begin, end))
    return found
