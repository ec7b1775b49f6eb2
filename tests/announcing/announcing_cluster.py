"""An embedded cluster whose nodes announce addresses, driven from outside as a user does."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parents[2]
T = TypeVar("T")


class Announced:
    """A cluster with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands."""
        path = os.pathsep.join([str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        kubeconfig = str(self.home / "fairlead" / "kubeconfig")
        return {**os.environ, "FAIRLEAD_HOME": str(self.home), "PYTHONPATH": path, "KUBECONFIG": kubeconfig}

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `fairlead` with these words."""
        return self.command([sys.executable, "-m", "fairlead", *words], stdin, check=check)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run `kubectl` with these words."""
        return self.command(["kubectl", *words], stdin)

    def command(self, argv: list[str], stdin: str = "", *, check: bool = True) -> str:
        """Run a program and return what it prints."""
        done = subprocess.run(
            argv, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def at(self, place: str, *words: str, check: bool = True) -> str:
        """Run a program at a place of the cluster."""
        return self.run("exec", "--from", place, "--", *words, check=check)

    def get(self, *words: str) -> Any:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def address(self, service: str) -> str:
        """The address a Service is given, waiting for it."""

        def given() -> list[dict[str, str]]:
            return self.get("service", service)["status"]["loadBalancer"].get("ingress", [])

        return eventually(given, f"an address for {service}")[0]["ip"]

    def answers(self, address: str) -> bool:
        """Whether a new connection from the client is answered."""
        return '"pod"' in self.at("client", "curl", "-sm", "2", f"http://{address}/", check=False)

    def hardware(self, address: str) -> str:
        """What the fabric takes to be the hardware address of an address."""
        found = re.search(r"lladdr (\S+)", self.at("fabric", "ip", "neigh", "show", address))
        return found.group(1) if found else ""

    def announcer(self, service: str) -> str:
        """The node that says it answers for a Service."""
        statuses = self.get("servicel2statuses", "-n", "metallb-system")["items"]
        return next((each["status"]["node"] for each in statuses if each["status"]["serviceName"] == service), "")

    def log(self, name: str) -> str:
        """What a component has written."""
        return (self.home / "fairlead" / "logs" / f"{name}.log").read_text()

    def speaker(self, node: str) -> int:
        """The process that is the speaker of a node of this cluster."""
        log = (self.home / "fairlead" / "logs" / f"speaker-{node}.log").stat()
        for entry in Path("/proc").iterdir():
            try:
                out = (entry / "fd/1").stat()
            except OSError:
                continue
            if (out.st_ino, out.st_dev) == (log.st_ino, log.st_dev):
                return int(entry.name)
        raise AssertionError(f"{node} has no speaker")

    def signal(self, node: str, number: signal.Signals) -> int:
        """Send its speaker a signal."""
        pid = self.speaker(node)
        os.kill(pid, number)
        return pid


def eventually(look: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """Look until there is something, and return it; fail with `what` when there never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)
