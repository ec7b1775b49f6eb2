"""The three patches of the API applied to a document.

In: the present document, the body of a PATCH and its media type. Out: a new document, or a StatusError. RFC 6902 is
the jsonpatch library's; RFC 7386 is here; the strategic merge of Kubernetes knows schemas and comes in as a
function.
"""

import copy
from collections.abc import Callable
from typing import cast

import msgspec

from fairlead.cluster.apiserver.negotiation import JSON_PATCH, STRATEGIC_MERGE_PATCH
from fairlead.cluster.apiserver.statuses import StatusError, bad_request, unprocessable
from fairlead.kube.documents import Document, Json

MAX_OPERATIONS = 10_000

StrategicMerge = Callable[[Document, Document], Document]


def merge(target: Json, patch: Json) -> Json:
    """Return `target` with a merge patch applied (RFC 7386); neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def decode_patch(body: bytes) -> Json:
    """Decode the body of a patch; raise 400 where it is not JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body of the patch is not valid JSON: {error}") from error


def apply_patch(current: Document, body: bytes, media: str, strategic_merge: StrategicMerge) -> Document:
    """Return the patched document; `current` is the caller's to give away and may be changed."""
    patch = decode_patch(body)
    if media == JSON_PATCH:
        return _apply_operations(current, patch)
    if not isinstance(patch, dict):
        raise bad_request("the body of the patch must be an object")
    if media == STRATEGIC_MERGE_PATCH:
        try:
            return strategic_merge(current, patch)
        except ValueError as error:
            raise unprocessable(str(error)) from error
    merged = merge(current, patch)
    assert isinstance(merged, dict)
    return merged


def _apply_operations(current: Document, patch: Json) -> Document:
    import jsonpatch
    import jsonpointer

    if not isinstance(patch, list):
        raise bad_request("the body of a JSON patch must be a list of operations")
    if len(patch) > MAX_OPERATIONS:
        raise StatusError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}",
        )
    try:
        operations = cast("list[dict[str, object]]", patch)
        patched: Json = jsonpatch.JsonPatch(copy.deepcopy(operations)).apply(current)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"the JSON patch is not valid: {error}") from error
    except jsonpatch.JsonPatchTestFailed as error:
        raise unprocessable(
            "the server rejected our request due to an error in our request: a test of the JSON patch failed"
        ) from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise unprocessable(f"the server rejected our request due to an error in our request: {error}") from error
    if not isinstance(patched, dict):
        raise unprocessable("the JSON patch leaves no object")
    return patched
