"""Names an input's format from its first bytes, never from its file name, or refuses it in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vzflow.flow.errors import Place, UnreadableInput, UsageProblem
from vzflow.readers import calico, envoy, hubble, pcap, zeek, ztunnel
from vzflow.readers.base import HEAD, Reader
from vzflow.readers.documents import is_document
from vzflow.readers.unwrapping import unwrapped_head

__all__ = ["FORMATS", "HEAD", "Format", "is_stream", "sniff"]


@dataclass(frozen=True)
class Format:
    """
    One input format.

    Args:
        name: Word for `--format`.
        says: One sentence for the reference page.
        is_log: A log holds lines or JSON documents, which may be wrapped; a capture holds packets.
        recognises: Whether a beginning (up to HEAD bytes, for a log out of its wrappings) is of this format.
        read: The reader.
    """

    name: str
    says: str
    is_log: bool
    recognises: Callable[[bytes], bool]
    read: Reader


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("pcap", "Packet captures: pcap and pcapng.", False, pcap.recognises, pcap.read),
        Format(
            "calico",
            "Calico flow logs (Enterprise and Cloud JSON or columns, Goldmane, Whisker), felix and kernel log lines, "
            "eBPF trace lines.",
            True,
            calico.recognises,
            calico.read,
        ),
        Format(
            "envoy",
            "Envoy and Istio access logs: default text of every release, JSON, any format given, stored ALS and OTLP.",
            True,
            envoy.recognises,
            envoy.read,
        ),
        Format(
            "ztunnel",
            "Access logs of ztunnel (Istio ambient), text or JSON, all builds since 2024.",
            True,
            ztunnel.recognises,
            ztunnel.read,
        ),
        Format("hubble", "Cilium Hubble flows as JSON lines.", True, hubble.recognises, hubble.read),
        Format("zeek", "Zeek conn.log and ssl.log, tab-separated or JSON.", True, zeek.recognises, zeek.read),
    )
}

_CONVERT = "convert it with `editcap -F pcapng`"

#: Beginnings of files that users have and vzflow does not read, so that it can say what they are.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    # Captures, by the magic numbers of Wireshark's wiretap/*.c.
    (b"snoop\0\0\0", f"a Solaris snoop capture; {_CONVERT}"),
    (b"RTSS", f"a Microsoft Network Monitor 1 capture; {_CONVERT}"),
    (b"GMBU", f"a Microsoft Network Monitor 2 capture; {_CONVERT}"),
    (b"TRSNIFF data    \x1a", f"a Network General Sniffer capture; {_CONVERT}"),
    (b"XCP\0", f"a NetXray or Windows Sniffer capture; {_CONVERT}"),
    (b"iptrace 1.0", f"an AIX iptrace capture; {_CONVERT}"),
    (b"iptrace 2.0", f"an AIX iptrace capture; {_CONVERT}"),
    (b"\x7fver", f"an EtherPeek or OmniPeek capture; {_CONVERT}"),
    (b"\x54\x52\x00\x64", f"a nettl capture of HP-UX; {_CONVERT}"),
    (b"btsnoop\0", "a Bluetooth capture, which holds no IP flows"),
    # What else lies beside captures and logs.
    (b"PAR1", "a Parquet file; inputs are captures and logs"),
    (b"SQLite format 3\0", "an SQLite database; inputs are captures and logs"),
    # Up to two layers of these are unpacked before this is asked.
    (b"\x1f\x8b", "gzip-compressed again and again; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed again and again; decompress it first"),
    (b"BZh", "bzip2-compressed again and again; decompress it first"),
    (b"\x04\x22\x4d\x18", "lz4-compressed again and again; decompress it first"),
    (b"\xfd7zXZ\0", "xz-compressed; decompress it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
)


def is_stream(form: Format, head: bytes) -> bool:
    """Return whether an input that begins with *head* is a stream of lines, which may grow; else it is one whole."""
    return form.is_log and not is_document(head)


def _is_tar(head: bytes) -> bool:
    """
    Say whether it begins with a tar header: no log is read through it, for the first line of every file would be lost.

    Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's magic begins alike. A header is padded with zeros,
    and no line of a log is.
    """
    return head[257:262] == b"ustar" and b"\0" in head[:257]


def sniff(head: bytes, path: str, wanted: str = "auto", envoy_format: str | None = None) -> Format:
    """
    Return the format of an input that begins with *head* (uncompressed), or the one the user *wanted*.

    Args:
        head: Up to HEAD bytes.
        path: Name for messages.
        wanted: Name of a format, or auto.
        envoy_format: Formats that Envoy access logs may have besides the known ones.

    Raises:
        UsageProblem: *wanted* is not a format.
        UnreadableInput: No format recognises it, or not the wanted one.
    """
    if wanted != "auto" and wanted not in FORMATS:
        raise UsageProblem(f"no such format: {wanted}", at="--format", do=f"Use auto, {', '.join(FORMATS)}.")
    if not head:
        raise UnreadableInput("the input is empty", at=Place(path), do="Name a capture or a log.")
    if _is_tar(head) and not FORMATS["pcap"].recognises(head):
        raise UnreadableInput("cannot read this", at=Place(path), do="It is a tar archive; unpack it first.")
    kinds = [kind for kind in FORMATS.values() if wanted in ("auto", kind.name)]
    inner = unwrapped_head(head)
    if envoy_format is not None and wanted in ("auto", "envoy"):
        for text in (head, inner):
            if envoy.recognises_format(text, envoy_format):
                return FORMATS["envoy"]
    for kind in kinds:
        if kind.recognises(head):
            return kind
    for kind in kinds:
        if kind.is_log and kind.recognises(inner):
            return kind
    foreign = next((what for magic, what in _FOREIGN if head.startswith(magic)), None)
    if foreign is not None:
        raise UnreadableInput("cannot read this", at=Place(path), do=f"It is {foreign}.")
    known = FORMATS[wanted].says if wanted != "auto" else " ".join(f.says for f in FORMATS.values())
    raise UnreadableInput(
        f"the beginning {head[:8]!r} is not of {'a known' if wanted == 'auto' else 'that'} format",
        at=Place(path),
        do=f"Known: {known}",
    )
