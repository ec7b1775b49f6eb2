"""May this user do this: the question every request is asked.

In: a user and a wish, or a request. Out: yes or no, and the refusal in upstream's words. Members of system:masters
may do everything; everyone else what roles allow (k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac). The wish of a
request is read as k8s.io/apiserver/pkg/endpoints/request/requestinfo.go reads it.
"""

from collections.abc import Mapping

from fairlead.cluster.apiserver.access.roles import Roles
from fairlead.cluster.apiserver.access.rules import ALL, PolicyRule, Wish, allows
from fairlead.cluster.apiserver.paths import Target
from fairlead.cluster.apiserver.statuses import StatusError, forbidden_path, forbidden_wish
from fairlead.cluster.apiserver.store import Store
from fairlead.cluster.apiserver.users import User

MASTERS = "system:masters"

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_TRUE = ("1", "true", "True", "TRUE", "t", "T", "")
_EVERYTHING = (
    PolicyRule((ALL,), (ALL,), (ALL,)),
    PolicyRule((ALL,), non_resource_urls=(ALL,)),
)


def wish_of(method: str, path: str, target: Target | None, query: Mapping[str, str]) -> Wish:
    """Return what a request wants; `target` is what its path names, None for paths that are no resource's."""
    if target is None:
        return Wish(verb="get" if method == "HEAD" else method.lower(), path=path)
    name = target.name
    if method in ("GET", "HEAD"):
        verb = "get" if name else "list"
        if not target.subresource and query.get("watch") in _TRUE:
            verb = "watch"
        if not name:
            name = _selected_name(query.get("fieldSelector", ""))
    else:
        verb = _VERBS.get(method, method.lower())
        if verb == "delete" and not name:
            verb = "deletecollection"
    # The path of a namespace itself counts as inside it: requestinfo.go.
    inside = name if (target.group, target.plural) == ("", "namespaces") else target.namespace
    return Wish(
        verb=verb,
        group=target.group,
        resource=target.plural,
        subresource=target.subresource,
        namespace=inside,
        name=name,
    )


def _selected_name(selector: str) -> str:
    for term in selector.split(","):
        field, _, value = term.partition("=")
        if field == "metadata.name":
            return value.removeprefix("=")
    return ""


class Authorizer:
    """Says who may do what, by the roles in a store."""

    def __init__(self, store: Store) -> None:
        self.roles = Roles(store)

    def may(self, user: User, wish: Wish) -> bool:
        """Return whether a user may do something."""
        if MASTERS in user.groups:
            return True
        return any(allows(rule, wish) for rule in self.roles.rules_of(user, wish.namespace))

    def rules_of(self, user: User, namespace: str) -> tuple[PolicyRule, ...]:
        """Return every rule that holds for a user in a namespace."""
        if MASTERS in user.groups:
            return _EVERYTHING
        return tuple(self.roles.rules_of(user, namespace))

    def refusal(self, user: User, wish: Wish) -> StatusError | None:
        """Return why a user may not do something, None where they may."""
        if self.may(user, wish):
            return None
        return refused(user, wish)


def refused(user: User, wish: Wish) -> StatusError:
    """Return the 403 for a wish (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go)."""
    if not wish.resource:
        return forbidden_path(user.name, wish.verb, wish.path)
    place = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {wish.verb} resource "{wish.full_resource}" in API group "{wish.group}" {place}'
    return forbidden_wish(wish.group, wish.resource, wish.name, why)
