"""Certificates made on the spot: an authority, what it signs, and what it takes back."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from nginx_worlds import SHOP

from fairlead.model.route_tls import Certificate, CertificateId


class Authority:
    """Signs certificates; `pem` is its own."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key.public_key(), (), authority=True)
        self.pem = self._certificate.public_bytes(Encoding.PEM).decode()

    def sign(self, secret: str, *names: str) -> Certificate:
        """A certificate for DNS names; the first one is the common name too."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        made = self._build(subject, key.public_key(), names, authority=False)
        return Certificate(
            id=CertificateId("shop", secret),
            chain=made.public_bytes(Encoding.PEM).decode() + self.pem,
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            names=names,
            not_after=int(made.not_valid_after_utc.timestamp()),
            origin=SHOP,
        )

    def revoke(self, *certificates: Certificate) -> str:
        """The list of certificates that are no longer good, as PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=9))
        for each in certificates:
            serial = x509.load_pem_x509_certificate(each.chain.encode()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, names: tuple[str, ...], *, authority: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
        return builder.sign(self._key, hashes.SHA256())
