"""A real cluster for the tests of the whole: booted by the command a user types, driven from outside only."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
SHOP = REPOSITORY / "examples" / "shop"


class Command:
    """`fairlead` as a user runs it, with a home of its own."""

    def __init__(self, home: Path, prefix: tuple[str, ...] = ()) -> None:
        self.home = home
        self.prefix = prefix

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, "FAIRLEAD_HOME": str(self.home), "PYTHONPATH": path}

    def argv(self, *words: str) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "fairlead", *words]

    def __call__(
        self, *words: str, check: bool = True, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*words),
            env=self.environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{words} left with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def curl(self, url: str, *options: str, place: str = "client", name: str = "fairlead") -> dict[str, Any]:
        done = self("exec", "--name", name, "--from", place, "--", "curl", "-sS", "--max-time", "5", *options, url)
        return json.loads(done.stdout)


def kubectls(oldest: int = 29) -> list[Path]:
    """Every kubectl of this machine from 1.`oldest` on: the one on PATH when it is alone, else those beside it."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    beside = sorted(Path(found).resolve().parent.glob("kubectl.1.*"))
    return [path for path in beside if int(path.suffix[1:]) >= oldest] or [Path(found)]


class Kubectl:
    """One kubectl against one cluster."""

    def __init__(self, binary: Path, kubeconfig: Path, home: Path) -> None:
        self.binary = binary
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home)}

    def run(
        self, *words: str, stdin: str | None = None, check: bool = True, extra: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(self.binary), *words],
            env={**self.environment, **(extra or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {words} left with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        return self.run(*words, stdin=stdin).stdout

    def json(self, *words: str) -> dict[str, Any]:
        return json.loads(self(*words, "-o", "json"))


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> float:
    """Ask `condition` until it holds; return the seconds it took, fail with `what` when it never does."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.fixture(scope="session", autouse=True)
def _namespaces_possible() -> None:
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if probe.returncode != 0 and os.geteuid() == 0:
        pytest.skip(f"this machine makes no namespaces: {probe.stderr.decode().strip()}")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A three-node cluster named fairlead that runs examples/shop, shared by the tests that only look."""
    command = Command(tmp_path_factory.mktemp("shop"))
    command("up", str(SHOP), "--detach", "--timeout", "60")
    yield command
    command("down", "--all", check=False)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A cluster of two nodes without manifests, whose busybox is a shell, for tests that tidy up behind themselves."""
    command = Command(tmp_path_factory.mktemp("pair"))
    command("up", "--nodes", "2", "--detach", "--image", "busybox*=/bin/sh", "--timeout", "60")
    yield command
    command("down", "--all", check=False)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Command]:
    """A home of the test's own; whatever it started is ended."""
    command = Command(tmp_path / "home")
    yield command
    command("down", "--all", check=False)


@pytest.fixture(scope="session")
def kubectl(shop: Command, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The newest kubectl against the shared cluster."""
    binaries = kubectls()
    if not binaries:
        pytest.skip("no kubectl on this machine")
    return Kubectl(binaries[-1], Path(shop("kubeconfig").stdout.strip()), tmp_path_factory.mktemp("kubectl"))
