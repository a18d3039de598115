"""
What the first payload bytes of a flow say, and the answers that are given again and again.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from vzflow.flow.terms import ClientCertificate, Transport, TransportBasis


class Facts(NamedTuple):
    """What the first payload bytes of a flow say; `principals` are SPIFFE URIs by the order of the two directions."""

    transport: Transport
    basis: TransportBasis
    app_protocol: str | None = None
    tls_version: str | None = None
    tls_sni: str | None = None
    tls_alpn: str | None = None
    tls_resumed: bool | None = None
    client_certificate: ClientCertificate | None = None
    principals: tuple[str | None, str | None] = (None, None)


@cache
def unknown(basis: TransportBasis, app_protocol: str | None = None) -> Facts:
    """Return that nothing is proven, and why."""
    return Facts(Transport.UNKNOWN, basis, app_protocol)


@cache
def plaintext(app_protocol: str) -> Facts:
    """Return that payload parses as *app_protocol* in clear."""
    return Facts(Transport.PLAINTEXT, TransportBasis.CLEAR_PROTOCOL, app_protocol)
