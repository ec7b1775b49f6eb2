"""The ingress controller as objects of the cluster: nothing comes in, documents to apply go out.

Named as in the installations people know: namespace, Deployment, Service, ConfigMap and ServiceAccount are all
`nginx-ingress`, the class is `nginx`. On a cluster of one's own, `deploy/ingress.yaml` is the same.
"""

from fairlead.kube.documents import Document
from fairlead.kube.networking import Ingress

NAME = "nginx-ingress"
NAMESPACE = "nginx-ingress"
CLASS = "nginx"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
IMAGE = "fairlead/ingress"
CONTROLLER = "k8s.io/ingress-nginx"
_LABELS: Document = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "controller"}
_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_GOES_ON_SECONDS = 10
"""How long NGINX serves new clients once its pod is to go: until every load balancer and node leads elsewhere, and a
single replica has its successor."""
_READ: list[Document] = [
    {
        "apiGroups": [""],
        "resources": ["configmaps", "secrets", "services", "namespaces", "nodes", "pods"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": ["networking.k8s.io"],
        "resources": ["ingresses", "ingressclasses"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["update", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]


def wants_ours(ingress: Ingress) -> bool:
    """Whether the Ingress is for class `nginx`, or for whichever there is."""
    named = ingress.spec.ingress_class_name or ingress.metadata.annotations.get(CLASS_ANNOTATION)
    return named in (None, "", CLASS)


def ingress_manifests(replicas: int = 1) -> list[Document]:
    """Everything the controller needs, in the order in which it is to be applied."""
    metadata: Document = {"name": NAME, "namespace": NAMESPACE, "labels": {**_LABELS}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {**_LABELS}}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**metadata}},
        *_access(metadata),
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {
                "name": CLASS,
                "labels": {**_LABELS},
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
            },
            "spec": {"controller": CONTROLLER},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata}, "data": {}},
        _service(metadata),
        _deployment(metadata, replicas),
    ]


def _access(metadata: Document) -> list[Document]:
    group = "rbac.authorization.k8s.io"
    subjects: list[Document] = [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]
    leases: Document = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update", "patch"],
    }
    role: Document = {"apiGroup": group, "kind": "Role", "name": NAME}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME, "labels": {**_LABELS}},
            "rules": [*_READ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME, "labels": {**_LABELS}},
            "roleRef": {**role, "kind": "ClusterRole"},
            "subjects": [*subjects],
        },
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {**metadata}, "rules": [leases]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {**metadata},
            "roleRef": {**role},
            "subjects": [*subjects],
        },
    ]


def _service(metadata: Document) -> Document:
    """Policy Local keeps the client's address, so that NGINX and the pods behind it see who asks."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {**_LABELS},
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http"},
                {"name": "https", "port": 443, "targetPort": "https"},
            ],
        },
    }


def _deployment(metadata: Document, replicas: int) -> Document:
    container: Document = {
        "name": "controller",
        "image": IMAGE,
        "args": [
            f"--configmap={NAMESPACE}/{NAME}",
            f"--publish-service={NAMESPACE}/{NAME}",
            "--watch-ingress-without-class",
        ],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ],
        "ports": [
            {"name": "http", "containerPort": 80},
            {"name": "https", "containerPort": 443},
            {"name": "metrics", "containerPort": 10254},
        ],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": 10254},
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 10254},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_GOES_ON_SECONDS)]}}},
        "volumeMounts": [{"name": "account", "mountPath": _ACCOUNT_FOLDER, "readOnly": True}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {**_LABELS}},
            "template": {
                "metadata": {"labels": {**_LABELS}},
                "spec": {
                    "serviceAccountName": NAME,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 300,
                    "containers": [container],
                    "volumes": [_account_volume()],
                },
            },
        },
    }


def _account_volume() -> Document:
    """The account's token for the controller's user alone: NGINX's workers run as another and cannot read it."""
    return {
        "name": "account",
        "projected": {
            "defaultMode": 0o400,
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            ],
        },
    }
