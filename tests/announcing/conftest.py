"""A cluster with an address announced on the node network, and one announced to a router at the fabric."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from announcing_cluster import Announced

MANIFESTS = Path(__file__).parent / "announced.yaml"


@pytest.fixture(scope="session")
def announced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Announced]:
    """Three nodes with speakers; MetalLB's resources applied by kubectl."""
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if probe.returncode != 0 and os.geteuid() == 0:
        pytest.skip(f"this machine makes no namespaces: {probe.stderr.decode().strip()}")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on this machine")
    cluster = Announced(tmp_path_factory.mktemp("announced"))
    cluster.run("up", "-", "--detach", "--timeout", "60", stdin="")
    cluster.kubectl("apply", "-f", str(MANIFESTS))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    yield cluster
    cluster.run("down", "--all", check=False)
