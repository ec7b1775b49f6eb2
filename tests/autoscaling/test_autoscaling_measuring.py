"""Do counters become the right rates, and documents of metrics what upstream's are?"""

import os
import socket
import subprocess
import sys
import time
from decimal import Decimal

import pytest

from fairlead.cluster.kubelet.measuring import Running, accepted_connections, measure, read_processes
from fairlead.cluster.metrics.collector import Paired
from fairlead.cluster.metrics.custom import Described, metric_values, quantity_text
from fairlead.cluster.metrics.ingresses import IngressLook, parse_counts, rates_of
from fairlead.cluster.metrics.rates import rates_between
from fairlead.cluster.metrics.resources import node_metrics, pod_metrics, usage_row
from fairlead.cluster.metrics.usage import ContainerUsage, PodUsage, Usage
from fairlead.cluster.standins.messages import Served
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.pods import Pod, PodSpec


def container(cpu: float, *, run: int = 0, memory: int = 2048, name: str = "c") -> ContainerUsage:
    return ContainerUsage(name=name, run=run, cpu=cpu, memory=memory)


def pod(*containers: ContainerUsage, requests: int | None = None, uid: str = "u1", node: str = "node-1") -> PodUsage:
    return PodUsage(namespace="shop", name=f"pod-{uid}", uid=uid, node=node, containers=containers, requests=requests)


def test_a_rate_is_what_was_added_over_the_seconds_between() -> None:
    rates = rates_between(
        Usage(100.0, (pod(container(1.0), requests=10),)), Usage(110.0, (pod(container(3.0), requests=60),))
    )
    (only,) = rates.pods
    assert (only.cpu, only.memory, only.requests, rates.window) == (0.2, 2048, 5.0, 10.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (pod(container(5.0)),)),
        ((pod(container(5.0)),), (pod(container(0.1, run=1)),)),
        ((pod(container(5.0)),), (pod(container(6.0), container(1.0, name="d")),)),
        ((pod(container(5.0)),), (pod(),)),
        ((pod(container(5.0), uid="u0"),), (pod(container(6.0)),)),
    ],
    ids=["a new pod", "a restarted container", "one container more", "nothing runs", "another pod"],
)
def test_what_began_in_between_has_no_rate_yet(before: tuple[PodUsage, ...], after: tuple[PodUsage, ...]) -> None:
    assert rates_between(Usage(100.0, before), Usage(110.0, after)).pods == ()


def test_documents_have_nanocores_kibibytes_and_a_window() -> None:
    rates = rates_between(Usage(0.0, (pod(container(0.0)),)), Usage(15.0, (pod(container(3.0)),)))
    shown = pod_metrics(rates.pods[0], rates, {"app": "web"})
    assert shown["containers"] == [{"name": "c", "usage": {"cpu": "200000000n", "memory": "2Ki"}}]
    assert (shown["window"], shown["timestamp"]) == ("15s", "1970-01-01T00:00:15Z")
    assert usage_row(shown) == ["pod-u1", "200000000n", "2Ki", "15s"]
    assert node_metrics("node-1", rates.pods, rates, {})["usage"] == {"cpu": "200000000n", "memory": "2Ki"}
    assert node_metrics("node-2", rates.pods, rates, {})["usage"] == {"cpu": "0n", "memory": "0Ki"}


@pytest.mark.parametrize(
    ("value", "text"), [("3", "3"), ("2.5", "2500m"), ("0", "0"), ("0.0004", "0"), ("1e3", "1000")]
)
def test_values_are_quantities_to_the_thousandth(value: str, text: str) -> None:
    assert quantity_text(Decimal(value)) == text


def test_both_versions_name_the_metric_in_their_own_way() -> None:
    one = Described(kind="Service", api_version="v1", namespace="shop", name="web", value=2.5)
    new, old = (
        metric_values(version, "requests_per_second", [one], at=0.0, window=14.6, selector=None)["items"]
        for version in ("v1beta2", "v1beta1")
    )
    assert isinstance(new, list)
    assert isinstance(old, list)
    described = {"kind": "Service", "namespace": "shop", "name": "web", "apiVersion": "v1"}
    rest = {"timestamp": "1970-01-01T00:00:00Z", "windowSeconds": 15, "value": "2500m"}
    assert new == [{"describedObject": described, "metric": {"name": "requests_per_second", "selector": None}, **rest}]
    assert old == [{"describedObject": described, "metricName": "requests_per_second", "selector": None, **rest}]


def test_the_counters_of_a_controller_are_added_up_by_ingress() -> None:
    counts = parse_counts(
        "# TYPE nginx_ingress_controller_requests counter\n"
        'nginx_ingress_controller_requests{controller_namespace="x",namespace="shop",ingress="a",status="200"} 7\n'
        'nginx_ingress_controller_requests{controller_namespace="x",namespace="shop",ingress="a",status="500"} 3\n'
        'nginx_ingress_controller_requests_other{namespace="shop",ingress="a"} 90\n'
    )
    assert counts == {("shop", "a"): 10.0}
    before = IngressLook(100.0, {"old": {("shop", "a"): 50.0}, "same": {("shop", "a"): 2.0}})
    after = IngressLook(110.0, {"new": {("shop", "a"): 99.0}, "same": counts})
    assert rates_of(before, after).requests == {("shop", "a"): 0.8}


async def test_who_asks_within_the_resolution_gets_the_same_answer_and_later_the_next_window() -> None:
    looks = [100.0]
    now = 100.0

    async def look() -> float:
        looks.append(now)
        return now

    asked = Paired(look, lambda first, last: (first, last), lambda at: at, 0.05, lambda: now)
    first = await asked.get()
    assert await asked.get() is first
    now = 100.06
    assert await asked.get() == (100.0, 100.06)
    now = 200.0
    assert await asked.get() == (200.0, 200.0), "a look from long ago begins no window"


def test_a_program_is_measured_with_all_its_children() -> None:
    burn = "import os,time\nif os.fork() == 0:\n    while True: pass\ntime.sleep(60)"
    program = subprocess.Popen([sys.executable, "-c", burn], start_new_session=True)
    subject = Running(
        Pod(metadata=ObjectMeta(name="p", namespace="shop", uid="u"), spec=PodSpec(node_name="node-1")),
        (("main", 2, "u/main/2"), ("aside", 0, "u/aside/0")),
    )
    served = (Served("u/aside/0", 7, 1, 0.5),)
    try:
        deadline = time.monotonic() + 10
        while True:
            (seen,) = measure([subject], {"u/main/2": program.pid}, served)
            if seen.containers[0].cpu >= 0.2:
                break
            assert time.monotonic() < deadline
        assert sum(each.parent == program.pid for each in read_processes().values()) == 1
    finally:
        os.killpg(program.pid, 9)
        program.wait()
    assert seen.containers[0].memory > 4 * 2**20
    assert seen.containers[1] == ContainerUsage(name="aside", run=0, cpu=0.5, memory=0)
    assert (seen.requests, seen.errors) == (7, 1)


@pytest.mark.kernel
def test_the_kernel_counts_the_connections_a_program_accepts() -> None:
    before = accepted_connections(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(5):
            socket.create_connection(server.getsockname()).close()
            server.accept()[0].close()
    after = accepted_connections(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before >= 5
