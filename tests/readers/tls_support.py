"""Real TLS handshakes by Python's ssl module, in memory, as the streams a tap would put together."""

import datetime
import ssl
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vzflow.readers.payload.stream import LIMIT, Stream

CLIENT_URI = "spiffe://cluster.local/ns/shop/sa/front"
SERVER_URI = "spiffe://cluster.local/ns/shop/sa/orders"
SNI = "outbound_.8000_._.orders.shop.svc.cluster.local"
ISTIO = ("istio-http/1.1", "istio", "http/1.1")
ISN, PEER_ISN = 0xFFFFFF00, 5


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject, issuer, key, signer, uri=None, authority=False):
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=36_500))
    made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    if uri:
        names = [x509.DNSName("orders.shop"), x509.UniformResourceIdentifier(uri)]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return made.sign(signer, hashes.SHA256())


@cache
def _pki():
    root = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("root", "root", root, root, authority=True)
    pem = serialization.Encoding.PEM
    parts = {"root": authority.public_bytes(pem).decode()}
    for name, uri in (("client", CLIENT_URI), ("server", SERVER_URI)):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(name, "root", key, root, uri)
        plain = serialization.NoEncryption()
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        parts[name] = private + leaf.public_bytes(pem)
        parts[f"{name}_der"] = leaf.public_bytes(serialization.Encoding.DER)
    return parts


def leaf(name="client"):
    """The DER of a certificate with a SPIFFE URI."""
    return _pki()[f"{name}_der"]


def context(tmp_path, side, version, *, certificate=True, verify=ssl.CERT_REQUIRED, alpn=()):
    """An SSL context of one *side* that speaks only *version*."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side == "server" else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.minimum_version = made.maximum_version = version
    made.load_verify_locations(cadata=_pki()["root"])
    made.verify_mode = verify
    if certificate:
        file = tmp_path / f"{side}.pem"
        file.write_bytes(_pki()[side])
        made.load_cert_chain(file)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


class Connection:
    """A TLS connection in memory; `flights` are (sender, bytes) in the order of the wire."""

    def __init__(self, client, server, session=None):
        pipes = [ssl.MemoryBIO() for _ in range(4)]
        self._out = {"client": pipes[1], "server": pipes[3]}
        self._in = {"client": pipes[0], "server": pipes[2]}
        self.ends = {
            "client": client.wrap_bio(pipes[0], pipes[1], server_hostname=SNI, session=session),
            "server": server.wrap_bio(pipes[2], pipes[3], server_side=True),
        }
        self.flights = []
        self.failed = False

    def _flush(self, side):
        data = self._out[side].read()
        if data:
            self.flights.append((side, data))
            self._in["server" if side == "client" else "client"].write(data)
        return bool(data)

    def shake(self):
        """Shake hands as far as it goes."""
        for _ in range(10):
            moved = False
            for side in ("client", "server"):
                try:
                    self.ends[side].do_handshake()
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    self.failed = True
                moved |= self._flush(side)
            if not moved:
                return self
        return self

    def say(self, side, data):
        """Send application data from *side* and let the other read it."""
        self.ends[side].write(data)
        self._flush(side)
        other = "server" if side == "client" else "client"
        self.ends[other].read(65_536)
        return self


def in_order(segments, base, started=True, **known):
    """A stream of one side's (bytes, acknowledgement number), which came in order."""
    data, acks = b"", []
    for part, ack in segments:
        if len(data) < LIMIT:
            data += part
            if acks and acks[-1][1] == ack:
                acks.pop()
            acks.append((min(len(data), LIMIT), ack))
            continue
        known["beyond"] = True
    known["beyond"] = known.get("beyond", False) or len(data) > LIMIT
    return Stream(data[:LIMIT], started=started, base=base, acks=tuple(acks), **known)


def streams(flights, size=1_400):
    """The two directions as a tap puts them together, in segments of *size* bytes with honest acknowledgements."""
    base = {"client": (ISN + 1) & 0xFFFFFFFF, "server": PEER_ISN + 1}
    said = {"client": [], "server": []}
    sent = {"client": 0, "server": 0}
    for side, data in flights:
        other = "server" if side == "client" else "client"
        ack = (base[other] + sent[other]) & 0xFFFFFFFF
        said[side] += [(data[at : at + size], ack) for at in range(0, len(data), size)]
        sent[side] += len(data)
    return in_order(said["client"], base["client"]), in_order(said["server"], base["server"])
