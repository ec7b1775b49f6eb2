"""Does the agent, as a process, keep the kernel at what the API server says, whatever happens to either?"""

import asyncio
import json
import signal
import time
from datetime import UTC, datetime

import pytest
from agent_machine import Machine, a_service, a_slice

from fairlead.kube.documents import Document, Json, mapping_at
from fairlead.net import parse_address
from fairlead.nft.messages import MessageType

pytestmark = pytest.mark.kernel


async def test_the_kernel_follows_endpoints_and_services(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    ruleset = machine.run("nft", "list", "ruleset")
    assert "10.96.0.10 . tcp . 80 : goto cluster-2" in ruleset.replace('"', "")
    assert "172.18.0.2 . tcp . 30080" in ruleset
    await machine.world.put("endpointslices", a_slice("web", "10.244.2.2", "10.244.2.3"))
    await machine.wait_for({"10.244.2.2", "10.244.2.3"})
    await machine.world.remove("services", "web")
    await machine.wait_for(set())
    assert "10.96.0.10" not in machine.run("nft", "list", "ruleset")


async def test_health_metrics_and_mode_are_served_as_by_kube_proxy(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    now = datetime.now(UTC).isoformat()
    happened: Document = {"endpoints.kubernetes.io/last-change-trigger-time": now}
    piece = a_slice("web", "10.244.1.2", "10.244.2.3")
    await machine.world.put(
        "endpointslices", {**piece, "metadata": {**mapping_at(piece, "metadata"), "annotations": happened}}
    )
    await machine.wait_for({"10.244.1.2", "10.244.2.3"})
    for address in ("127.0.0.1", "[::1]"):
        health = machine.run(
            "curl",
            "-si",
            "--retry",
            "20",
            "--retry-connrefused",
            "--retry-delay",
            "1",
            f"http://{address}:10256/healthz",
        )
        assert "200 OK" in health
        assert "lastUpdated" in health
        assert json.loads(health.split("\n\n")[1])["status"]["IPv4"]["healthy"] is True
    assert "200 OK" in machine.run("curl", "-si", "http://127.0.0.1:10256/livez")
    assert machine.run("curl", "-s", "http://127.0.0.1:10249/proxyMode") == "nftables"
    assert machine.run("curl", "-s", "http://127.0.0.1:10249/healthz") == "ok"
    assert '"mode":"nftables"' in machine.run("curl", "-s", "http://127.0.0.1:10249/configz")
    metrics = machine.run("curl", "-s", "http://127.0.0.1:10249/metrics")
    assert 'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1.0' in metrics
    assert 'kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1.0' in metrics
    assert "kubeproxy_sync_proxy_rules_endpoint_changes_total 1.0" in metrics
    assert 'kubeproxy_proxy_healthz_total{code="200"} 2.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    await machine.world.remove("nodes", "node-1")
    await machine.wait_for_answer("http://127.0.0.1:10256/healthz", "503")
    assert machine.addresses() == {"10.244.1.2", "10.244.2.3"}


def a_family_node(*addresses: str) -> Document:
    internal: list[Json] = [{"type": "InternalIP", "address": address} for address in addresses]
    cidrs: list[Json] = ["fd00:244:1::/64" if ":" in address else "10.244.1.0/24" for address in addresses]
    return {"metadata": {"name": "node-1"}, "spec": {"podCIDRs": cidrs}, "status": {"addresses": internal}}


@pytest.mark.parametrize("families", ["IPv4", "IPv6", "both"])
async def test_a_node_has_a_table_for_each_family_it_speaks(machine: Machine, families: str) -> None:
    addresses = {"IPv4": ["172.18.0.2"], "IPv6": ["fd00:18::2"], "both": ["172.18.0.2", "fd00:18::2"]}[families]
    world = machine.world
    await world.put("nodes", a_family_node(*addresses))
    service = a_service("web", "fd00:96::10" if families == "IPv6" else "10.96.0.10", 30080)
    ips: list[Json] = [
        ip for ip in ("10.96.0.10", "fd00:96::10") if families in ("both", "IPv6" if ":" in ip else "IPv4")
    ]
    await world.put("services", {**service, "spec": {**mapping_at(service, "spec"), "clusterIPs": ips}})
    six = a_slice("web", "fd00:244:1::2", "fd00:244:2::2")
    await world.put(
        "endpointslices",
        {**six, "metadata": {**mapping_at(six, "metadata"), "name": "web-6"}, "addressType": "IPv6"},
    )
    machine.start_agent()
    wanted = {
        "IPv4": ["ip fairlead .*10\\.96\\.0\\.10 \\. tcp \\. 80", "172\\.18\\.0\\.2 \\. tcp \\. 30080"],
        "IPv6": ["ip6 fairlead .*fd00:96::10 \\. tcp \\. 80", "fd00:18::2 \\. tcp \\. 30080"],
    }
    for family, texts in wanted.items():
        for text in texts:
            await machine.wait_for_ruleset(text, there=families in (family, "both"))


async def test_a_family_that_a_node_gets_later_is_programmed_then(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    assert "ip6" not in machine.run("nft", "list", "tables")
    await machine.world.put("nodes", a_family_node("172.18.0.2", "fd00:18::2"))
    await machine.wait_for_ruleset("table ip6 fairlead", there=True)


async def test_node_ports_open_on_the_addresses_asked_for_and_never_on_loopback(machine: Machine) -> None:
    for words in (
        "link add left type veth peer name right",
        "address add 192.0.2.1/24 dev left",
        "address add 198.51.100.1/24 dev right",
    ):
        machine.run("ip", *words.split())
    machine.start_agent("--nodeport-addresses", "192.0.2.0/24,127.0.0.0/8", "--masquerade-all")
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    ruleset = machine.run("nft", "list", "ruleset").replace('"', "")
    assert "192.0.2.1 . tcp . 30080 : goto external-2" in ruleset
    assert "10.96.0.10 . tcp . 80 : goto external-2" in ruleset
    for address in ("172.18.0.2", "127.0.0.1", "198.51.100.1"):
        assert f"{address} . tcp" not in ruleset


async def test_services_are_programmed_although_pods_may_not_be_seen_and_host_ports_when_they_may(
    machine: Machine,
) -> None:
    machine.world.forbidden = {"pods"}
    agent = machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    agent.terminate()
    machine.world.forbidden = set()
    ports: list[Json] = [{"containerPort": 8080, "hostPort": 8081}]
    await machine.world.put(
        "pods",
        {
            "metadata": {"namespace": "shop", "name": "web-1"},
            "spec": {"nodeName": "node-1", "containers": [{"ports": ports}]},
            "status": {"podIP": "10.244.1.7", "podIPs": [{"ip": "10.244.1.7"}]},
        },
    )
    machine.start_agent()
    await machine.wait_for_ruleset("172\\.18\\.0\\.2 \\. tcp \\. 8081", there=True)
    await machine.world.remove("pods", "web-1")
    await machine.wait_for_ruleset("8081", there=False)


async def test_without_policies_nobody_asks_for_them(machine: Machine) -> None:
    machine.world.forbidden = {"networkpolicies", "namespaces"}
    machine.start_agent("--no-policies")
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    await machine.world.put("endpointslices", a_slice("web", "10.244.1.3"))
    await machine.wait_for({"10.244.1.3"})
    assert "event=waiting" not in machine.log()


async def test_sigterm_leaves_the_rows_and_the_next_agent_applies_only_the_difference(machine: Machine) -> None:
    agent = machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert machine.addresses() == {"10.244.1.2", "10.244.2.2"}
    await machine.world.put("services", a_service("db", "10.96.0.11"))
    await machine.world.put("endpointslices", a_slice("db", "10.244.1.9"))
    heard = machine.listen()
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2", "10.244.1.9"})
    await machine.wait_for_log("reason=start", times=2)
    told = heard()
    assert MessageType.NEW_ELEMENT in {kind for kind, _ in told}
    assert not {kind for kind, _ in told} & {kind for kind in MessageType if kind.name.startswith("DELETE")}
    bodies = b"".join(body for _, body in told)
    assert parse_address("10.96.0.11").packed in bodies
    assert parse_address("10.96.0.10").packed not in bodies


async def test_rows_stay_while_the_api_server_is_away_and_catch_up_after(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    await machine.world.stop()
    await machine.wait_for_log("event=waiting")
    assert machine.addresses() == {"10.244.1.2", "10.244.2.2"}
    await machine.world.put("endpointslices", a_slice("web", "10.244.2.4"))
    await machine.world.start()
    await machine.wait_for({"10.244.2.4"}, seconds=20)


EDITS = {
    "the ruleset flushed": "flush ruleset",
    "the table deleted": "delete table ip fairlead",
    "rules deleted": "flush chain ip fairlead nat-prerouting",
    "a chain deleted": "flush chain ip fairlead nat-output; delete chain ip fairlead nat-output",
    "a rule inserted": "insert rule ip fairlead nat-prerouting accept",
    "rows deleted": "flush map ip fairlead frontends; flush map ip fairlead backends",
    "a row added": "add element ip fairlead frontends { 10.96.0.99 . tcp . 80 : drop }",
    "a chain added": "add chain ip fairlead theirs { type filter hook prerouting priority -300; policy drop; }",
    "a chain of no kind of ours": "add chain ip fairlead odd { type route hook output priority -5; }",
    "rules of many kinds": "add rule ip fairlead nat-prerouting limit rate 1/second log quota 5 mbytes counter; "
    "add rule ip fairlead filter-input meta mark set ct mark ip dscp cs1 tcp flags syn / syn,ack drop; "
    "add rule ip fairlead filter-input fib saddr type local ip saddr { 10.0.0.1, 10.0.0.3-10.0.0.9 } queue num 1",
    "a row with a comment": 'add element ip fairlead frontends { 10.96.0.98 . tcp . 80 comment "mine" : drop }',
    "a set that rules fill": "add set ip fairlead seen { type ipv4_addr; flags dynamic, timeout; timeout 1m; }; "
    "add rule ip fairlead filter-input update @seen { ip saddr } ",
    "another set": "add set ip fairlead odd { type ipv4_addr; flags interval, timeout; }",
}


async def test_what_somebody_did_to_our_table_is_undone_without_any_other_event(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    right = machine.table()
    machine.run("nft", "add", "table", "inet", "strange")
    for name, edit in EDITS.items():
        machine.run("nft", edit)
        started = time.monotonic()
        while machine.table() != right:
            assert time.monotonic() < started + 10, f"{name}: {machine.table()} {machine.log()}"
            await asyncio.sleep(0.005)
        assert "by=nft" in machine.log()
    assert machine.log().count("event=touched") <= 2 * len(EDITS)
    await machine.world.put("endpointslices", a_slice("web", "10.244.1.2", "10.244.2.5"))
    await machine.wait_for({"10.244.1.2", "10.244.2.5"})


async def test_other_tables_and_our_own_writing_do_not_look_like_somebody_elses(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    machine.run("nft", "add table ip strange; add chain ip strange c; add rule ip strange c counter")
    machine.run("nft", "add table ip6 fairlead")  # not ours on a node without IPv6
    await machine.world.put("endpointslices", a_slice("web", "10.244.1.2", "10.244.2.5"))
    await machine.wait_for({"10.244.1.2", "10.244.2.5"})
    assert "event=touched" not in machine.log()
    assert "table ip strange" in machine.run("nft", "list", "tables")


async def test_udp_flows_of_removed_endpoints_are_forgotten_and_others_kept(machine: Machine) -> None:
    machine.run("ip", "link", "add", "pods", "type", "veth", "peer", "name", "others")
    machine.run("ip", "link", "set", "others", "up")
    machine.run("ip", "address", "add", "10.244.1.1/24", "dev", "pods")
    machine.run("ip", "link", "set", "pods", "up")
    machine.run("ip", "route", "add", "10.96.0.0/16", "dev", "pods")
    world = machine.world
    await world.put("services", a_service("dns", "10.96.0.53", protocol="UDP"))
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    await world.put("endpointslices", a_slice("dns", "10.244.1.52", protocol="UDP"))
    await machine.wait_for({"10.244.1.2", "10.244.2.2", "10.244.1.52"})
    machine.send_udp(5001, "10.96.0.53")
    assert machine.udp_flows() == {("5001", "10.244.1.52")}
    await world.put("endpointslices", a_slice("dns", "10.244.1.52", "10.244.1.53", protocol="UDP"))
    await machine.wait_for({"10.244.1.2", "10.244.2.2", "10.244.1.52", "10.244.1.53"})
    assert machine.udp_flows() == {("5001", "10.244.1.52")}
    await world.put("endpointslices", a_slice("dns", "10.244.1.53", protocol="UDP"))
    await machine.wait_for_log("event=forgot flows=1")
    assert machine.udp_flows() == set()
    machine.send_udp(5001, "10.96.0.53")
    assert machine.udp_flows() == {("5001", "10.244.1.53")}
