"""The objects every cluster begins with.

In: an engine, and where it is reached from inside the cluster. Out: the first namespaces, and the Service
`kubernetes` with its Endpoints and EndpointSlice, created where missing and led to the present address where they
are there; the roles of RBAC; the default class of volumes; the classes of priority that every cluster has; the
definitions of MetalLB's kinds. Service accounts and root certificates are the controllers'.
"""

from fairlead.cluster.apiserver.access.bootstrap import (
    first_cluster_role_bindings,
    first_cluster_roles,
    first_role_bindings,
)
from fairlead.cluster.apiserver.access.roles import GROUP
from fairlead.cluster.apiserver.custom.serving import DEFINITIONS
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.defaults.priorities import SYSTEM_CLASSES
from fairlead.cluster.apiserver.kinds.metallb import first_definitions
from fairlead.cluster.apiserver.paths import Target
from fairlead.kube.documents import Document, text_at

_STANDARD: Document = {
    "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "fairlead.dev/folder",
}
"""The class of volumes that are folders of this machine."""

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "metallb-system")


async def create_first_objects(
    server: ApiServer, *, service_address: str, api_address: str, api_port: int, family: str = "IPv4"
) -> None:
    """Make sure of the first objects, durably. `service_address` is the Service's, the API listens at `api_address`."""
    for name in NAMESPACES:
        labels: Document = {"kubernetes.io/metadata.name": name}
        _ensure(
            server, Target(group="", version="v1", plural="namespaces", name=name), {"metadata": {"labels": labels}}
        )
    ranges: Document = {"metadata": {}, "spec": {"cidrs": [str(each) for each in server.service_ranges]}}
    _ensure(server, Target(group="networking.k8s.io", version="v1", plural="servicecidrs", name="kubernetes"), ranges)
    service: Document = {
        "metadata": {"labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": service_address,
            "clusterIPs": [service_address],
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": api_port}],
        },
    }
    _ensure(server, _in_default("", "v1", "services"), service)
    mirrored = "endpointslice.kubernetes.io/skip-mirror"
    endpoints: Document = {
        "metadata": {"labels": {mirrored: "true"}},
        "subsets": [
            {
                "addresses": [{"ip": api_address}],
                "ports": [{"name": "https", "port": api_port, "protocol": "TCP"}],
            }
        ],
    }
    _ensure(server, _in_default("", "v1", "endpoints"), endpoints, replace=True)
    slice_: Document = {
        "metadata": {"labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family,
        "endpoints": [{"addresses": [api_address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": api_port, "protocol": "TCP"}],
    }
    _ensure(server, _in_default("discovery.k8s.io", "v1", "endpointslices"), slice_, replace=True)
    for kind, documents in (
        ("clusterroles", first_cluster_roles()),
        ("clusterrolebindings", first_cluster_role_bindings()),
    ):
        for document in documents:
            name = text_at(document, "metadata", "name")
            _ensure(server, Target(group=GROUP, version="v1", plural=kind, name=name), document)
    for namespace, document in first_role_bindings():
        name = text_at(document, "metadata", "name")
        place = Target(group=GROUP, version="v1", plural="rolebindings", namespace=namespace, name=name)
        _ensure(server, place, document)
    _ensure(server, Target(group="storage.k8s.io", version="v1", plural="storageclasses", name="standard"), _STANDARD)
    for name, value in SYSTEM_CLASSES.items():
        _ensure(
            server,
            Target(group="scheduling.k8s.io", version="v1", plural="priorityclasses", name=name),
            {"metadata": {}, "value": value},
        )
    for document in first_definitions():
        name = text_at(document, "metadata", "name")
        _ensure(server, Target(group=DEFINITIONS[0], version="v1", plural=DEFINITIONS[1], name=name), document)
    await server.settle()


def _in_default(group: str, version: str, plural: str) -> Target:
    return Target(group=group, version=version, plural=plural, namespace="default", name="kubernetes")


def _ensure(server: ApiServer, target: Target, document: Document, *, replace: bool = False) -> None:
    """Create the object of a target; where it is there, put `document` in its place if `replace` says so."""
    kind = server.kind_of(target)
    if kind is None:
        return
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    metadata["name"] = target.name
    if target.namespace:
        metadata["namespace"] = target.namespace
    existing = server.store.get((target.group, target.plural), (target.namespace, target.name))
    if existing is None:
        server.writer.create_document(kind, document, namespace=target.namespace)
    elif replace:
        server.writer.replace(kind, existing, document)
