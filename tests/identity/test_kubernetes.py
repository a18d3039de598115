"""How an API server is reached: kubeconfigs, credentials of each kind, and what is said when they do not do."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import stat
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from identity.api_server import PODS, api_server, kubeconfig, named

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.listing import fetch


@pytest.fixture
def api():
    with api_server() as server:
        server.lists[PODS] = named("a")
        yield server


def pods(path, context=None):
    return [o["metadata"]["name"] for o in fetch(context, path).objects]


def test_a_token_is_sent(api, tmp_path):
    """The credential of a service account."""
    api.allowed = {"Bearer t0ken"}
    assert pods(kubeconfig(tmp_path, {"here": api.url}, {"token": "t0ken"})) == ["a"]


def test_refused_credentials_are_a_usage_problem(api, tmp_path):
    """An expired token is the user's to renew."""
    api.allowed = {"Bearer other"}
    with pytest.raises(UsageProblem, match="refuses the credentials"):
        pods(kubeconfig(tmp_path, {"here": api.url}))


class Authority:
    """A certificate authority of one test run, and certificates it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        ca = x509.BasicConstraints(ca=True, path_length=0)
        self.path = self._write("ca", self._signed(self._name, self._key.public_key(), ca))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the paths of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        san = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = self._write(name, self._signed(subject, key.public_key(), san))
        private = self.folder / f"{name}.key"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *more: x509.ExtensionType):
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        for extension in more:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.folder / f"{name}.crt"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(authority):
    """An API server behind TLS that asks for a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    with api_server(context) as server:
        server.lists[PODS] = named("a")
        yield server


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_is_shown(secure, authority, tmp_path, inline):
    """As files, and written into the kubeconfig as kubeadm does."""
    certificate, key = authority.issue("reader")
    if inline:
        user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
        path = kubeconfig(
            tmp_path, {"here": secure.url}, user, **{"certificate-authority-data": encoded(authority.path)}
        )
    else:
        user = {"client-certificate": str(certificate), "client-key": str(key)}
        path = kubeconfig(tmp_path, {"here": secure.url}, user, **{"certificate-authority": str(authority.path)})
    assert pods(path) == ["a"]


def test_an_api_server_that_is_not_trusted_is_service_unavailable(secure, authority, tmp_path):
    """Its certificate is of no authority the kubeconfig names; the token is not sent."""
    stranger = Authority(tmp_path)
    path = kubeconfig(tmp_path, {"here": secure.url}, **{"certificate-authority": str(stranger.path)})
    with pytest.raises(ServiceUnavailable, match="certificate verify failed"):
        pods(path)
    assert secure.asked == []


def plugin(folder: Path, *lines: str) -> dict[str, object]:
    """Return the user whose credentials a program prints."""
    script = folder / "plugin"
    script.write_text("\n".join((f"#!{sys.executable}", *lines)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "interactiveMode": "Never"}
    }


def credential(**status: str) -> str:
    said = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(said)!r})"


def test_an_exec_plugin_gives_the_token(api, tmp_path):
    """As the clouds' kubeconfigs have it."""
    api.allowed = {"Bearer from-plugin"}
    assert pods(kubeconfig(tmp_path, {"here": api.url}, plugin(tmp_path, credential(token="from-plugin")))) == ["a"]


def test_an_exec_plugin_gives_a_client_certificate(secure, authority, tmp_path):
    """The other credential a plugin may print."""
    certificate, key = authority.issue("plugged")
    user = plugin(tmp_path, credential(clientCertificateData=certificate.read_text(), clientKeyData=key.read_text()))
    path = kubeconfig(tmp_path, {"here": secure.url}, user, **{"certificate-authority": str(authority.path)})
    assert pods(path) == ["a"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["import sys", "sys.exit('log in first')"], "log in first"),
        (["print('hello')"], "failed to decode"),
        ([credential()], "missing token"),
    ],
    ids=["fails", "prints no JSON", "has no credential"],
)
def test_an_exec_plugin_that_gives_nothing_is_a_usage_problem(api, tmp_path, capfd, lines, says):
    """The client would go on without credentials, and say so in a log."""
    with pytest.raises(UsageProblem, match=rf"cannot be used: .*{says}"):
        pods(kubeconfig(tmp_path, {"here": api.url}, plugin(tmp_path, *lines)))
    assert api.asked == []
    assert capfd.readouterr().err == ""


def test_a_refused_connection_is_service_unavailable(tmp_path, caplog):
    """Exit 5, one line, at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers here
        path = kubeconfig(tmp_path, {"here": f"http://127.0.0.1:{taken.getsockname()[1]}"})
        with pytest.raises(ServiceUnavailable, match=r"^http://127\.0\.0\.1:\d+: no list .* refused.* Check") as error:
            pods(path)
    assert "\n" not in str(error.value)
    assert caplog.records == [], "warnings of retries would be printed"


@pytest.mark.parametrize(
    "content", [None, "", "- a\n- b\n", "{", "contexts: 7\n", "current-context: x\ncontexts: []\n", "\x00"]
)
def test_a_bad_kubeconfig_is_a_usage_problem(tmp_path, content):
    """Whatever the client makes of it, the user sees one line with the file's name."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageProblem) as error:
        pods(str(path))
    assert str(error.value).startswith(f"{path}: cannot be used: ")
    assert "\n" not in str(error.value)


def test_an_unknown_context_is_a_usage_problem(api, tmp_path):
    """A typing mistake must not read another cluster."""
    with pytest.raises(UsageProblem, match="nowhere"):
        pods(kubeconfig(tmp_path, {"here": api.url}), "nowhere")


def test_reading_never_rewrites_the_kubeconfig(api, tmp_path):
    """The client would store refreshed tokens."""
    path = Path(kubeconfig(tmp_path, {"here": api.url}))
    before = path.read_bytes()
    pods(str(path))
    assert path.read_bytes() == before
