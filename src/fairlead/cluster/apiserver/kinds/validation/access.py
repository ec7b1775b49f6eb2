"""What may stand in roles and in their bindings.

In: a document. Out: FieldErrors in upstream's words (k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go).
"""

from collections.abc import Iterator

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import FieldError, invalid, required, unsupported
from fairlead.cluster.apiserver.kinds.validation.texts import dns_subdomain
from fairlead.kube.documents import Document, items_at, mapping_at, text_at

GROUP = "rbac.authorization.k8s.io"

Found = Iterator[FieldError]


def path_segment(value: str) -> tuple[str, ...]:
    """Judge a name that may be anything a part of a path can be (api/validation/path/name.go)."""
    if value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{each}'" for each in "/%" if each in value)


def role_rules(role: Document) -> Found:
    """Judge the rules of a Role."""
    yield from _rules(role, namespaced=True)


def cluster_role_rules(role: Document) -> Found:
    """Judge the rules of a ClusterRole."""
    yield from _rules(role, namespaced=False)
    if isinstance(role.get("aggregationRule"), dict) and not items_at(role, "aggregationRule", "clusterRoleSelectors"):
        yield required(
            "aggregationRule.clusterRoleSelectors",
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        )


def _rules(role: Document, *, namespaced: bool) -> Found:
    for index, rule in enumerate(children(role, "rules")):
        path = f"rules[{index}]"
        urls, groups = items_at(rule, "nonResourceURLs"), items_at(rule, "apiGroups")
        resources = items_at(rule, "resources")
        if not items_at(rule, "verbs"):
            yield required(f"{path}.verbs", "verbs must contain at least one value")
        if urls:
            if namespaced:
                yield invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
            if groups or resources or items_at(rule, "resourceNames"):
                told = "rules cannot apply to both regular resources and non-resource URLs"
                yield invalid(f"{path}.nonResourceURLs", urls, told)
            continue
        if not groups:
            yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not resources:
            yield required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding_rules(binding: Document) -> Found:
    """Judge a RoleBinding."""
    yield from _binding(binding, ("ClusterRole", "Role"))


def cluster_role_binding_rules(binding: Document) -> Found:
    """Judge a ClusterRoleBinding."""
    yield from _binding(binding, ("ClusterRole",))


def _binding(binding: Document, kinds: tuple[str, ...]) -> Found:
    ref = mapping_at(binding, "roleRef")
    if text_at(ref, "apiGroup") != GROUP:
        yield unsupported("roleRef.apiGroup", text_at(ref, "apiGroup"), (GROUP,))
    if text_at(ref, "kind") not in kinds:
        yield unsupported("roleRef.kind", text_at(ref, "kind"), kinds)
    if not text_at(ref, "name"):
        yield required("roleRef.name")
    else:
        for told in path_segment(text_at(ref, "name")):
            yield invalid("roleRef.name", text_at(ref, "name"), told)
    for index, subject in enumerate(children(binding, "subjects")):
        yield from _subject(f"subjects[{index}]", subject, namespaced=kinds[-1] == "Role")


def _subject(path: str, subject: Document, *, namespaced: bool) -> Found:
    name, kind = text_at(subject, "name"), text_at(subject, "kind")
    group = text_at(subject, "apiGroup")
    if not name:
        yield required(f"{path}.name")
    if kind == "ServiceAccount":
        for told in dns_subdomain(name) if name else ():
            yield invalid(f"{path}.name", name, told)
        if group:
            yield unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not text_at(subject, "namespace"):
            yield required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != GROUP:
            yield unsupported(f"{path}.apiGroup", group, (GROUP,))
    else:
        yield unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def binding_update_rules(new: Document, old: Document) -> Found:
    """Refuse another role for a binding."""
    if new.get("roleRef") != old.get("roleRef"):
        yield invalid("roleRef", new.get("roleRef"), "cannot change roleRef")


def default_binding(binding: Document) -> None:
    """Fill in the API groups of the role and of the subjects, and the namespace of accounts of the same one."""
    ref = mapping_at(binding, "roleRef")
    if ref and not text_at(ref, "apiGroup"):
        ref["apiGroup"] = GROUP
    for subject in children(binding, "subjects"):
        if text_at(subject, "kind") in ("User", "Group") and not text_at(subject, "apiGroup"):
            subject["apiGroup"] = GROUP
