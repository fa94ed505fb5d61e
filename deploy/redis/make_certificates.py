"""Make a certificate for Redis, and the authority that vouches for it, unless there are some that stay valid.

python3 make_certificates.py PRIVATE_FOLDER PUBLIC_FOLDER NAME...

PRIVATE_FOLDER gets `redis.key` and `redis.crt`, PUBLIC_FOLDER `ca.crt`, by which clients know this Redis. The key of
the authority is forgotten at once: it vouches for nothing else. NAMEs are the host names by which clients reach Redis.
"""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=3650)
RENEWED_BEFORE = datetime.timedelta(days=60)


def main(private: Path, public: Path, names: list[str]) -> None:
    """Write the three files, or leave those that are there."""
    if is_valid(private / "redis.crt") and is_valid(public / "ca.crt"):
        return
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate(
        "Meeting Assistant: authority of its Redis", authority_key, authority_key, None, []
    )
    server = certificate(names[0], key, authority_key, authority, names)
    unencrypted = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    write(
        private / "redis.key", key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted), 0o600
    )
    write(private / "redis.crt", server.public_bytes(pem), 0o644)
    write(public / "ca.crt", authority.public_bytes(pem), 0o644)


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signing_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    hosts: list[str],
) -> x509.Certificate:
    """Sign a certificate: of an authority when there is no issuer, else of a server with these host names."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    is_authority = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + VALID)
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True
        )
        .add_extension(usage(is_authority=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
        )
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def usage(*, is_authority: bool) -> x509.KeyUsage:
    """Return what a key may be used for."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def is_valid(path: Path) -> bool:
    """Return True for a certificate that does not expire soon."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return found.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + RENEWED_BEFORE


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file; at no time may others read a private one."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    partial.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
