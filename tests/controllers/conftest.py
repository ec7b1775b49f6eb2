"""Controllers on an API server of their own, in this process."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from embedded import Cluster, Kubelet, make_client, make_server, running

from fairlead.cluster.controllers.main import main
from fairlead.drivers.kubeapi import KubeClient


@pytest.fixture
async def client(tmp_path: Path) -> KubeClient:
    return make_client(make_server(tmp_path))


@pytest.fixture
async def kubelet(client: KubeClient) -> Kubelet:
    return Kubelet(client)


@pytest.fixture
async def cluster(client: KubeClient, kubelet: Kubelet) -> AsyncGenerator[Cluster, None]:
    cluster = Cluster(client)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    async with running(main(client, root_ca="CERTIFICATE"), kubelet.run()):
        yield cluster
