"""Are the addresses of a namespace listed, near ends and both families?"""

import os
import subprocess

import pytest

from fairlead.drivers.netlink.addresses import local_addresses
from fairlead.drivers.netns import entered, new_namespace

pytestmark = pytest.mark.kernel


def test_every_interfaces_own_addresses_are_listed() -> None:
    namespace = new_namespace()
    try:
        with entered(namespace):
            assert local_addresses() == ()
            for words in (
                "link set lo up",
                "link add left type veth peer name right",
                "address add 192.0.2.1 peer 192.0.2.2 dev left",
                "address add 192.0.2.77/24 dev right",
                "address add fd00::1/64 dev left nodad",
            ):
                subprocess.run(["ip", *words.split()], check=True)
            found = set(map(str, local_addresses()))
    finally:
        os.close(namespace)
    assert found == {"127.0.0.1", "::1", "192.0.2.1", "192.0.2.77", "fd00::1"}
