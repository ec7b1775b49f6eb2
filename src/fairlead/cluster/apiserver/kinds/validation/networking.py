"""What is wrong with an Ingress, an IngressClass or a NetworkPolicy.

In: a document with defaults, and for an update its predecessor. Out: FieldErrors and warnings. Source:
k8s.io/kubernetes/pkg/apis/networking/validation/validation.go.
"""

from fairlead.cluster.apiserver.kinds.defaults.networking import CLASS_ANNOTATION
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import FieldError, forbidden, invalid, required
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import (
    Found,
    immutable,
    judged,
    one_of,
    port_number,
    port_or_name,
    protocol,
    selector,
)
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
POLICY_TYPES = ("Ingress", "Egress")
INNER_TROUBLE = ("//", "/./", "/../", "%2f", "%2F")
FINAL_TROUBLE = ("/..", "/.")


def ingress_rules(ingress: Document) -> Found:
    """Judge the spec of an ingress."""
    spec = mapping_at(ingress, "spec")
    rules = children(spec, "rules")
    if not rules and not mapping_at(spec, "defaultBackend"):
        detail = "either `defaultBackend` or `rules` must be specified"
        yield invalid("spec", spec.get("rules"), detail)
    for index, each in enumerate(children(spec, "tls")):
        yield from _certificate(f"spec.tls[{index}]", each)
    for index, rule in enumerate(rules):
        yield from _ingress_rule(f"spec.rules[{index}]", rule)
    if "defaultBackend" in spec:
        yield from _backend("spec.defaultBackend", mapping_at(spec, "defaultBackend"))
    if name := text_at(spec, "ingressClassName"):
        yield from judged("spec.ingressClassName", name, texts.dns_subdomain)


def ingress_create_rules(ingress: Document) -> Found:
    """Judge what only a new ingress must heed: the old annotation and the field must agree."""
    annotation = text_at(ingress, "metadata", "annotations", CLASS_ANNOTATION)
    name = text_at(ingress, "spec", "ingressClassName")
    if annotation and name and annotation != name:
        path = f"annotations.{CLASS_ANNOTATION}"
        yield invalid(path, annotation, "must match `ingressClassName` when both are specified")


def _certificate(path: str, tls: Document) -> Found:
    for index, host in enumerate(items_at(tls, "hosts")):
        rule = texts.wildcard_subdomain if "*" in str(host) else texts.dns_subdomain
        yield from judged(f"{path}.hosts[{index}]", str(host), rule)
    if name := text_at(tls, "secretName"):
        yield from judged(f"{path}.secretName", name, texts.dns_subdomain)


def _ingress_rule(path: str, rule: Document) -> Found:
    if host := text_at(rule, "host"):
        if texts.address_of(host):
            yield invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        wildcard = "*" in host
        yield from judged(f"{path}.host", host, texts.wildcard_subdomain if wildcard else texts.dns_subdomain)
    if "http" in rule:
        paths = children(mapping_at(rule, "http"), "paths")
        if not paths:
            yield required(f"{path}.http.paths")
        for index, each in enumerate(paths):
            yield from _ingress_path(f"{path}.http.paths[{index}]", each)


def _ingress_path(path: str, entry: Document) -> Found:
    kind, value = text_at(entry, "pathType"), text_at(entry, "path")
    if not kind:
        yield required(f"{path}.pathType", "pathType must be specified")
    elif kind in ("Exact", "Prefix"):
        yield from _strict_path(f"{path}.path", value)
    elif kind == "ImplementationSpecific":
        if value and not value.startswith("/"):
            yield invalid(f"{path}.path", value, "must be an absolute path")
    else:
        yield from one_of(f"{path}.pathType", kind, PATH_TYPES)
    yield from _backend(f"{path}.backend", mapping_at(entry, "backend"))


def _strict_path(path: str, value: str) -> Found:
    if not value.startswith("/"):
        yield invalid(path, value, "must be an absolute path")
    for trouble in INNER_TROUBLE:
        if trouble in value:
            yield invalid(path, value, f"must not contain '{trouble}'")
    for trouble in FINAL_TROUBLE:
        if value.endswith(trouble):
            yield invalid(path, value, f"cannot end with '{trouble}'")


def _backend(path: str, backend: Document) -> Found:
    service, resource = mapping_at(backend, "service"), mapping_at(backend, "resource")
    if service and resource:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif resource:
        for field in ("kind", "name"):
            if not text_at(resource, field):
                yield required(f"{path}.resource.{field}")
    elif not service:
        yield invalid(path, "", "resource or service backend is required")
    else:
        yield from _service_backend(path, service)


