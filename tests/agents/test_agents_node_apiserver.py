"""Do the agent and the embedded API server understand each other over TLS, both as they are?"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.http import start
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.pki import Pki
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.drivers.kubeapi import HttpTransport, KubeClient
from fairlead.drivers.netns import entered, new_namespace, open_socket
from fairlead.kube.core import Node, NodeAddress, NodeSpec, NodeStatus, Service, ServicePort, ServiceSpec
from fairlead.kube.discovery import SERVICE_NAME_LABEL, Endpoint, EndpointSlice, SlicePort
from fairlead.kube.documents import Document
from fairlead.kube.meta import ObjectMeta
from fairlead.net import parse_prefix

pytestmark = pytest.mark.kernel

WEB = Service(
    metadata=ObjectMeta(name="web", namespace="default"),
    spec=ServiceSpec(type="NodePort", ports=(ServicePort(name="http", port=80, node_port=30080),)),
)
PIECE = EndpointSlice(
    metadata=ObjectMeta(name="web-1", namespace="default", labels={SERVICE_NAME_LABEL: "web"}),
    address_type="IPv4",
    endpoints=(Endpoint(addresses=("10.244.1.2",)),),
    ports=(SlicePort(name="http", port=8080, protocol="TCP"),),
)
NODE = Node(metadata=ObjectMeta(name="node-1"), spec=NodeSpec(pod_cidr="10.244.1.0/24", pod_cidrs=("10.244.1.0/24",)))


def start_agent(namespace: int, kubeconfig: Path) -> subprocess.Popen[bytes]:
    words = ["agent", "node", "--node", "node-1", "--kubeconfig", str(kubeconfig)]
    with entered(namespace):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return subprocess.Popen([sys.executable, "-m", "fairlead", *words])


async def wait_for_rule(namespace: int, text: str, *, absent: bool = False) -> None:
    deadline = time.monotonic() + 10
    while True:
        with entered(namespace):
            listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout  # noqa: ASYNC221
        if (text in listed) is not absent:
            return
        assert time.monotonic() < deadline, f"{text!r} is {'still' if absent else 'not'} in {listed}"
        await asyncio.sleep(0.02)


async def test_the_agent_programs_what_the_embedded_api_server_says(tmp_path: Path) -> None:
    server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    pki = Pki(tmp_path / "pki")
    namespace = new_namespace()
    inside = open_socket(namespace, socket.AF_INET, socket.SOCK_STREAM)
    inside.bind(("127.0.0.1", 6443))
    outside = socket.create_server(("127.0.0.1", 0))
    runner = await start(server, [inside, outside], pki.server_context(), {})
    configs: list[Path] = []
    for name, port in (("inside", 6443), ("outside", outside.getsockname()[1])):
        config = tmp_path / name
        config.write_text(pki.kubeconfig(f"https://127.0.0.1:{port}", "kubernetes-admin", ("system:masters",)))
        configs.append(config)
    client = KubeClient(HttpTransport.from_kubeconfig(configs[1]))
    agent = start_agent(namespace, configs[0])
    try:
        await wait_for_rule(namespace, "10.96.0.1 . tcp . 443")
        await client.create(NODE)
        status: Document = {"status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]}}
        found = await client.patch(Node, "node-1", "", status, subresource="status")
        assert found.status == NodeStatus(addresses=(NodeAddress(type="InternalIP", address="172.18.0.2"),))
        await client.create(WEB)
        await client.create(PIECE)
        await wait_for_rule(namespace, "172.18.0.2 . tcp . 30080 : goto external-1")
        await wait_for_rule(namespace, ": 10.244.1.2 . 8080")
        await client.delete(Service, "web", "default")
        await wait_for_rule(namespace, "30080", absent=True)
    finally:
        agent.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(agent.wait, 10) == 0
        await client.close()
        await runner.cleanup()
        server.close()
        os.close(namespace)
