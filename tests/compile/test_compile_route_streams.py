"""Do the ConfigMaps of streams lead to endpoints that speak their protocol?"""

import msgspec
import pytest

from fairlead.compile.endpoints import EndpointFacts, SliceEndpoints
from fairlead.compile.route_streams import compile_streams
from fairlead.kube.core import Service
from fairlead.model import Origin
from fairlead.model.services import Backend
from fairlead.net import Family, Port, Protocol, parse_address

BOTH = [("dns-tcp", Protocol.TCP), ("dns", Protocol.UDP)]
POD = parse_address("10.244.0.9")


@pytest.mark.parametrize(("protocol", "number"), [(Protocol.TCP, 5300), (Protocol.UDP, 5301)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_headless_service_is_reached_by_the_protocol_of_the_stream(
    protocol: Protocol, number: int, order: int
) -> None:
    ports = [{"name": name, "port": 53, "protocol": each.name} for name, each in BOTH[::order]]
    service = msgspec.convert(
        {"metadata": {"name": "dns", "namespace": "a"}, "spec": {"clusterIP": "None", "ports": ports}}, Service
    )
    named = {("dns-tcp", Protocol.TCP): Port(5300), ("dns", Protocol.UDP): Port(5301)}
    piece = SliceEndpoints("dns", Family.IPV4, named, (EndpointFacts(POD, ready=True, draining=False, local=True),))
    about = Origin("ConfigMap", "nginx-ingress", "streams", "")
    told = {"5353": "a/dns:53"}
    listeners, findings = compile_streams(told, protocol, about, lambda _, __: service, lambda _, __: (piece,))
    assert not findings
    assert [each.targets for each in listeners] == [(Backend(POD, Port(number)),)]
