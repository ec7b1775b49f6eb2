"""Ingresses, NetworkPolicies, EndpointSlices: the messages people know, and their defaults."""

from typing import Any

import pytest
from admitting import BY_KIND, created, made, problems, spec_of, updated

from fairlead.kube.documents import Document

SERVICE = {"service": {"name": "s", "port": {"number": 80}}}


def path(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": SERVICE, **fields}]}}]}


SPOT = "spec.rules[0].http.paths[0]"
INGRESS: dict[str, tuple[dict[str, Any], str]] = {
    "an ingress does something": (
        {},
        "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
    ),
    "an empty list of rules is none": (
        {"rules": []},
        "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified",
    ),
    "a path has a type": (path(pathType=""), f"{SPOT}.pathType: Required value: pathType must be specified"),
    "a path begins with a slash": (path(path="foo"), f'{SPOT}.path: Invalid value: "foo": must be an absolute path'),
    "a path has no empty element": (
        path(path="/a//b"),
        f"{SPOT}.path: Invalid value: \"/a//b\": must not contain '//'",
    ),
    "a path does not end by going up": (
        path(path="/a/.."),
        f"{SPOT}.path: Invalid value: \"/a/..\": cannot end with '/..'",
    ),
    "types of paths are few": (
        path(pathType="Regex"),
        f'{SPOT}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"',
    ),
    "a backend is something": (
        path(backend={}),
        f'{SPOT}.backend: Invalid value: "": resource or service backend is required',
    ),
    "a backend is one thing": (
        path(backend={**SERVICE, "resource": {"kind": "A", "name": "b"}}),
        f'{SPOT}.backend: Invalid value: "": cannot set both resource and service backends',
    ),
    "a port is named or numbered": (
        path(backend={"service": {"name": "s", "port": {"number": 80, "name": "http"}}}),
        f'{SPOT}.backend: Invalid value: "": cannot set both port name & port number',
    ),
    "a backend has a port": (
        path(backend={"service": {"name": "s"}}),
        f"{SPOT}.backend: Required value: port name or number is required",
    ),
    "a backend has a name": (
        path(backend={"service": {"port": {"number": 80}}}),
        f"{SPOT}.backend.service.name: Required value",
    ),
    "a host is no address": (
        {"rules": [{"host": "1.2.3.4"}]},
        'spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
    ),
    "a rule has paths": ({"rules": [{"http": {}}]}, "spec.rules[0].http.paths: Required value"),
}


@pytest.mark.parametrize(("spec", "message"), INGRESS.values(), ids=INGRESS.keys())
def test_an_ingress_is_refused(spec: dict[str, Any], message: str) -> None:
    assert message in problems(made("Ingress", spec))


def test_a_wildcard_stands_for_one_label_at_the_front() -> None:
    assert problems(made("Ingress", {"rules": [{"host": "*.example.com"}]})) == []
    (message,) = problems(made("Ingress", {"rules": [{"host": "a.*.com"}]}))
    assert message.startswith(
        "spec.rules[0].host: Invalid value: \"a.*.com\": a wildcard DNS-1123 subdomain must start with '*.', "
        "followed by a valid DNS subdomain"
    )


def test_the_old_annotation_must_agree_on_creation_only() -> None:
    ingress = made("Ingress", {"ingressClassName": "b", "defaultBackend": SERVICE})
    ingress["metadata"] = {"name": "x", "annotations": {"kubernetes.io/ingress.class": "a"}}
    stored, wrong = created(ingress)
    assert wrong == [
        'annotations.kubernetes.io/ingress.class: Invalid value: "a": must match `ingressClassName` '
        "when both are specified"
    ]
    assert updated(stored, stored)[1] == []
    assert spec_of(ingress).warnings(ingress) == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]


def test_the_newest_default_class_is_given_to_an_ingress_without_one() -> None:
    def ingress_class(name: str, born: str, mark: str = "true") -> Document:
        annotations: Document = {"ingressclass.kubernetes.io/is-default-class": mark}
        return {"metadata": {"name": name, "creationTimestamp": born, "annotations": annotations}}

    classes = [
        ingress_class("old", "2026-01-01T00:00:00Z"),
        ingress_class("z", "2026-02-01T00:00:00Z"),
        ingress_class("m", "2026-02-01T00:00:00Z"),
        ingress_class("no", "2026-03-01T00:00:00Z", "false"),
    ]
    ingress = made("Ingress", {"defaultBackend": SERVICE})
    BY_KIND["Ingress"].admit(ingress, None, lambda resource, namespace: classes)
    assert ingress["spec"] == {"defaultBackend": SERVICE, "ingressClassName": "m"}


def rule(peer: dict[str, Any]) -> dict[str, Any]:
    return {"ingress": [{"from": [peer]}]}


def ports(**port: Any) -> dict[str, Any]:
    return {"ingress": [{"ports": [port]}]}


