"""The OpenAPI v3 routes: an index, and documents whose URLs name their content.

In: path, query and headers. Out: answers that clients may keep for a year, since another content has another URL.
The documents are the kinds' (k8s.io/kube-openapi/pkg/handler3). There is no v2: a 404 says so.
"""

from collections.abc import Mapping
from email.utils import formatdate

from fairlead.cluster.apiserver.negotiation import JSON, clauses
from fairlead.cluster.apiserver.statuses import no_such_path, not_acceptable
from fairlead.drivers.kubeapi.transport import ApiResponse

_ROOT = "/openapi/v3"
_YEAR = 365 * 24 * 3600
_ACCEPTED = ("*/*", "application/*", JSON)


def openapi_answer(path: str, query: Mapping[str, str], headers: Mapping[str, str], now: float) -> ApiResponse:
    """Answer a GET below /openapi; raise 404 or 406."""
    from fairlead.cluster.apiserver.kinds.openapi import openapi_hash, openapi_index, openapi_v3

    if path != _ROOT and not path.startswith(_ROOT + "/"):
        raise no_such_path()
    accept = headers.get("accept", "")
    if accept and not any(media in _ACCEPTED and "as" not in asked for media, asked in clauses(accept)):
        raise not_acceptable([JSON])
    name = path.removeprefix(_ROOT).strip("/")
    if not name:
        return ApiResponse(200, {"Content-Type": JSON, "Vary": "Accept"}, openapi_index())
    body = openapi_v3(name)
    if body is None:
        raise no_such_path()
    digest = openapi_hash(name)
    given = query.get("hash", "")
    if given and given != digest:
        return ApiResponse(301, {"Location": f"{_ROOT}/{name}?hash={digest}"})
    tags = {"ETag": f'"{digest}"', "Vary": "Accept"}
    if given:
        tags |= {"Cache-Control": "public, immutable", "Expires": formatdate(now + _YEAR, usegmt=True)}
    if digest in headers.get("if-none-match", ""):
        return ApiResponse(304, tags)
    return ApiResponse(200, {"Content-Type": JSON, **tags}, body)
