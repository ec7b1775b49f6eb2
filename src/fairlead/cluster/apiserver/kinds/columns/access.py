"""The columns of roles and of their bindings.

Source: the printers of k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, text_at

ROLE = (NAME, Column("Created At", "date", "", "When the object was created."))
BINDING = (
    NAME,
    Column("Role", "string", "", "The role that is given."),
    AGE,
    Column("Users", "string", "", "The users it is given to.", 1),
    Column("Groups", "string", "", "The groups it is given to.", 1),
    Column("ServiceAccounts", "string", "", "The service accounts it is given to, with their namespaces.", 1),
)


def role_row(role: Document, now: float) -> list[Json]:
    """Return the cells of `ROLE`."""
    return [name_of(role), text_at(role, "metadata", "creationTimestamp")]


def binding_row(binding: Document, now: float) -> list[Json]:
    """Return the cells of `BINDING`."""
    found: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in children(binding, "subjects"):
        name, kind = text_at(subject, "name"), text_at(subject, "kind")
        if kind in found:
            found[kind].append(f"{text_at(subject, 'namespace')}/{name}" if kind == "ServiceAccount" else name)
    role = f"{text_at(binding, 'roleRef', 'kind')}/{text_at(binding, 'roleRef', 'name')}"
    return [name_of(binding), role, age_of(binding, now), *(", ".join(names) for names in found.values())]
