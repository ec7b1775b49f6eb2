"""What becomes of connections when policies change, on real packets. Source: reference, 3.1.13 and 3.1.14."""

import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from policy_rig import PolicyRig, a_pod, a_policy, labelled
from rule_hosts import DEADLINE, HOSTS
from rule_rig import Document

from fairlead.compile.policy_pods import compile_pod
from fairlead.drivers.netns import open_socket
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.outlines import PodOutline, PodSpecOutline, PodStatusOutline
from fairlead.kube.pods import PodIP
from fairlead.render.policy_chains import Established, PolicySettings

pytestmark = pytest.mark.kernel
SILENCE = 0.06
FAR_1 = {"podSelector": labelled(pod="far-1")}


@pytest.fixture(scope="module")
def shared_policies() -> Iterator[PolicyRig]:
    rig = PolicyRig()
    yield rig
    rig.close()


@pytest.fixture
def policies(shared_policies: PolicyRig) -> Iterator[PolicyRig]:
    yield shared_policies
    shared_policies.end_conversations()


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("family", [0, 1])
def test_an_established_connection_that_a_new_policy_forbids_is_cut(
    policies: PolicyRig, protocol: str, family: int
) -> None:
    """3.1.13: and flows again when it is allowed again; others go on undisturbed."""
    policies.enforce()
    cut = policies.open("far-1", HOSTS["web-1"][family], 8080, protocol)
    kept = policies.open("far-2", HOSTS["web-2"][family], 8080, protocol)
    assert (cut.hear().by, kept.hear().by) == ("web-1", "web-2")
    policies.hear(a_policy())
    assert cut.ask(SILENCE).outcome == "silence"
    assert kept.ask().by == "web-2"
    policies.lose(a_policy())
    assert cut.ask().outcome == "answered"


