"""What is wrong with a ServiceCIDR or an IPAddress.

In: a document, and for an update its predecessor. Out: FieldErrors. Source:
k8s.io/kubernetes/pkg/apis/networking/validation/validation.go.
"""

from fairlead.cluster.apiserver.kinds.errors import invalid, required, too_many
from fairlead.cluster.apiserver.kinds.validation.fields import Found, immutable
from fairlead.kube.documents import Document, items_at, mapping_at, text_at
from fairlead.net import Prefix, parse_prefix

_MOST = 2
_BAD_RANGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ONE_OF_EACH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


def service_cidr_rules(service_range: Document) -> Found:
    """Judge a ServiceCIDR: one range, or one of each family."""
    given = items_at(service_range, "spec", "cidrs")
    if not given:
        yield required("spec.cidrs", "at least one CIDR required")
    if len(given) > _MOST:
        yield too_many("spec.cidrs", len(given), _MOST)
    parsed: list[Prefix] = []
    for index, text in enumerate(given):
        try:
            prefix = parse_prefix(str(text))
        except ValueError:
            prefix = None
        if prefix is None or "/" not in str(text):
            yield invalid(f"spec.cidrs[{index}]", text, _BAD_RANGE)
        else:
            parsed.append(prefix)
    if len({each.family for each in parsed}) < len(parsed):
        yield invalid("spec.cidrs", given, _ONE_OF_EACH)


def service_cidr_update_rules(new: Document, old: Document) -> Found:
    """Refuse to change the ranges, but for a second family that is added."""
    before, after = items_at(old, "spec", "cidrs"), items_at(new, "spec", "cidrs")
    if after[: len(before)] != before or not before:
        yield from immutable("spec.cidrs", after, before)


def ip_address_rules(address: Document) -> Found:
    """Judge an IPAddress: it says whose it is."""
    parent = mapping_at(address, "spec", "parentRef")
    if not parent:
        yield required("spec.parentRef")
        return
    for name in ("resource", "name"):
        if not text_at(parent, name):
            yield required(f"spec.parentRef.{name}")


def ip_address_update_rules(new: Document, old: Document) -> Found:
    """Refuse to give an address to somebody else."""
    yield from immutable("spec.parentRef", mapping_at(new, "spec", "parentRef"), mapping_at(old, "spec", "parentRef"))
