"""Informers of strangers over a kill -9 of the API server: they come back, and old revisions are told as 410."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes
import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def kill_the_api_server(home: Path) -> None:
    """Kill -9 the component of this test's own cluster; its keeper is found by the home in its environment."""
    mark = f"FAIRLEAD_HOME={home}".encode()
    for entry in Path("/proc").iterdir():
        try:
            name = (entry / "comm").read_text().strip() if entry.name.isdigit() else ""
            if name == "apiserver" and mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                return
        except OSError:
            continue
    raise AssertionError("no API server of ours is running")


def test_an_operator_of_kopf_goes_on_after_the_api_server_was_killed(
    home: Path, kubeconfig: str, tmp_path: Path
) -> None:
    core: Any = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(kubeconfig))
    words = ("-m", "kopf", "run", "--standalone", "-n", "default", str(Path(__file__).with_name("operator_of_test.py")))
    log = tmp_path / "kopf.log"

    def body(name: str, word: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": {"operated": "yes"}}, "data": {"word": word}}

    def letters(name: str) -> str:
        try:
            return (core.read_namespaced_config_map(name, "default").data or {}).get("letters", "")
        except (kubernetes.client.ApiException, OSError):
            return ""

    def ready() -> bool:
        try:
            return bool(core.list_namespace().items)
        except Exception:
            return False

    with log.open("wb") as output:
        operator = subprocess.Popen([sys.executable, *words], stdout=output, stderr=output)
        try:
            core.create_namespaced_config_map("default", body("before", "anchor"))
            until(lambda: letters("before") == "6")
            kill_the_api_server(home)
            until(ready)
            core.create_namespaced_config_map("default", body("after", "fairlead"))
            until(lambda: letters("after") == "8")
            core.patch_namespaced_config_map("before", "default", {"data": {"word": "rope"}})
            until(lambda: letters("before") == "4")
            assert operator.poll() is None, log.read_text()
        finally:
            operator.terminate()
            operator.wait(20)
    with pytest.raises(kubernetes.client.ApiException) as caught:
        list(kubernetes.watch.Watch().stream(core.list_pod_for_all_namespaces, resource_version="1"))
    assert caught.value.status == 410
