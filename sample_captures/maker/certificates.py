"""Certificates as Istio issues them: empty subject, the SPIFFE identity as a critical URI SAN, one root."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_SPAN = dt.timedelta(days=1)


class Authority:
    """A root, and the files of what it signed, in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
        root = (
            self._begun(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.root = folder / "root.pem"
        self.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SPAN)
            .not_valid_after(now + _SPAN)
        )

    def issue(self, name: str, san: x509.GeneralName) -> tuple[Path, Path]:
        """Sign a certificate for *san* and return the files of the chain and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            self._begun(x509.Name([]), key)
            .add_extension(x509.SubjectAlternativeName([san]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        chain, secret = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + self.root.read_bytes())
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain, secret
