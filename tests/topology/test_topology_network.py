"""The cluster's network on the real kernel: who reaches whom, what pods cost, what is left behind."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.cluster.topology import HostNetwork, NodeNetwork, PodNetwork, Topology, TopologySpec
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.links import LinkError, LinkSocket, VethEnd, create_veth
from fairlead.drivers.netns import entered, new_namespace, open_socket
from fairlead.net import Address, Family, parse_address

pytestmark = pytest.mark.kernel


def build(spec: TopologySpec | None = None) -> tuple[int, Topology]:
    fabric = new_namespace()
    with entered(fabric):
        return fabric, Topology.build(spec or TopologySpec(nodes=2))


@pytest.fixture
def topology() -> Iterator[Topology]:
    fabric, built = build()
    yield built
    built.close()
    os.close(fabric)


def listen(netns: int, port: int = 80) -> socket.socket:
    listener = open_socket(netns, socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    listener.listen()
    return listener


def dial(netns: int, address: Address | str, port: int = 80) -> str:
    """Connect and return `ok` and the source address, or the error's name."""
    family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
    with open_socket(netns, family, socket.SOCK_STREAM) as caller:
        caller.settimeout(3)
        try:
            caller.connect((str(address), port))
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return f"ok {caller.getsockname()[0]}"


def link_names(netns: int) -> list[str]:
    with entered(netns):
        links = LinkSocket()
    names = [link.name for link in links.links()]
    links.close()
    return names


def wait_for_links(netns: int, wanted: list[str]) -> None:
    deadline = time.monotonic() + 10
    while link_names(netns) != wanted:
        assert time.monotonic() < deadline, f"{link_names(netns)} instead of {wanted}"
        time.sleep(0.01)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def machines(topology: Topology) -> list[HostNetwork | NodeNetwork | PodNetwork]:
    first = [topology.attach_pod(name, node.pod_prefix.address + 2) for name, node in topology.nodes.items()]
    second = [topology.attach_pod("node-1", topology.nodes["node-1"].pod_prefix.address + 3)]
    return [topology.client, topology.lb, *topology.nodes.values(), *first, *second]


def test_every_machine_and_pod_reaches_every_other_with_its_own_address(topology: Topology):
    everyone = machines(topology)
    listeners = [listen(machine.netns) for machine in everyone]
    seen = {
        (str(own), str(address)): dial(source.netns, address)
        for source in everyone
        for target in everyone
        for own, address in zip(source.addresses, target.addresses, strict=True)
        if source is not target
    }
    assert len(seen) == 2 * len(everyone) * (len(everyone) - 1)
    assert seen == {pair: f"ok {pair[0]}" for pair in seen}
    for listener in listeners:
        listener.close()


def test_the_first_packet_to_a_new_pod_arrives(topology: Topology):
    node, slow = topology.nodes["node-1"], list[str]()
    for offset in range(2, 152):
        pod = topology.attach_pod("node-1", node.pod_prefix.address + offset)
        with listen(pod.netns):
            started = time.monotonic()
            assert dial(node.netns, pod.address) == f"ok {node.address}"
            if time.monotonic() - started > 0.9:  # the kernel sends a lost first packet again after a second
                slow.append(str(pod.address))
    assert not slow


def test_a_service_address_is_answered_unreachable_everywhere(topology: Topology):
    for machine in machines(topology):
        assert dial(machine.netns, "10.96.0.1", 443) == "EHOSTUNREACH"
        assert dial(machine.netns, "fd00:10:96::1", 443) in ("ENETUNREACH", "EHOSTUNREACH")


def test_an_address_of_no_pod_is_answered_at_once(topology: Topology):
    assert dial(topology.client.netns, "10.244.1.77") == "EHOSTUNREACH"
    assert dial(topology.nodes["node-1"].netns, "10.244.1.77") == "EHOSTUNREACH"
    assert dial(topology.nodes["node-1"].netns, "10.244.200.1") == "ENETUNREACH"


def test_the_addresses_are_those_of_the_design(topology: Topology):
    assert str(topology.spec.fabric_address) == "172.18.0.1"
    assert [str(node.address) for node in topology.nodes.values()] == ["172.18.0.2", "172.18.0.3"]
    assert [str(node.pod_prefix) for node in topology.nodes.values()] == ["10.244.1.0/24", "10.244.2.0/24"]
    assert str(topology.client.address) == "198.51.100.2"
    assert str(topology.lb.address) == "172.18.255.2"


def test_each_machine_has_an_address_of_the_second_family_at_the_same_place(topology: Topology):
    node = topology.nodes["node-1"]
    assert [str(each) for each in node.addresses] == ["172.18.0.2", "fd00:172:18::2"]
    assert [str(each) for each in node.pod_prefixes] == ["10.244.1.0/24", "fd00:10:244:1::/64"]
    pod = topology.attach_pod("node-1", parse_address("10.244.1.9"))
    assert [str(each) for each in pod.addresses] == ["10.244.1.9", "fd00:10:244:1::9"]


def test_a_network_of_one_family_has_no_address_of_the_other():
    fabric, topology = build(TopologySpec(nodes=1, second=None))
    pod = topology.attach_pod("node-1", parse_address("10.244.1.2"))
    assert [str(each) for each in pod.addresses] == ["10.244.1.2"]
    with listen(pod.netns):
        assert dial(topology.client.netns, pod.address) == f"ok {topology.client.address}"
        assert dial(topology.client.netns, "fd00:10:244:1::2") == "ENETUNREACH"
    topology.close()
    os.close(fabric)


