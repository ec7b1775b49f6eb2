"""An embedded cluster under load through every path there is, driven from outside as a user does."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parents[2]
LOAD = Path(__file__).parent / "draining_load.py"

T = TypeVar("T")
Document = dict[str, Any]


class Cluster:
    """A cluster with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands."""
        path = os.pathsep.join([str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        kubeconfig = str(self.home / "fairlead" / "kubeconfig")
        return {**os.environ, "FAIRLEAD_HOME": str(self.home), "PYTHONPATH": path, "KUBECONFIG": kubeconfig}

    def command(self, argv: list[str], stdin: str = "", *, check: bool = True) -> str:
        """Run a program and return what it prints; where it may fail, also what it complains of."""
        done = subprocess.run(
            argv, env=self.environment, input=stdin, capture_output=True, text=True, timeout=180, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `fairlead` with these words."""
        return self.command([sys.executable, "-m", "fairlead", *words], stdin, check=check)

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `kubectl` with these words."""
        return self.command(["kubectl", *words], stdin, check=check)

    def at(self, place: str, *words: str, check: bool = True) -> str:
        """Run a program at a place of the cluster."""
        return self.run("exec", "--from", place, "--", *words, check=check)

    def apply(self, *documents: Document) -> None:
        """Have these objects in the cluster."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, documents)))

    def get(self, *words: str) -> Document:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def address(self, *words: str) -> str:
        """The first address an object's status has, waiting for it."""

        def given() -> list[dict[str, str]]:
            return self.get(*words).get("status", {}).get("loadBalancer", {}).get("ingress", [])

        return eventually(given, f"an address for {words}")[0]["ip"]

    def nodes_of(self, app: str, namespace: str = "default") -> list[str]:
        """Where the pods of an application are that are not about to go."""
        pods = self.get("pods", "-n", namespace, "-l", app)["items"]
        return [each["spec"]["nodeName"] for each in pods if "deletionTimestamp" not in each["metadata"]]

    @asynccontextmanager
    async def load(self, place: str, targets: Document, **order: Any) -> AsyncGenerator[Document]:
        """Ask from a place for the body; what became of that is in the yielded document after it, by target."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fairlead", "exec", "--from", place, "--"),
            *(sys.executable, str(LOAD), json.dumps({"targets": targets, **order})),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        told: Document = {}
        try:
            assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
            yield told
            assert process.stdin is not None
            process.stdin.close()
            out, _ = await asyncio.wait_for(process.communicate(), 60)
            told |= json.loads(out)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def eventually(look: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Look until there is something, and return it; fail with `what` when there never is."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.1)
    return found