def _service_backend(path: str, service: Document) -> Found:
    if name := text_at(service, "name"):
        yield from judged(f"{path}.service.name", name, texts.dns_1035_label)
    else:
        yield required(f"{path}.service.name")
    port_name, number = text_at(service, "port", "name"), number_at(service, "port", "number")
    if port_name and number:
        yield invalid(path, "", "cannot set both port name & port number")
    elif port_name:
        yield from judged(f"{path}.service.port.name", port_name, texts.port_name)
    elif number:
        yield from port_number(f"{path}.service.port.number", number)
    else:
        yield required(path, "port name or number is required")


def ingress_warnings(ingress: Document) -> list[str]:
    """Return what is deprecated."""
    if CLASS_ANNOTATION in mapping_at(ingress, "metadata", "annotations"):
        return [f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"]
    return []


def ingress_class_rules(ingress_class: Document) -> Found:
    """Judge the spec of an ingress class."""
    controller = text_at(ingress_class, "spec", "controller")
    if len(controller) > 250:
        yield FieldError("spec.controller", "Too long", "", "may not be more than 250 bytes")
    if not controller:
        yield required("spec.controller")
    elif "/" not in controller or texts.dns_subdomain(controller.partition("/")[0]):
        yield invalid("spec.controller", controller, 'must be a domain-prefixed path (such as "acme.io/foo")')
    parameters = mapping_at(ingress_class, "spec", "parameters")
    if parameters:
        for field in ("kind", "name"):
            if not text_at(parameters, field):
                yield required(f"spec.parameters.{field}", f"{field} is required")
        yield from one_of("spec.parameters.scope", text_at(parameters, "scope"), ("Cluster", "Namespace"))
        if text_at(parameters, "scope") == "Namespace" and not text_at(parameters, "namespace"):
            detail = "`parameters.scope` is set to 'Namespace'"
            yield required("spec.parameters.namespace", detail)


def ingress_class_update_rules(new: Document, old: Document) -> Found:
    """Refuse another controller."""
    yield from immutable("spec.controller", text_at(new, "spec", "controller"), text_at(old, "spec", "controller"))


def network_policy_rules(policy: Document) -> Found:
    """Judge the spec of a network policy."""
    spec = mapping_at(policy, "spec")
    yield from selector("spec.podSelector", mapping_at(spec, "podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(children(spec, direction)):
            path = f"spec.{direction}[{index}]"
            for number, port in enumerate(children(rule, "ports")):
                yield from _policy_port(f"{path}.ports[{number}]", port)
            for number, peer in enumerate(children(rule, peers)):
                yield from _peer(f"{path}.{peers}[{number}]", peer)
    kinds = items_at(spec, "policyTypes")
    if len(kinds) > len(POLICY_TYPES):
        yield invalid("spec.policyTypes", kinds, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(kinds):
        yield from one_of(f"spec.policyTypes[{index}]", str(kind), POLICY_TYPES)


def _policy_port(path: str, port: Document) -> Found:
    if name := text_at(port, "protocol"):
        yield from protocol(f"{path}.protocol", name)
    number, end = port.get("port"), number_at(port, "endPort")
    if number is not None:
        yield from port_or_name(f"{path}.port", number)
    if end is None:
        return
    if number is None:
        yield invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")
    elif isinstance(number, str):
        yield invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
    elif isinstance(number, int):
        if end < number:
            yield invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
        yield from port_number(f"{path}.endPort", end)


def _peer(path: str, peer: Document) -> Found:
    given = 0
    for field in ("podSelector", "namespaceSelector"):
        if field in peer:
            given += 1
            yield from selector(f"{path}.{field}", mapping_at(peer, field))
    if "ipBlock" in peer:
        given += 1
        yield from _block(f"{path}.ipBlock", mapping_at(peer, "ipBlock"))
    if not given:
        yield required(path, "must specify a peer")
    elif "ipBlock" in peer and given > 1:
        yield forbidden(path, "may not specify both ipBlock and another peer")


def _block(path: str, block: Document) -> Found:
    text = text_at(block, "cidr")
    if not text:
        yield required(f"{path}.cidr")
        return
    yield from judged(f"{path}.cidr", text, texts.cidr)
    whole = texts.prefix_of(text)
    for index, each in enumerate(items_at(block, "except")):
        spot = f"{path}.except[{index}]"
        yield from judged(spot, str(each), texts.cidr)
        part = texts.prefix_of(str(each))
        strict = whole and part and part.address in whole and part.length > whole.length
        if whole and part and not strict:
            yield invalid(spot, str(each), "must be a strict subset of `cidr`")
