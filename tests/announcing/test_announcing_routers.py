"""Do routers, BIRD and FRR, learn addresses from the nodes, and what do they make of it?

FAIRLEAD_LONG=1 in the environment asks for what takes longer: a peer whose sessions are lost again and again.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
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


INNER = """
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: inner, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64512
  peerAddress: 172.18.0.1
  peerPort: 1790
  enableGracefulRestart: true
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: node-1}}]
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: inner, namespace: metallb-system}
spec:
  {ipAddressPools: [routed], peers: [inner], localPref: 150, aggregationLength: 24, communities: ["large:64512:1:2"]}
"""
INNER_ROUTER = """
router id 172.18.0.1;
protocol device {}
protocol bgp inner {
  local 172.18.0.1 port 1790 as 64512; neighbor 172.18.0.2 as 64512; passive;
  ipv4 { import all; export none; };
}"""
BROKEN, MENDED = '{"spec": {"sourceAddress": "172.18.0"}}', '{"spec": {"sourceAddress": null}}'


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
def bird(announced: Announced, directory: Path, text: str) -> Generator[str]:
    """Run BIRD at the fabric for the body, which gets its control socket."""
    if shutil.which("bird") is None:
        pytest.skip("no BIRD on this machine")
    configuration, control = directory / "bird.conf", directory / "bird.ctl"
    configuration.write_text(text)
    with at_fabric(announced, "bird", "-f", "-c", str(configuration), "-s", str(control)):
        eventually(control.exists, "BIRD to listen for commands")
        yield str(control)
        subprocess.run(["birdc", "-s", str(control), "down"], capture_output=True, check=False)


def hops(announced: Announced, address: str) -> set[str]:
    """The nodes that the fabric's kernel sends packets for an address to."""
    routes = json.loads(announced.at("fabric", "ip", "-j", "route", "show", address) or "[]")
    return {hop["gateway"] for route in routes for hop in [route, *route.get("nexthops", ())] if "gateway" in hop}


def announcers(announced: Announced) -> set[str]:
    """The nodes that say they announce the Service to the fabric's router."""
    statuses = [each["status"] for each in announced.get("servicebgpstatuses", "-n", "metallb-system")["items"]]
    return {each["node"] for each in statuses if each["serviceName"] == SERVICE and "fabric" in each["peers"]}


def state_of(announced: Announced, name: str) -> str:
    """What a ConfigurationState says."""
    return json.dumps(announced.get("configurationstates", name, "-n", "metallb-system")["status"])


def test_bird_spreads_connections_over_all_nodes_and_shows_pods_the_client(
    announced: Announced, tmp_path: Path
) -> None:
    address = announced.address(SERVICE)
    with bird(announced, tmp_path, bird_configuration(SECRET)) as control:
        eventually(lambda: hops(announced, address) == set(NODES), "routes by all nodes", 40)
        shown = announced.command(["birdc", "-s", control, "show", "route", "all"])
        assert "(64512,7)" in shown
        answer = json.loads(announced.at("client", "curl", "-s", f"http://{address}/"))
        assert answer["client_address"] == "198.51.100.2"
        eventually(lambda: announcers(announced) == {"node-1", "node-2", "node-3"}, "ServiceBGPStatus of every node")
        announced.kubectl("scale", "deployment/web", "--replicas=1")
        eventually(lambda: len(hops(announced, address)) == 1, "policy Local to withdraw")
        assert announced.answers(address)
        eventually(lambda: len(announcers(announced)) == 1, "ServiceBGPStatus of one node")
        announced.kubectl("scale", "deployment/web", "--replicas=3")
        eventually(lambda: hops(announced, address) == set(NODES), "routes by all nodes again")


def test_a_wrong_password_keeps_the_peer_away_until_it_is_right(announced: Announced, tmp_path: Path) -> None:
    address = announced.address(SERVICE)

    def told() -> str:
        return announced.kubectl("describe", "bgppeer", "fabric", "-n", "metallb-system")

    with bird(announced, tmp_path, bird_configuration("another-word")) as control:
        eventually(lambda: told().count("has no session with 172.18.0.1, port 179: compare password") == 3, "news", 30)
        assert not hops(announced, address)
        (tmp_path / "bird.conf").write_text(bird_configuration(SECRET))
        announced.command(["birdc", "-s", control, "configure"])
        eventually(lambda: hops(announced, address) == set(NODES), "routes once the password is right", 60)
        eventually(lambda: "has a session with 172.18.0.1 again" in told(), "news of that")


def test_a_peer_of_the_same_as_gets_local_preference_and_an_aggregate_and_keeps_it_over_a_restart(
    announced: Announced, tmp_path: Path
) -> None:
    with bird(announced, tmp_path, INNER_ROUTER) as control:

        def shown(*words: str) -> str:
            return announced.command(["birdc", "-s", control, "show", *words])

        announced.kubectl("apply", "-f", "-", stdin=INNER)
        try:
            routes = eventually(lambda: found if "BGP" in (found := shown("route", "all")) else "", "a route", 40)
            assert "192.0.2.0/24" in routes
            assert "BGP.local_pref: 150" in routes
            assert "(64512, 1, 2)" in routes
            announced.signal("node-1", signal.SIGKILL)
            eventually(lambda: "Established" not in shown("protocols"), "the session to end")
            assert "192.0.2.0/24" in shown("route")
            eventually(lambda: "192.0.2.0/24" in shown("route") and "Established" in shown("protocols"), "it again", 60)
            announced.kubectl("patch", "bgppeer", "inner", "-n", "metallb-system", "--type=merge", "-p", BROKEN)
            eventually(lambda: "is no address" in state_of(announced, "speaker-node-1"), "to be told")
            assert "Established" in shown("protocols")
            announced.kubectl("apply", "-f", "-", stdin=INNER)
            announced.kubectl("patch", "bgppeer", "inner", "-n", "metallb-system", "--type=merge", "-p", MENDED)
            eventually(lambda: '"validConfig": true' in state_of(announced, "speaker-node-1"), "all to be well")
        finally:
            announced.kubectl("delete", "-f", "-", stdin=INNER)


@pytest.mark.skipif(not os.environ.get("FAIRLEAD_LONG"), reason="FAIRLEAD_LONG is not set: it takes half a minute")
def test_a_session_that_is_lost_again_and_again_is_told_of(announced: Announced, tmp_path: Path) -> None:
    address = announced.address(SERVICE)
    with bird(announced, tmp_path, bird_configuration(SECRET)) as control:
        for _ in range(3):
            eventually(lambda: hops(announced, address) == set(NODES), "routes by all nodes", 60)
            time.sleep(5)  # what ends within a second or two was no session yet
            announced.command(["birdc", "-s", control, "restart", "all"])
        eventually(
            lambda: "BGPPeerFlapping" in announced.kubectl("describe", "bgppeer", "fabric", "-n", "metallb-system"),
            "news of it",
        )
        eventually(lambda: hops(announced, address) == set(NODES), "routes by all nodes", 60)


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
            paths = json.loads(shown.stdout).get("paths", []) if shown.stdout.startswith("{") else []
            return len([each for each in paths if each["community"]["string"] == "64512:7"])

        eventually(lambda: learnt() == len(NODES), "paths by all nodes", 60)
