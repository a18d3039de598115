"""
The X-Forwarded-Client-Cert header: what a proxy that ends mTLS adds about the client it has verified.

Each proxy on the way adds one element at the end; everything before it is what was sent, by whom nobody knows.

Source: envoyproxy/envoy docs/root/configuration/http/http_conn_man/headers.rst (x-forwarded-client-cert), istio/istio
pilot/pkg/networking/core (APPEND_FORWARD with Subject, URI and DNS at a sidecar).
"""

from __future__ import annotations

import re

#: `Key=value`, the value bare or in quotes with `\"` for a quote in it.
_PAIR = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|(?:[^",;=]|=(?!"))*)')


def own_peer(header: str) -> str | None:
    """
    Return the URI that the last element gives for the client; null if there is none, several, or it is not certain
    where that element begins.
    """
    elements: list[list[tuple[str, str]]] = [[]]
    at = 0
    while True:
        match = _PAIR.match(header, at)
        if match is None:
            return None
        elements[-1].append((match[1].lower(), match[2]))
        at = match.end()
        if at == len(header):
            break
        if header[at] == ",":
            elements.append([])
        elif header[at] != ";":
            return None
        at += 1
    last = elements[-1]
    # An element of Envoy's begins so; another one is not what this proxy added.
    if last[0][0] not in ("by", "hash"):
        return None
    uris = [value for key, value in last if key == "uri" and value]
    return uris[0] if len(uris) == 1 else None
