"""
Protocols of text lines with a command that changes to TLS: SMTP, FTP, IMAP, POP3, IRC.

What is said in clear before the change is of no account; see `upgrades.py` for what proves plaintext.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vzflow.flow.terms import TransportBasis
from vzflow.readers.payload.facts import Facts, plaintext, unknown

_CUT, _UNRECOGNISED = TransportBasis.CUT, TransportBasis.UNRECOGNISED
_ANY_LINES = re.compile(rb"(?:[\t\x20-\xff]*\r?\n)*")


class Change(NamedTuple):
    """Both sides agreed to go on with something else: TLS, or what goes through a tunnel."""

    app_protocol: str
    #: Bytes of the client and of the server before it.
    sent: int
    received: int
    tunnel: bool = False


def after_lines(data: bytes) -> int:
    """Return where the lines of text end that *data* begins with; no TLS record begins like a line."""
    found = _ANY_LINES.match(data)
    return found.end() if found else 0


class _Protocol(NamedTuple):
    """What the lines of one protocol look like; the commands are those of the client."""

    name: str
    greeting: re.Pattern[bytes]
    first: re.Pattern[bytes]
    change: re.Pattern[bytes]
    #: What is not said by a client that still waits for the change.
    work: re.Pattern[bytes]
    #: What may bring an encryption of another kind (RFC 4422 section 3.7, RFC 2228).
    private: re.Pattern[bytes]


def _command(pattern: bytes) -> re.Pattern[bytes]:
    """A line that begins so, anywhere."""
    return re.compile(rb"^(?:" + pattern + rb")", re.IGNORECASE | re.MULTILINE)


_LAYERS = rb"(?:GSSAPI|GSS-SPNEGO|DIGEST-MD5|KERBEROS_V\d)\b"
#: A mechanism to log in, named to its end, that brings no encryption.
_PLAIN_LOGIN = rb"(?!" + _LAYERS + rb")[A-Z][A-Z0-9_\-]*[ \r\n]"
_TAG = rb"[A-Za-z0-9.]{1,24} "
_END = rb"[ \t]*\r?\n"

#: RFC 3207 (SMTP) and RFC 2033 (LMTP).
_SMTP = _Protocol(
    "smtp",
    re.compile(rb"220[ \-\r\n]"),
    re.compile(rb"(?:EHLO|HELO|LHLO) [^\r\n]*\r?\n", re.IGNORECASE),
    _command(rb"STARTTLS" + _END),
    _command(rb"MAIL FROM:|VRFY |RCPT TO:|DATA\r?\n|AUTH " + _PLAIN_LOGIN),
    _command(rb"AUTH " + _LAYERS),
)
#: RFC 4217.
_FTP = _Protocol(
    "ftp",
    re.compile(rb"220[ \-\r\n]"),
    re.compile(rb"(?:AUTH [A-Z]|USER |FEAT\r?\n|SYST\r?\n|OPTS |HOST |CLNT )", re.IGNORECASE),
    _command(rb"AUTH (?:TLS|TLS-C|TLS-P|SSL)" + _END),
    _command(rb"USER [^\r\n]|PASS |CWD |PASV\r?\n|EPSV|PORT |EPRT |LIST|NLST|MLSD|RETR |STOR "),
    _command(rb"AUTH (?!(?:TLS|TLS-C|TLS-P|SSL)" + _END + rb")"),
)
#: RFC 9051 section 6.2.1. A session that is already authenticated (PREAUTH) cannot change.
_IMAP = _Protocol(
    "imap",
    re.compile(rb"\* (?:OK|PREAUTH)[ \r\n]", re.IGNORECASE),
    re.compile(
        _TAG
        + rb"(?:CAPABILITY|NOOP|ID|LOGIN|AUTHENTICATE|STARTTLS|LOGOUT|SELECT|EXAMINE|LIST|NAMESPACE|ENABLE)[ \r\n]",
        re.IGNORECASE,
    ),
    _command(_TAG + rb"STARTTLS" + _END),
    _command(
        _TAG
        + rb"(?:(?:LOGIN|SELECT|EXAMINE|LIST|LSUB|STATUS|FETCH|SEARCH|APPEND) |AUTHENTICATE "
        + _PLAIN_LOGIN
        + rb")"
    ),
    _command(_TAG + rb"AUTHENTICATE " + _LAYERS),
)
#: RFC 2595 section 4.
_POP3 = _Protocol(
    "pop3",
    re.compile(rb"\+OK[ \r\n]"),
    re.compile(rb"(?:CAPA|STLS|USER|APOP|AUTH)[ \r\n]", re.IGNORECASE),
    _command(rb"STLS" + _END),
    _command(rb"USER [^\r\n]|PASS |APOP |AUTH " + _PLAIN_LOGIN),
    _command(rb"AUTH " + _LAYERS),
)
_PROTOCOLS = (_SMTP, _FTP, _IMAP, _POP3)


def judge_lines(said: bytes, heard: bytes, ended: bool) -> Facts | Change | None:
    """Judge a connection in which the server greets with a line and the client sends commands."""
    for protocol in _PROTOCOLS:
        if protocol.greeting.match(heard) and protocol.first.match(said):
            return _judge(protocol, said, heard, ended)
    return None


def _judge(protocol: _Protocol, said: bytes, heard: bytes, ended: bool) -> Facts | Change:
    change, work = protocol.change.search(said), protocol.work.search(said)
    if change is not None and (work is None or change.start() < work.start()):
        if protocol.work.match(said, change.end()):
            return plaintext(protocol.name)
        return Change(protocol.name, change.end(), after_lines(heard))
    if protocol.private.search(said):
        return unknown(_UNRECOGNISED, protocol.name)
    return plaintext(protocol.name) if work is not None or ended else unknown(_CUT, protocol.name)


_IRC_FIRST = re.compile(rb"(?:CAP (?:LS|LIST|REQ|END)|NICK |PASS |USER |STARTTLS)", re.IGNORECASE)
_IRC_LINE = re.compile(rb"(?::[\x21-\x7e]+ |NOTICE |PING |ERROR )[^\r\n]*\r?\n")
_IRC_NAMED = _command(rb"NICK [\x21-\x7e]+" + _END)
_IRC_CHANGE = _command(rb"STARTTLS" + _END)
#: The numeric that ends registration (RFC 2812 section 5.1), after which nothing can change (IRCv3 tls extension).
_IRC_WELCOME = re.compile(rb"^:[\x21-\x7e]+ 001 ", re.MULTILINE)


def judge_irc(said: bytes, heard: bytes, ended: bool) -> Facts | Change | None:
    """Judge IRC, where the client may speak first and registration is done in clear before or without a change."""
    if not _IRC_FIRST.match(said) or not _IRC_LINE.match(heard):
        return None
    change, welcome = _IRC_CHANGE.search(said), _IRC_WELCOME.search(heard)
    if change is not None:
        return unknown(_UNRECOGNISED, "irc") if welcome else Change("irc", change.end(), after_lines(heard))
    if _IRC_NAMED.search(said) is None:
        return unknown(_CUT, "irc")
    return plaintext("irc") if welcome or ended else unknown(_CUT, "irc")
