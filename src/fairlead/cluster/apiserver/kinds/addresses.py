"""Rows of the table of kinds for the addresses of services: ServiceCIDR and IPAddress (KEP-1880)."""

from fairlead.cluster.apiserver.kinds import prepare
from fairlead.cluster.apiserver.kinds.columns import networking as columns
from fairlead.cluster.apiserver.kinds.editing import child
from fairlead.cluster.apiserver.kinds.spec import KindSpec, Subresource
from fairlead.cluster.apiserver.kinds.validation import addresses as rules
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import listed, listed_update, metadata_of
from fairlead.kube.documents import Document, items_at, text_at
from fairlead.kube.resources import Resource

PROTECTION = "networking.k8s.io/service-cidr-finalizer"


def _prepare_range(service_range: Document) -> None:
    """Begin ready, as addresses of the range are given out at once, and protected while any of them is in use."""
    metadata = child(service_range, "metadata")
    held = items_at(metadata, "finalizers")
    metadata["finalizers"] = [*held, *([] if PROTECTION in held else [PROTECTION])]
    ready: Document = {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "Kubernetes Service CIDR is ready",
        "lastTransitionTime": text_at(metadata, "creationTimestamp"),
    }
    service_range["status"] = {"conditions": [ready]}


SERVICE_CIDR = KindSpec(
    resource=Resource("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", False),
    singular="servicecidr",
    schema="io.k8s.api.networking.v1.ServiceCIDR",
    subresources=(Subresource(name="status", kind="ServiceCIDR", verbs=("get", "patch", "update")),),
    has_status=True,
    columns=columns.SERVICE_CIDR,
    row=columns.service_cidr_row,
    prepare_create=_prepare_range,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), rules.service_cidr_rules),
    validate_update=listed_update(rules.service_cidr_update_rules),
)

IP_ADDRESS = KindSpec(
    resource=Resource("networking.k8s.io", "v1", "IPAddress", "ipaddresses", False),
    singular="ipaddress",
    schema="io.k8s.api.networking.v1.IPAddress",
    short_names=("ip",),
    columns=columns.IP_ADDRESS,
    row=columns.ip_address_row,
    validate=listed(metadata_of(texts.canonical_address), rules.ip_address_rules),
    validate_update=listed_update(rules.ip_address_update_rules),
)

ADDRESSES: tuple[KindSpec, ...] = (IP_ADDRESS, SERVICE_CIDR)
