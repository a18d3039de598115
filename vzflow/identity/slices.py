"""EndpointSlices and Endpoints -> who answers for a Service."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from blake3 import blake3

from vzflow.flow.key import canonical_address
from vzflow.identity.kept import microseconds

KINDS = ("EndpointSlice", "Endpoints")

Ports = tuple[tuple[str, str, int], ...]  # name, protocol, number


class Answering(NamedTuple):
    """Addresses that answer for a Service, on the same ports."""

    service: str
    addresses: tuple[str, ...]
    ports: Ports


class Slice(NamedTuple):
    """One observation of an EndpointSlice, or of an Endpoints object with its subsets."""

    answering: tuple[Answering, ...]
    created: str | None
    look: bytes  # the same if all that is kept of it is

    @property
    def object(self) -> Mapping[str, Any]:
        return {}

    @property
    def created_at(self) -> int | None:
        return None if self.created is None else microseconds(self.created)

    @property
    def begin(self) -> int | None:
        return self.created_at


class Slices:
    """Reads them as the store has them; the same addresses and ports come again and again."""

    def __init__(self) -> None:
        self._addresses: dict[str, str | None] = {}
        self._ports: dict[Ports, Ports] = {}

    def read(self, kind: str, name: str, text: str) -> tuple[Slice | None, bool]:
        """Return what an `object` of OBJECT_SCHEMA says, null if nothing, and whether the object is gone."""
        content = json.loads(text)
        gone = bool(content.pop("gone", False))
        if not content:
            return None, gone
        looks = json.dumps(content, separators=(",", ":"), sort_keys=True) if gone else text
        found = tuple(self._answering(kind, name, content))
        created = content.get("metadata", {}).get("creationTimestamp")
        return Slice(found, created, blake3(looks.encode()).digest(16)), gone

    def _answering(self, kind: str, name: str, content: Mapping[str, Any]) -> Iterator[Answering]:
        if kind == "EndpointSlice":
            service = content.get("metadata", {}).get("labels", {}).get("kubernetes.io/service-name", "")
            addresses = [a for e in content.get("endpoints", ()) for a in e.get("addresses", ())]
            yield self._of(service, addresses, content.get("ports", ()))
        for subset in content.get("subsets", ()):
            addresses = [a["ip"] for key in ("addresses", "notReadyAddresses") for a in subset.get(key, ())]
            yield self._of(name, addresses, subset.get("ports", ()))

    def _of(self, service: str, addresses: Iterable[str], ports: Iterable[Mapping[str, Any]]) -> Answering:
        numbered = {(p.get("name", ""), p.get("protocol", "TCP").lower(), p["port"]) for p in ports if "port" in p}
        found = tuple(sorted(numbered))
        known = dict.fromkeys(map(self._canonical, addresses))
        return Answering(service, tuple(filter(None, known)), self._ports.setdefault(found, found))

    def _canonical(self, text: str) -> str | None:
        """Return an address without its mask; null for what is none, as a host name."""
        if text not in self._addresses:
            try:
                self._addresses[text] = canonical_address(text.partition("/")[0])
            except ValueError:
                self._addresses[text] = None
        return self._addresses[text]
