"""The certificates of a cluster: its authority, its server, its clients.

In: a folder, and who needs a certificate. Out: PEM bytes cached in that folder with mode 0600, and kubeconfig texts
with the credentials inside. It knows no server and no connection. A cached file that is damaged, foreign to the
authority, or within thirty days of its end is made again.
"""

import base64
import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from fairlead.drivers.errors import FairleadError

SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "::1",
    "10.96.0.1",
    "172.18.0.1",
)
"""The names and addresses the server is reached by in every cluster."""

_LIFETIME = datetime.timedelta(days=365)
_RENEW_BEFORE = datetime.timedelta(days=30)
_SKEW = datetime.timedelta(minutes=5)


class Credential(Struct, frozen=True):
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


class _Signer(Struct, frozen=True):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Pki:
    """The authority of one cluster, kept in one folder."""

    def __init__(self, folder: Path, *, now: datetime.datetime | None = None) -> None:
        """Load the authority from the folder, or make it. Other certificates fall with a new authority."""
        self._folder = folder
        self._now = now or datetime.datetime.now(datetime.UTC)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unwritable(folder, error) from error
        self._signer = self._load_pair("ca") or self._make_authority()

    @property
    def authority(self) -> bytes:
        """The certificate of the authority, PEM: what clients trust."""
        return self._signer.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, extra_names: Iterable[str] = ()) -> Credential:
        """Return the server's credential, good for `SERVER_NAMES` and the given names and addresses."""
        names = tuple(dict.fromkeys((*SERVER_NAMES, *extra_names)))
        wanted = x509.SubjectAlternativeName([_general_name(name) for name in names])
        cached = self._load("server")
        if cached and _alternative_names(cached) == wanted:
            return self._read("server")
        return self._issue("server", _subject("kube-apiserver", ()), ExtendedKeyUsageOID.SERVER_AUTH, wanted)

    def client(self, user: str, groups: tuple[str, ...] = ()) -> Credential:
        """Return a client credential for a user in some groups (CN and O of the subject)."""
        stem = "client-" + "".join(each if each.isalnum() or each in "-." else "_" for each in user)
        subject = _subject(user, groups)
        cached = self._load(stem)
        if cached and cached.subject == subject:
            return self._read(stem)
        return self._issue(stem, subject, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def account_key(self) -> bytes:
        """Return the key (PEM) that signs the tokens of service accounts; made once, and kept as long as the folder."""
        cached = self._load_pair("accounts")
        if cached is None:
            return self._issue("accounts", _subject("service-accounts", ()), ExtendedKeyUsageOID.CODE_SIGNING, None).key
        return self._read("accounts").key

    def server_context(self, extra_names: Iterable[str] = ()) -> ssl.SSLContext:
        """Return the TLS side of the server: client certificates are welcome, and checked when given."""
        self.server(extra_names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path("server", "crt"), self._path("server", "key"))
        context.load_verify_locations(cadata=self.authority.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def kubeconfig(self, server: str, user: str, groups: tuple[str, ...] = (), *, name: str = "fairlead") -> str:
        """Return a kubeconfig with everything embedded, for a server URL; contexts and clusters carry `name`."""
        credential = self.client(user, groups)
        return kubeconfig_text(server, self.authority, credential, user=user, name=name)

    # The folder.

    def _path(self, stem: str, suffix: str) -> Path:
        return self._folder / f"{stem}.{suffix}"

    def _read(self, stem: str) -> Credential:
        return Credential(self._path(stem, "crt").read_bytes(), self._path(stem, "key").read_bytes())

    def _write(self, stem: str, credential: Credential) -> Credential:
        for suffix, content in (("key", credential.key), ("crt", credential.certificate)):
            path = self._path(stem, suffix)
            fresh = path.with_suffix(path.suffix + ".new")
            try:
                with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(content)
                fresh.replace(path)
            except OSError as error:
                raise _unwritable(path, error) from error
        return credential

    def _load(self, stem: str) -> x509.Certificate | None:
        loaded = self._load_pair(stem)
        if loaded is None:
            return None
        try:
            loaded.certificate.verify_directly_issued_by(self._signer.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return None
        return loaded.certificate

    def _load_pair(self, stem: str) -> _Signer | None:
        try:
            pair = self._read(stem)
            certificate = x509.load_pem_x509_certificate(pair.certificate)
            key = serialization.load_pem_private_key(pair.key, password=None)
        except (OSError, ValueError, TypeError):
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            return None
        if certificate.not_valid_after_utc - self._now < _RENEW_BEFORE or certificate.not_valid_before_utc > self._now:
            return None
        return _Signer(certificate, key)

    def _make_authority(self) -> _Signer:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject("fairlead-ca", ())
        builder = self._builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
        self._write("ca", _credential(certificate, key))
        return _Signer(certificate, key)

    def _issue(
        self,
        stem: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._signer
        builder = (
            self._builder(subject, issuer.certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return self._write(stem, _credential(builder.sign(issuer.key, hashes.SHA256()), key))

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _SKEW)
            .not_valid_after(self._now + _LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def kubeconfig_text(server: str, authority: bytes, credential: Credential, *, user: str, name: str) -> str:
    """Return a kubeconfig (v1 Config, as YAML that is also plain to read) for one cluster, user and context."""

    def data(content: bytes) -> str:
        return base64.b64encode(content).decode()

    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: "{name}"
  cluster:
    server: {server}
    certificate-authority-data: {data(authority)}
users:
- name: "{user}"
  user:
    client-certificate-data: {data(credential.certificate)}
    client-key-data: {data(credential.key)}
contexts:
- name: "{name}"
  context:
    cluster: "{name}"
    user: "{user}"
current-context: "{name}"
"""


def _unwritable(path: Path, error: OSError) -> FairleadError:
    return FairleadError(f"cannot write {path}: {error.strerror}", "make the folder writable, or choose another one")


def _credential(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
    return Credential(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _subject(user: str, groups: tuple[str, ...]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
