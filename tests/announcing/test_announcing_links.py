"""Does the kernel at the other end of a link learn an address by ARP and NDP, and is one in use spared?"""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from announcing_cluster import REPOSITORY, eventually

pytestmark = pytest.mark.kernel
LINK = Path(__file__).parent / "announcing_link.py"
SEND = "import socket, sys; socket.create_connection((sys.argv[1], 9), 0.2)"
ADDRESSES = ["192.0.2.50", "fd00:99::50"]


class Namespace:
    """A network namespace that is there as long as a process sleeps in it."""

    def __init__(self) -> None:
        self.sleeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        there = Path(f"/proc/{self.sleeper.pid}/ns/net")
        eventually(lambda: there.readlink() != Path("/proc/self/ns/net").readlink(), "a namespace")

    def argv(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self.sleeper.pid), "--net", *words]

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=20, check=False)
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def hardware(self) -> str:
        return json.loads(self.run("ip", "-j", "link", "show", "eth0"))[0]["address"]

    def learns(self, address: str) -> str:
        """The hardware address that the kernel here finds an address at."""
        self.run(sys.executable, "-c", SEND, address, check=False)
        found = json.loads(self.run("ip", "-j", "neigh", "show", "to", address) or "[]")
        return found[0].get("lladdr", "") if found else ""


@pytest.fixture
def ends() -> Generator[tuple[Namespace, Namespace]]:
    """Two namespaces with a link between them."""
    if os.geteuid() != 0:
        pytest.skip("only root makes namespaces here")
    here, there = Namespace(), Namespace()
    try:
        here.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(there.sleeper.pid))
        for number, each in enumerate((here, there), 1):
            each.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            each.run("ip", "address", "add", f"fd00:99::{number}/64", "dev", "eth0", "nodad")
            each.run("ip", "link", "set", "eth0", "up")
        yield here, there
    finally:
        for each in (here, there):
            each.sleeper.kill()
            each.sleeper.wait()


@contextmanager
def answering(at: Namespace, address: str) -> Generator["subprocess.Popen[str]"]:
    """Answer for an address at the end of a link."""
    process = subprocess.Popen(
        at.argv(sys.executable, str(LINK), "eth0", address),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_kernel_at_the_other_end_learns_the_address(ends: tuple[Namespace, Namespace], address: str) -> None:
    here, there = ends
    assert not here.learns(address)
    with answering(there, address):
        eventually(lambda: here.learns(address) == there.hardware(), "the address to be learnt", 10)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_in_use_is_spared_until_it_is_free(ends: tuple[Namespace, Namespace], address: str) -> None:
    here, there = ends
    length = "32" if "." in address else "128"
    here.run("ip", "address", "add", f"{address}/{length}", "dev", "eth0", *(["nodad"] if ":" in address else []))
    with answering(there, address) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"conflict {here.hardware()}\n"
        here.run("ip", "address", "del", f"{address}/{length}", "dev", "eth0")
        eventually(lambda: here.learns(address) == there.hardware(), "the address to be learnt", 10)
