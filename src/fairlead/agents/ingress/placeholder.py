"""The certificate of names that have none: made here, good for nothing but a handshake."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from fairlead.compile.routes import Built
from fairlead.model import Origin
from fairlead.model.route_tls import Certificate, CertificateId

PLACEHOLDER = CertificateId("", "placeholder")


def with_default(built: Built, placeholder: Certificate) -> Built:
    """What is to be served, with the placeholder where the operator named no default certificate."""
    if built.default_certificate is not None:
        return built
    certificates: Mapping[CertificateId, Certificate] = {**built.certificates, placeholder.id: placeholder}
    return replace(built, certificates=certificates, default_certificate=placeholder.id)


def make_placeholder(now: datetime | None = None) -> Certificate:
    """A key and a self-signed certificate, named as ingress-nginx names its own; good for ten years from `now`."""
    moment = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fairlead"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Kubernetes Ingress Controller Fake Certificate"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ingress.local")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(
        id=PLACEHOLDER,
        chain=certificate.public_bytes(Encoding.PEM).decode(),
        key=private.decode(),
        names=("ingress.local",),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        origin=Origin("", "", ""),
    )
