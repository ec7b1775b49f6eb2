"""Defaults of Namespaces, Nodes, Secrets and Events.

Source: SetDefaults_* of k8s.io/kubernetes/pkg/apis/core/v1/defaults.go; Secret's conversion of stringData.
"""

import base64

from fairlead.cluster.apiserver.kinds.editing import child, fill
from fairlead.kube.documents import Document, mapping_at, text_at

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


def default_namespace(namespace: Document) -> None:
    """Label a namespace with its own name, so that selectors can find it."""
    metadata = child(namespace, "metadata")
    if name := text_at(metadata, "name"):
        child(metadata, "labels")[NAME_LABEL] = name


def prepare_namespace_create(namespace: Document) -> None:
    """Begin active, and not to be removed before its contents are."""
    default_namespace(namespace)
    namespace["spec"] = {"finalizers": [FINALIZER]}
    namespace["status"] = {"phase": "Active"}


def prepare_namespace_update(new: Document, old: Document) -> None:
    """Leave the finalizers to /finalize and the status to /status."""
    new["spec"] = old.get("spec", {})
    new["status"] = old.get("status", {})


def default_node(node: Document) -> None:
    """A node has all it has to give, unless it says otherwise."""
    capacity = mapping_at(node, "status", "capacity")
    if capacity and not mapping_at(node, "status", "allocatable"):
        child(node, "status")["allocatable"] = dict(capacity)


def default_secret(secret: Document) -> None:
    """Fill in the type, and move plain texts to data."""
    fill(secret, "type", "Opaque")
    plain = secret.pop("stringData", None)
    if isinstance(plain, dict) and plain:
        data = child(secret, "data")
        for key, value in plain.items():
            if isinstance(value, str):
                data[key] = base64.b64encode(value.encode()).decode()
