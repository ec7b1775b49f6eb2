"""The refusals of the API, worded as upstream words them.

In: what was asked and what is wrong. Out: `StatusError`, which carries the `Status` document a client gets. Texts
and reasons are those of k8s.io/apimachinery/pkg/api/errors/errors.go; clients read the reason and the code, people
search for the text.
"""

from collections.abc import Sequence

import msgspec

from fairlead.cluster.apiserver.kinds.errors import FieldError
from fairlead.kube.documents import Document, Json
from fairlead.kube.resources import Resource


class StatusError(Exception):
    """A request that is answered with a failure."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Document | None = None,
        metadata: Document | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata

    def document(self) -> Document:
        """Return the Status as an object of the API."""
        status: Document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata or {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def body(self) -> bytes:
        """Return the Status as JSON."""
        return msgspec.json.encode(self.document()) + b"\n"


def qualified(resource: Resource) -> str:
    """Return the resource as errors name it, as in deployments.apps."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def qualified_kind(resource: Resource) -> str:
    """Return the kind as validation errors name it, as in Deployment.apps."""
    return f"{resource.kind}.{resource.group}" if resource.group else resource.kind


def _details(name: str, group: str, kind: str, **more: Json) -> Document:
    found: Document = {"name": name, "group": group, "kind": kind, **more}
    return {key: value for key, value in found.items() if value not in ("", None)}


def _of(resource: Resource, name: str, **more: Json) -> Document:
    return _details(name, resource.group, resource.plural, **more)


def not_found(resource: Resource, name: str) -> StatusError:
    """Say that an object does not exist."""
    return StatusError(404, "NotFound", f'{qualified(resource)} "{name}" not found', _of(resource, name))


def no_such_path() -> StatusError:
    """Say that no resource is served under the path, with details, empty ones: `kubectl debug` looks into them."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str) -> StatusError:
    """Say that the name is taken."""
    return StatusError(409, "AlreadyExists", f'{qualified(resource)} "{name}" already exists', _of(resource, name))


def no_unique_name(resource: Resource, name: str) -> StatusError:
    """Say that eight made-up names were all taken."""
    return StatusError(
        409,
        "AlreadyExists",
        f'{qualified(resource)} "{name}" already exists, '
        "the server was not able to generate a unique name for the object",
        _of(resource, name, retryAfterSeconds=1),
    )


def conflict(resource: Resource, name: str, why: str = "") -> StatusError:
    """Say that the object changed since the caller read it, or is not the one meant."""
    text = why or "the object has been modified; please apply your changes to the latest version and try again"
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {text}',
        _of(resource, name),
    )


def apply_conflict(message: str, conflicts: Sequence[tuple[str, str]]) -> StatusError:
    """Say whose fields an apply would change: pairs of a sentence and a field."""
    causes: list[Json] = [
        {"reason": "FieldManagerConflict", "message": told, "field": field} for told, field in conflicts
    ]
    return StatusError(409, "Conflict", message, {"causes": causes})


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> StatusError:
    """Say which fields are wrong."""
    texts = [str(error) for error in errors]
    told = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes: list[Json] = [{"reason": error.reason, "message": error.body, "field": error.field} for error in errors]
    return StatusError(
        422,
        "Invalid",
        f'{qualified_kind(resource)} "{name}" is invalid: {told}',
        _details(name, resource.group, resource.kind, causes=causes),
    )


def unprocessable(message: str) -> StatusError:
    """Say that a patch cannot be applied to the object."""
    return StatusError(422, "Invalid", message)


def bad_options(why: str) -> StatusError:
    """Say that the options of a patch make no sense."""
    return StatusError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {why}')


def bad_request(message: str) -> StatusError:
    """Say that the request itself makes no sense."""
    return StatusError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Document] = ()) -> StatusError:
    """Say that a rule of the cluster forbids the request."""
    told = (
        f'{qualified(resource)} "{name}" is forbidden: {why}' if name else f"{qualified(resource)} is forbidden: {why}"
    )
    return StatusError(403, "Forbidden", told, _of(resource, name, causes=list(causes) or None))


def forbidden_path(user: str, verb: str, path: str) -> StatusError:
    """Say that the user may not go there."""
    return StatusError(403, "Forbidden", f'forbidden: User "{user}" cannot {verb} path "{path}"', {})


def forbidden_wish(group: str, resource: str, name: str, why: str) -> StatusError:
    """Say that no role allows the user to do that, with a resource that may not even be served."""
    place = f"{resource}.{group}" if group else resource
    told = f'{place} "{name}" is forbidden: {why}' if name else f"{place} is forbidden: {why}"
    return StatusError(403, "Forbidden", told, _details(name, group, resource))


def unauthorized() -> StatusError:
    """Say that the credentials are no good."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def expired(message: str, continue_token: str = "") -> StatusError:
    """Say that the revision is gone; a list may go on inconsistently with the token."""
    metadata: Document | None = {"continue": continue_token} if continue_token else None
    return StatusError(410, "Expired", message, metadata=metadata)


def too_large_revision(revision: int, current: int) -> StatusError:
    """Say that the revision lies in the future."""
    message = f"Too large resource version: {revision}, current: {current}"
    cause: Document = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(504, "Timeout", f"Timeout: {message}", {"causes": [cause], "retryAfterSeconds": 1})


def method_not_allowed(resource: Resource | None, method: str) -> StatusError:
    """Say that the resource does not do that."""
    details = _of(resource, "") if resource else None
    return StatusError(
        405, "MethodNotAllowed", f"the server does not allow this method on the requested resource: {method}", details
    )


def unsupported_media_type(given: str, accepted: Sequence[str]) -> StatusError:
    """Say which forms of body are taken."""
    return StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)} (got {given or 'none'})",
    )


def unknown_message(why: str, accepted: Sequence[str]) -> StatusError:
    """Say that a kind is not read in the form it was sent in, and in which forms it is."""
    return StatusError(415, "UnsupportedMediaType", f"{why}; send it as one of: {', '.join(accepted)}")


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """Say which forms of answer there are."""
    return StatusError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def too_large_body(limit: int) -> StatusError:
    """Say that the body is too big."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def internal(message: str) -> StatusError:
    """Say that the server itself failed."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})


def out_of_storage(message: str) -> StatusError:
    """Say that the change could not be kept, and was not made (RFC 4918, 507)."""
    return StatusError(507, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})
