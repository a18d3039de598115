# cython: annotation_typing=False
"""
First payload bytes of both directions -> application protocol, and what they prove of protection.

Design section 6 rules: absence of evidence is `unknown`, never `plaintext`. Ports prove nothing and are not looked at.
What is asked, in this order: does TLS begin here; is it a protocol that may change to TLS (`upgrades`), and did it; is
it one that stays in clear (`clear`); one with an encryption of its own; or the middle of something.
"""

from __future__ import annotations

from vzflow.flow.terms import Transport, TransportBasis
from vzflow.readers.payload.clear import judge_clear
from vzflow.readers.payload.datagrams import WIREGUARD, judge_datagrams
from vzflow.readers.payload.facts import Facts, unknown
from vzflow.readers.payload.stream import Stream
from vzflow.readers.payload.tls import is_client_hello, is_record_chain, is_server_hello, judge_tls
from vzflow.readers.payload.upgrades import judge_upgrades
from vzflow.readers.payload.upgrades_text import Change

__all__ = ["WIREGUARD", "judge_datagrams", "judge_streams"]

_HANDSHAKE = 22
_MIDSTREAM = Facts(Transport.TLS, TransportBasis.TLS_MIDSTREAM)


def judge_streams(first: Stream, second: Stream, *, ended: bool) -> Facts:
    """
    Return what the first bytes of a TCP connection's two directions prove.

    Args:
        first: One direction, second the other; who opened does not matter.
        second: See *first*.
        ended: The connection was closed, and no payload is known to be missing: nothing can follow.
    """
    return _judge(first, second, ended and first.complete and second.complete, False)


def _judge(first: Stream, second: Stream, ended: bool, tunnelled: bool) -> Facts:
    one, other = first.data, second.data
    if (one and one[0] == _HANDSHAKE) or (other and other[0] == _HANDSHAKE):
        if is_client_hello(one) or is_server_hello(other):
            return _begins_with_tls(first, second, False, ended)
        if is_client_hello(other) or is_server_hello(one):
            return _begins_with_tls(second, first, True, ended)
    found = judge_upgrades(one, other, ended)
    if found is not None:
        return found if isinstance(found, Facts) else _changed(found, first, second, False, ended, tunnelled)
    found = judge_upgrades(other, one, ended)
    if found is not None:
        return found if isinstance(found, Facts) else _changed(found, second, first, True, ended, tunnelled)
    clear = judge_clear(one, other)
    if clear is not None:
        return clear
    if _is_ssh(one) or _is_ssh(other):
        return unknown(TransportBasis.OTHER_ENCRYPTION, "ssh")
    return _middle(first, second)


def _begins_with_tls(client: Stream, server: Stream, swapped: bool, ended: bool) -> Facts:
    if server.data.startswith(b"INFO "):
        # NATS, whose server speaks first and whose client may answer with TLS.
        found = judge_upgrades(client.data, server.data, ended)
        if isinstance(found, Change):
            return _changed(found, client, server, swapped, ended, True)
    return judge_tls(client, server, swapped, ended)


def _changed(change: Change, client: Stream, server: Stream, swapped: bool, ended: bool, tunnelled: bool) -> Facts:
    """Judge what follows the point where both sides agreed to go on with something else."""
    name = change.app_protocol
    client, server = client.after(change.sent), server.after(change.received)
    if not change.tunnel:
        if is_client_hello(client.data):
            return _of_the_app(judge_tls(client, server, swapped, ended, name))
        if client.data:
            return unknown(TransportBasis.UNRECOGNISED, name)
        return unknown(TransportBasis.TLS_FAILED if ended else TransportBasis.CUT, name)
    if tunnelled or not (client.data or server.data):
        return unknown(TransportBasis.UNRECOGNISED if tunnelled else TransportBasis.CUT, name)
    found = _of_the_app(_judge(server, client, ended, True) if swapped else _judge(client, server, ended, True))
    return found if found.app_protocol else found._replace(app_protocol=name)


def _of_the_app(facts: Facts) -> Facts:
    """
    What TLS proves that began after bytes in clear: encryption, and no more.

    A sidecar's TLS begins with the first byte, so whoever ended this one is no sidecar, whatever the hello offers.
    """
    if facts.basis in (TransportBasis.ISTIO_ALPN, TransportBasis.CLIENT_CERTIFICATE):
        return facts._replace(transport=Transport.TLS, basis=TransportBasis.TLS_HANDSHAKE)
    return facts


def _is_ssh(data: bytes) -> bool:
    """SSH introduces itself in clear and then encrypts (RFC 4253 section 4.2): neither plaintext nor TLS."""
    return data.startswith((b"SSH-2.0-", b"SSH-1."))


def _middle(first: Stream, second: Stream) -> Facts:
    """Neither a beginning of TLS nor a protocol in clear: perhaps records from the middle of a TLS connection."""
    if not (first.started or second.started):
        one, other = first.data, second.data
        if (one or other) and (not one or is_record_chain(one)) and (not other or is_record_chain(other)):
            return _MIDSTREAM
        return unknown(TransportBasis.MIDSTREAM)
    for stream in (first, second):
        if stream.cut or not (stream.complete or stream.full):
            return unknown(TransportBasis.CUT)
    return unknown(TransportBasis.UNRECOGNISED)
