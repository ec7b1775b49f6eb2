"""Nobody gives away rights they do not have.

In: a role or a binding about to be written, and who writes it. Out: 403 or 404 where it would give more than its
author holds, unless the verbs `escalate` (on roles) or `bind` (on the role that is bound) allow it. Source:
k8s.io/kubernetes/pkg/registry/rbac (policybased storage).
"""

import msgspec

from fairlead.cluster.apiserver.access.authorizer import MASTERS, Authorizer
from fairlead.cluster.apiserver.access.roles import GROUP, Binding
from fairlead.cluster.apiserver.access.rules import PolicyRule, Wish, go_list, missing
from fairlead.cluster.apiserver.kinds.errors import quoted
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.statuses import StatusError, forbidden
from fairlead.cluster.apiserver.users import User
from fairlead.kube.documents import Document, items_at, text_at, value_at


class Escalation:
    """Checks writes of the kinds of RBAC."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def check(self, kind: KindSpec, new: Document, old: Document | None, user: User) -> None:
        """Raise where `user` may not write `new`; what an update leaves as it was is not checked again."""
        if kind.resource.group != GROUP or MASTERS in user.groups:
            return
        if kind.resource.kind in ("Role", "ClusterRole"):
            if old is None or any(new.get(field) != old.get(field) for field in ("rules", "aggregationRule")):
                self._check_role(kind, new, user)
        elif old is None or any(value_at(new, field) != value_at(old, field) for field in ("subjects", "roleRef")):
            self._check_binding(kind, new, user)

    def _check_role(self, kind: KindSpec, role: Document, user: User) -> None:
        name, namespace = text_at(role, "metadata", "name"), text_at(role, "metadata", "namespace")
        wish = Wish(verb="escalate", group=GROUP, resource=kind.resource.plural, namespace=namespace, name=name)
        if self._authorizer.may(user, wish):
            return
        rules = msgspec.convert(items_at(role, "rules"), tuple[PolicyRule, ...])
        if role.get("aggregationRule"):
            rules = (*rules, PolicyRule(("*",), ("*",), ("*",)), PolicyRule(("*",), non_resource_urls=("*",)))
        self._check_rules(kind, name, namespace, rules, user)

    def _check_binding(self, kind: KindSpec, document: Document, user: User) -> None:
        name, namespace = text_at(document, "metadata", "name"), text_at(document, "metadata", "namespace")
        ref = msgspec.convert(document, Binding).role_ref
        plural = "roles" if ref.kind == "Role" else "clusterroles"
        wish = Wish(verb="bind", group=GROUP, resource=plural, namespace=namespace, name=ref.name)
        if self._authorizer.may(user, wish):
            return
        rules = self._authorizer.roles.rules(ref, namespace)
        if rules is None:
            told = f'{plural}.{GROUP} "{ref.name}" not found'
            raise StatusError(404, "NotFound", told, {"name": ref.name, "group": GROUP, "kind": plural})
        self._check_rules(kind, name, namespace, rules, user)

    def _check_rules(
        self, kind: KindSpec, name: str, namespace: str, rules: tuple[PolicyRule, ...], user: User
    ) -> None:
        lacking = missing(self._authorizer.rules_of(user, namespace), rules)
        if not lacking:
            return
        shown = "\n".join(sorted(str(each) for each in lacking))
        why = (
            f"user {quoted(user.name)} (groups={go_list(user.groups)}) is attempting to grant RBAC permissions "
            f"not currently held:\n{shown}"
        )
        raise forbidden(kind.resource, name, why)
