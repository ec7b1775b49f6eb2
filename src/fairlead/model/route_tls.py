"""Certificates and what is asked of clients that speak TLS."""

from enum import Enum

from msgspec import Struct

from fairlead.model.origins import Origin


class CertificateId(Struct, frozen=True, order=True):
    """One Secret with a key pair, a bundle of authorities or both. Files made from it are named by a hash of this."""

    namespace: str
    secret: str


class Certificate(Struct, frozen=True, kw_only=True):
    """A checked key pair: `chain` and `key` are PEM, and the key is that of the first certificate of the chain.

    `names` are the DNS names it is good for, `not_after` is in seconds since 1970. Changed without a reload.
    """

    id: CertificateId
    chain: str
    key: str
    names: tuple[str, ...]
    not_after: int
    origin: Origin


class ServerTls(Struct, frozen=True, kw_only=True):
    """TLS of one server. Which certificate a client sees is not in it: that changes without a reload."""

    ciphers: str | None = None
    prefer_server_ciphers: bool | None = None


class VerifyClient(Enum):
    """`ssl_verify_client`, in NGINX's words."""

    ON = "on"
    OFF = "off"
    OPTIONAL = "optional"
    OPTIONAL_NO_CA = "optional_no_ca"


class ClientCertificates(Struct, frozen=True, kw_only=True):
    """What is asked of a client's certificate at one server (the auth-tls family).

    `ca` None refuses every request with 403: the Secret was named but could not be used.
    """

    ca: CertificateId | None
    verify: VerifyClient = VerifyClient.ON
    depth: int = 1
    error_page: str | None = None
    pass_to_upstream: bool = False
    match_common_name: str | None = None
