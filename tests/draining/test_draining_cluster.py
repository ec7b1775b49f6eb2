"""Does `kubectl drain` of a node under load fail anybody, whichever way they come, and is the disruption budget kept?

And in which order do things happen when one pod is deleted? `docs/draining.md` shows when, as measured.

FAIRLEAD_LONG=1 in the environment asks for 200 new connections a second and 50 long ones through each way, one after
the other; otherwise so many go through all of them together.
"""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from draining_cluster import Cluster, Document, eventually
from draining_router import routed

from fairlead.bench.draining import MANIFESTS, measure_timeline

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]
LONG = bool(os.environ.get("FAIRLEAD_LONG"))
NODES = {"node-1": "172.18.0.2", "node-2": "172.18.0.3", "node-3": "172.18.0.4"}
SYSTEM = "metallb-system"
INSIDE = ("ClusterIP",)
EVERY = ("ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer, policy Local", "LoadBalancer, l2", "Ingress")
MEASURED = tuple(each for each in EVERY if each != "LoadBalancer, l2")
WAYS = [(each,) for each in EVERY] if LONG else [EVERY]


def targets(cluster: Cluster, drained: str) -> Document:
    """Every way to the application; the NodePort is that of the node that is drained."""
    return {
        "ClusterIP": {"address": cluster.get("service", "web")["spec"]["clusterIP"], "port": 80, "echo": True},
        "NodePort": {"address": NODES[drained], "port": 30081, "echo": True},
        "LoadBalancer": {"address": cluster.address("service", "web"), "port": 80, "echo": True},
        "LoadBalancer, policy Local": {"address": cluster.address("service", "local"), "port": 80, "echo": True},
        "LoadBalancer, l2": {"address": cluster.address("service", "announced"), "port": 80, "echo": True},
        "Ingress": {"address": cluster.address("ingress", "web"), "port": 80, "host": "web.example"},
    }


@asynccontextmanager
async def load_through(cluster: Cluster, drained: str, ways: tuple[str, ...]) -> AsyncGenerator[dict[str, Document]]:
    """Have these ways used for the body; what became of it is in the yielded document after it, by way."""
    found: dict[str, Document] = {}
    every = targets(cluster, drained)
    pod = "pod/default/client-2" if drained == "node-1" else "pod/default/client-1"
    places = {pod: [each for each in ways if each in INSIDE], "client": [each for each in ways if each not in INSIDE]}
    told: list[Document] = []
    async with AsyncExitStack() as stack:
        for place, names in places.items():
            if names:
                part = len(names) / len(ways)
                order = {
                    "rate": 200 * part,
                    "kept": round(20 * part),
                    "long": round(50 * part),
                    "seconds": 4.0 if LONG else 2.0,
                }
                some = {each: every[each] for each in names}
                told.append(await stack.enter_async_context(cluster.load(place, some, **order)))
        yield found
    for each in told:
        found |= each


