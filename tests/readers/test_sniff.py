"""The format is named by content, and what is none is refused in one plain line."""

import io
import json
import tarfile

import pytest
from readers.log_support import INBOUND, as_json, as_text, sample
from readers.test_hubble import FLOW
from readers.test_zeek import CONN, SSL, as_tsv
from readers.test_ztunnel import OUTBOUND
from readers.test_ztunnel import as_json as ztunnel_json
from readers.test_ztunnel import as_text as ztunnel_text

from vzflow.flow.errors import UnreadableInput, UsageProblem
from vzflow.readers.sniff import FORMATS, sniff

PCAP = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
CALICO = json.dumps(
    {"action": "allow", "reporter": "src", "proto": "tcp", "source_type": "wep", "dest_type": "net"}
).encode()

HEADS = [
    (PCAP, "pcap"),
    (CALICO, "calico"),
    (as_text(INBOUND).encode(), "envoy"),
    (as_json(INBOUND).encode(), "envoy"),
    (ztunnel_text(OUTBOUND).encode(), "ztunnel"),
    (ztunnel_json(OUTBOUND).encode(), "ztunnel"),
    (json.dumps({"flow": FLOW}).encode(), "hubble"),
    (json.dumps(FLOW).encode(), "hubble"),
    (as_tsv(CONN).encode(), "zeek"),
    (as_tsv(SSL, "ssl").encode(), "zeek"),
    (json.dumps(CONN).encode(), "zeek"),
    (json.dumps(SSL).encode(), "zeek"),
]


@pytest.mark.parametrize(
    ("head", "name"),
    HEADS,
)
def test_content_names_the_format_whatever_the_file_is_called(head, name):
    """A file's name proves nothing of its content."""
    assert sniff(head, "misleading.pcap.log.json").name == name
    assert sniff(head, "x", name).name == name


@pytest.mark.parametrize("head", [head for head, _ in HEADS])
def test_exactly_one_format_recognises_an_input(head):
    """The order of the formats decides nothing."""
    assert len([f for f in FORMATS.values() if f.recognises(head)]) == 1


@pytest.mark.parametrize(
    "name",
    ["calico-enterprise-flows.jsonl", "calico-enterprise-flows-space-delimited.log", "calico-felix-syslog-deny.log",
     "calico-log-action-kernel.log", "calico-ebpf-trace.log", "istio-text-1.9plus-http.log",
     "istio-text-1.9plus-tcp.log", "istio-text-1.9plus-failures.log", "istio-json-1.9plus.jsonl",
     "istio-json-1.3-allstrings.jsonl", "ztunnel-text-kiali.log", "ztunnel-errors-and-eras.log", "ztunnel-cri.log"],
)  # fmt: skip
def test_shared_samples_are_named(name):
    """Published logs, by content."""
    assert sniff(sample(name), "x").name == name.split("-")[0].replace("istio", "envoy")


def test_empty_input_is_refused():
    """An empty file holds no evidence, and no data is never green."""
    with pytest.raises(UnreadableInput, match=r"a\.log: the input is empty"):
        sniff(b"", "a.log")


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        (b"snoop\0\0\0\0\0\0\x02", "editcap"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"PK\x03\x04", "zip"),
        (b"RTSS\x01\x01", "Network Monitor 1"),
        (b"GMBU\x00\x02", "Network Monitor 2"),
        (b"TRSNIFF data    \x1a\x01", "Sniffer"),
        (b"XCP\x00002.001\0", "NetXray"),
        (b"iptrace 2.0", "iptrace"),
        (b"\x7fver\0\0", "EtherPeek"),
        (b"\x54\x52\x00\x64" + bytes(7) + b"\x80", "nettl"),
        (b"btsnoop\0\0\0\0\x01", "Bluetooth"),
        (b"SQLite format 3\0", "SQLite"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7-Zip"),
        (b"\x1f\x8b\x08\0", "gzip"),
    ],
)
def test_foreign_file_is_called_by_its_name(head, hint):
    """The user is told what it is and what to do."""
    with pytest.raises(UnreadableInput, match=hint) as caught:
        sniff(head, "a.bin")
    assert str(caught.value).startswith("a.bin: ")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    ("content", "wanted"), [(CALICO, "auto"), (as_text(INBOUND).encode(), "envoy"), (PCAP, "auto")]
)
def test_no_log_is_read_through_a_tar_archive(form, content, wanted):
    """Its headers stand in the first line of every file in it, which would be lost."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        about = tarfile.TarInfo("pod.log")
        about.size = len(content)
        tar.addfile(about, io.BytesIO(content))
    with pytest.raises(UnreadableInput, match="a tar archive; unpack it first"):
        sniff(file.getvalue(), "a.tar", wanted)


def test_a_packet_cannot_make_a_capture_an_archive():
    """Who sends it chooses the bytes at any place."""
    assert sniff(PCAP.ljust(257, b"\0") + b"ustar\0", "a.pcap").name == "pcap"


@pytest.mark.parametrize("head", [b"hello\n", b"{}\n", b"\x00" * 64, b"\n\n\n", b"2026-01-02T03:04:05Z\tinfo\tready\n"])
def test_unknown_content_is_refused_in_one_line(head):
    """Nothing is guessed, and the message fits one line."""
    with pytest.raises(UnreadableInput) as caught:
        sniff(head, "a.bin")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_wanted_format_is_checked_against_the_content():
    """`--format` chooses among what is there; it does not make a capture of a log."""
    with pytest.raises(UnreadableInput, match="is not of that format"):
        sniff(CALICO, "a.log", "envoy")


def test_unknown_wanted_format_is_a_usage_problem():
    """The mistake is in the command, not in the input."""
    with pytest.raises(UsageProblem, match="no such format: netflow") as caught:
        sniff(CALICO, "a.log", "netflow")
    assert caught.value.exit_code == 2