def test_routers_check_no_return_path_and_send_no_redirects_whatever_the_host_does(topology: Topology):
    pod = topology.attach_pod("node-1", parse_address("10.244.1.2"))
    routers = [(topology.fabric, "fabric"), (topology.fabric, "client"), (topology.lb.netns, "eth0")]
    node = topology.nodes["node-1"].netns
    for netns, link in [*routers, (node, "eth0"), (node, pod.interface)]:
        with entered(netns):
            for knob in ("rp_filter", "send_redirects"):
                for scope in ("all", link):
                    value = Path(f"/proc/sys/net/ipv4/conf/{scope}/{knob}").read_text()
                    assert value == "0\n", f"{link} {scope} {knob}"


def test_places_have_names(topology: Topology):
    assert topology.places() == ("client", "lb", "fabric", "node/node-1", "node/node-2")
    assert [topology.place(text) for text in topology.places()] == [
        topology.client.netns,
        topology.lb.netns,
        topology.fabric,
        topology.nodes["node-1"].netns,
        topology.nodes["node-2"].netns,
    ]
    assert topology.place("node/node-9") is None


def test_fifty_pods_leave_no_interface(topology: Topology):
    node = topology.nodes["node-1"]
    pods = [topology.attach_pod("node-1", node.pod_prefix.address + offset) for offset in range(2, 52)]
    assert link_names(node.netns) == ["lo", "eth0", *(f"pod{offset}" for offset in range(2, 52))]
    for pod in pods:
        topology.detach_pod(pod)
    wait_for_links(node.netns, ["lo", "eth0"])


def test_a_detached_pod_is_unreachable_at_once_though_a_socket_still_holds_its_namespace(topology: Topology):
    pod = topology.attach_pod("node-1", parse_address("10.244.1.2"))
    listener = listen(pod.netns)
    assert dial(topology.client.netns, pod.address).startswith("ok")
    topology.detach_pod(pod)
    assert dial(topology.client.netns, pod.address) == "EHOSTUNREACH"
    listener.close()
    wait_for_links(topology.nodes["node-1"].netns, ["lo", "eth0"])


def test_an_address_can_be_attached_again_while_its_old_namespace_lives(topology: Topology):
    old = topology.attach_pod("node-1", parse_address("10.244.1.2"))
    holder = listen(old.netns, 81)
    topology.detach_pod(old)
    new = topology.attach_pod("node-1", parse_address("10.244.1.2"))
    listener = listen(new.netns)
    assert dial(topology.client.netns, new.address).startswith("ok")
    for held in (holder, listener):
        held.close()


def test_a_forked_process_attaches_pods_and_leaves_the_first_ones_socket_alone(topology: Topology):
    topology.attach_pod("node-1", parse_address("10.244.1.2"))
    child = os.fork()
    if child == 0:
        topology.attach_pod("node-1", parse_address("10.244.1.3"))
        os._exit(int("pod3" not in link_names(topology.nodes["node-1"].netns)))
    assert os.waitpid(child, 0)[1] == 0
    topology.attach_pod("node-1", parse_address("10.244.1.4"))
    wait_for_links(topology.nodes["node-1"].netns, ["lo", "eth0", "pod2", "pod4"])  # the child's went with the child


def test_a_pod_that_cannot_be_attached_leaves_nothing(topology: Topology, monkeypatch: pytest.MonkeyPatch):
    before = open_descriptors()
    monkeypatch.setitem(
        Topology.attach_pod.__globals__, "POD_GATEWAYS", {family: Address(bytes(family.size)) for family in Family}
    )
    with pytest.raises(LinkError, match=r"route 0\.0\.0\.0/0"):
        topology.attach_pod("node-1", parse_address("10.244.1.2"))
    assert link_names(topology.nodes["node-1"].netns) == ["lo", "eth0"]
    assert open_descriptors() == before + 1  # the node's netlink socket, kept for the next pod


def test_a_network_that_cannot_be_built_is_taken_down_again():
    fabric = new_namespace()
    with entered(fabric):
        links = LinkSocket()
        links.apply(
            [create_veth(VethEnd(index=5, name="node-2", mac=b"\2" * 6), VethEnd(index=6, name="x", mac=b"\4" * 6))]
        )
        before = open_descriptors()
        with pytest.raises(LinkError, match="create the veth pair node-2"):
            Topology.build(TopologySpec(nodes=3))
        assert [link.name for link in links.links()] == ["lo", "node-2", "x"]
        assert open_descriptors() == before
        links.close()
    os.close(fabric)


def test_more_nodes_than_addresses_are_refused_with_the_limit():
    with pytest.raises(FairleadError, match="256 nodes do not fit") as refusal:
        build(TopologySpec(nodes=256))
    assert "1 to 255" in refusal.value.remedy


def test_a_large_network_comes_up():
    fabric, topology = build(TopologySpec(nodes=200))
    pod = topology.attach_pod("node-200", parse_address("10.244.200.2"))
    listener = listen(pod.netns)
    assert dial(topology.client.netns, pod.address) == "ok 198.51.100.2"
    listener.close()
    topology.close()
    os.close(fabric)
