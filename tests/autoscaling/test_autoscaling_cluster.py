"""Autoscaling as a user meets it: real requests, kubectl's own commands, and a timeline the algorithm agrees with."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from autoscaling_cluster import Cluster, eventually

from fairlead.cluster.controllers.autoscaling_pace import History, Limit, Moment, note_scaling
from fairlead.cluster.controllers.autoscaling_round import Decision
from fairlead.cluster.controllers.autoscaling_rules import Settings, bounds_of, settle_for
from fairlead.kube.autoscaling import HorizontalPodAutoscaler

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]

SETTINGS = Settings(sync_period=0.5, downscale_stabilization=2.0)


def replay(decisions: list[Decision], autoscaler: HorizontalPodAutoscaler) -> list[tuple[int, str]]:
    """What the pure algorithm makes of the same recommendations at the same times: replicas and what limited them."""
    history, found = History(), list[tuple[int, str]]()
    for each in decisions:
        if not history.recommended:
            history = History((Moment(each.at, each.current),))
        if each.error:
            continue
        if each.recommended is None:
            found.append((each.desired, Limit.NONE.value))
            continue
        settled = settle_for(autoscaler, SETTINGS, history, each.current, each.recommended, each.at)
        history = settled.history
        if settled.replicas != each.current:
            history = note_scaling(bounds_of(autoscaler, SETTINGS), history, each.current, settled.replicas, each.at)
        found.append((settled.replicas, settled.limit.value))
    return found


def test_from_one_to_eight_and_back_by_cpu_and_by_requests_and_the_timeline_is_the_algorithms(scaled: Cluster) -> None:
    stories = {"web": (30090, 50.0), "api": (30091, 5.0)}
    eventually(lambda: all(scaled.replicas(name) == 1 for name in stories), "one replica before all")
    with ExitStack() as loads:
        for port, _ in stories.values():
            loads.enter_context(scaled.load(f"http://172.18.0.2:{port}/", "5:0.5,100:1.5,100:60"))
        eventually(lambda: all(scaled.replicas(name) == 8 for name in stories), "eight replicas")
    eventually(lambda: all(scaled.replicas(name) == 1 for name in stories), "one replica again")
    for name, (_, target) in stories.items():
        shown = scaled.run("autoscaling", f"scaled/{name}", "--all", "-o", "json")
        decisions = msgspec.json.decode(shown, type=list[Decision])
        autoscaler = msgspec.convert(scaled.get("hpa", name, "-n", "scaled"), HorizontalPodAutoscaler)
        told = [each for each in decisions if not each.error]
        assert replay(decisions, autoscaler) == [(each.desired, each.limit) for each in told]
        assert {1, 8} <= {each.desired for each in told}
        for each in told:
            value = seen_in(each)
            assert each.recommended is not None
            assert each.recommended <= each.current or value > target, each
            assert each.recommended >= each.current or value < target, each
        lines = scaled.run("autoscaling", f"scaled/{name}").splitlines()
        assert lines[0].split() == ["TIME", "AUTOSCALER", "PODS", "METRICS", "ASKED", "NEW", "WHY"]
        assert sum(" above target" in line for line in lines) >= 2


def seen_in(decision: Decision) -> float:
    """The one value that a round saw."""
    shown: dict[str, Any] = dict(decision.metrics[0])
    current = shown[shown["type"].lower()]["current"]
    percent = current.get("averageUtilization")
    return float(percent) if percent is not None else _number(current["averageValue"])


def _number(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def test_kubectl_shows_autoscalers_as_upstream_does(scaled: Cluster) -> None:
    lines = scaled.kubectl("get", "hpa", "-n", "scaled").splitlines()
    assert lines[0].split() == ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
    described = scaled.kubectl("describe", "hpa", "web", "-n", "scaled")
    assert "ScalingActive" in described
    out = scaled.kubectl(
        "autoscale", "deployment", "web", "--name=second", "--max=3", "--cpu-percent=70", "-n", "scaled"
    )
    assert out == "horizontalpodautoscaler.autoscaling/second autoscaled\n"
    told = eventually(
        lambda: [
            each["message"]
            for each in scaled.get("hpa", "second", "-n", "scaled")["status"].get("conditions", [])
            if each["reason"] == "AmbiguousSelector"
        ],
        "the complaint of two autoscalers",
    )
    assert "scaled/second scaled/web" in told[0]
    scaled.kubectl("delete", "hpa", "second", "-n", "scaled")


def test_top_shows_what_programs_and_stand_ins_use(scaled: Cluster) -> None:
    for kubectl in kubectls():
        top = scaled.command([str(kubectl), "top", "pods", "-n", "scaled", "--no-headers"])
        used = {line.split()[0]: line.split()[1:] for line in top.splitlines()}
        assert int(used["busy"][0].removesuffix("m")) >= 20, f"{kubectl}: {top}"
        assert used["told"] == ["0m", "0Mi"]
        nodes = scaled.command([str(kubectl), "top", "nodes", "--no-headers"])
        assert [line.split()[0] for line in nodes.splitlines()] == ["node-1", "node-2"]
    assert "main" in scaled.kubectl("top", "pod", "busy", "-n", "scaled", "--containers", "--no-headers").split()
    missing = scaled.kubectl("top", "pod", "nobody", "-n", "scaled", check=False)
    assert "Error from server (NotFound)" in missing


def kubectls() -> list[Path]:
    found = shutil.which("kubectl")
    assert found is not None
    beside = sorted(Path(found).resolve().parent.glob("kubectl.1.*"))
    return [beside[0], beside[-1]] if beside else [Path(found)]


def test_an_annotation_changes_a_stand_in_at_once(scaled: Cluster) -> None:
    address = scaled.get("pod", "told", "-n", "scaled")["status"]["podIP"]

    def annotate(*pairs: str) -> None:
        named = (pair if pair.endswith("-") else f"standin.fairlead.dev/{pair}" for pair in pairs)
        scaled.kubectl("annotate", "pod", "told", "-n", "scaled", "--overwrite", *named)

    def ask() -> str:
        told = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", f"http://{address}:8080/")
        return scaled.run("exec", "--from", "node/node-1", "--", *told)

    def ready() -> str:
        status = scaled.get("pod", "told", "-n", "scaled")["status"]
        return next(each["status"] for each in status["conditions"] if each["type"] == "Ready")

    assert (ask()[:3], ready()) == ("200", "True")
    annotate("ready=false")
    eventually(lambda: ready() == "False", "a pod that is not ready")
    annotate("ready=true", "error-rate=1", "error-status=503", "latency=200ms")
    eventually(lambda: ask()[:3] == "503", "the error")
    assert float(ask().split()[1]) >= 0.2
    eventually(lambda: ready() == "True", "a pod that is ready again")
    annotate("latency=soon")
    eventually(
        lambda: [each for each in scaled.get("events", "-n", "scaled")["items"] if each["reason"] == "InvalidControl"],
        "the complaint",
    )
    annotate(*(f"standin.fairlead.dev/{each}-" for each in ("error-rate", "error-status", "latency", "ready")))
    eventually(lambda: ask()[:3] == "200", "everything as before")


def test_requests_of_services_and_ingresses_are_metrics_from_the_start(scaled: Cluster) -> None:
    base = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/scaled"
    listed = scaled.raw("/apis/custom.metrics.k8s.io/v1beta2")["resources"]
    assert {"services/requests_per_second", "pods/requests_per_second"} <= {each["name"] for each in listed}
    for version in ("v1beta1", "v1beta2"):
        one = scaled.raw(f"{base.replace('v1beta2', version)}/services/web/requests_per_second")
        assert one["items"][0]["describedObject"]["name"] == "web"
    pods = scaled.raw(f"{base}/pods/*/requests_per_second?labelSelector=app%3Dweb")["items"]
    assert {each["describedObject"]["kind"] for each in pods} == {"Pod"}
    missing = scaled.raw(f"{base}/services/nobody/requests_per_second", check=False)
    assert "the server could not find the metric requests_per_second for services nobody" in missing["error"]
    address = eventually(lambda: _address(scaled), "an address of the Ingress")

    def ask() -> bool:
        said = scaled.run(
            "exec", "--from", "client", "--", "curl", "-s", "-H", "Host: api.example", f"http://{address}/", check=False
        )
        return '"pod"' in said

    eventually(ask, "an answer through the Ingress")
    path = f"{base}/ingresses.networking.k8s.io/api/requests_per_second"

    def rate() -> float:
        ask()
        return _number(scaled.raw(path)["items"][0]["value"])

    eventually(lambda: rate() > 0, "requests of the Ingress")


def _address(scaled: Cluster) -> str:
    given = scaled.get("ingress", "api", "-n", "scaled").get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return given[0]["ip"] if given else ""


def test_limits_are_held_where_the_machine_lets_us_and_told_once_where_not(scaled: Cluster) -> None:
    script = "kept = b'x' * (200 << 20)"
    container = {"name": "main", "image": "python:3", "args": ["-c", script]}
    limited = container | {"resources": {"limits": {"memory": "48Mi"}}}
    for name, each in (("greedy", limited), ("free", container)):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "scaled"},
            "spec": {"restartPolicy": "Never", "containers": [each]},
        }
        scaled.kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def end(name: str) -> dict[str, object]:
        statuses = scaled.get("pod", name, "-n", "scaled")["status"].get("containerStatuses", [])
        return statuses[0]["state"].get("terminated", {}) if statuses else {}

    ends = {name: eventually(lambda name=name: end(name), f"the end of {name}") for name in ("greedy", "free")}
    assert (ends["free"]["exitCode"], ends["free"]["reason"]) == (0, "Completed")
    log = (scaled.home / "fairlead" / "logs" / "kubelet.log").read_text()
    if "limits=off" in log:
        assert log.count("limits=off") == 1
        assert ends["greedy"]["reason"] == "Completed"
    else:
        assert (ends["greedy"]["exitCode"], ends["greedy"]["reason"]) == (137, "OOMKilled")
        used = scaled.kubectl("top", "pod", "busy", "-n", "scaled", "--no-headers").split()[1]
        assert int(used.removesuffix("m")) <= 260, "200m are its limit"