@asynccontextmanager
async def readiness_watched(cluster: Cluster) -> AsyncGenerator[list[int]]:
    """How many pods were ready, at every change, during the body."""
    words = ("kubectl", "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas} ", "--watch")
    process = await asyncio.create_subprocess_exec(*words, env=cluster.environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    seen = [int(await process.stdout.readuntil(b" "))]
    yield seen
    process.terminate()
    out, _ = await process.communicate()
    seen += [int(each) for each in out.split()]


def pods_on(cluster: Cluster, node: str) -> set[str]:
    """The names of the application's pods on a node."""
    pods = cluster.get("pods", "-l", "app=web", "--field-selector", f"spec.nodeName={node}")["items"]
    return {each["metadata"]["name"] for each in pods}


def have_announced_by(cluster: Cluster, node: str) -> None:
    """Have this node answer for the address of the provider l2."""
    selectors = [{"matchLabels": {"kubernetes.io/hostname": node}}]
    patch = json.dumps({"spec": {"nodeSelectors": selectors}})
    cluster.kubectl("patch", "l2advertisement", "on-link", "-n", SYSTEM, "--type=merge", "-p", patch)

    def announcers() -> list[str]:
        statuses = cluster.get("servicel2statuses", "-n", SYSTEM)["items"]
        return [each["status"]["node"] for each in statuses if each["status"]["serviceName"] == "announced"]

    eventually(lambda: announcers() == [node], f"{node} to announce")


@pytest.mark.parametrize("ways", WAYS, ids=", ".join)
async def test_kubectl_drain_fails_no_request(drained: Cluster, ways: tuple[str, ...]) -> None:
    """The node that is drained is the ingress controller's, of which there is one, and the one that announces."""
    (node,) = drained.nodes_of("app.kubernetes.io/name=nginx-ingress", "nginx-ingress")
    before = pods_on(drained, node)
    assert len(before) > 1, "nothing that the budget could refuse"
    have_announced_by(drained, node)
    words = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s")
    async with load_through(drained, node, ways) as found, readiness_watched(drained) as ready:
        await asyncio.sleep(1)
        said = await asyncio.to_thread(drained.kubectl, *words, check=False)
        await asyncio.sleep(1)
    drained.kubectl("uncordon", node)
    summary = json.dumps(found, indent=1) + said
    assert {name: each["failed"] for name, each in found.items()} == dict.fromkeys(ways, 0), summary
    assert all(each["new"] > 50 and each["kept"] > 20 and each["long"] > 3 for each in found.values()), summary
    assert f"node/{node} drained" in said
    assert "would violate the pod's disruption budget" in said, "the budget had nothing to refuse"
    assert min(ready) >= 5, "the budget was not kept"
    assert not before & pods_on(drained, node)
    served = {pod for each in found.values() for pod in each["pods"]}
    assert before <= served, "nobody had asked the pods that went"
    drained.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    eventually(lambda: len(drained.nodes_of("app=web")) == 6, "six pods")


@pytest.mark.skipif(not LONG, reason="FAIRLEAD_LONG is not set")
async def test_the_ingress_controller_is_rolled_without_a_failed_request(drained: Cluster) -> None:
    words = ("-n", "nginx-ingress", "deployment/nginx-ingress")
    async with load_through(drained, "node-1", ("Ingress",)) as found:
        await asyncio.sleep(1)
        await asyncio.to_thread(drained.kubectl, "rollout", "restart", *words)
        await asyncio.to_thread(drained.kubectl, "rollout", "status", *words, "--timeout=60s")
        pods = ("get", "pods", "-n", "nginx-ingress", "-o", "name")
        await asyncio.to_thread(eventually, lambda: len(drained.kubectl(*pods).split()) == 1, "the old one's end", 60)
        await asyncio.sleep(1)
    assert found["Ingress"]["failed"] == 0, found
    assert found["Ingress"]["new"] > 500


@pytest.mark.skipif(not LONG, reason="FAIRLEAD_LONG is not set")
async def test_kubectl_drain_fails_no_request_by_bgp(drained: Cluster, tmp_path: Path) -> None:
    """The router spreads connections over all nodes; each goes on announcing while it is drained."""
    if shutil.which("bird") is None:
        pytest.skip("no BIRD on this machine")
    words = ("drain", "node-2", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s")
    async with routed(drained, tmp_path, tuple(NODES.values())) as address:
        target: Document = {"address": address, "port": 80, "echo": True}
        async with drained.load("client", {"bgp": target}, rate=200, kept=20, long=50) as found:
            await asyncio.sleep(1)
            flows = drained.at("node/node-2", "conntrack", "-L", "-p", "tcp", "-d", address)
            assert "ESTABLISHED" in flows, "no connection comes through the node"
            said = await asyncio.to_thread(drained.kubectl, *words, check=False)
            await asyncio.sleep(1)
    drained.kubectl("uncordon", "node-2")
    assert found["bgp"]["failed"] == 0, found
    assert found["bgp"]["new"] > 300
    assert "node/node-2 drained" in said


async def test_new_connections_stop_before_the_process_does_and_what_is_under_way_ends_in_order(
    drained: Cluster,
) -> None:
    drained.kubectl("apply", "-f", "-", stdin=MANIFESTS)
    found = await measure_timeline(drained.home)
    at = found.moments
    assert not any(found.failures.values()), found
    new = {way: at[f"last new connection, {way}"] for way in MEASURED}
    rows = {node: at[f"row gone, {node}"] for node in NODES}
    assert new["ClusterIP"] < rows["node-1"], "the client is on that node"
    assert new["NodePort"] < rows["node-3"], "that is the node dialled"
    assert new["LoadBalancer"] < max(rows.values())
    deaf = at["last new connection, straight to the pod"]
    balancer = at["row gone, load balancer, policy Local"]
    assert new["LoadBalancer, policy Local"] < balancer
    assert max(*rows.values(), *new.values(), balancer) < deaf, "somebody was led to a pod that listens no more"
    assert at["endpoint terminating, serving, not ready"] < at["endpoint gone from the slice"]
    ended = {way: at[f"last long request ends, {way}"] for way in ("straight to the pod", *MEASURED)}
    assert deaf < min(ended.values()), "requests under way go on after the pod listens no more"
    assert at["row gone, node-3, policy Local"] > deaf, "the only pod of its node serves while it ends (KEP-1669)"
    slack = 1000.0  # two processes stamp these
    assert at["process ended"] > ended["straight to the pod"] - slack, "the process waited for what was under way"
    assert at["pod gone from the API"] >= at["process ended"]


@pytest.fixture
def two_pods(drained: Cluster) -> Cluster:
    """The pods that stay, on the first two nodes, and their Service."""
    drained.kubectl("apply", "-f", "-", stdin=MANIFESTS)
    drained.kubectl("delete", "pod", "goes", "-n", "drained", "--grace-period=1")
    drained.kubectl("wait", "--for=condition=Ready", "pods", "--all", "-n", "drained", "--timeout=30s")
    return drained


async def test_connections_go_on_at_a_pod_that_is_not_ready_any_more_and_new_ones_avoid_it(two_pods: Cluster) -> None:
    address = two_pods.address("service", "web", "-n", "drained")
    web: Document = {"address": address, "port": 80, "echo": True}
    annotate = ("annotate", "pod", "stays-1", "-n", "drained", "--overwrite")

    def slice_says() -> list[tuple[str, bool, bool]]:
        slices = two_pods.get("endpointslices", "-n", "drained", "-l", "kubernetes.io/service-name=web")["items"]
        every = [each for piece in slices for each in piece["endpoints"]]
        found = [(each["targetRef"]["name"], each["conditions"]) for each in every]
        return sorted((name, each["ready"], each["terminating"]) for name, each in found)

    def answered(count: int) -> set[str]:
        script = f"for i in $(seq {count}); do curl -sm 3 http://{address}/; done"
        return set(re.findall(r'"pod":"([^"]+)"', two_pods.at("client", "sh", "-c", script)))

    eventually(lambda: answered(12) == {"stays-1", "stays-2"}, "both to answer")
    async with two_pods.load("client", {"web": web}, rate=100, kept=4, long=30, seconds=2.0) as found:
        await asyncio.sleep(1)
        await asyncio.to_thread(two_pods.kubectl, *annotate, "standin.fairlead.dev/ready=false")
        expected = [("stays-1", False, False), ("stays-2", True, False)]
        await asyncio.to_thread(eventually, lambda: slice_says() == expected, "the slice to say so")
        await asyncio.to_thread(eventually, lambda: answered(12) == {"stays-2"}, "new ones to go to the other")
        await asyncio.sleep(1)
    two_pods.kubectl(*annotate, "standin.fairlead.dev/ready-")
    assert found["web"]["failed"] == 0, found
    assert found["web"]["long"] >= 30
    eventually(lambda: answered(12) == {"stays-1", "stays-2"}, "both to answer again")


async def test_connections_through_a_node_go_on_when_the_node_is_deleted(two_pods: Cluster) -> None:
    """`kubectl delete node` of one that has no pod of the application, by the load balancer that led to it."""
    address = two_pods.address("service", "web", "-n", "drained")
    web: Document = {"address": address, "port": 80, "echo": True}

    def led_to() -> set[str]:
        listed = two_pods.at("lb", "nft", "list", "map", "ip", "fairlead", "backends")
        return set(re.findall(rf"{re.escape(address)} \. tcp \. 80 \. \d+ : (\S+) \.", listed))

    eventually(lambda: led_to() == set(NODES.values()), "rows to all three")
    async with two_pods.load("client", {"web": web}, rate=200, kept=0, long=50, seconds=2.0) as found:
        await asyncio.sleep(1)
        flows = two_pods.at("lb", "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED")
        assert f"src={NODES['node-3']}" in flows, "no connection leads through the node"
        await asyncio.to_thread(two_pods.kubectl, "delete", "node", "node-3", "--wait=false")
        await asyncio.to_thread(
            eventually, lambda: led_to() == set(NODES.values()) - {NODES["node-3"]}, "rows without it"
        )
        await asyncio.sleep(1)
    assert found["web"]["failed"] == 0, found
    assert found["web"]["long"] >= 50
