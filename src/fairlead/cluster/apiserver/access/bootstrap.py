"""The roles every cluster begins with, and who has them.

In: nothing. Out: documents of ClusterRoles, ClusterRoleBindings and Roles. The names and what they allow follow
k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go, as far as the resources exist here.
`admin`, `edit` and `view` are aggregated, so that labelled roles of CustomResourceDefinitions add to them.
"""

from collections.abc import Iterator

from fairlead.cluster.apiserver.access.roles import GROUP
from fairlead.kube.documents import Document, Json

API_VERSION = f"{GROUP}/v1"
AGENT, KUBELET = "system:kube-proxy", "system:node:kubelet"
"""The users of our own node agents (and cluster DNS), and of our kubelet. The controllers act as kubernetes-admin."""
LOAD_BALANCER = "system:load-balancer"
"""The user of our load-balancer agents."""
PASSWORDS = "system:load-balancer-passwords"
"""The role that reads Secrets, in the namespace of BGPPeers alone."""

_READ = "get,list,watch"
_WRITE = "create,delete,deletecollection,patch,update"
_BOTH = f"{_READ},{_WRITE}"

_HEALTH = "/healthz,/livez,/readyz,/version,/version/"
_DISCOVERY = f"/api,/api/*,/apis,/apis/*,/openapi,/openapi/*,{_HEALTH}"

Rule = tuple[str, str, str]
"""Verbs, API groups ("" is the core group, "-" none: the last part are paths), and resources; comma-separated."""

