"""Who sends a request.

In: the subject of a verified client certificate, or none. Out: a `User`. What users may do is the business of
`access`.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct


class User(Struct, frozen=True):
    """A name, the groups it is in, and what else its credentials say."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
ADMIN = User("kubernetes-admin", ("system:masters", AUTHENTICATED))


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
    return User(names["commonName"][0], (*names["organizationName"], AUTHENTICATED))
