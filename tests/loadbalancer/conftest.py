"""The cluster that the tests of a module share."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from balancer_cluster import Cluster, deployment


@pytest.fixture(scope="session")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, and six pods `web` on them."""
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if probe.returncode != 0 and os.geteuid() == 0:
        pytest.skip(f"this machine makes no namespaces: {probe.stderr.decode().strip()}")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on this machine")
    cluster = Cluster(tmp_path_factory.mktemp("balanced"))
    cluster.run("up", "-", "--detach", "--timeout", "60", stdin=json.dumps(deployment("web", 6)))
    yield cluster
    cluster.run("down", "--all", check=False)
