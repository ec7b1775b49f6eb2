"""The tokens with which a long list goes on where it stopped.

In and out: the revision a list began at, and the key it stopped before, as opaque text in upstream's own form
(k8s.io/apiserver/pkg/storage/continue.go). A token without a revision goes on with what is there now.
"""

import base64
import binascii

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.statuses import bad_request
from fairlead.cluster.apiserver.store import ObjectKey

_VERSION = "meta.k8s.io/v1"


class Continuation(Struct, frozen=True):
    """Where to go on: at `revision` (-1 for now), with the first key from `start` on."""

    revision: int
    start: ObjectKey


class _Token(Struct):
    v: str
    rv: int
    start: str


def encode_token(continuation: Continuation) -> str:
    """Return the token of a continuation."""
    namespace, name = continuation.start
    token = _Token(v=_VERSION, rv=continuation.revision, start=f"{namespace}/{name}")
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decode_token(text: str) -> Continuation:
    """Read a token; raise 400 where it is none of ours."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise bad_request("continue key is not valid: it was not made by this server") from error
    namespace, slash, name = token.start.partition("/")
    if token.v != _VERSION or not slash:
        raise bad_request("continue key is not valid: it was not made by this server")
    return Continuation(token.rv, (namespace, name))
