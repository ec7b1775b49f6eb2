"""What is wrong with a Service.

In: a service with defaults, and for an update its predecessor. Out: FieldErrors and deprecation warnings. Source:
ValidateService and ValidateServiceUpdate of k8s.io/kubernetes/pkg/apis/core/validation/validation.go. Whether an
address or port is free is the allocators' business.
"""

from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import duplicate, forbidden, invalid, required, unsupported
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import (
    Found,
    judged,
    labels,
    one_of,
    port_number,
    port_or_name,
    protocol,
)
from fairlead.kube.documents import Document, Json, items_at, mapping_at, number_at, text_at

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
EXTERNAL_TYPES = ("NodePort", "LoadBalancer")
AFFINITIES = ("ClientIP", "None")
POLICIES = ("Cluster", "Local")
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
MAX_STICKY_SECONDS = 86400
KUBELET_PORT = 10250
ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"


def service_rules(service: Document) -> Found:
    """Judge the spec of a service."""
    spec = mapping_at(service, "spec")
    yield from _type_rules(spec)
    yield from _ports(spec)
    yield from labels("spec.selector", spec.get("selector"))
    yield from _affinity(spec)
    yield from _addresses(spec)
    yield from _external_addresses(spec)
    if not (kind := text_at(spec, "type")):
        yield required("spec.type")
    else:
        yield from one_of("spec.type", kind, TYPES)
    yield from _node_ports(spec)
    yield from _load_balancer(spec)
    yield from _policies(spec)


def _is_headless(spec: Document) -> bool:
    return text_at(spec, "clusterIP") == "None"


def _type_rules(spec: Document) -> Found:
    kind = text_at(spec, "type")
    if kind == "LoadBalancer":
        for index, port in enumerate(children(spec, "ports")):
            if number_at(port, "port") == KUBELET_PORT:
                detail = f"may not expose port {KUBELET_PORT} externally since it is used by kubelet"
                yield invalid(f"spec.ports[{index}]", KUBELET_PORT, detail)
    if kind in EXTERNAL_TYPES and _is_headless(spec):
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(field):
                yield forbidden(f"spec.{field}", "may not be set for ExternalName services")
        name = text_at(spec, "externalName").removesuffix(".")
        if name:
            yield from judged("spec.externalName", name, texts.dns_subdomain)
        else:
            yield required("spec.externalName")


def _ports(spec: Document) -> Found:
    ports = children(spec, "ports")
    if not ports and not _is_headless(spec) and text_at(spec, "type") != "ExternalName":
        yield required("spec.ports")
    names: list[str] = []
    keys: list[tuple[str, int | None]] = []
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        yield from _port_name(path, text_at(port, "name"), names, alone=len(ports) == 1)
        yield from port_number(f"{path}.port", port.get("port", 0))
        yield from protocol(f"{path}.protocol", text_at(port, "protocol"))
        yield from port_or_name(f"{path}.targetPort", port.get("targetPort"))
        key = (text_at(port, "protocol"), number_at(port, "port"))
        if key in keys:
            yield duplicate(path, _port_key_shown(*key))
        keys.append(key)


def _port_name(path: str, name: str, seen: list[str], *, alone: bool) -> Found:
    if not name:
        if not alone:
            yield required(f"{path}.name")
        return
    yield from judged(f"{path}.name", name, texts.dns_label)
    if name in seen:
        yield duplicate(f"{path}.name", name)
    seen.append(name)


def _port_key_shown(name: str, number: int | None) -> Json:
    """Return what upstream shows of a doubled port: its internal type, reduced to what was compared."""
    return {"Name": "", "Protocol": name, "AppProtocol": None, "Port": number, "TargetPort": 0, "NodePort": 0}


def _affinity(spec: Document) -> Found:
    affinity = text_at(spec, "sessionAffinity")
    if not affinity:
        yield required("spec.sessionAffinity")
    else:
        yield from one_of("spec.sessionAffinity", affinity, AFFINITIES)
    if affinity == "ClientIP":
        seconds = number_at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        if seconds is not None and not 0 < seconds <= MAX_STICKY_SECONDS:
            yield invalid(path, seconds, f"must be greater than 0 and less than {MAX_STICKY_SECONDS}")
    elif affinity == "None" and spec.get("sessionAffinityConfig"):
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")


def _addresses(spec: Document) -> Found:
    if text_at(spec, "type") == "ExternalName":
        return
    addresses = items_at(spec, "clusterIPs")
    if addresses and addresses[0] != spec.get("clusterIP"):
        yield invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")
    if len(addresses) > 2:
        yield invalid("spec.clusterIPs", addresses, "may only hold up to 2 values")
    for index, address in enumerate(addresses):
        path, text = f"spec.clusterIPs[{index}]", str(address)
        if text == "None":
            if len(addresses) > 1:
                yield invalid(path, text, "'None' must be the first and only value")
            continue
        yield from judged(path, text, texts.ip_address)


