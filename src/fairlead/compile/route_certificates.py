"""Secrets to certificates: PEM text comes in, a checked key pair or what is wrong with it goes out.

Source: kubernetes.io/tls Secrets; reference section 7 (keys that do not match, encrypted keys, endless chains).
"""

import base64
import binascii
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from fairlead.kube.core import Secret
from fairlead.model import Origin
from fairlead.model.route_tls import Certificate, CertificateId

_LARGEST = 256 * 1024
_SPKI = Encoding.DER, PublicFormat.SubjectPublicKeyInfo


def data_of(secret: Secret) -> Mapping[str, bytes]:
    """The Secret's values; what is no base64 is left out."""
    found: dict[str, bytes] = {}
    for name, text in secret.data.items():
        try:
            found[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
    return found


def compile_certificate(secret: Secret) -> Certificate | str:
    """The Secret's key pair, or what is wrong with it."""
    meta = secret.metadata
    data = data_of(secret)
    chain, key = data.get("tls.crt", b""), data.get("tls.key", b"")
    if not chain or not key:
        return "it has no tls.crt and tls.key"
    if len(chain) > _LARGEST or len(key) > _LARGEST:
        return f"it holds more than {_LARGEST // 1024} KiB"
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        private = load_pem_private_key(key, None)
    except TypeError:
        return "its key is encrypted"
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"tls.crt or tls.key cannot be read: {error}"
    first = certificates[0]
    if first.public_key().public_bytes(*_SPKI) != private.public_key().public_bytes(*_SPKI):
        return "tls.key is not the key of the first certificate in tls.crt"
    return Certificate(
        id=CertificateId(meta.namespace, meta.name),
        chain="".join(each.public_bytes(Encoding.PEM).decode() for each in certificates),
        key=key.decode("ascii", "replace").strip() + "\n",
        names=names_of(first),
        not_after=int(first.not_valid_after_utc.timestamp()),
        origin=Origin("Secret", meta.namespace, meta.name),
    )


def compile_authorities(secret: Secret) -> str:
    """The authorities in `ca.crt` as PEM. Raises ValueError with what is wrong."""
    text = data_of(secret).get("ca.crt", b"")
    if not text:
        raise ValueError("it has no ca.crt")
    if len(text) > _LARGEST:
        raise ValueError(f"it holds more than {_LARGEST // 1024} KiB")
    try:
        certificates = x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise ValueError(f"ca.crt cannot be read: {error}") from None
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names a certificate is good for, or its common name where it has none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        found = ()
    if found:
        return found
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return tuple(str(each.value).lower() for each in common[:1])


def is_good_for(certificate: Certificate, host: str) -> bool:
    """Whether one of the names is the host's, wildcards for one label."""
    wildcard = "*" + host[host.find(".") :] if "." in host else host
    return host in certificate.names or wildcard in certificate.names
