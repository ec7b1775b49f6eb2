"""A cluster whose autoscalers look twice a second, so that their story fits into a test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from autoscaling_cluster import REPOSITORY, Cluster


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes and examples/autoscaling, with an Ingress besides."""
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if probe.returncode != 0 and os.geteuid() == 0:
        pytest.skip(f"this machine makes no namespaces: {probe.stderr.decode().strip()}")
    for program in ("kubectl", "curl", "nginx"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    cluster = Cluster(tmp_path_factory.mktemp("scaled"))
    options = ("--nodes", "2", "--hpa-sync-period", "0.5", "--hpa-downscale-stabilization", "2")
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin")
    mapped = ("--image", f"python*={python}") if python else ()
    sources = (str(REPOSITORY / "examples/autoscaling"), str(Path(__file__).parent / "scaled.yaml"))
    try:
        cluster.run("up", *sources, *options, *mapped, "--detach", "--timeout", "60")
        yield cluster
    finally:
        cluster.run("down", "--all", check=False)
