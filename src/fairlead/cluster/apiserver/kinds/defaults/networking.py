"""Defaults of Ingresses, IngressClasses, NetworkPolicies, Endpoints and EndpointSlices.

Source: SetDefaults_* of k8s.io/kubernetes/pkg/apis/{networking,discovery,core}/v1/defaults.go, and the admission plugin
DefaultIngressClass.
"""

from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import child, children, fill
from fairlead.kube.documents import Document, items_at, mapping_at, text_at

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"


def admit_ingress(ingress: Document, classes: Sequence[Document]) -> None:
    """Give a new ingress without a class the default one: the newest that is marked so, then the first by name."""
    annotations = mapping_at(ingress, "metadata", "annotations")
    if CLASS_ANNOTATION in annotations or text_at(ingress, "spec", "ingressClassName"):
        return
    marked = [each for each in classes if text_at(each, "metadata", "annotations", DEFAULT_CLASS_ANNOTATION) == "true"]
    if marked:
        marked.sort(key=lambda each: text_at(each, "metadata", "name"))
        marked.sort(key=lambda each: text_at(each, "metadata", "creationTimestamp"), reverse=True)
        child(ingress, "spec")["ingressClassName"] = text_at(marked[0], "metadata", "name")


def default_ingress_class(ingress_class: Document) -> None:
    """Say that the parameters of a class are cluster-wide unless it says otherwise."""
    parameters = mapping_at(ingress_class, "spec", "parameters")
    if parameters:
        fill(parameters, "scope", "Cluster")


def default_network_policy(policy: Document) -> None:
    """Isolate ingress, and egress too if there are egress rules; ports are TCP."""
    spec = child(policy, "spec")
    child(spec, "podSelector")
    if not items_at(spec, "policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if items_at(spec, "egress") else ["Ingress"]
    for direction in ("ingress", "egress"):
        for rule in children(spec, direction):
            for port in children(rule, "ports"):
                fill(port, "protocol", "TCP")


def default_endpoints(endpoints: Document) -> None:
    """Ports are TCP."""
    for subset in children(endpoints, "subsets"):
        for port in children(subset, "ports"):
            fill(port, "protocol", "TCP")


def default_endpoint_slice(endpoint_slice: Document) -> None:
    """Ports are TCP and have the empty name, and the list of endpoints is there even if empty."""
    if endpoint_slice.get("endpoints") is None:
        endpoint_slice["endpoints"] = []
    if endpoint_slice.get("ports") is None:
        endpoint_slice["ports"] = []
    for port in children(endpoint_slice, "ports"):
        fill(port, "protocol", "TCP")
        if port.get("name") is None:
            port["name"] = ""
