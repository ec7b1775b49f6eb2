"""An embedded cluster that scales, driven from outside as a user does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parents[2]
LOAD = REPOSITORY / "examples" / "autoscaling" / "load.py"

T = TypeVar("T")


class Cluster:
    """A cluster with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands."""
        path = os.pathsep.join([str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        kubeconfig = str(self.home / "fairlead" / "kubeconfig")
        own = {"FAIRLEAD_HOME": str(self.home), "PYTHONPATH": path, "KUBECONFIG": kubeconfig, "HOME": str(self.home)}
        return {**os.environ, **own}

    def command(self, argv: list[str], stdin: str = "", *, check: bool = True) -> str:
        """Run a program and return what it prints; where it may fail, also what it complains of."""
        done = subprocess.run(
            argv, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def run(self, *words: str, check: bool = True) -> str:
        """Run `fairlead` with these words."""
        return self.command([sys.executable, "-m", "fairlead", *words], check=check)

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `kubectl` with these words."""
        return self.command(["kubectl", *words], stdin, check=check)

    def get(self, *words: str) -> dict[str, Any]:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def raw(self, path: str, *, check: bool = True) -> dict[str, Any]:
        """What the API has at a path."""
        out = self.kubectl("get", "--raw", path, check=check)
        return json.loads(out) if out.startswith("{") else {"error": out}

    def replicas(self, name: str) -> int:
        """How many replicas a Deployment is to have."""
        return int(self.get("deployment", name, "-n", "scaled")["spec"]["replicas"])

    @contextmanager
    def load(self, url: str, curve: str) -> Generator[None]:
        """Ask a URL from the client along a curve, for as long as the block lasts."""
        argv = [
            sys.executable,
            "-m",
            "fairlead",
            "exec",
            "--from",
            "client",
            "--",
            "python3",
            str(LOAD),
            url,
            curve,
            "until-input-ends",
        ]
        process = subprocess.Popen(argv, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None
        try:
            yield
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def eventually(look: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Look until there is something, and return it; fail with `what` when there never is."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.1)
    return found
