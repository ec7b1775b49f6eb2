"""Which endpoints does a Service's port have, and which are refused?"""

import msgspec
import pytest
from ingress_objects_made import a_service, a_slice, an_ingress, routes_with

from fairlead.compile.route_upstreams import compile_upstream
from fairlead.kube.core import Service
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.net import parse_address


def external(name: str) -> Service:
    spec = {"type": "ExternalName", "externalName": name, "ports": [{"name": "web", "port": 8080}]}
    return msgspec.convert({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}, Service)


def test_an_external_name_leads_to_the_addresses_it_resolves_to() -> None:
    routes = routes_with(an_ingress("web", "a.example", "/"))
    routes.set_service(external("api.partner.example"))
    built = routes.build()
    key = UpstreamKey("shop", "web", "80")
    assert built.wanted_names == {"api.partner.example"}
    assert built.endpoints[key].backends == ()
    routes.set_resolved("api.partner.example", (parse_address("192.0.2.7"),))
    assert [str(each.address) for each in routes.build().endpoints[key].backends] == ["192.0.2.7"]


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "127.0.0.1", "169.254.169.254", "::1", "a b", "x;y", "-x"])
def test_an_external_name_never_leads_to_the_controller_or_to_credentials(name: str) -> None:
    backends, problem = compile_upstream(UpstreamKey("shop", "web", "80"), external(name), ())
    assert backends == ()
    assert "not allowed" in problem


def test_a_name_that_resolves_to_loopback_is_refused_too() -> None:
    resolved = {"rebind.example": (parse_address("127.0.0.1"),)}
    backends, problem = compile_upstream(
        UpstreamKey("shop", "web", "80"), external("rebind.example"), (), resolved=resolved
    )
    assert backends == ()
    assert "not allowed" in problem


def test_endpoints_on_loopback_and_link_local_addresses_are_left_out() -> None:
    routes = routes_with(an_ingress("web", "a.example", "/"))
    routes.set_slice(a_slice("web", "127.0.0.1", "169.254.169.254", "10.0.0.9"))
    found = routes.build().endpoints[UpstreamKey("shop", "web", "80")].backends
    assert [str(each.address) for each in found] == ["10.0.0.9"]


def test_a_port_that_the_service_has_not_is_told_with_those_it_has() -> None:
    _, problem = compile_upstream(UpstreamKey("shop", "web", "81"), a_service(), ())
    assert problem == "Service shop/web has no port 81; it has 80"
