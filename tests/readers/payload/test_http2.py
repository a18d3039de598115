"""HTTP/2 in clear: gRPC by its content type, tunnels by their method (RFC 9113, RFC 7541)."""

import pytest
from readers.packet_support import Talk, only
from readers.payload_support import concluded, frame, judged

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, WINDOW = frame(4, 0, 0, b"\0\3\0\0\0\x64"), frame(8, 0, 0, b"\0\0\xff\xff")
#: RFC 7541 appendix B, the letters of these words.
CODE = {
    "a": "00011", "c": "00100", "e": "00101", "i": "00110", "o": "00111", "t": "01001", "p": "101011", "l": "101000",
    "n": "101010", "/": "011000", "g": "100110", "r": "101100", "-": "010110", "y": "1111010", "C": "1011110",
    "O": "1101010", "N": "1101001", "E": "1100000", "T": "1101111", "+": "11111111011", ";": "11111011", "w": "1111000",
    "b": "100011", "x": "1111001",
}  # fmt: skip


def plain(text):
    return bytes([len(text)]) + text.encode()


def coded(text):
    bits = "".join(CODE[letter] for letter in text)
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return bytes([0x80 | len(data)]) + data


#: :method POST, :scheme http, :path /shop.Orders/Get as a literal, a name of its own.
BEFORE = b"\x83\x86\x44" + plain("/shop.Orders/Get") + b"\x00" + plain("te") + plain("trailers")


def named(block, kind=1, flags=4):
    said = PREFACE + SETTINGS + WINDOW + frame(kind, flags, 1, block)
    facts = judged(("c", said), ended=False)
    assert facts[:2] in (("plaintext", "clear_protocol"), ("unknown", "unrecognised"))
    return facts.transport.value, facts.app_protocol


@pytest.mark.parametrize("spell", [plain, coded])
@pytest.mark.parametrize("index", [b"\x5f", b"\x0f\x10", b"\x1f\x10"], ids=["indexed", "not indexed", "never indexed"])
@pytest.mark.parametrize("value", ["application/grpc", "application/grpc+pcolo", "application/grpc;pcolo"])
def test_content_type_of_grpc_is_grpc_however_it_is_spelled(spell, index, value):
    """The three ways of HPACK to name a header of the static table, plain and in Huffman code."""
    assert named(BEFORE + index + spell(value) + b"\x40" + plain("x") + plain("y")) == ("plaintext", "grpc")


@pytest.mark.parametrize("spell", [plain, coded])
def test_content_type_may_be_spelled_out(spell):
    """A client need not use the static table."""
    assert named(BEFORE + b"\x00" + spell("content-type") + plain("application/grpc")) == ("plaintext", "grpc")


@pytest.mark.parametrize("spell", [plain, coded])
@pytest.mark.parametrize("value", ["application/grpc-web", "application/gr", "application/grpcx", "text/grpc"])
def test_other_content_types_are_http2(spell, value):
    """gRPC-Web is another protocol."""
    assert named(BEFORE + b"\x5f" + spell(value)) == ("plaintext", "http2")


def test_words_of_grpc_in_another_header_are_http2():
    """Only the content type counts."""
    assert named(BEFORE + b"\x40" + plain("x-was") + plain("application/grpc")) == ("plaintext", "http2")


def test_padding_and_priority_are_stepped_over():
    """RFC 9113 section 6.2: pad length, five bytes of priority, the block, the padding."""
    block = BEFORE + b"\x5f" + plain("application/grpc")
    assert named(b"\3" + b"\0" * 5 + block + b"\0\0\0", flags=0x2C) == ("plaintext", "grpc")


@pytest.mark.parametrize("spell", [plain, coded])
def test_tunnel_in_clear_http2_proves_nothing(spell):
    """What goes through it may be TLS."""
    assert named(b"\x42" + spell("CONNECT") + b"\x41" + plain("a:443")) == ("unknown", "http2")


@pytest.mark.parametrize(
    ("block", "transport", "name"),
    [
        (BEFORE + b"\x5f" + plain("application/grpc"), "plaintext", "grpc"),
        (b"\x42" + plain("CONNECT") + b"\x41" + plain("a:443"), "unknown", "http2"),
    ],
    ids=["grpc", "tunnel"],
)
def test_request_after_the_settings_of_both_sides_is_read(block, transport, name):
    """A client may wait for the server's settings: both sides have spoken, and nothing is decided yet."""
    talk = Talk().open().say(PREFACE + SETTINGS).answer(SETTINGS).say(frame(1, 4, 1, block)).answer(WINDOW)
    row = only(talk)
    assert (row["transport_seen"], row["app_protocol"]) == (transport, name)


def test_request_cut_anywhere_is_still_http2():
    """The preface alone is proof of clear HTTP/2; what a cut request would have named stays open."""
    said = PREFACE + SETTINGS + frame(1, 4, 1, BEFORE + b"\x5f" + coded("application/grpc"))
    for end in range(len(PREFACE), len(said)):
        assert concluded(judged(("c", said[:end]), ended=False)) == ("plaintext", "clear_protocol", "http2")
    assert concluded(judged(("c", said), ended=False))[2] == "grpc"
    for end in range(len(PREFACE)):
        assert judged(("c", said[:end]), ended=False).transport == "unknown"


@pytest.mark.parametrize("block", [b"\x5f", b"\x5f\xff\xff\xff\xff\xff\xff", b"\x7f" * 9, b"\x40\x7f", b"\x3f", b""])
def test_damaged_header_blocks_are_http2(block):
    """Lengths that do not fit end the reading, not the program."""
    assert named(block) == ("plaintext", "http2")
