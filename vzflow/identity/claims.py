"""States of pods, nodes and Services, with the parties they are, and what they claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, NamedTuple

from vzflow.identity.intervals import Claim, Span, oldest
from vzflow.identity.lives import Of, State
from vzflow.identity.pods import Pod


class Life(NamedTuple, Generic[Of]):
    """A state of something, and the parties it is over time."""

    state: State[Of]
    phases: list[tuple[int, int, str]]

    def spans(self) -> Iterator[Span]:
        known_until = self.state.known_until
        return (Span(since, until, known_until, party) for since, until, party in self.phases)

    def claim(self, *, weak: bool = False) -> Claim:
        s = self.state
        holder = f"{s.kind}/{s.namespace}/{s.name}/{s.uid}"
        anew = s.shown.status.anew if isinstance(s.shown, Pod) else None
        since = max(s.since, anew or s.since)
        return Claim(holder, since, s.sure_from, s.sure_until, s.until, s.ended, self.phases, weak)


def spanning(lives: list[Life[Any]], party: str) -> Claim:
    """Return the claim of a node on an address that its pods report, from the first of them to the last."""
    since, until = min(x.state.since for x in lives), max(x.state.until for x in lives)
    sure_until = max(x.state.sure_until for x in lives)
    return Claim(f"Node/{party}", since, since, sure_until, until, False, [(since, until, party)])


def within(pod: Claim, node: Claim) -> Claim:
    """Return what *pod* claims of what *node* does."""
    return Claim(
        pod.holder,
        max(pod.since, node.since),
        max(pod.sure_from, node.sure_from),
        min(pod.sure_until, node.sure_until),
        min(pod.until, node.until),
        pod.ended and pod.until <= node.until,
        pod.phases,
        pod.weak,
    )


def during(span: Span, claim: Claim) -> Span | None:
    """Return *span* while *claim* holds; null where it never does."""
    since, until = max(span.since, claim.since), min(span.until, claim.until)
    if since >= until:
        return None
    known = span.known_until if claim.ended else oldest(span.known_until, claim.sure_until)
    return Span(since, until, known, *span[3:])
