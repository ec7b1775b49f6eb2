"""Does a router, FRR, learn addresses from all nodes, with a password?"""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from announcing_cluster import Announced, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]
NODES = ("172.18.0.2", "172.18.0.3", "172.18.0.4")
FRR = Path("/usr/lib/frr")
SERVICE = "routed"
SECRET = "a-secret-word"


@contextmanager
def at_fabric(announced: Announced, *words: str) -> Generator[None]:
    """Run a router at the fabric for the body."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fairlead", "exec", "--from", "fabric", "--", *words],
        env=announced.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_frr_takes_the_routes_too(announced: Announced, tmp_path: Path) -> None:
    if not (FRR / "bgpd").exists():
        pytest.skip("no FRR on this machine")
    address = announced.address(SERVICE)
    tmp_path.chmod(0o777)
    peers = "".join(
        f" neighbor {node} remote-as 64512\n neighbor {node} password {SECRET}\n neighbor {node} passive\n"
        for node in NODES
    )
    (tmp_path / "bgpd.conf").write_text(
        f"router bgp 64513\n bgp router-id 172.18.0.1\n no bgp ebgp-requires-policy\n{peers}"
    )
    shared = ("-i", str(tmp_path / "bgpd.pid"), "--vty_socket", str(tmp_path), "-z", str(tmp_path / "zserv.api"))
    words = (str(FRR / "bgpd"), "-n", "-f", str(tmp_path / "bgpd.conf"), *shared, "-u", "root", "-g", "root", "-S")
    with at_fabric(announced, *words):

        def learnt() -> int:
            shown = subprocess.run(
                ["vtysh", "--vty_socket", str(tmp_path), "-c", f"show ip bgp {address}/32 json"],
                capture_output=True,
                text=True,
                check=False,
            )
            return len(json.loads(shown.stdout).get("paths", [])) if shown.stdout.startswith("{") else 0

        eventually(lambda: learnt() == len(NODES), "paths by all nodes", 60)
