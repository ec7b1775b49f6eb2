"""Typed views: the wire's names, and what Go servers write."""

from decimal import Decimal

import msgspec
import pytest

from fairlead.drivers.kubeapi.views import decode_list, decode_view
from fairlead.kube.base import wire_name
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.quantities import parse_quantity
from fairlead.kube.resources import RESOURCES, find_resource, resource_of


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("cluster_ip", "clusterIP"),
        ("external_ips", "externalIPs"),
        ("pod_cidrs", "podCIDRs"),
        ("uid", "uid"),
        ("exec_", "exec"),
        ("http_get", "httpGet"),
        ("downward_api", "downwardAPI"),
        ("set_hostname_as_fqdn", "setHostnameAsFQDN"),
        ("from_", "from"),
    ],
)
def test_attributes_are_spelt_as_on_the_wire(attribute: str, name: str) -> None:
    assert wire_name(attribute) == name


def test_a_view_reads_what_it_knows_and_writes_only_what_is_set() -> None:
    body = b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"clusterIP":"10.96.0.1","new":1}}'
    view = decode_view(Service, body)
    assert view.spec.cluster_ip == "10.96.0.1"
    assert msgspec.json.decode(msgspec.json.encode(view)) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"clusterIP": "10.96.0.1"},
    }


def test_null_lists_are_empty() -> None:
    view = decode_view(EndpointSlice, b'{"addressType":"IPv4","endpoints":null,"ports":[{"name":null,"port":80}]}')
    assert view.endpoints == ()
    assert view.ports[0].port == 80


def test_a_list_carries_its_revision() -> None:
    items, version = decode_list(Service, b'{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}')
    assert (items[0].metadata.name, version) == ("a", "7")


def test_every_kind_is_found_by_what_manifests_call_it() -> None:
    for resource in RESOURCES.values():
        assert find_resource(resource.api_version, resource.kind) == resource
    assert find_resource("v1", "Widget") is None


def test_paths_are_those_of_the_api() -> None:
    assert resource_of(Service).path("n", "a", "status") == "/api/v1/namespaces/n/services/a/status"
    assert resource_of(EndpointSlice).path() == "/apis/discovery.k8s.io/v1/endpointslices"


@pytest.mark.parametrize(
    ("text", "value"),
    [("100m", "0.1"), ("64Mi", "67108864"), ("1e3", "1000"), ("2", "2"), ("1.5Gi", "1610612736"), ("0", "0")],
)
def test_quantities_are_exact(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "1x", "Mi", "1 Mi", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        parse_quantity(text)
