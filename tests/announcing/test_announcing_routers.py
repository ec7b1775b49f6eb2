"""Do routers, BIRD and FRR, learn addresses from the nodes, and what do they make of it?"""

import json
import shutil
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


def bird_configuration(password: str) -> str:
    peers = "".join(f"protocol bgp n{i} from nodes {{ neighbor {node} as 64512; }}\n" for i, node in enumerate(NODES))
    return f"""
router id 172.18.0.1;
protocol device {{}}
protocol kernel {{ merge paths on; ipv4 {{ export all; import none; }}; }}
template bgp nodes {{
  local 172.18.0.1 as 64513; passive; password "{password}";
  ipv4 {{ import all; export none; }};
}}
{peers}"""


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


@contextmanager
def bird(announced: Announced, directory: Path, password: str = SECRET) -> Generator[str]:
    if shutil.which("bird") is None:
        pytest.skip("no BIRD on this machine")
    configuration, control = directory / "bird.conf", directory / "bird.ctl"
    configuration.write_text(bird_configuration(password))
    with at_fabric(announced, "bird", "-f", "-c", str(configuration), "-s", str(control)):
        yield str(control)
        subprocess.run(["birdc", "-s", str(control), "down"], capture_output=True, check=False)


def hops(announced: Announced, address: str) -> set[str]:
    """The nodes that the fabric's kernel sends packets for an address to."""
    routes = json.loads(announced.at("fabric", "ip", "-j", "route", "show", address) or "[]")
    return {hop["gateway"] for route in routes for hop in [route, *route.get("nexthops", ())] if "gateway" in hop}


def test_bird_spreads_connections_over_all_nodes_and_shows_pods_the_client(
    announced: Announced, tmp_path: Path
) -> None:
    address = announced.address(SERVICE)
    with bird(announced, tmp_path) as control:
        eventually(lambda: hops(announced, address) == set(NODES), "routes by all nodes", 40)
        shown = announced.command(["birdc", "-s", control, "show", "route", "all"])
        assert "(64512,7)" in shown
        answer = json.loads(announced.at("client", "curl", "-s", f"http://{address}/"))
        assert answer["client_address"] == "198.51.100.2"
        announced.kubectl("scale", "deployment/web", "--replicas=1")
        eventually(lambda: len(hops(announced, address)) == 1, "policy Local to withdraw")
        assert announced.answers(address)
        announced.kubectl("scale", "deployment/web", "--replicas=3")
        eventually(lambda: hops(announced, address) == set(NODES), "routes by all nodes again")


def test_a_wrong_password_keeps_the_peer_away_until_it_is_right(announced: Announced, tmp_path: Path) -> None:
    address = announced.address(SERVICE)
    with bird(announced, tmp_path, "another-word"):
        eventually(
            lambda: "BGPPeerDown" in announced.kubectl("describe", "bgppeer", "-n", "metallb-system"), "news", 30
        )
        assert not hops(announced, address)
    with bird(announced, tmp_path):
        eventually(lambda: hops(announced, address) == set(NODES), "routes once the password is right", 60)


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
