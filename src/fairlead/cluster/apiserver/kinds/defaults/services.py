"""Defaults of Services; their addresses, families and node ports are the allocators' business.

Source: SetDefaults_Service of k8s.io/kubernetes/pkg/apis/core/v1/defaults.go, and the synchronisation of clusterIP
with clusterIPs and of dependent fields on updates in pkg/registry/core/service (strategy.go, storage/storage.go).
"""

from fairlead.cluster.apiserver.kinds.editing import child, children, fill
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at

STICKY_SECONDS = 10800
EXTERNAL_TYPES = ("NodePort", "LoadBalancer")


def default_service(service: Document) -> None:
    """Fill in a Service."""
    spec = child(service, "spec")
    fill(spec, "type", "ClusterIP")
    _default_affinity(spec)
    for port in children(spec, "ports"):
        fill(port, "protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
        if port.get("nodePort") == 0:
            del port["nodePort"]
    kind = spec["type"]
    if (kind in EXTERNAL_TYPES or (items_at(spec, "externalIPs") and kind == "ClusterIP")) and not text_at(
        spec, "externalTrafficPolicy"
    ):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind != "ExternalName":
        fill(spec, "internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True
    if spec.get("healthCheckNodePort") == 0:
        del spec["healthCheckNodePort"]
    for ingress in children(mapping_at(service, "status", "loadBalancer"), "ingress"):
        if text_at(ingress, "ip"):
            fill(ingress, "ipMode", "VIP")


def _default_affinity(spec: Document) -> None:
    fill(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = child(child(spec, "sessionAffinityConfig"), "clientIP")
        if client.get("timeoutSeconds") is None:
            client["timeoutSeconds"] = STICKY_SECONDS


def prepare_service_create(service: Document) -> None:
    """Begin without a status, and say the address the same way in both fields."""
    service["status"] = {"loadBalancer": {}}
    spec = child(service, "spec")
    if text_at(spec, "clusterIP") and not items_at(spec, "clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    _drop_empty_addresses(spec)


def prepare_service_update(new: Document, old: Document) -> None:
    """Keep the status and what was allocated, let the fields of another type go, and keep both address fields alike."""
    new["status"] = old.get("status", {"loadBalancer": {}})
    spec, before = child(new, "spec"), mapping_at(old, "spec")
    _sync_addresses(spec, before)
    _patch_allocated(spec, before)
    _release_second_family(spec, before)
    _drop_type_dependent(new, spec, before)
    _drop_empty_addresses(spec)


def _release_second_family(spec: Document, before: Document) -> None:
    """Give up the second family of a Service that becomes SingleStack, if the client left it as it was.

    (trimFieldsForDualStackDowngrade.)
    """
    if text_at(spec, "ipFamilyPolicy") != "SingleStack" or text_at(before, "ipFamilyPolicy") == "SingleStack":
        return
    for field in ("clusterIPs", "ipFamilies"):
        if len(values := items_at(spec, field)) > 1 and values == items_at(before, field):
            spec[field] = values[:1]


def _drop_empty_addresses(spec: Document) -> None:
    if not text_at(spec, "clusterIP"):
        spec.pop("clusterIP", None)
    if not items_at(spec, "clusterIPs"):
        spec.pop("clusterIPs", None)


def _sync_addresses(spec: Document, before: Document) -> None:
    """Follow the one of clusterIP and clusterIPs that the client changed (NormalizeClusterIPs)."""
    address, addresses = text_at(spec, "clusterIP"), items_at(spec, "clusterIPs")
    address_was, addresses_were = text_at(before, "clusterIP"), items_at(before, "clusterIPs")
    if address != address_was and addresses == addresses_were:
        spec["clusterIPs"] = [address] if address else []
    elif address == address_was and addresses != addresses_were and not addresses:
        spec["clusterIP"] = ""
    if address and not addresses and addresses_were == []:
        spec["clusterIPs"] = [address]


def _needs_address(spec: Document) -> bool:
    return text_at(spec, "type") != "ExternalName"


def _needs_node_ports(spec: Document) -> bool:
    return text_at(spec, "type") in EXTERNAL_TYPES


def _needs_health_port(spec: Document) -> bool:
    return text_at(spec, "type") == "LoadBalancer" and text_at(spec, "externalTrafficPolicy") == "Local"


def _patch_allocated(spec: Document, before: Document) -> None:
    """Give back what the client of an update left out and the server had chosen (patchAllocatedValues)."""
    if _needs_address(before) and _needs_address(spec):
        if not text_at(spec, "clusterIP") and "clusterIP" in before:
            spec["clusterIP"] = before["clusterIP"]
        if not items_at(spec, "clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
            spec["clusterIPs"] = list(items_at(before, "clusterIPs"))
    if _needs_node_ports(before) and _needs_node_ports(spec):
        _patch_node_ports(spec, before)
    if _needs_health_port(before) and _needs_health_port(spec) and not number_at(spec, "healthCheckNodePort"):
        fill(spec, "healthCheckNodePort", before.get("healthCheckNodePort"))


def _patch_node_ports(spec: Document, before: Document) -> None:
    chosen = {number_at(port, "nodePort") for port in children(spec, "ports")}
    known = {_port_key(port): number_at(port, "nodePort") for port in children(before, "ports")}
    for port in children(spec, "ports"):
        old = known.get(_port_key(port))
        if not number_at(port, "nodePort") and old and old not in chosen:
            port["nodePort"] = old


def _port_key(port: Document) -> tuple[str, int | None]:
    return text_at(port, "protocol"), number_at(port, "port")


def _drop_type_dependent(new: Document, spec: Document, before: Document) -> None:
    """Drop what the new type has no use for, if the client left it as it was (dropTypeDependentFields)."""
    if _needs_address(before) and not _needs_address(spec):
        if spec.get("clusterIP") == before.get("clusterIP") and spec.get("clusterIPs") == before.get("clusterIPs"):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        for field in ("ipFamilies", "ipFamilyPolicy"):
            _drop_unchanged(spec, before, field)
        _drop_unchanged(spec, before, "internalTrafficPolicy")
    if _needs_node_ports(before) and not _needs_node_ports(spec) and _same_node_ports(spec, before):
        for port in children(spec, "ports"):
            port.pop("nodePort", None)
    if _needs_health_port(before) and not _needs_health_port(spec):
        _drop_unchanged(spec, before, "healthCheckNodePort")
    if text_at(before, "type") == "LoadBalancer" and text_at(spec, "type") != "LoadBalancer":
        _drop_unchanged(spec, before, "allocateLoadBalancerNodePorts")
        _drop_unchanged(spec, before, "loadBalancerClass")
        new["status"] = {"loadBalancer": {}}
    if text_at(spec, "type") not in EXTERNAL_TYPES and not items_at(spec, "externalIPs"):
        _drop_unchanged(spec, before, "externalTrafficPolicy")


def _drop_unchanged(spec: Document, before: Document, field: str) -> None:
    if field in spec and spec[field] == before.get(field):
        del spec[field]


def _same_node_ports(spec: Document, before: Document) -> bool:
    """Whether the node ports are still those of before.

    one that is given anew is the client's own mistake to hear of.
    """
    had = {number_at(port, "nodePort") for port in children(before, "ports")}
    return all(number_at(port, "nodePort") in had for port in children(spec, "ports") if port.get("nodePort"))