PEER, PORT = "spec.ingress[0].from[0]", "spec.ingress[0].ports[0]"
POLICY: dict[str, tuple[dict[str, Any], str]] = {
    "a peer is something": (rule({}), f"{PEER}: Required value: must specify a peer"),
    "a block stands alone": (
        rule({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
        f"{PEER}: Forbidden: may not specify both ipBlock and another peer",
    ),
    "a block has a range": (rule({"ipBlock": {"except": []}}), f"{PEER}.ipBlock.cidr: Required value"),
    "a range is a range": (
        rule({"ipBlock": {"cidr": "x"}}),
        f'{PEER}.ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
    ),
    "a range has no host bits": (
        rule({"ipBlock": {"cidr": "10.0.0.1/8"}}),
        f'{PEER}.ipBlock.cidr: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length',
    ),
    "an exception lies within": (
        rule({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/24"]}}),
        f'{PEER}.ipBlock.except[0]: Invalid value: "11.0.0.0/24": must be a strict subset of `cidr`',
    ),
    "an exception is smaller": (
        rule({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
        f'{PEER}.ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
    ),
    "a range of ports goes up": (
        ports(port=90, endPort=80),
        f"{PORT}.endPort: Invalid value: 80: must be greater than or equal to `port`",
    ),
    "a range of ports is of numbers": (
        ports(port="http", endPort=80),
        f"{PORT}.endPort: Invalid value: 80: may not be specified when `port` is non-numeric",
    ),
    "a range of ports has a beginning": (
        ports(endPort=80),
        f"{PORT}.endPort: Invalid value: 80: may not be specified when `port` is not specified",
    ),
    "policy types are few": (
        {"policyTypes": ["X"]},
        'spec.policyTypes[0]: Unsupported value: "X": supported values: "Ingress", "Egress"',
    ),
    "there are two policy types": (
        {"policyTypes": ["Ingress", "Egress", "Ingress"]},
        'spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes',
    ),
}


@pytest.mark.parametrize(("spec", "message"), POLICY.values(), ids=POLICY.keys())
def test_a_network_policy_is_refused(spec: dict[str, Any], message: str) -> None:
    assert problems(made("NetworkPolicy", {"podSelector": {}, **spec})) == [message]


def test_a_network_policy_isolates_ingress_and_egress_if_it_speaks_of_it() -> None:
    assert created(made("NetworkPolicy", {"podSelector": {}}))[0]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress"],
    }
    both = created(made("NetworkPolicy", {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}))[0]["spec"]
    assert both == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
    }


def slices(**fields: Any) -> dict[str, Any]:
    return {"addressType": "IPv4", "endpoints": [], **fields}


SLICE: dict[str, tuple[dict[str, Any], str]] = {
    "a slice has a type": ({}, "addressType: Required value"),
    "types are few": (
        {"addressType": "X"},
        'addressType: Unsupported value: "X": supported values: "FQDN", "IPv4", "IPv6"',
    ),
    "an endpoint has an address": (
        slices(endpoints=[{"addresses": []}]),
        "endpoints[0].addresses: Required value: must contain at least 1 address",
    ),
    "an address is of the type": (
        slices(endpoints=[{"addresses": ["fd00::1"]}]),
        'endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address',
    ),
    "a slice holds a thousand": (
        slices(endpoints=[{"addresses": ["10.0.0.1"]}] * 1001),
        "endpoints: Too many: 1001: must have at most 1000 items",
    ),
    "port names differ": (
        slices(ports=[{"port": 1}, {"port": 2}]),
        'ports[1].name: Duplicate value: ""',
    ),
}


@pytest.mark.parametrize(("fields", "message"), SLICE.values(), ids=SLICE.keys())
def test_an_endpoint_slice_is_refused(fields: dict[str, Any], message: str) -> None:
    assert problems(made("EndpointSlice", **fields)) == [message]


def test_the_type_of_a_slice_may_not_change() -> None:
    old = created(made("EndpointSlice", **slices()))[0]
    new = made("EndpointSlice", addressType="IPv6", endpoints=[])
    assert updated(new, old)[1] == ['addressType: Invalid value: "IPv6": field is immutable']


def test_endpoints_have_addresses_that_others_can_reach() -> None:
    wrong = problems(made("Endpoints", subsets=[{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 80}]}]))
    assert wrong == [
        'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": '
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    ]


def test_a_controller_of_a_class_is_a_path_with_a_domain_and_stays() -> None:
    assert problems(made("IngressClass", {"controller": "nginx"})) == [
        'spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")'
    ]
    old = created(made("IngressClass", {"controller": "a.b/c"}))[0]
    assert updated(made("IngressClass", {"controller": "a.b/d"}), old)[1] == [
        'spec.controller: Invalid value: "a.b/d": field is immutable'
    ]
