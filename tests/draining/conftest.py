"""A cluster whose application is reachable in every way."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from draining_cluster import Cluster, eventually

MANIFESTS = Path(__file__).parent / "drained.yaml"


@pytest.fixture(scope="module")
def drained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, six pods `web`, an ingress controller, and a client pod on each of the first two nodes."""
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if probe.returncode != 0 and os.geteuid() == 0:
        pytest.skip(f"this machine makes no namespaces: {probe.stderr.decode().strip()}")
    for program in ("nginx", "kubectl", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    cluster = Cluster(tmp_path_factory.mktemp("drained"))
    try:
        cluster.run("up", str(MANIFESTS), "--detach", "--timeout", "60")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        named = ["--resolve", f"web.example:80:{cluster.address('ingress', 'web')}"]
        asked = ("curl", "-sm", "2", *named, "http://web.example/")
        eventually(lambda: '"pod"' in cluster.at("client", *asked, check=False), "an answer through the Ingress")
        yield cluster
    finally:
        cluster.run("down", "--all", check=False)