def test_a_connection_is_cut_whoever_speaks_first(policies: PolicyRig) -> None:
    """3.1.13: what the server says is no new connection of its own, which would be allowed."""
    policies.enforce()
    address = HOSTS["far-1"][0]
    with open_socket(policies.hosts["far-1"], socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((address, 7777))
        listener.listen()
        with open_socket(policies.hosts["web-1"], socket.AF_INET, socket.SOCK_STREAM) as client:
            for each in (listener, client):
                each.settimeout(DEADLINE)
            client.connect((address, 7777))
            server, _ = listener.accept()
            with server:
                server.send(b"a")
                assert client.recv(1) == b"a"
                policies.hear(a_policy(policyTypes=["Egress"]))
                server.send(b"b")
                client.settimeout(SILENCE)
                with pytest.raises(TimeoutError):
                    client.recv(1)


def test_established_connections_live_on_where_that_is_asked_for(policies: PolicyRig) -> None:
    policies.enforce(settings=PolicySettings(established=Established.KEEP))
    kept = policies.open("far-1", HOSTS["web-1"][0], 8080)
    assert kept.hear().by == "web-1"
    policies.hear(a_policy())
    assert kept.ask().by == "web-1"
    assert not policies.reaches("far-1", "web-1")


def test_a_change_of_labels_cuts_too(policies: PolicyRig) -> None:
    policies.enforce(
        a_policy(ingress=[{"from": [{"podSelector": labelled(role="client")}]}]), a_pod("far-1", {"role": "client"})
    )
    conversation = policies.open("far-1", HOSTS["web-1"][0], 8080)
    assert conversation.hear().by == "web-1"
    policies.hear(a_pod("far-1"))
    assert conversation.ask(SILENCE).outcome == "silence"


def test_an_agent_that_starts_again_changes_nothing(policies: PolicyRig) -> None:
    """Rows stay without an agent, and connections are not even judged again."""
    policies.enforce(a_policy(ingress=[{"from": [FAR_1]}]))
    conversation = policies.open("far-1", HOSTS["web-1"][0], 8080)
    assert conversation.hear().by == "web-1"
    before = policies.run("nft", "list", "table", "ip", "fairlead-policy")
    policies.enforce_again(a_policy(ingress=[{"from": [FAR_1]}]))
    assert policies.run("nft", "list", "table", "ip", "fairlead-policy") == before
    assert conversation.ask().by == "web-1"


def test_a_pod_is_isolated_before_the_api_server_knows_its_address(policies: PolicyRig) -> None:
    """3.1.14: as soon as who starts it says where it is."""
    starting = a_pod("web-1")
    starting["status"] = {"phase": "Pending"}
    policies.enforce(a_policy(), starting)
    assert policies.reaches("far-1", "web-1")
    pod = compile_pod(
        PodOutline(
            metadata=ObjectMeta(name="web-1", namespace="shop", labels={"pod": "web-1"}),
            spec=PodSpecOutline(node_name="node-1"),
            status=PodStatusOutline(pod_ips=tuple(PodIP(ip=each) for each in HOSTS["web-1"])),
        )
    )
    assert pod is not None
    policies.policy_objects.expect(pod)
    policies.hear(starting)  # news that is older than the pod's address takes nothing back
    assert not policies.reaches("far-1", "web-1")


class Traffic(threading.Thread):
    """Asks on and on, by a new flow each time: one that is always allowed, and one that never is."""

    def __init__(self, rig: PolicyRig) -> None:
        super().__init__(daemon=True)
        self._rig = rig
        self._ended = threading.Event()
        self.answered = self.unanswered = self.leaked = 0

    def run(self) -> None:
        while not self._ended.is_set():
            with self._ask("far-1") as allowed, self._ask("far-2") as denied:
                if select.select([allowed], [], [], DEADLINE)[0]:
                    self.answered += 1
                else:
                    self.unanswered += 1
                self.leaked += bool(select.select([denied], [], [], 0)[0])

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _ask(self, place: str) -> socket.socket:
        opened = self._rig.hosts.socket(place, HOSTS["web-1"][0], "UDP")
        opened.connect((HOSTS["web-1"][0], 8080))
        opened.send(b"?")
        return opened


@pytest.fixture
def traffic(policies: PolicyRig) -> Iterator[Traffic]:
    """Traffic that must be answered where it is allowed, and nowhere else."""
    traffic = Traffic(policies)
    yield traffic
    traffic.end()
    assert traffic.answered > 100
    assert (traffic.unanswered, traffic.leaked) == (0, 0)


def test_a_thousand_changes_open_no_window_and_drop_nothing_allowed(policies: PolicyRig, traffic: Traffic) -> None:
    """What is denied before and after is never delivered in between, nor dropped what is allowed before and after.

    Two policies that allow the same take turns, now and then both there for a moment, while connections are opened all
    the time.
    """
    turns = [a_policy(name, ingress=[{"from": [FAR_1]}]) for name in ("one", "two")]
    policies.enforce(turns[0])
    long_lived = policies.open("far-1", HOSTS["web-1"][0], 8080)
    assert long_lived.hear().by == "web-1"
    traffic.start()
    for number in range(500):
        comes, goes = turns[(number + 1) % 2], turns[number % 2]
        if number % 10:
            policies.hear(comes, lose=[goes])
        else:
            policies.hear(comes)
            policies.lose(goes)
        if number % 50 == 0:
            assert long_lived.ask().by == "web-1"


def test_who_changes_from_one_allowed_or_denied_group_to_another_is_so_all_the_time(
    policies: PolicyRig, traffic: Traffic
) -> None:
    allowed = [{"from": [{"podSelector": labelled(role=role)}]} for role in ("guest", "friend")]
    denied = [{"action": "Deny", "from": [{"pods": a_selection(role=role)}]} for role in ("thief", "spy")]
    policies.enforce(
        a_policy(ingress=[*allowed, {"from": [{"namespaceSelector": {}, "podSelector": labelled(pod="far-2")}]}]),
        a_cluster_policy("no-crime", ingress=denied),
        a_pod("far-1", {"role": "friend"}),
        a_pod("far-2", {"role": "spy"}),
    )
    traffic.start()
    for number in range(100):
        policies.hear(
            a_pod("far-1", {"role": ("guest", "friend")[number % 2]}),
            a_pod("far-2", {"role": ("thief", "spy")[number % 2]}),
        )


def test_agents_that_start_again_after_policies_changed_open_no_window(policies: PolicyRig, traffic: Traffic) -> None:
    """Each goes from the rows of the one before to its own, which say the same in another way."""
    turns = [a_policy(name, ingress=[{"from": [FAR_1]}]) for name in ("one", "two")]
    policies.enforce(turns[0])
    traffic.start()
    for number in range(50):
        policies.enforce_again(turns[(number + 1) % 2])


def a_selection(**labels: str) -> Document:
    """Pods of all namespaces."""
    return {"namespaceSelector": {}, "podSelector": labelled(**labels)}


def a_cluster_policy(name: str, **spec: Any) -> Document:
    """A ClusterNetworkPolicy of the administrators' tier, for all pods."""
    subject: Document = {"namespaces": {}}
    return {
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": "Admin", "priority": 1, "subject": subject, **spec},
    }
