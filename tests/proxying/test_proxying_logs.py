"""The log subresource: which container, which options, and the stream from a kubelet."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fairlead.cluster.apiserver.logs import LogConnector, choose_container, parse_log_options
from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.kube.documents import Document, Json


class Target(NamedTuple):
    resource: str
    namespace: str
    name: str


def pod(*containers: str, first: tuple[str, ...] = (), node: str = "node-1") -> Document:
    named: list[Json] = [{"name": name} for name in containers]
    before: list[Json] = [{"name": name} for name in first]
    spec: Document = {"containers": named, "initContainers": before, "nodeName": node}
    return {"metadata": {"name": "web"}, "spec": spec}


def test_the_only_container_is_meant():
    assert choose_container(pod("app", first=("init",)), "") == "app"
    assert choose_container(pod("app", first=("init",)), "init") == "init"


@pytest.mark.parametrize(
    ("document", "wanted", "message"),
    [
        (pod("a", "b"), "", "a container name must be specified for pod web, choose one of: [a b]"),
        (
            pod("a", "b", first=("i", "j")),
            "",
            "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [i j]",
        ),
        (pod("a"), "c", "container c is not valid for pod web"),
    ],
)
def test_an_unclear_container_is_refused(document: Document, wanted: str, message: str):
    with pytest.raises(StatusError) as refusal:
        choose_container(document, wanted)
    assert (refusal.value.code, refusal.value.message) == (400, message)


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"tailLines": "-1"}, 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ({"limitBytes": "0"}, 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": "0"}, 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            {"sinceSeconds": "5", "sinceTime": "2026-01-01T00:00:00Z"},
            422,
            "at most one of `sinceTime` or `sinceSeconds`",
        ),
        ({"tailLines": "ten"}, 400, 'strconv.ParseInt: parsing "ten": invalid syntax'),
        ({"follow": "maybe"}, 400, 'strconv.ParseBool: parsing "maybe": invalid syntax'),
    ],
)
def test_bad_options_are_refused(query: dict[str, str], code: int, message: str):
    with pytest.raises(StatusError) as refusal:
        parse_log_options(query, "web")
    assert refusal.value.code == code
    assert message in refusal.value.message


class Cluster(NamedTuple):
    client: TestClient[web.Request, web.Application]
    more: asyncio.Event
    left: asyncio.Event


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    more, left = asyncio.Event(), asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/slow"):
            return web.Response(status=400, text='container "slow" in pod "web" is waiting to start: ContainerCreating')
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(f"{request.path}?{request.query_string}\n".encode())
        if request.query.get("follow") == "true":
            try:
                await more.wait()
                await response.write(b"more\n")
            finally:
                left.set()
        return response

    objects = {"web": pod("app", "slow"), "waiting": pod("app", node="")}
    connector = LogConnector(lambda resource, namespace, name: objects.get(name), tmp_path / "kubelet")

    async def connect(request: web.Request) -> web.StreamResponse:
        return await connector(request, Target("pods", "shop", request.match_info["name"]))

    front, kubelet = web.Application(), web.Application()
    front.router.add_route("*", "/{name}", connect)
    kubelet.router.add_get("/logs/{rest:.*}", serve)
    runner = web.AppRunner(kubelet, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "kubelet")).start()
    async with TestClient(TestServer(front)) as client:
        yield Cluster(client, more, left)
    more.set()
    await runner.cleanup()


async def test_the_log_comes_from_the_kubelet(cluster: Cluster):
    async with cluster.client.get("/web?container=app&tailLines=5&timestamps=1&pretty=x") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert sorted((await answer.text()).strip().partition("?")[2].split("&")) == ["tailLines=5", "timestamps=true"]


async def test_following_shows_lines_as_they_come(cluster: Cluster):
    async with cluster.client.get("/web?container=app&follow=true") as answer:
        assert await answer.content.readline() == b"/logs/shop/web/app?follow=true\n"
        cluster.more.set()
        assert await answer.content.read() == b"more\n"


async def test_a_follower_that_leaves_a_silent_log_is_noticed(cluster: Cluster):
    answer = await cluster.client.get("/web?container=app&follow=true")
    await answer.content.readline()
    answer.close()
    async with asyncio.timeout(5):
        await cluster.left.wait()


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("/web?container=slow", 400, 'container "slow" in pod "web" is waiting to start: ContainerCreating'),
        ("/none", 404, 'pods "none" not found'),
    ],
)
async def test_refusals_are_statuses(cluster: Cluster, path: str, code: int, message: str):
    async with cluster.client.get(path) as answer:
        status = await answer.json()
    assert (answer.status, status["kind"], status["message"]) == (code, "Status", message)


async def test_a_pod_without_a_node_has_an_empty_log(cluster: Cluster):
    async with cluster.client.get("/waiting") as answer:
        assert (answer.status, await answer.text()) == (200, "")


async def test_a_kubelet_that_is_down_is_told(tmp_path: Path):
    connector = LogConnector(lambda resource, namespace, name: pod("app"), tmp_path / "nobody")

    async def connect(request: web.Request) -> web.StreamResponse:
        return await connector(request, Target("pods", "shop", "web"))

    front = web.Application()
    front.router.add_get("/", connect)
    async with TestClient(TestServer(front)) as client, client.get("/") as answer:
        assert (answer.status, "the kubelet does not answer" in await answer.text()) == (500, True)
