"""One small cluster for client libraries, booted by the command a user types."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a cluster named clients, with one node and nothing in it."""
    home = tmp_path_factory.mktemp("clients")

    def fairlead(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "FAIRLEAD_HOME": str(home), "PYTHONPATH": str(REPOSITORY / "src")}
        return subprocess.run(
            [sys.executable, "-m", "fairlead", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    started = fairlead("up", "--detach", "--nodes", "1", "--name", "clients")
    assert started.returncode == 0, started.stderr
    yield home
    fairlead("down", "--all")


@pytest.fixture
def kubeconfig(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of the kubeconfig, which is in the environment too."""
    path = str(home / "clients" / "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", path)
    return path
