"""The rules of roles, and what they allow.

In: rules and what somebody wants to do. Out: yes or no, and which rights are missing where one set of rules is to
cover another. It knows no users and no storage. Source: k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go and
k8s.io/component-helpers/auth/rbac/validation/policy_comparator.go.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from fairlead.cluster.apiserver.kinds.errors import quoted

ALL = "*"


class PolicyRule(Struct, frozen=True, rename="camel"):
    """One rule of a role: verbs on resources, or verbs on paths that are no resources."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = field(default=(), name="nonResourceURLs")

    def __str__(self) -> str:
        """Return the rule as upstream's refusals show it (PolicyRule.CompactString)."""
        parts = (
            ("APIGroups", self.api_groups),
            ("Resources", self.resources),
            ("ResourceNames", self.resource_names),
            ("NonResourceURLs", self.non_resource_urls),
            ("Verbs", self.verbs),
        )
        return "{" + ", ".join(f"{name}:{go_list(values)}" for name, values in parts if values) + "}"


class Wish(Struct, frozen=True, kw_only=True):
    """What somebody wants to do: a verb on a resource, or on `path` where `resource` is empty."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """The resource with its subresource, as rules name them."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def go_list(values: Iterable[str]) -> str:
    """Return texts as Go's %q writes a slice of them."""
    return f"[{' '.join(quoted(value) for value in values)}]"


def allows(rule: PolicyRule, wish: Wish) -> bool:
    """Return whether one rule allows a wish."""
    if ALL not in rule.verbs and wish.verb not in rule.verbs:
        return False
    if not wish.resource:
        return any(_path_matches(each, wish.path) for each in rule.non_resource_urls)
    return (
        _has(rule.api_groups, wish.group)
        and any(_resource_matches(each, wish) for each in rule.resources)
        and (not rule.resource_names or wish.name in rule.resource_names)
    )


def _has(values: tuple[str, ...], wanted: str) -> bool:
    return ALL in values or wanted in values


def _resource_matches(given: str, wish: Wish) -> bool:
    if given in (ALL, wish.full_resource):
        return True
    return bool(wish.subresource) and given == f"*/{wish.subresource}"


def _path_matches(given: str, path: str) -> bool:
    return given in (ALL, path) or (given.endswith(ALL) and path.startswith(given[:-1]))


def missing(held: Iterable[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """Return the rights in `wanted` that `held` does not cover, merged by resource; empty where all are covered."""
    held = tuple(held)
    lacking = [each for rule in wanted for each in _atoms(rule) if not any(_covers(own, each) for own in held)]
    merged: dict[PolicyRule, list[str]] = {}
    for atom in lacking:
        key = PolicyRule((), atom.api_groups, atom.resources, atom.resource_names, atom.non_resource_urls)
        merged.setdefault(key, []).extend(verb for verb in atom.verbs if verb not in merged.get(key, ()))
    return [
        PolicyRule(tuple(verbs), key.api_groups, key.resources, key.resource_names, key.non_resource_urls)
        for key, verbs in merged.items()
    ]


def _atoms(rule: PolicyRule) -> Iterator[PolicyRule]:
    """Yield a rule as rules of one group, one resource, one verb and at most one name each."""
    for verb in rule.verbs:
        for group in rule.api_groups:
            for resource in rule.resources:
                for name in rule.resource_names or ("",):
                    yield PolicyRule((verb,), (group,), (resource,), (name,) if name else ())
        for path in rule.non_resource_urls:
            yield PolicyRule((verb,), non_resource_urls=(path,))


def _covers(own: PolicyRule, atom: PolicyRule) -> bool:
    if not _has(own.verbs, atom.verbs[0]):
        return False
    if atom.non_resource_urls:
        path = atom.non_resource_urls[0]
        return any(_path_matches(each, path) for each in own.non_resource_urls)
    resource = atom.resources[0]
    plain, _, subresource = resource.partition("/")
    named = resource in own.resources or ALL in own.resources
    named = named or (bool(subresource) and plain != ALL and f"*/{subresource}" in own.resources)
    held_names = not own.resource_names or (bool(atom.resource_names) and atom.resource_names[0] in own.resource_names)
    return named and _has(own.api_groups, atom.api_groups[0]) and held_names
