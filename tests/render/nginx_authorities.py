"""Certificates made on the spot: an authority, what it signs, and what it takes back."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from nginx_worlds import SHOP

from fairlead.model.route_tls import Certificate, CertificateId


class Authority:
    """Signs certificates; `pem` is its own."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key.public_key(), (), authority=True)
        self.pem = self._certificate.public_bytes(Encoding.PEM).decode()

    def sign(self, secret: str, *names: str, responder: str = "") -> Certificate:
        """A certificate for DNS names; the first is the common name too. `responder` is asked whether it is good."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        made = self._build(subject, key.public_key(), names, authority=False, responder=responder)
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

    def answer(self, asked: bytes, status: ocsp.OCSPCertStatus, *certificates: Certificate, days: int = 2) -> bytes:
        """What this authority's responder says of one of its certificates (OCSP, DER); `days` ago counts as old."""
        wanted = ocsp.load_der_ocsp_request(asked).serial_number
        found = [x509.load_pem_x509_certificate(each.chain.encode()) for each in certificates]
        subject = next((each for each in found if each.serial_number == wanted), found[0])
        now = datetime.now(UTC)
        revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=subject,
            issuer=self._certificate,
            algorithm=hashes.SHA1(),
            cert_status=status,
            this_update=now - timedelta(days=5),
            next_update=now + timedelta(days=days),
            revocation_time=now if revoked else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, self._certificate)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: tuple[str, ...],
        *,
        authority: bool,
        responder: str = "",
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
        if responder:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
        return builder.sign(self._key, hashes.SHA256())
