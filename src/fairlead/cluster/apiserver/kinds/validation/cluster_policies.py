"""What is wrong with a ClusterNetworkPolicy.

In: a document. Out: FieldErrors. Source: the markers and rules of network-policy-api v0.2.0,
apis/v1alpha2/clusternetworkpolicy_types.go.
"""

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import invalid, required, too_many
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import Found, judged, one_of, selector
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at

TIERS, ACTIONS = ("Admin", "Baseline"), ("Accept", "Deny", "Pass")
MOST, HIGHEST_PRIORITY, LAST_PORT = 25, 1000, 65535
_PROTOCOLS = ("tcp", "udp", "sctp", "destinationNamedPort")


def cluster_policy_rules(policy: Document) -> Found:
    """Judge a ClusterNetworkPolicy."""
    spec = mapping_at(policy, "spec")
    yield from one_of("spec.tier", text_at(spec, "tier"), TIERS)
    priority = number_at(spec, "priority")
    if priority is None:
        yield required("spec.priority")
    elif not 0 <= priority <= HIGHEST_PRIORITY:
        yield invalid("spec.priority", priority, f"must be from 0 to {HIGHEST_PRIORITY}")
    yield from _one_peer("spec.subject", mapping_at(spec, "subject"), ("namespaces", "pods"))
    for direction, name, known in (
        ("ingress", "from", ("namespaces", "pods")),
        ("egress", "to", ("namespaces", "pods", "networks", "nodes", "domainNames")),
    ):
        rules = children(spec, direction)
        if len(rules) > MOST:
            yield too_many(f"spec.{direction}", len(rules), MOST)
        for index, rule in enumerate(rules):
            yield from _rule(f"spec.{direction}[{index}]", rule, name, known)


def _rule(path: str, rule: Document, name: str, known: tuple[str, ...]) -> Found:
    yield from one_of(f"{path}.action", text_at(rule, "action"), ACTIONS)
    peers = children(rule, name)
    if not peers:
        yield required(f"{path}.{name}", "at least one peer must be given")
    if len(peers) > MOST:
        yield too_many(f"{path}.{name}", len(peers), MOST)
    for index, peer in enumerate(peers):
        yield from _one_peer(f"{path}.{name}[{index}]", peer, known)
        if "domainNames" in peer and text_at(rule, "action") != "Accept":
            yield invalid(f"{path}.action", text_at(rule, "action"), "domainNames may only be used with Accept")
    protocols = children(rule, "protocols")
    if len(protocols) > MOST:
        yield too_many(f"{path}.protocols", len(protocols), MOST)
    outside = any(field in peer for peer in peers for field in ("networks", "nodes", "domainNames"))
    for index, protocol in enumerate(protocols):
        yield from _protocol(f"{path}.protocols[{index}]", protocol, outside=outside)


def _one_peer(path: str, peer: Document, known: tuple[str, ...]) -> Found:
    given = [field for field in known if peer.get(field) is not None]
    if len(given) != 1:
        yield invalid(path, peer, f"exactly one of {', '.join(known)} must be given")
        return
    field = given[0]
    if field in ("namespaces", "nodes"):
        yield from selector(f"{path}.{field}", mapping_at(peer, field))
    elif field == "pods":
        for part in ("namespaceSelector", "podSelector"):
            yield from selector(f"{path}.pods.{part}", mapping_at(peer, "pods", part))
    elif field == "networks":
        networks = items_at(peer, "networks")
        if len(networks) > MOST:
            yield too_many(f"{path}.networks", len(networks), MOST)
        for index, each in enumerate(networks):
            yield from judged(f"{path}.networks[{index}]", str(each), texts.cidr)


def _protocol(path: str, protocol: Document, *, outside: bool) -> Found:
    given = [field for field in _PROTOCOLS if protocol.get(field) is not None]
    if len(given) != 1:
        yield invalid(path, protocol, f"exactly one of {', '.join(_PROTOCOLS)} must be given")
        return
    if given[0] == "destinationNamedPort":
        if outside:
            detail = "may not be used with networks, nodes or domainNames"
            yield invalid(f"{path}.destinationNamedPort", text_at(protocol, "destinationNamedPort"), detail)
        return
    spot = f"{path}.{given[0]}.destinationPort"
    port = mapping_at(protocol, given[0], "destinationPort")
    if not port:
        return
    number, span = number_at(port, "number"), mapping_at(port, "range")
    if (number is None) == (not span):
        yield invalid(spot, port, "exactly one of number and range must be given")
    elif number is not None:
        if not 0 < number <= LAST_PORT:
            yield invalid(f"{spot}.number", number, f"must be from 1 to {LAST_PORT}")
    elif not 0 < (number_at(span, "start") or 0) < (number_at(span, "end") or 0) <= LAST_PORT:
        yield invalid(f"{spot}.range", span, "start must be less than end")
