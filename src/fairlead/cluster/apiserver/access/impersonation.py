"""Acting as somebody else: `kubectl --as`.

In: who sends a request, and its Impersonate headers. Out: the user it is to count for, or 403. Source:
k8s.io/apiserver/pkg/endpoints/filters/impersonation.go.
"""

from collections.abc import Iterable
from urllib.parse import unquote

from fairlead.cluster.apiserver.access.authorizer import Authorizer
from fairlead.cluster.apiserver.access.rules import Wish
from fairlead.cluster.apiserver.statuses import bad_request
from fairlead.cluster.apiserver.users import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User

ACCOUNT = "system:serviceaccount:"
ACCOUNTS = "system:serviceaccounts"

_PREFIX = "impersonate-"
_EXTRA = "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"


def impersonated(user: User, headers: Iterable[tuple[str, str]], authorizer: Authorizer) -> User:
    """Return whom a request counts for; raise 403 where its sender may not act as them, 400 where no user is named."""
    wanted = [(name.lower(), value) for name, value in headers if name.lower().startswith(_PREFIX)]
    if not wanted:
        return user
    name = next((value for header, value in wanted if header == "impersonate-user"), "")
    groups = tuple(value for header, value in wanted if header == "impersonate-group")
    uid = next((value for header, value in wanted if header == "impersonate-uid"), "")
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in wanted:
        if header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    if not name:
        raise bad_request(f"requested {[value for _, value in wanted]} without impersonating a user")
    for wish in _wishes(name, groups, uid, extra):
        refusal = authorizer.refusal(user, wish)
        if refusal is not None:
            raise refusal
    return User(name, _all_groups(name, groups), uid, tuple(extra.items()))


def groups_of_account(namespace: str) -> tuple[str, ...]:
    """Return the groups of every service account of a namespace."""
    return (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)


def _wishes(name: str, groups: tuple[str, ...], uid: str, extra: dict[str, tuple[str, ...]]) -> Iterable[Wish]:
    account = name.removeprefix(ACCOUNT).split(":")
    if name.startswith(ACCOUNT) and len(account) == 2:
        yield Wish(verb="impersonate", resource="serviceaccounts", namespace=account[0], name=account[1])
    else:
        yield Wish(verb="impersonate", resource="users", name=name)
    for group in groups:
        yield Wish(verb="impersonate", resource="groups", name=group)
    if uid:
        yield Wish(verb="impersonate", group=_AUTHENTICATION, resource="uids", name=uid)
    for key, values in extra.items():
        for value in values:
            yield Wish(verb="impersonate", group=_AUTHENTICATION, resource="userextras", subresource=key, name=value)


def _all_groups(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    if name == ANONYMOUS.name:
        return groups if UNAUTHENTICATED in groups else (*groups, UNAUTHENTICATED)
    account = name.removeprefix(ACCOUNT).split(":")
    if not groups and name.startswith(ACCOUNT) and len(account) == 2:
        return groups_of_account(account[0])
    return groups if AUTHENTICATED in groups else (*groups, AUTHENTICATED)
