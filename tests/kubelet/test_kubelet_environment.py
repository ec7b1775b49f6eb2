"""Are environments, volumes and host files what upstream would make? Pure functions, and files in a folder."""

import sys
from pathlib import Path

import pytest

from fairlead.cluster.kubelet.addresses import AddressPool
from fairlead.cluster.kubelet.environment import MissingError, PodFacts, command_line, environment_of, expand
from fairlead.cluster.kubelet.hostfiles import hosts_text, resolv_text
from fairlead.cluster.kubelet.images import ProgramImage, StandInImage, resolve_image
from fairlead.cluster.kubelet.targets import port_of, request_bytes, sleep_of
from fairlead.cluster.kubelet.volumes import write_files
from fairlead.cluster.launch import ImageRule
from fairlead.kube.containers import (
    Container,
    ContainerPort,
    EnvFromRef,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    HTTPGetAction,
    HTTPHeader,
    KeySelector,
    ObjectFieldSelector,
    ResourceFieldSelector,
    ResourceRequirements,
)
from fairlead.kube.core import Service, ServicePort, ServiceSpec
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.pods import HostAlias, Pod, PodDNSConfig, PodDNSConfigOption, PodSpec
from fairlead.net import parse_address, parse_prefix

POD = Pod(
    metadata=ObjectMeta(name="web-1", namespace="shop", uid="u1", labels={"app": "web"}),
    spec=PodSpec(node_name="node-1"),
)
FACTS = PodFacts(addresses=("10.244.1.2",), node_addresses=("172.18.0.2",), node_cpu="2", node_memory="1024")


def test_variables_come_from_all_their_sources_and_later_ones_may_use_earlier_ones() -> None:
    field = EnvVarSource(field_ref=ObjectFieldSelector(field_path="metadata.labels['app']"))
    cpu = EnvVarSource(resource_field_ref=ResourceFieldSelector(resource="limits.cpu", divisor="1m"))
    key = EnvVarSource(secret_key_ref=KeySelector(name="s", key="k"))
    container = Container(
        env_from=(EnvFromSource(prefix="P_", config_map_ref=EnvFromRef(name="c")),),
        env=(
            EnvVar(name="APP", value_from=field),
            EnvVar(name="CPU", value_from=cpu),
            EnvVar(name="KEY", value_from=key),
            EnvVar(name="ALL", value="$(APP)-$(P_A)-$(NONE)-$$(APP)"),
        ),
        resources=ResourceRequirements(limits={"cpu": "1500m"}),
    )
    data = {("ConfigMap", "c"): {"A": b"1"}, ("Secret", "s"): {"k": b"v"}}
    values = environment_of(POD, container, FACTS, data, ())
    assert values == {"P_A": "1", "APP": "web", "CPU": "1500", "KEY": "v", "ALL": "web-1-$(NONE)-$(APP)"}


@pytest.mark.parametrize(
    ("data", "words"),
    [({}, 'secret "s" not found'), ({("Secret", "s"): {"x": b""}}, "couldn't find key k in Secret shop/s")],
)
def test_what_is_missing_is_said_in_upstreams_words(data: dict[tuple[str, str], dict[str, bytes]], words: str) -> None:
    container = Container(
        env=(EnvVar(name="A", value_from=EnvVarSource(secret_key_ref=KeySelector(name="s", key="k"))),)
    )
    with pytest.raises(MissingError, match=words):
        environment_of(POD, container, FACTS, data, ())


def test_services_of_the_namespace_become_variables() -> None:
    ports = (ServicePort(name="http", port=80),)
    services = [
        Service(
            metadata=ObjectMeta(name="my-db", namespace="shop"), spec=ServiceSpec(cluster_ip="10.96.0.7", ports=ports)
        ),
        Service(
            metadata=ObjectMeta(name="else", namespace="other"), spec=ServiceSpec(cluster_ip="10.96.0.8", ports=ports)
        ),
        Service(metadata=ObjectMeta(name="none", namespace="shop"), spec=ServiceSpec(cluster_ip="None", ports=ports)),
    ]
    values = environment_of(POD, Container(), FACTS, {}, services)
    assert values["MY_DB_SERVICE_HOST"] == "10.96.0.7"
    assert values["MY_DB_PORT_80_TCP"] == "tcp://10.96.0.7:80"
    assert values["MY_DB_SERVICE_PORT_HTTP"] == "80"
    assert not [name for name in values if name.startswith(("ELSE", "NONE"))]


