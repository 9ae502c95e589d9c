"""The certificate of a NATS server that `hub` starts: signed by an authority of its own, which nodes are given."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from udprism.errors import UdprismError

if TYPE_CHECKING:
    from cryptography import x509

_VALID: Final = timedelta(days=3650)
_RENEW: Final = timedelta(days=30)
_CLOCKS_APART: Final = timedelta(days=1)


class Certificate(NamedTuple):
    """Files in PEM. ca: what nodes check the server's certificate against (`--nats-ca`); it is no secret."""

    ca: Path
    cert: Path
    key: Path


def certificate(directory: Path, host: str) -> Certificate:
    """That of a server which nodes reach as `host`; made if there is none for it, or if it ends soon.

    Raises: UdprismError without the library that makes it, OSError.
    """
    files = Certificate(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    try:
        from cryptography import x509
    except ModuleNotFoundError:
        raise UdprismError("a certificate needs cryptography: pip install 'udprism[nodes]'") from None
    if all(path.exists() for path in files) and _is_for(x509.load_pem_x509_certificate(files.cert.read_bytes()), host):
        return files
    _make(files, host)
    return files


def _is_for(found: x509.Certificate, host: str) -> bool:
    from cryptography import x509

    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return _name(host) in names and found.not_valid_after_utc - datetime.now(UTC) > _RENEW


def _name(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _make(files: Certificate, host: str) -> None:
    """The authority's key is forgotten at once: nobody can have it sign anything else."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = _named("udprism hub")
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    ca = (
        _begun(issuer, issuer, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    server = (
        _begun(_named("udprism hub's NATS server"), issuer, own.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    private = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.key.unlink(missing_ok=True)
    with os.fdopen(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    for path, builder in ((files.ca, ca), (files.cert, server)):
        path.write_bytes(_signed(builder, authority).public_bytes(serialization.Encoding.PEM))


def _signed(builder: x509.CertificateBuilder, authority: Any) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(authority, hashes.SHA256())


def _named(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _begun(subject: x509.Name, issuer: x509.Name, public_key: Any) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(now + _VALID)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
