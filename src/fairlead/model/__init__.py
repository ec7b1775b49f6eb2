"""What the traffic path means, in values that know neither Kubernetes nor nftables nor NGINX."""

from fairlead.model.findings import Finding, Severity
from fairlead.model.origins import Origin
from fairlead.model.services import AddressRange, Affinity, Backend, Frontend, FrontendKey, Masquerade, Refusal

__all__ = [
    "AddressRange",
    "Affinity",
    "Backend",
    "Finding",
    "Frontend",
    "FrontendKey",
    "Masquerade",
    "Origin",
    "Refusal",
    "Severity",
]
