"""The kinds of access: roles, their bindings, and the reviews, which are asked and answered and never stored."""

from collections.abc import Callable, Iterator

from fairlead.cluster.apiserver.kinds.columns import access as columns
from fairlead.cluster.apiserver.kinds.columns.plain import plain_row
from fairlead.cluster.apiserver.kinds.errors import FieldError
from fairlead.cluster.apiserver.kinds.spec import CREATE_ONLY, KindSpec
from fairlead.cluster.apiserver.kinds.validation import access as rules
from fairlead.cluster.apiserver.kinds.validation.fields import listed, listed_update, metadata_of
from fairlead.kube.documents import Document
from fairlead.kube.resources import Resource

_GROUP = "rbac.authorization.k8s.io"
_RBAC = "io.k8s.api.rbac.v1"
_AUTHORIZATION = "authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"

Rule = Callable[[Document], Iterator[FieldError]]


def _role(kind: str, rule: Rule, *, namespaced: bool) -> KindSpec:
    return KindSpec(
        resource=Resource(_GROUP, "v1", kind, f"{kind.lower()}s", namespaced),
        singular=kind.lower(),
        schema=f"{_RBAC}.{kind}",
        allow_create_on_update=True,
        columns=columns.ROLE,
        row=columns.role_row,
        validate=listed(metadata_of(rules.path_segment), rule),
    )


def _binding(kind: str, rule: Rule, *, namespaced: bool) -> KindSpec:
    return KindSpec(
        resource=Resource(_GROUP, "v1", kind, f"{kind.lower()}s", namespaced),
        singular=kind.lower(),
        schema=f"{_RBAC}.{kind}",
        allow_create_on_update=True,
        columns=columns.BINDING,
        row=columns.binding_row,
        default=rules.default_binding,
        validate=listed(metadata_of(rules.path_segment), rule),
        validate_update=listed_update(rules.binding_update_rules),
    )


def _review(group: str, kind: str, *, namespaced: bool = False) -> KindSpec:
    return KindSpec(
        resource=Resource(group, "v1", kind, f"{kind.lower()}s", namespaced),
        singular=kind.lower(),
        schema=f"io.k8s.api.{group.partition('.')[0]}.v1.{kind}",
        verbs=CREATE_ONLY,
        row=plain_row,
        asked=True,
    )


ACCESS = (
    _role("Role", rules.role_rules, namespaced=True),
    _binding("RoleBinding", rules.role_binding_rules, namespaced=True),
    _role("ClusterRole", rules.cluster_role_rules, namespaced=False),
    _binding("ClusterRoleBinding", rules.cluster_role_binding_rules, namespaced=False),
    _review(_AUTHORIZATION, "SelfSubjectAccessReview"),
    _review(_AUTHORIZATION, "SelfSubjectRulesReview"),
    _review(_AUTHORIZATION, "SubjectAccessReview"),
    _review(_AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True),
    _review(_AUTHENTICATION, "SelfSubjectReview"),
    _review(_AUTHENTICATION, "TokenReview"),
)
