"""How every typed view of an API object behaves: frozen, by key word, absent fields left out, the wire's spelling."""

from msgspec import Struct

_WHOLE = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "uid": "UID",
    "url": "URL",
    "tls": "TLS",
    "id": "ID",
    "api": "API",
    "fqdn": "FQDN",
}


def wire_name(attribute: str) -> str:
    """The wire's spelling of a snake_case attribute: `cluster_ip` is clusterIP, `pod_cidrs` is podCIDRs."""
    first, *rest = attribute.rstrip("_").split("_")
    return first + "".join(_WHOLE.get(word, word.capitalize()) for word in rest)


class Wire(Struct, frozen=True, kw_only=True, omit_defaults=True, rename=wire_name):
    """Base of all views. Unknown fields are ignored when reading; a view is never written back whole."""