_VIEW: tuple[Rule, ...] = (
    (
        _READ,
        "",
        "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,"
        "replicationcontrollers/scale,serviceaccounts,services,services/status",
    ),
    (
        _READ,
        "",
        "bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,"
        "resourcequotas,resourcequotas/status",
    ),
    (_READ, "", "namespaces"),
    (_READ, "discovery.k8s.io", "endpointslices"),
    (
        _READ,
        "apps",
        "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,"
        "replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status",
    ),
    (_READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status"),
    (_READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status"),
    (_READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status"),
    (_READ, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies"),
    (_READ, "metrics.k8s.io", "pods,nodes"),
)
_EDIT: tuple[Rule, ...] = (
    (_READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy"),
    ("impersonate", "", "serviceaccounts"),
    (_WRITE, "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy"),
    ("create", "", "pods/eviction"),
    (
        _WRITE,
        "",
        "configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,"
        "serviceaccounts,services,services/proxy",
    ),
    ("create", "", "serviceaccounts/token"),
    (
        _WRITE,
        "apps",
        "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,"
        "statefulsets/scale",
    ),
    (_WRITE, "autoscaling", "horizontalpodautoscalers"),
    (_WRITE, "batch", "cronjobs,jobs"),
    (_WRITE, "policy", "poddisruptionbudgets"),
    (_WRITE, "networking.k8s.io", "ingresses,networkpolicies"),
    (_BOTH, "coordination.k8s.io", "leases"),
)
_ADMIN: tuple[Rule, ...] = (
    ("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    (_BOTH, GROUP, "rolebindings,roles"),
)
_AGENT: tuple[Rule, ...] = (
    (_READ, "", "endpoints,namespaces,nodes,pods,services"),
    (_READ, "discovery.k8s.io", "endpointslices"),
    (_READ, "networking.k8s.io,policy.networking.k8s.io", "*"),
    ("create,patch,update", ",events.k8s.io", "events"),
    ("create,get,patch,update", "coordination.k8s.io", "leases"),
)
_LOAD_BALANCER: tuple[Rule, ...] = (
    (_READ, "", "namespaces,nodes,services"),
    (_READ, "discovery.k8s.io", "endpointslices"),
    ("patch,update", "", "services/status"),
    (_READ, "metallb.io", "*"),
    (_WRITE, "metallb.io", "configurationstates,configurationstates/status,ipaddresspools/status"),
    (_WRITE, "metallb.io", "servicel2statuses,servicel2statuses/status,servicebgpstatuses,servicebgpstatuses/status"),
    ("create,patch,update", ",events.k8s.io", "events"),
    ("create,get,patch,update", "coordination.k8s.io", "leases"),
)
_KUBELET: tuple[Rule, ...] = (
    (
        _READ,
        "",
        "configmaps,endpoints,namespaces,persistentvolumeclaims,persistentvolumes,secrets,serviceaccounts,services",
    ),
    (_READ + ",create,delete,patch,update", "", "nodes,pods"),
    ("get,patch,update", "", "nodes/status,pods/status"),
    ("create", "", "pods/eviction,serviceaccounts/token"),
    ("create,patch,update", ",events.k8s.io", "events"),
    ("create,delete,get,list,patch,update,watch", "coordination.k8s.io", "leases"),
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews"),
)
_CLUSTER_ROLES: dict[str, tuple[Rule, ...]] = {
    "cluster-admin": (("*", "*", "*"), ("*", "-", "*")),
    "system:discovery": (("get", "-", _DISCOVERY),),
    "system:public-info-viewer": (("get", "-", _HEALTH),),
    "system:monitoring": (("get", "-", "/healthz,/healthz/*,/livez,/livez/*,/metrics,/readyz,/readyz/*"),),
    "system:basic-user": (
        ("create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews"),
        ("create", "authentication.k8s.io", "selfsubjectreviews"),
    ),
    "system:auth-delegator": (
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
    "system:aggregate-to-view": _VIEW,
    "system:aggregate-to-edit": _EDIT,
    "system:aggregate-to-admin": _ADMIN,
    "system:node-proxier": _AGENT,
    "system:node": _KUBELET,
    "system:load-balancer": _LOAD_BALANCER,
    PASSWORDS: (("get", "", "secrets"),),
}
_AGGREGATED = {"view": "edit", "edit": "admin", "admin": ""}
"""The roles made of those labelled for them, and the role each of them goes into itself."""

_BINDINGS: tuple[tuple[str, str, str], ...] = (
    ("cluster-admin", "Group", "system:masters"),
    ("system:basic-user", "Group", "system:authenticated"),
    ("system:discovery", "Group", "system:authenticated"),
    ("system:public-info-viewer", "Group", "system:authenticated,system:unauthenticated"),
    ("system:monitoring", "Group", "system:monitoring"),
    ("system:node-proxier", "User", AGENT),
    ("system:node", "User", KUBELET),
    ("system:load-balancer", "User", LOAD_BALANCER),
)


def first_cluster_roles() -> Iterator[Document]:
    """Yield the ClusterRoles; those that are aggregated come without rules, which the aggregation fills in."""
    for name, rules in _CLUSTER_ROLES.items():
        labels: Document = {"kubernetes.io/bootstrapping": "rbac-defaults"}
        if name.startswith("system:aggregate-to-"):
            labels[f"{GROUP}/aggregate-to-{name.rpartition('-')[2]}"] = "true"
        yield {"metadata": _metadata(name, labels), "rules": [_rule(each) for each in rules]}
    for name, into in _AGGREGATED.items():
        selectors: list[Json] = [{"matchLabels": {f"{GROUP}/aggregate-to-{name}": "true"}}]
        labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
        if into:
            labels[f"{GROUP}/aggregate-to-{into}"] = "true"
        yield {"metadata": _metadata(name, labels), "aggregationRule": {"clusterRoleSelectors": selectors}}


def first_cluster_role_bindings() -> Iterator[Document]:
    """Yield who has them."""
    for name, kind, subjects in _BINDINGS:
        yield {
            "metadata": _metadata(name, {"kubernetes.io/bootstrapping": "rbac-defaults"}),
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": GROUP, "kind": kind, "name": each} for each in subjects.split(",")],
        }


def first_role_bindings() -> Iterator[tuple[str, Document]]:
    """Yield who has a role in one namespace: the load-balancer agents, for the passwords of routers."""
    yield (
        "metallb-system",
        {
            "metadata": _metadata(PASSWORDS, {"kubernetes.io/bootstrapping": "rbac-defaults"}),
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": PASSWORDS},
            "subjects": [{"apiGroup": GROUP, "kind": "User", "name": LOAD_BALANCER}],
        },
    )


def _metadata(name: str, labels: Document) -> Document:
    return {"name": name, "labels": labels, "annotations": {f"{GROUP}/autoupdate": "true"}}


def _rule(rule: Rule) -> Document:
    verbs, groups, things = rule
    listed: list[Json] = [*things.split(",")]
    if groups == "-":
        return {"verbs": [*verbs.split(",")], "nonResourceURLs": listed}
    return {"verbs": [*verbs.split(",")], "apiGroups": [*groups.split(",")], "resources": listed}