def _external_addresses(spec: Document) -> Found:
    for index, address in enumerate(items_at(spec, "externalIPs")):
        path, text = f"spec.externalIPs[{index}]", str(address)
        wrong = texts.ip_address(text)
        for sentence in wrong or texts.special_address(text):
            yield invalid(path, text, sentence)


def _node_ports(spec: Document) -> Found:
    seen: list[tuple[str, int]] = []
    for index, port in enumerate(children(spec, "ports")):
        number = number_at(port, "nodePort")
        if not number:
            continue
        path = f"spec.ports[{index}].nodePort"
        if text_at(spec, "type") not in EXTERNAL_TYPES:
            yield forbidden(path, f"may not be used when `type` is '{text_at(spec, 'type')}'")
            continue
        key = (text_at(port, "protocol"), number)
        if key in seen:
            yield duplicate(path, number)
        seen.append(key)


def _load_balancer(spec: Document) -> Found:
    balanced = text_at(spec, "type") == "LoadBalancer"
    ranges = items_at(spec, "loadBalancerSourceRanges")
    if ranges and not balanced:
        yield forbidden("spec.LoadBalancerSourceRanges", ONLY_BALANCED)
    for index, each in enumerate(ranges if balanced else ()):
        text = str(each).strip()
        if texts.prefix_of(text) is None:
            yield invalid(f"spec.loadBalancerSourceRanges[{index}]", text, texts.BAD_PREFIX)
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balanced:
        yield forbidden("spec.allocateLoadBalancerNodePorts", ONLY_BALANCED)
    if (name := text_at(spec, "loadBalancerClass")) and not balanced:
        yield forbidden("spec.loadBalancerClass", ONLY_BALANCED)
    elif name:
        yield from judged("spec.loadBalancerClass", name, texts.qualified_name)


def _policies(spec: Document) -> Found:
    external = text_at(spec, "externalTrafficPolicy")
    reachable = text_at(spec, "type") in EXTERNAL_TYPES or bool(items_at(spec, "externalIPs"))
    if external and not (reachable and text_at(spec, "type") != "ExternalName"):
        yield invalid("spec.externalTrafficPolicy", external, "may only be set for externally-accessible services")
    elif external:
        yield from one_of("spec.externalTrafficPolicy", external, POLICIES)
    health = number_at(spec, "healthCheckNodePort")
    if health and not (text_at(spec, "type") == "LoadBalancer" and external == "Local"):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid("spec.healthCheckNodePort", health, detail)
    if internal := text_at(spec, "internalTrafficPolicy"):
        yield from one_of("spec.internalTrafficPolicy", internal, POLICIES)
    spread = text_at(spec, "trafficDistribution")
    if spread and spread not in DISTRIBUTIONS:
        yield unsupported("spec.trafficDistribution", spread, DISTRIBUTIONS)


def service_update_rules(new: Document, old: Document) -> Found:
    """Judge what an update changes."""
    spec, before = mapping_at(new, "spec"), mapping_at(old, "spec")
    if "ExternalName" not in (text_at(spec, "type"), text_at(before, "type")):
        yield from _kept_addresses(items_at(spec, "clusterIPs"), items_at(before, "clusterIPs"))
        yield from _kept_families(spec, before)
    both = text_at(spec, "type") == text_at(before, "type") == "LoadBalancer"
    if both and spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
        yield invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set")
    local = text_at(spec, "externalTrafficPolicy") == text_at(before, "externalTrafficPolicy") == "Local"
    if both and local and spec.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
        yield forbidden("spec.healthCheckNodePort", texts.IMMUTABLE)


def _kept_addresses(new: Sequence[Json], old: Sequence[Json]) -> Found:
    if not old:
        return
    if not new:
        yield invalid("spec.clusterIPs[0]", list(new), "primary clusterIP can not be unset")
    elif new[0] != old[0]:
        yield invalid("spec.clusterIPs[0]", list(new), "may not change once set")


def _kept_families(spec: Document, before: Document) -> Found:
    """The first family stays, the second comes and goes with the policy; a headless Service may change both.

    (upgradeDowngradeIPFamiliesErrs.)
    """
    new, old = items_at(spec, "ipFamilies"), items_at(before, "ipFamilies")
    if _is_headless(spec) or _is_headless(before) or not old or not new:
        return
    if new[0] != old[0] or (len(new) == len(old) and new != old):
        yield invalid("spec.ipFamilies[0]", list(new), "may not change once set")
    policy = spec.get("ipFamilyPolicy")
    if len(new) < len(old) and policy != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield invalid("spec.ipFamilyPolicy", policy, detail)


def service_warnings(service: Document) -> list[str]:
    """Return what is deprecated or without effect."""
    spec = mapping_at(service, "spec")
    told: list[str] = []
    if items_at(spec, "externalIPs"):
        told.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if text_at(spec, "trafficDistribution") == "PreferClose":
        told.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    if _is_headless(spec):
        if text_at(spec, "sessionAffinity") not in ("", "None"):
            told.append("spec.SessionAffinity is ignored for headless services")
        if text_at(spec, "loadBalancerIP"):
            told.append("spec.loadBalancerIP is ignored for headless services")
    return told
