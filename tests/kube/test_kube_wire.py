"""Are objects read and written in the wire's spelling, and does reading forgive what servers write?"""

import msgspec
import pytest

from fairlead.drivers.kubeapi.views import decode_list, decode_view
from fairlead.kube.base import wire_name
from fairlead.kube.core import Node, Pod, Service
from fairlead.kube.resources import find_resource, resource_of


@pytest.mark.parametrize(
    ("attribute", "wire"),
    [
        ("cluster_ip", "clusterIP"),
        ("cluster_ips", "clusterIPs"),
        ("pod_cidr", "podCIDR"),
        ("pod_cidrs", "podCIDRs"),
        ("uid", "uid"),
        ("host_ip", "hostIP"),
        ("target_ref", "targetRef"),
        ("external_ips", "externalIPs"),
        ("set_hostname_as_fqdn", "setHostnameAsFQDN"),
        ("termination_grace_period_seconds", "terminationGracePeriodSeconds"),
    ],
)
def test_an_attribute_has_the_spelling_of_the_wire(attribute: str, wire: str) -> None:
    assert wire_name(attribute) == wire


def test_a_pod_is_read_with_everything_a_kubelet_needs() -> None:
    pod = decode_view(
        Pod,
        b"""{"metadata": {"name": "a", "uid": "u"}, "spec": {"containers": [{"name": "c", "image": "i",
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "envFrom": [{"configMapRef": {"name": "cm"}}],
        "livenessProbe": {"httpGet": {"port": "http", "path": "/live"}, "periodSeconds": 3},
        "volumeMounts": [{"name": "v", "mountPath": "/etc/v", "subPath": "x"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "cm", "items": [{"key": "k", "path": "p"}]}}],
        "nodeSelector": {"disk": "ssd"}, "unheardOf": 1}}""",
    )
    container = pod.spec.containers[0]
    source = container.env[0].value_from
    assert source is not None
    assert source.field_ref is not None
    assert source.field_ref.field_path == "status.podIP"
    assert container.liveness_probe is not None
    assert container.liveness_probe.http_get is not None
    assert container.liveness_probe.http_get.port == "http"
    assert container.volume_mounts[0].sub_path == "x"
    assert pod.spec.node_selector == {"disk": "ssd"}


def test_absent_fields_are_not_written() -> None:
    service = msgspec.json.decode(b'{"spec": {"clusterIP": "10.96.0.1"}}', type=Service)
    assert msgspec.json.encode(service) == b'{"spec":{"clusterIP":"10.96.0.1"}}'


def test_null_lists_of_go_servers_are_read_as_absent() -> None:
    items, version = decode_list(Node, b'{"metadata": {"resourceVersion": "7"}, "items": null}')
    assert (items, version) == ((), "7")
    service = decode_view(Service, b'{"metadata": {"labels": null}, "spec": {"ports": null, "clusterIP": "None"}}')
    assert service.spec.ports == ()
    assert service.spec.cluster_ip == "None"


def test_paths_follow_the_group_and_the_scope() -> None:
    assert resource_of(Service).path("shop", "web", "status") == "/api/v1/namespaces/shop/services/web/status"
    assert resource_of(Node).path("ignored", "n") == "/api/v1/nodes/n"
    deployments = find_resource("apps/v1", "Deployment")
    assert deployments is not None
    assert deployments.path() == "/apis/apps/v1/deployments"
    assert find_resource("apps/v1", "Nonsense") is None
