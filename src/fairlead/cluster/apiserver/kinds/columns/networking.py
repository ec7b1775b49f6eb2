"""The columns of Ingresses, IngressClasses, NetworkPolicies and ClusterNetworkPolicies.

Source: printIngress, printIngressClass and printNetworkPolicy of
k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.columns.texts import NONE, selector_text, short_list
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, items_at, mapping_at, number_at, text_at

INGRESS = (
    NAME,
    Column("Class", "string", "", "The class whose controller serves it."),
    Column("Hosts", "string", "", "The hosts it has rules for."),
    Column("Address", "string", "", "The addresses at which its controller is reached."),
    Column("Ports", "string", "", "80, and 443 if it has certificates."),
    AGE,
)
INGRESS_CLASS = (
    NAME,
    Column("Controller", "string", "", "The controller that serves the class."),
    Column("Parameters", "string", "", "The object with further settings."),
    AGE,
)
NETWORK_POLICY = (NAME, Column("Pod-Selector", "string", "", "The pods it is about."), AGE)


def ingress_row(ingress: Document, now: float) -> list[Json]:
    """Return the cells of `INGRESS`."""
    hosts = [host for rule in children(mapping_at(ingress, "spec"), "rules") if (host := text_at(rule, "host"))]
    entries = children(mapping_at(ingress, "status", "loadBalancer"), "ingress")
    addresses = [text_at(each, "ip") or text_at(each, "hostname") for each in entries]
    return [
        name_of(ingress),
        text_at(ingress, "spec", "ingressClassName") or NONE,
        short_list(hosts, "*"),
        ",".join(filter(None, addresses)),
        "80, 443" if items_at(ingress, "spec", "tls") else "80",
        age_of(ingress, now),
    ]


def ingress_class_row(ingress_class: Document, now: float) -> list[Json]:
    """Return the cells of `INGRESS_CLASS`."""
    parameters = mapping_at(ingress_class, "spec", "parameters")
    shown = NONE
    if parameters:
        group = text_at(parameters, "apiGroup")
        kind = text_at(parameters, "kind") + (f".{group}" if group else "")
        shown = f"{kind}/{text_at(parameters, 'name')}"
    return [name_of(ingress_class), text_at(ingress_class, "spec", "controller"), shown, age_of(ingress_class, now)]


def network_policy_row(policy: Document, now: float) -> list[Json]:
    """Return the cells of `NETWORK_POLICY`."""
    return [name_of(policy), selector_text(mapping_at(policy, "spec", "podSelector")), age_of(policy, now)]


CLUSTER_NETWORK_POLICY = (
    NAME,
    Column("Tier", "string", "", "Whether it is asked before the policies of namespaces, or after them."),
    Column("Priority", "string", "", "Lower ones are asked first."),
    AGE,
)


def cluster_network_policy_row(policy: Document, now: float) -> list[Json]:
    """Return the cells of `CLUSTER_NETWORK_POLICY`."""
    spec = mapping_at(policy, "spec")
    return [name_of(policy), text_at(spec, "tier"), str(number_at(spec, "priority") or 0), age_of(policy, now)]


SERVICE_CIDR = (NAME, Column("CIDRs", "string", "", "The ranges, at most one of each family."), AGE)
IP_ADDRESS = (NAME, Column("ParentRef", "string", "", "Whose address it is."))


def service_cidr_row(service_range: Document, now: float) -> list[Json]:
    """Return the cells of `SERVICE_CIDR`."""
    ranges = ",".join(str(each) for each in items_at(service_range, "spec", "cidrs"))
    return [name_of(service_range), ranges, age_of(service_range, now)]


def ip_address_row(address: Document, now: float) -> list[Json]:
    """Return the cells of `IP_ADDRESS`: the owner as group.resource/namespace/name."""
    parent = mapping_at(address, "spec", "parentRef")
    resource = ".".join(filter(None, (text_at(parent, "resource"), text_at(parent, "group"))))
    return [name_of(address), "/".join(filter(None, (resource, text_at(parent, "namespace"), text_at(parent, "name"))))]
