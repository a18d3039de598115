# cython: annotation_typing=False
"""
A ClientHello or ServerHello message -> what it offers or chose, as far as its bytes are there.

Under Encrypted Client Hello the name and the protocols are those of the outer hello, which is all a tap can see. GREASE
values (RFC 8701) stand for nothing: they are never a version chosen, and among the ALPN names they stay as sent.

Source: RFC 8446 section 4.1 and RFC 5246 section 7.4.1; RFC 6066 section 3 (server name), RFC 7301 (ALPN); RFC 6347
section 4.2.1 for the cookie of DTLS.
"""

from __future__ import annotations

from functools import lru_cache

_SERVER_NAME, _ALPN, _PRE_SHARED_KEY, _EARLY_DATA, _SUPPORTED_VERSIONS = 0, 16, 41, 42, 43
#: SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
#: Names of a server or of protocols that are remembered as text: few differ.
_REMEMBERED = 256
_PRINTABLE = bytes(b for b in range(0x21, 0x7F) if b not in b",\\")


class Hello:
    """What one hello message says; bytes of extensions are as sent, empty if absent."""

    __slots__ = ("alpn", "early_data", "legacy", "pre_shared_key", "retry", "server_name", "versions", "whole")

    def __init__(self) -> None:
        #: The version field of the message itself; -1 if it is not there.
        self.legacy = -1
        #: A ServerHello that is a HelloRetryRequest.
        self.retry = False
        #: The message is there to its end.
        self.whole = False
        self.early_data = False
        self.pre_shared_key = False
        self.server_name = b""
        self.alpn = b""
        self.versions = b""

    def offers(self, version: int) -> bool:
        """Whether a client offers *version* in the extension for it."""
        # A byte of length, then two bytes for each.
        at = 1
        while at + 1 < len(self.versions):
            if self.versions[at] << 8 | self.versions[at + 1] == version:
                return True
            at += 2
        return False

    def chosen_version(self) -> int:
        """Return the version a server chose; -1 while the extension that says it may be missing."""
        if len(self.versions) == 2:
            return self.versions[0] << 8 | self.versions[1]
        return self.legacy if self.whole else -1


def read_hello(data: bytes, at: int, end: int, client: bool, cookie: bool = False) -> Hello:
    """
    Return what a hello says.

    Args:
        data: Holds the message, perhaps cut, behind its type and length.
        at: Where it begins.
        end: Where it ends by its own length, which may lie behind *data*.
        client: It is a ClientHello, else a ServerHello.
        cookie: The ClientHello holds a cookie, as those of DTLS do.
    """
    hello = Hello()
    ends = end <= len(data)
    end = min(end, len(data))
    if at + 35 > end:
        if at + 2 <= end:
            hello.legacy = data[at] << 8 | data[at + 1]
        return hello
    hello.legacy = data[at] << 8 | data[at + 1]
    hello.retry = not client and data.startswith(_RETRY, at + 2)
    at += 35 + data[at + 34]
    if client:
        if cookie and at < end:
            at += 1 + data[at]
        if at + 2 <= end:
            at += data[at] << 8 | data[at + 1]
        at += 2
        if at < end:
            at += data[at]
        at += 1
    else:
        at += 3
    if at > end:
        return hello
    if at + 2 > end:
        # No extensions at all: how TLS 1.2 and older may end.
        hello.whole = ends and at == end
        return hello
    _read_extensions(hello, data, at + 2, at + 2 + (data[at] << 8 | data[at + 1]), end)
    return hello


def _read_extensions(hello: Hello, data: bytes, at: int, until: int, end: int) -> None:
    """Note the extensions from *at* to *until* as far as *end*; of two of a kind the first counts."""
    while at < until:
        if at + 4 > end:
            return
        kind = data[at] << 8 | data[at + 1]
        begin = at + 4
        at = begin + (data[at + 2] << 8 | data[at + 3])
        if at > end:
            return
        if kind > _SUPPORTED_VERSIONS:
            continue
        if kind == _SERVER_NAME:
            hello.server_name = hello.server_name or data[begin:at]
        elif kind == _ALPN:
            hello.alpn = hello.alpn or data[begin:at]
        elif kind == _SUPPORTED_VERSIONS:
            hello.versions = hello.versions or data[begin:at]
        elif kind == _EARLY_DATA:
            hello.early_data = True
        elif kind == _PRE_SHARED_KEY:
            hello.pre_shared_key = True
    hello.whole = True


def text(raw: bytes) -> str:
    """Return bytes a peer chose as printable text without the comma that joins lists."""
    if not raw.translate(None, _PRINTABLE):
        return raw.decode("ascii")
    return "".join(chr(b) if b in _PRINTABLE else f"\\x{b:02x}" for b in raw)


@lru_cache(_REMEMBERED)
def server_name(extension: bytes) -> str | None:
    """Return the host name in a server name extension; null if there is none."""
    # A list: its length, then of each name its kind (0: a host name), its length and its bytes.
    listed = _list_end(extension)
    if listed < 5 or extension[2] != 0:
        return None
    end = 5 + (extension[3] << 8 | extension[4])
    return text(extension[5:end]) if end <= listed else None


@lru_cache(_REMEMBERED)
def alpn_names(extension: bytes) -> tuple[str, ...]:
    """Return the protocols in an ALPN extension, in the order they were offered."""
    names: list[str] = []
    at, listed = 2, _list_end(extension)
    while at < listed:
        end = at + 1 + extension[at]
        if end > listed:
            break
        names.append(text(extension[at + 1 : end]))
        at = end
    return tuple(names)


def _list_end(extension: bytes) -> int:
    """Return where the list ends whose length begins *extension*; 0 if it is not there to its end."""
    end = 2 + (extension[0] << 8 | extension[1]) if len(extension) >= 2 else 0
    return end if end <= len(extension) else 0
