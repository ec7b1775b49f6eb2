"""Roles and bindings as they lie in the store, and the rules they give a user.

In: the store and a user. Out: rules, with the place they hold in. They are read again when one of them has changed,
and not before. It judges nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.access.rules import PolicyRule
from fairlead.cluster.apiserver.store import ResourceKey, Store, Stored
from fairlead.cluster.apiserver.users import User

GROUP: Final = "rbac.authorization.k8s.io"
ROLES: Final[ResourceKey] = (GROUP, "roles")
CLUSTER_ROLES: Final[ResourceKey] = (GROUP, "clusterroles")
ROLE_BINDINGS: Final[ResourceKey] = (GROUP, "rolebindings")
CLUSTER_ROLE_BINDINGS: Final[ResourceKey] = (GROUP, "clusterrolebindings")


class Subject(Struct, frozen=True):
    """Whom a binding means."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class RoleRef(Struct, frozen=True):
    """Which role a binding gives."""

    kind: str = ""
    name: str = ""


class _Role(Struct, frozen=True):
    rules: tuple[PolicyRule, ...] | None = ()


class Binding(Struct, frozen=True, rename="camel"):
    """A role given to subjects."""

    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] | None = ()

    def means(self, user: User, namespace: str) -> bool:
        """Return whether the binding, of a namespace or of none, is for a user."""
        return any(_is(subject, user, namespace) for subject in self.subjects or ())


def _is(subject: Subject, user: User, namespace: str) -> bool:
    match subject.kind:
        case "User":
            return subject.name == user.name
        case "Group":
            return subject.name in user.groups
        case "ServiceAccount":
            place = subject.namespace or namespace
            return bool(place) and user.name == f"system:serviceaccount:{place}:{subject.name}"
        case _:
            return False


class Roles:
    """The roles and bindings of a store, parsed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stale = True
        self._roles: Mapping[tuple[str, str], tuple[PolicyRule, ...]] = {}
        self._bindings: tuple[tuple[str, Binding], ...] = ()
        for resource in (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            store.follow(resource, self._changed)

    def _changed(self, new: Stored | None, old: Stored | None) -> None:
        self._stale = True

    def _read(self) -> None:
        if not self._stale:
            return
        store, role, binding = self._store, msgspec.json.Decoder(_Role), msgspec.json.Decoder(Binding)
        self._roles = {
            each.key: role.decode(each.raw).rules or ()
            for resource in (ROLES, CLUSTER_ROLES)
            for each in store.items(resource)
        }
        self._bindings = tuple(
            (each.key[0], binding.decode(each.raw))
            for resource in (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS)
            for each in store.items(resource)
        )
        self._stale = False

    def rules(self, ref: RoleRef, namespace: str) -> tuple[PolicyRule, ...] | None:
        """Return the rules of the role a binding of that namespace refers to, None where it is not there."""
        self._read()
        return self._roles.get((namespace if ref.kind == "Role" else "", ref.name))

    def rules_of(self, user: User, namespace: str) -> Iterator[PolicyRule]:
        """Yield every rule that holds for a user in a namespace; cluster-wide ones alone where that is empty."""
        self._read()
        for place, binding in self._bindings:
            if (not place or place == namespace) and binding.means(user, place):
                yield from self.rules(binding.role_ref, place) or ()
