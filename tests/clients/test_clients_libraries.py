"""Client libraries of strangers, unchanged: each makes, reads, patches, follows and deletes what it has a word for."""

import asyncio
from typing import Any

import kr8s
import kubernetes
import kubernetes_asyncio
import lightkube
import pytest
from kr8s.asyncio.objects import ConfigMap as Kr8sConfigMap
from kr8s.asyncio.objects import Pod as Kr8sPod
from kubernetes_asyncio import client as asyncio_client
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "example/hello:1", "ports": [{"containerPort": 8080}]}
    metadata = {"name": name, "namespace": "default", "labels": {"made-by": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def test_the_official_client(kubeconfig: str) -> None:
    core: Any = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(kubeconfig))
    before = core.list_namespaced_pod("default").metadata.resource_version
    core.create_namespaced_pod("default", pod("official"))
    seen: list[str] = []
    watch: Any = kubernetes.watch.Watch()
    events = watch.stream(
        core.list_namespaced_pod,
        "default",
        label_selector="made-by=official",
        resource_version=before,
        timeout_seconds=20,
    )
    for event in events:
        shown = event["object"]
        seen.append(event["type"])
        if shown.status.phase == "Running" and all(each.ready for each in shown.status.container_statuses):
            watch.stop()
    assert seen[0] == "ADDED"
    assert seen[-1] == "MODIFIED"
    command = ["sh", "-c", "echo out; echo err >&2"]
    told = kubernetes.stream.stream(
        core.connect_get_namespaced_pod_exec,
        "official",
        "default",
        command=command,
        stderr=True,
        stdin=False,
        stdout=True,
        tty=False,
        _preload_content=False,
    )
    told.run_forever(timeout=10)
    assert (told.read_stdout(), told.read_stderr(), told.returncode) == ("out\n", "err\n", 0)
    patched = core.patch_namespaced_pod("official", "default", {"metadata": {"annotations": {"a": "b"}}})
    assert patched.metadata.annotations["a"] == "b"
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.create_namespaced_pod("default", pod("official"))
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    core.delete_namespaced_pod("official", "default", grace_period_seconds=0)
    first = core.list_namespaced_config_map("kube-system", limit=1)
    assert len(first.items) == 1


async def test_the_asyncio_client(kubeconfig: str) -> None:
    configuration = asyncio_client.Configuration()
    await kubernetes_asyncio.config.load_kube_config(kubeconfig, client_configuration=configuration)
    async with asyncio_client.ApiClient(configuration) as api:
        core: Any = asyncio_client.CoreV1Api(api)
        body = {"metadata": {"name": "asyncio"}, "data": {"k": "1"}}
        made = await core.create_namespaced_config_map("default", body)
        watch = kubernetes_asyncio.watch.Watch()

        async def follow() -> list[str]:
            values: list[str] = []
            stream = watch.stream(
                core.list_namespaced_config_map,
                "default",
                field_selector="metadata.name=asyncio",
                resource_version=made.metadata.resource_version,
                timeout_seconds=20,
            )
            async for event in stream:
                values.append(f"{event['type']} {event['object'].data['k']}")
                if event["type"] == "DELETED":
                    break
            return values

        following = asyncio.create_task(follow())
        await core.patch_namespaced_config_map("asyncio", "default", {"data": {"k": "2"}})
        await core.delete_namespaced_config_map("asyncio", "default")
        assert await asyncio.wait_for(following, 20) == ["MODIFIED 2", "DELETED 2"]
        await watch.close()


async def test_kr8s(kubeconfig: str) -> None:
    api: Any = await kr8s.asyncio.api(kubeconfig=kubeconfig)
    assert (await api.version())["major"] == "1"
    mine = await Kr8sPod(pod("kr8s"), api=api)
    await mine.create()
    await mine.wait("condition=Ready", timeout=20)
    done = await mine.exec(["echo", "hello"])
    assert done.stdout == b"hello\n"
    found = [each.name async for each in api.get("pods", namespace="default", label_selector={"made-by": "kr8s"})]
    assert found == ["kr8s"]
    await mine.label({"more": "yes"})
    await mine.refresh()
    assert mine.labels["more"] == "yes"
    await mine.delete()
    await mine.wait("delete", timeout=60)
    settings = await Kr8sConfigMap({"metadata": {"name": "kr8s", "namespace": "default"}}, api=api)
    assert not await settings.exists()


def test_lightkube(kubeconfig: str) -> None:
    client = lightkube.Client(lightkube.KubeConfig.from_file(kubeconfig), field_manager="lightkube")
    container = Container("c", image="example/hello:1")
    client.create(Pod(metadata=ObjectMeta(name="lightkube", namespace="default"), spec=PodSpec([container])))
    client.wait(Pod, "lightkube", for_conditions=["Ready"], namespace="default")
    wanted = ConfigMap(metadata=ObjectMeta(name="lightkube", namespace="default"), data={"k": "1"})
    applied = client.apply(wanted)
    assert applied.metadata is not None
    assert [entry.manager for entry in applied.metadata.managedFields or []] == ["lightkube"]
    client.patch(ConfigMap, "lightkube", {"data": {"k": "2"}}, namespace="default", patch_type=PatchType.MERGE)
    names = {each.metadata.name for each in client.list(ConfigMap, namespace="default") if each.metadata}
    assert {"lightkube", "kube-root-ca.crt"} <= names
    client.delete(ConfigMap, "lightkube", namespace="default")
    client.delete(Pod, "lightkube", namespace="default", grace_period=0)
    with pytest.raises(lightkube.ApiError) as caught:
        client.get(ConfigMap, "lightkube", namespace="default")
    assert caught.value.status.reason == "NotFound"
