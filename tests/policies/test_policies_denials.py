"""What owners of pods are told of denied packets: by whom, and how seldom."""

import os
from collections.abc import Sequence

import pytest

from fairlead.agents.events import Notice
from fairlead.agents.node.denials import DenialNotices, Ends, Judged
from fairlead.agents.node.policy_denials import open_log, read_ends, spell_ends
from fairlead.compile.policy_groups import Key
from fairlead.drivers.netns import entered, new_namespace
from fairlead.model import Origin
from fairlead.net import Address, parse_address
from fairlead.render.policy_chains import PolicySettings

CLOSED = (Origin("NetworkPolicy", "shop", "closed"), Origin("NetworkPolicy", "shop", "other"))
WEB, DB = parse_address("10.244.1.2"), parse_address("10.244.2.2")
PODS: dict[Address, Sequence[Key]] = {WEB: [("shop", "web")], DB: [("shop", "db")]}


class Owners:
    """Pods at their addresses, a clock, and what was told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[Notice] = []
        self.notices = DenialNotices(lambda address: PODS.get(address, ()), self.told.append, lambda: self.now)

    def deny(self, pod: str = "db", direction: str = "ingress", source: Address = WEB, port: int | None = 80) -> None:
        own = DB if direction == "ingress" else WEB
        self.notices.note(direction, CLOSED, Judged(own, [("shop", pod)]), Ends(6 if port else 1, source, DB, port))


def messages(owners: Owners) -> list[str]:
    return [f"{each.about}: {each.message.partition(';')[0]}" for each in owners.told]


def test_the_message_says_who_what_and_by_which_policies() -> None:
    owners = Owners()
    owners.deny()
    owners.deny("web", "egress")
    owners.deny("away", source=parse_address("192.0.2.1"), port=None)
    by = "by NetworkPolicy shop/closed, NetworkPolicy shop/other"
    assert messages(owners) == [
        f"Pod shop/db: ingress denied: TCP from 10.244.1.2 (shop/web) to port 80, {by}",
        f"Pod shop/web: egress denied: TCP to 10.244.2.2 (shop/db) port 80, {by}",
        f"Pod shop/away: ingress denied: ICMP from 192.0.2.1 to this pod, {by}",
    ]
    assert {each.reason for each in owners.told} == {"DeniedByPolicy"}
    assert all(each.warning for each in owners.told)


def test_a_pod_hears_of_one_packet_in_ten_seconds_and_direction() -> None:
    owners = Owners()
    for _ in range(100):
        owners.deny()
    owners.deny(direction="egress")
    assert len(owners.told) == 2
    owners.now = 10.0
    owners.deny(port=81)
    assert len(owners.told) == 3


def test_many_pods_leave_room_for_other_events() -> None:
    owners = Owners()
    for number in range(50):
        owners.deny(f"db-{number}")
    assert len(owners.told) == 10
    owners.now = 20.0
    for number in range(50, 100):
        owners.deny(f"db-{number}")
    assert len(owners.told) == 12


def test_ends_are_read_as_far_as_a_packet_goes() -> None:
    four = bytes([0x45, *[0] * 8, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 7, 0, 80])
    six = bytes([0x60, 0, 0, 0, 0, 8, 6, 64]) + parse_address("fd00::1").packed + parse_address("fd00::2").packed
    assert spell_ends(read_ends(four)) == "udp 10.0.0.1 -> 10.0.0.2:80"
    assert spell_ends(read_ends(four[:20])) == "protocol 17 10.0.0.1 -> 10.0.0.2"
    assert spell_ends(read_ends(six + bytes([0, 7, 1, 187]))) == "tcp fd00::1 -> [fd00::2]:443"
    assert spell_ends(read_ends(four[:12])) == spell_ends(read_ends(b"")) == "unreadable"


@pytest.mark.kernel
def test_policies_are_enforced_without_a_log_that_another_program_holds(capfd: pytest.CaptureFixture[str]) -> None:
    namespace = new_namespace()
    with entered(namespace):
        first, settings = open_log(PolicySettings(log_group=3))
        assert first is not None
        assert settings.log_group == 3
        second, without = open_log(settings)
    assert (second, without.log_group) == (None, None)
    assert "event=deaf" in capfd.readouterr().err
    assert open_log(PolicySettings()) == (None, PolicySettings())
    first.close()
    os.close(namespace)