def test_command_and_args_are_expanded_and_stand_before_the_mapped_program() -> None:
    assert command_line(Container(args=("$(A)",)), ("/bin/p", "-v"), {"A": "1"}) == ("/bin/p", "-v", "1")
    assert command_line(Container(command=("sh",), args=("-c",)), ("/bin/p",), {}) == ("sh", "-c")
    assert expand("$$$(A)$B", {"A": "1"}) == "$1$B"


def test_images_are_matched_with_and_without_registry_and_tag() -> None:
    rules = (ImageRule("nginx*", "/usr/sbin/nginx"),)
    for image in ("nginx", "nginx:1.27", "docker.io/library/nginx:1.27", "reg:5000/nginx@sha256:0"):
        assert resolve_image(image, rules) == ProgramImage("/usr/sbin/nginx")
    assert resolve_image("/usr/bin/python3", ()) == ProgramImage("/usr/bin/python3")
    assert resolve_image("fairlead/dns:1", ()) == StandInImage("fairlead/dns")
    assert resolve_image("fairlead/ingress:1.0", ()) == ProgramImage(
        sys.executable, ("-m", "fairlead", "agent", "ingress")
    )
    assert resolve_image("redis:7", rules) == StandInImage()


def test_addresses_rest_before_they_are_used_again() -> None:
    pool = AddressPool(parse_prefix("10.244.1.0/29"))
    first = pool.take()
    assert str(first) == "10.244.1.2"
    assert first is not None
    pool.let_go(first)
    assert [str(pool.take()) for _ in range(4)] == [f"10.244.1.{n}" for n in (3, 4, 5, 6)]
    assert pool.take() == first
    assert pool.take() is None
    assert AddressPool(parse_prefix("10.244.1.0/29")).take(parse_address("10.244.1.5")) == parse_address("10.244.1.5")


def test_resolver_settings_follow_the_policy() -> None:
    own = "nameserver 192.0.2.1\nsearch example.com\noptions edns0\n"
    assert resolv_text(POD, own) == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )
    default = Pod(metadata=POD.metadata, spec=PodSpec(dns_policy="Default"))
    assert resolv_text(default, own) == "search example.com\nnameserver 192.0.2.1\noptions edns0\n"
    config = PodDNSConfig(options=(PodDNSConfigOption(name="ndots", value="2"),))
    assert resolv_text(Pod(metadata=POD.metadata, spec=PodSpec(dns_config=config)), own).endswith("options ndots:2\n")


def test_hosts_name_the_pod_and_its_aliases() -> None:
    spec = PodSpec(subdomain="db", host_aliases=(HostAlias(ip="192.0.2.9", hostnames=("a", "b")),))
    text = hosts_text(Pod(metadata=POD.metadata, spec=spec), ("10.244.1.2",), "web-1")
    assert "10.244.1.2\tweb-1.db.shop.svc.cluster.local\tweb-1\n" in text
    assert text.endswith("192.0.2.9\ta\tb\n")


def test_files_change_in_one_step_and_removed_keys_go(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert write_files(folder, {"a": (b"1", 0o600), "sub/b": (b"2", 0o644)})
    assert ((folder / "a").read_bytes(), (folder / "sub/b").read_bytes()) == (b"1", b"2")
    assert (folder / "a").stat().st_mode & 0o777 == 0o600
    assert not write_files(folder, {"a": (b"1", 0o600), "sub/b": (b"2", 0o644)})
    before = (folder / "..data").readlink()
    assert write_files(folder, {"a": (b"3", 0o644)})
    assert (folder / "..data").readlink() != before
    assert (folder / "a").read_bytes() == b"3"
    assert sorted(each.name for each in folder.iterdir() if not each.name.startswith("..")) == ["a"]


def test_probes_are_requests_as_upstream_sends_them() -> None:
    action = HTTPGetAction(
        path="/h", port="web", http_headers=(HTTPHeader(name="Host", value="shop"), HTTPHeader(name="Accept"))
    )
    sent = request_bytes(action, "10.244.1.2", 80)
    assert sent == b"GET /h HTTP/1.1\r\nHost: shop\r\nUser-Agent: kube-probe/1.36\r\nConnection: close\r\n\r\n"
    assert port_of("web", Container(ports=(ContainerPort(name="web", container_port=80),))) == 80
    assert port_of("none", Container()) is None
    assert sleep_of(("sh", "-c", "nginx -s quit; sleep 5")) == 5
