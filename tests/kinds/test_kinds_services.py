"""Services: the messages people know, and what a change of type does to the other fields."""

from typing import Any

import pytest
from admitting import RANGE, created, first, made, problems, spec_of, updated

from fairlead.cluster.apiserver.kinds.allocators import Allocators
from fairlead.kube.documents import mapping_at
from fairlead.net import parse_prefix

WEB = {"port": 80}
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a service needs a port": ({}, "spec.ports: Required value"),
    "several ports need names": ({"ports": [WEB, {"port": 81, "name": "b"}]}, "spec.ports[0].name: Required value"),
    "port names differ": (
        {"ports": [{"port": 80, "name": "http"}, {"port": 81, "name": "http"}]},
        'spec.ports[1].name: Duplicate value: "http"',
    ),
    "ports differ": (
        {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]},
        'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,'
        '"TargetPort":0,"NodePort":0}',
    ),
    "a port is above zero": (
        {"ports": [{"port": 0, "targetPort": 80}]},
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    ),
    "protocols are few": (
        {"ports": [{"port": 80, "protocol": "HTTP"}]},
        'spec.ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"',
    ),
    "a named target port is lower case": (
        {"ports": [{"port": 80, "targetPort": "UPPER_x"}]},
        'spec.ports[0].targetPort: Invalid value: "UPPER_x": must contain only alpha-numeric characters (a-z, 0-9), '
        "and hyphens (-)",
    ),
    "a named target port is short": (
        {"ports": [{"port": 80, "targetPort": "a-name-that-is-long"}]},
        'spec.ports[0].targetPort: Invalid value: "a-name-that-is-long": must be no more than 15 characters',
    ),
    "a named target port has a letter": (
        {"ports": [{"port": 80, "targetPort": "80"}]},
        'spec.ports[0].targetPort: Invalid value: "80": must contain at least one letter (a-z)',
    ),
    "a named target port has no double hyphen": (
        {"ports": [{"port": 80, "targetPort": "a--b"}]},
        'spec.ports[0].targetPort: Invalid value: "a--b": must not contain consecutive hyphens',
    ),
    "a named target port does not end in a hyphen": (
        {"ports": [{"port": 80, "targetPort": "a-"}]},
        'spec.ports[0].targetPort: Invalid value: "a-": must not begin or end with a hyphen',
    ),
    "a ClusterIP service has no node port": (
        {"ports": [{"port": 80, "nodePort": 30080}]},
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    "node ports differ": (
        {
            "type": "NodePort",
            "ports": [{"port": 80, "name": "a", "nodePort": 30080}, {"port": 81, "name": "b", "nodePort": 30080}],
        },
        "spec.ports[1].nodePort: Duplicate value: 30080",
    ),
    "types are few": (
        {"type": "Foo", "ports": [WEB]},
        'spec.type: Unsupported value: "Foo": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
        '"NodePort"',
    ),
    "a NodePort service is not headless": (
        {"type": "NodePort", "clusterIP": "None", "ports": [WEB]},
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
    ),
    "a cluster address is an address": (
        {"clusterIP": "abc", "ports": [WEB]},
        'spec.clusterIPs[0]: Invalid value: "abc": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ),
    "a cluster address has no leading zeros": (
        {"clusterIP": "010.96.0.9", "ports": [WEB]},
        'spec.clusterIPs[0]: Invalid value: "010.96.0.9": must not have leading 0s',
    ),
    "an ExternalName service has a name": ({"type": "ExternalName"}, "spec.externalName: Required value"),
    "an ExternalName service has no address": (
        {"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.96.0.9"},
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
    ),
    "an external name is a DNS name": (
        {"type": "ExternalName", "externalName": "Bad_"},
        f'spec.externalName: Invalid value: "Bad_": {SUBDOMAIN}',
    ),
    "affinities are few": (
        {"sessionAffinity": "X", "ports": [WEB]},
        'spec.sessionAffinity: Unsupported value: "X": supported values: "ClientIP", "None"',
    ),
    "local traffic is for services reached from outside": (
        {"externalTrafficPolicy": "Local", "ports": [WEB]},
        'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
    ),
    "the health check port is for local load balancers": (
        {"healthCheckNodePort": 31000, "type": "NodePort", "ports": [WEB]},
        "spec.healthCheckNodePort: Invalid value: 31000: may only be set when `type` is 'LoadBalancer' and "
        "`externalTrafficPolicy` is 'Local'",
    ),
    "a load balancer class is for load balancers": (
        {"loadBalancerClass": "a.b/c", "ports": [WEB]},
        "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    "source ranges are for load balancers": (
        {"loadBalancerSourceRanges": ["10.0.0.0/8"], "ports": [WEB]},
        "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    "an external address is not of the loopback": (
        {"externalIPs": ["127.0.0.1"], "ports": [WEB]},
        'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    ),
    "distributions are few": (
        {"trafficDistribution": "Near", "ports": [WEB]},
        'spec.trafficDistribution: Unsupported value: "Near": supported values: "PreferClose", "PreferSameZone", '
        '"PreferSameNode"',
    ),
    "a cluster address is of the range": (
        {"clusterIP": "1.2.3.4", "ports": [WEB]},
        'spec.clusterIPs: Invalid value: ["1.2.3.4"]: failed to allocate IP 1.2.3.4: the provided IP (1.2.3.4) is not '
        "in the valid range. The range of valid IPs is 10.96.0.0/16",
    ),
    "a node port is of the range": (
        {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
        "The range of valid ports is 30000-32767",
    ),
    "one family is all there is": (
        {"ipFamilyPolicy": "RequireDualStack", "ports": [WEB]},
        'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
        "this cluster is not configured for dual-stack services",
    ),
    "a family must be configured": (
        {"ipFamilies": ["IPv6"], "ports": [WEB]},
        'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
    ),
}


@pytest.mark.parametrize(("spec", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_service_is_refused(spec: dict[str, Any], message: str) -> None:
    assert message in problems(made("Service", spec))


def test_a_service_name_begins_with_a_letter() -> None:
    (message,) = problems(made("Service", {"ports": [WEB]}, name="1svc"))
    assert message == (
        'metadata.name: Invalid value: "1svc": a DNS-1035 label must consist of lower case alphanumeric characters or '
        "'-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123'"
        ", regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    )


ACCEPTED: dict[str, dict[str, Any]] = {
    "TCP and UDP on one port": {"ports": [{"port": 53, "name": "t"}, {"port": 53, "name": "u", "protocol": "UDP"}]},
    "headless without ports": {"clusterIP": "None", "selector": {"a": "b"}},
    "an external name that ends in a dot": {"type": "ExternalName", "externalName": "example.com."},
    "a sticky service": {"sessionAffinity": "ClientIP", "ports": [WEB]},
    "local traffic of a node port": {"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [WEB]},
}


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_service_is_accepted(spec: dict[str, Any]) -> None:
    assert problems(made("Service", spec)) == []


def test_defaults_are_filled_in() -> None:
    spec = created(made("Service", {"ports": [WEB], "sessionAffinity": "ClientIP", "type": "LoadBalancer"}))[0]["spec"]
    assert spec == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30086}],
        "type": "LoadBalancer",
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        "externalTrafficPolicy": "Cluster",
        "internalTrafficPolicy": "Cluster",
        "allocateLoadBalancerNodePorts": True,
        "clusterIP": "10.96.1.1",
        "clusterIPs": ["10.96.1.1"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }


def test_an_address_may_not_change() -> None:
    old = created(made("Service", {"ports": [WEB]}))[0]
    new = made("Service", {**mapping_at(old, "spec"), "clusterIP": "10.96.9.9"})
    assert updated(new, old)[1] == ['spec.clusterIPs[0]: Invalid value: ["10.96.9.9"]: may not change once set']


def test_a_replacement_without_address_and_node_port_keeps_both() -> None:
    old = created(made("Service", {"ports": [WEB], "type": "NodePort"}))[0]
    new, wrong = updated(made("Service", {"ports": [WEB], "type": "NodePort"}), old)
    assert wrong == []
    assert new["spec"] == old["spec"]


def test_a_node_port_goes_with_the_type_and_comes_back_new() -> None:
    old = created(made("Service", {"ports": [WEB], "type": "NodePort"}))[0]
    plain, wrong = updated(made("Service", {**mapping_at(old, "spec"), "type": "ClusterIP"}), old)
    assert wrong == []
    assert mapping_at(plain, "spec")["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert "externalTrafficPolicy" not in mapping_at(plain, "spec")
    again, wrong = updated(made("Service", {**mapping_at(plain, "spec"), "type": "NodePort"}), plain)
    assert (wrong, mapping_at(again, "spec")["ports"]) == (
        [],
        [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30086}],
    )


def test_a_node_port_that_is_asked_for_anew_does_not_slip_by_with_the_type() -> None:
    old = created(made("Service", {"ports": [WEB], "type": "NodePort"}))[0]
    ports = [{"port": 80, "nodePort": 30500}]
    wrong = updated(made("Service", {**mapping_at(old, "spec"), "type": "ClusterIP", "ports": ports}), old)[1]
    assert wrong == ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]


def test_becoming_an_external_name_drops_the_address_and_turning_back_takes_one() -> None:
    old = created(made("Service", {"ports": [WEB]}))[0]
    gone, wrong = updated(
        made("Service", {**mapping_at(old, "spec"), "type": "ExternalName", "externalName": "a.b"}), old
    )
    assert wrong == []
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(mapping_at(gone, "spec"))
    back, wrong = updated(made("Service", {**mapping_at(gone, "spec"), "type": "ClusterIP"}), gone)
    assert (wrong, mapping_at(back, "spec")["clusterIP"]) == ([], "10.96.1.1")


def test_the_status_of_a_load_balancer_goes_with_its_type() -> None:
    old = created(made("Service", {"ports": [WEB], "type": "LoadBalancer"}))[0]
    old["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
    new = updated(made("Service", {**mapping_at(old, "spec"), "type": "ClusterIP"}), old)[0]
    assert new["status"] == {"loadBalancer": {}}


def test_deprecated_fields_are_warned_of() -> None:
    service = made("Service", {"externalIPs": ["192.0.2.1"], "trafficDistribution": "PreferClose", "ports": [WEB]})
    assert spec_of(service).warnings(service) == [
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
    ]
    headless = made("Service", {"clusterIP": "None", "sessionAffinity": "ClientIP"})
    assert spec_of(headless).warnings(headless) == ["spec.SessionAffinity is ignored for headless services"]


def test_a_class_may_not_change() -> None:
    old = created(made("Service", {"ports": [WEB], "type": "LoadBalancer", "loadBalancerClass": "a.b/c"}))[0]
    new = made("Service", {**mapping_at(old, "spec"), "loadBalancerClass": "a.b/d"})
    assert updated(new, old)[1] == ['spec.loadBalancerClass: Invalid value: "a.b/d": may not change once set']


def test_an_address_that_is_taken_is_refused() -> None:
    allocators = Allocators((RANGE,), first)
    allocators.commit(created(made("Service", {"ports": [WEB], "clusterIP": "10.96.0.9"}), allocators)[0], None)
    wrong = created(made("Service", {"ports": [WEB], "clusterIP": "10.96.0.9"}, name="y"), allocators)[1]
    assert wrong == [
        'spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: '
        "provided IP is already allocated"
    ]


def dual() -> Allocators:
    return Allocators((RANGE, parse_prefix("fd00:10:96::/112")), first)


def test_a_service_that_becomes_single_stack_gives_its_second_address_back() -> None:
    allocators = dual()
    old, _ = created(made("Service", {"ports": [WEB], "ipFamilyPolicy": "PreferDualStack"}), allocators)
    allocators.commit(old, None)
    spec = {**mapping_at(old, "spec"), "ipFamilyPolicy": "SingleStack"}
    new, wrong = updated({**old, "spec": spec}, old, allocators)
    assert not wrong
    assert mapping_at(new, "spec")["ipFamilies"] == ["IPv4"]
    assert mapping_at(new, "spec")["clusterIPs"] == [mapping_at(old, "spec")["clusterIP"]]


@pytest.mark.parametrize(
    ("field", "values"), [("ipFamilies", ["IPv4", "IPv6"]), ("clusterIPs", ["10.96.0.9", "fd00:10:96::9"])]
)
def test_one_family_and_two_of_them_is_refused(field: str, values: list[str]) -> None:
    spec = {"ports": [WEB], "ipFamilyPolicy": "SingleStack", field: values}
    assert created(made("Service", spec), dual())[1][0] == (
        'spec.ipFamilyPolicy: Invalid value: "SingleStack": must be RequireDualStack or PreferDualStack when multiple '
        f"{field} are specified"
    )


def test_the_families_may_not_change_places() -> None:
    allocators = dual()
    old, _ = created(made("Service", {"ports": [WEB], "ipFamilyPolicy": "PreferDualStack"}), allocators)
    spec = mapping_at(old, "spec")
    turned = {**spec, "ipFamilies": ["IPv6", "IPv4"]}
    _, wrong = updated({**old, "spec": turned}, old, allocators)
    assert any("spec.ipFamilies[0]" in each and "may not change once set" in each for each in wrong), wrong
