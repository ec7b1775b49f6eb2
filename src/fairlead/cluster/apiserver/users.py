"""Who sends a request, and whether the door opens.

In: the subject of a verified client certificate, or none. Out: a `User`, and a refusal or nothing for a method and
path. Roles are not known here: everyone with a certificate of this cluster may do everything, others may ask for
health and version.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from fairlead.cluster.apiserver.statuses import StatusError, forbidden_path

_OPEN = ("/healthz", "/livez", "/readyz", "/version")

_VERBS = {"GET": "get", "HEAD": "get", "POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}


class User(Struct, frozen=True):
    """A name and the groups it is in."""

    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))


def user_of_certificate(certificate: Mapping[str, object]) -> User:
    """Read the user from a certificate as `SSLSocket.getpeercert()` gives it: CN is the name, each O a group."""
    names: dict[str, list[str]] = {"commonName": [], "organizationName": []}
    subject = certificate.get("subject", ())
    if isinstance(subject, Sequence):
        for part in subject:  # pyright: ignore[reportUnknownVariableType]  # nested tuples without a type of their own
            for attribute, value in part:  # pyright: ignore[reportUnknownVariableType]
                if attribute in names:
                    names[attribute].append(str(value))  # pyright: ignore[reportUnknownArgumentType]
    if not names["commonName"]:
        return ANONYMOUS
    return User(names["commonName"][0], (*names["organizationName"], "system:authenticated"))


def refuse_path(user: User, method: str, path: str) -> StatusError | None:
    """Return why the user may not send this, or None."""
    if "system:unauthenticated" not in user.groups:
        return None
    if method in ("GET", "HEAD") and any(path == each or path.startswith(each + "/") for each in _OPEN):
        return None
    return forbidden_path(user.name, _VERBS.get(method, method.lower()), path)
