"""The OpenAPI v3 routes: an index, and documents whose URLs name their content.

In: path, query and headers. Out: answers that clients may keep for a year, since another content has another URL.
The documents are the kinds' (k8s.io/kube-openapi/pkg/handler3). Version 2 is there and empty.
"""

from collections.abc import Mapping
from email.utils import formatdate

from fairlead.cluster.apiserver.negotiation import JSON, clauses
from fairlead.cluster.apiserver.statuses import no_such_path, not_acceptable
from fairlead.drivers.kubeapi.transport import ApiResponse

_ROOT = "/openapi/v3"
_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_ASKED = (_V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
_EMPTY_V2 = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.33.4"
"""The gnostic Document of a swagger 2.0 that defines nothing: fields swagger (1) and info (2: title 1, version 2)."""

_YEAR = 365 * 24 * 3600
_ACCEPTED = ("*/*", "application/*", JSON)


def openapi_answer(
    path: str, query: Mapping[str, str], headers: Mapping[str, str], now: float, custom: Mapping[str, bytes]
) -> ApiResponse:
    """Answer a GET below /openapi; raise 404 or 406. `custom` are the documents of kinds that users define."""
    from fairlead.cluster.apiserver.kinds.openapi import digest_of, openapi_index, openapi_v3

    if path == "/openapi/v2":
        return _v2(headers.get("accept", ""))
    if path != _ROOT and not path.startswith(_ROOT + "/"):
        raise no_such_path()
    accept = headers.get("accept", "")
    if accept and not any(media in _ACCEPTED and "as" not in asked for media, asked in clauses(accept)):
        raise not_acceptable([JSON])
    name = path.removeprefix(_ROOT).strip("/")
    if not name:
        return ApiResponse(200, {"Content-Type": JSON, "Vary": "Accept"}, openapi_index(custom))
    body = custom.get(name) or openapi_v3(name)
    if body is None:
        raise no_such_path()
    digest = digest_of(body)
    given = query.get("hash", "")
    if given and given != digest:
        return ApiResponse(301, {"Location": f"{_ROOT}/{name}?hash={digest}"})
    tags = {"ETag": f'"{digest}"', "Vary": "Accept"}
    if given:
        tags |= {"Cache-Control": "public, immutable", "Expires": formatdate(now + _YEAR, usegmt=True)}
    if digest in headers.get("if-none-match", ""):
        return ApiResponse(304, tags)
    return ApiResponse(200, {"Content-Type": JSON, **tags}, body)


def _v2(accept: str) -> ApiResponse:
    """Answer in v2 that nothing is defined there.

    kubectl asks for it when v3 does not know a kind, and then leaves validation to the server. Without this answer it
    would report a failed download in place of the unknown kind.
    """
    if any(media in _V2_ASKED for media, _ in clauses(accept)):
        return ApiResponse(200, {"Content-Type": _V2_PROTOBUF, "Vary": "Accept"}, _EMPTY_V2)
    if accept and not any(media in _ACCEPTED for media, _ in clauses(accept)):
        raise not_acceptable([JSON, _V2_PROTOBUF])
    body = b'{"swagger":"2.0","info":{"title":"Kubernetes","version":"v1.33.4"},"paths":{},"definitions":{}}'
    return ApiResponse(200, {"Content-Type": JSON, "Vary": "Accept"}, body)
