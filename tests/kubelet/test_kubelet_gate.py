"""May a pod start: after the agent's word, without an agent where nobody isolates, and never where somebody does?"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from fairlead.cluster.kubelet.gate import NotIsolatedError, gate_of, wait_until_isolated
from fairlead.cluster.topology import NodeNetwork
from fairlead.drivers.netlink.nftables import open_nft_socket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.kube.containers import Container, ContainerPort
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.outlines import PodOutline
from fairlead.kube.pods import Pod, PodSpec
from fairlead.net import parse_address, parse_prefix
from fairlead.nft.objects import TableFamily
from fairlead.nft.transactions import AddTable, DeleteTable, Transaction

POD = Pod(
    metadata=ObjectMeta(name="db", namespace="data", labels={"app": "db"}),
    spec=PodSpec(containers=(Container(ports=(ContainerPort(name="sql", container_port=5432),)),)),
)


@pytest.fixture
def node() -> Iterator[NodeNetwork]:
    """A node that is nothing but a network namespace."""
    netns = new_namespace()
    address = parse_address("172.18.0.2")
    yield NodeNetwork("node-1", netns, (address,), (parse_prefix("10.244.1.0/24"),))
    os.close(netns)


@asynccontextmanager
async def agent(path: Path, heard: list[PodOutline], *, answers: bool) -> AsyncGenerator[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(msgspec.json.decode(await reader.readline(), type=PodOutline))
        if answers:
            writer.write(b'{"programmed": true}\n')
        else:
            await asyncio.sleep(60)
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    yield
    server.close()


async def ask(sockets: Path, node: NodeNetwork, patience: float = 0.2) -> None:
    await wait_until_isolated(sockets, POD, node, ["10.244.1.9"], patience)


@pytest.mark.kernel
async def test_the_agent_is_told_who_starts_where_and_its_word_suffices(tmp_path: Path, node: NodeNetwork):
    heard: list[PodOutline] = []
    async with agent(gate_of(tmp_path, "node-1"), heard, answers=True):
        await ask(tmp_path, node, 20.0)
    (pod,) = heard
    assert (pod.metadata.name, pod.metadata.labels) == ("db", {"app": "db"})
    assert [each.ip for each in pod.status.pod_ips] == ["10.244.1.9"]
    assert pod.spec.containers[0].ports[0].name == "sql"
    assert pod.spec.node_name == "node-1"


@pytest.mark.kernel
async def test_without_an_agent_a_pod_starts_only_where_there_is_no_policy_table(tmp_path: Path, node: NodeNetwork):
    await ask(tmp_path, node)
    heard: list[PodOutline] = []
    async with agent(gate_of(tmp_path, "node-1"), heard, answers=False):
        await ask(tmp_path, node)
        with entered(node.netns), open_nft_socket() as nft:
            nft.apply(Transaction(TableFamily.IP, "fairlead-policy", (AddTable(),)))
            with pytest.raises(NotIsolatedError, match="node-1"):
                await ask(tmp_path, node)
            nft.apply(Transaction(TableFamily.IP, "fairlead-policy", (DeleteTable(),)))
    assert len(heard) == 2


@pytest.mark.kernel
async def test_an_agent_that_starts_again_is_waited_for(tmp_path: Path, node: NodeNetwork):
    path = gate_of(tmp_path, "node-1")
    async with agent(path, [], answers=True):
        pass
    asked = asyncio.create_task(ask(tmp_path, node, 20.0))
    await asyncio.sleep(0)
    heard: list[PodOutline] = []
    path.unlink(missing_ok=True)
    async with agent(path, heard, answers=True):
        await asked
