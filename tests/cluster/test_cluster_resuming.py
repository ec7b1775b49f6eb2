"""A cluster that was away: which pods were ready is forgotten once, and only then."""

from pathlib import Path

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.cluster.resuming import begins, doubt_pods
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document
from fairlead.kube.resources import resource_of
from fairlead.net import parse_prefix


def _pod(name: str, ready: str) -> Document:
    conditions: list[Document] = [
        {"type": kind, "status": ready} for kind in ("Ready", "ContainersReady", "PodScheduled")
    ]
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "fairlead/echo"}]},
        "status": {"phase": "Running", "podIP": "10.244.0.9", "conditions": list(conditions)},
    }


async def test_ready_pods_are_ready_no_more_and_keep_all_else() -> None:
    server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    client = KubeClient(InProcessTransport(server))
    for name, ready in (("was-ready", "True"), ("was-not", "False")):
        document = _pod(name, ready)
        await client.create_document(resource_of(Pod), document, "default")
        await client.patch(Pod, name, "default", {"status": document["status"]}, subresource="status")
    untouched = await client.get(Pod, "was-not", "default")
    assert await doubt_pods(client, 1_000_000_000.0) == 1
    pod = await client.get(Pod, "was-ready", "default")
    assert {each.type: each.status for each in pod.status.conditions} == {
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }
    assert pod.status.pod_ip == "10.244.0.9"
    assert (await client.get(Pod, "was-not", "default")).metadata.resource_version == (
        untouched.metadata.resource_version
    )
    assert await doubt_pods(client, 1_000_000_001.0) == 0


def test_a_cluster_begins_once(tmp_path: Path) -> None:
    assert begins(tmp_path / "begun")
    assert not begins(tmp_path / "begun")
