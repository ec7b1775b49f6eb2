"""Signed tokens: JSON Web Tokens with ES256 (RFC 7519, RFC 7518 section 3.4).

In: claims and a private key. Out: texts, and claims again where signature and time are right. Whose they are is the
business of `accounts`.
"""

import base64
import binascii
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from fairlead.kube.documents import Document

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ISSUER = "https://kubernetes.default.svc.cluster.local"

_SIZE = 32
"""Bytes of each of the two numbers of a P-256 signature."""


class BadTokenError(ValueError):
    """A token that is not one of ours, or not any more."""


class Named(Struct, frozen=True):
    """An object in a claim."""

    name: str
    uid: str = ""


class Place(Struct, frozen=True, omit_defaults=True):
    """The claim `kubernetes.io`: whose token it is, and which object it is bound to."""

    namespace: str
    serviceaccount: Named
    pod: Named | None = None
    secret: Named | None = None
    node: Named | None = None


class Claims(Struct, frozen=True, kw_only=True):
    """What a token says. Times are seconds since 1970."""

    iss: str
    sub: str
    aud: tuple[str, ...]
    exp: int
    nbf: int
    iat: int
    jti: str
    place: Place = msgspec.field(name="kubernetes.io")


class Tokens:
    """Signs and reads the tokens of one cluster."""

    def __init__(self, key: bytes, clock: Callable[[], float]) -> None:
        """`key` is a PEM private key on P-256; an empty one makes a new key when the first token is asked for."""
        self._pem = key
        self._clock = clock
        self._known: dict[str, Claims] = {}

    @cached_property
    def _key(self) -> "EllipticCurvePrivateKey":
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        if not self._pem:
            return ec.generate_private_key(ec.SECP256R1())
        key = serialization.load_pem_private_key(self._pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def sign(self, claims: Claims) -> str:
        """Return a token."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        header: Document = {"alg": "ES256", "typ": "JWT"}
        signed = f"{_packed(msgspec.json.encode(header))}.{_packed(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_packed(r.to_bytes(_SIZE, 'big') + s.to_bytes(_SIZE, 'big'))}"

    def read(self, token: str) -> Claims:
        """Return the claims of a token; raise BadTokenError unless it is signed by us and of the present time."""
        claims = self._known.get(token) or self._verified(token)
        now = self._clock()
        if claims.iss != ISSUER or not claims.nbf <= now + 1 or now >= claims.exp:
            self._known.pop(token, None)
            raise BadTokenError("service account token has expired")
        if len(self._known) > _KNOWN:
            self._known.clear()
        self._known[token] = claims
        return claims

    def _verified(self, token: str) -> Claims:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        try:
            signed, _, packed = token.rpartition(".")
            header, _, claims = signed.partition(".")
            signature = _unpacked(packed)
            if msgspec.json.decode(_unpacked(header), type=_Header).alg != "ES256" or len(signature) != 2 * _SIZE:
                raise BadTokenError("the token is not signed with ES256")
            r, s = int.from_bytes(signature[:_SIZE], "big"), int.from_bytes(signature[_SIZE:], "big")
            self._key.public_key().verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
            return msgspec.json.decode(_unpacked(claims), type=Claims)
        except (InvalidSignature, msgspec.MsgspecError, binascii.Error, UnicodeError) as error:
            raise BadTokenError("invalid bearer token") from error


_KNOWN = 1000
"""How many verified tokens are remembered, so that a signature is checked once."""


class _Header(Struct, frozen=True):
    alg: str


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
