"""Does the client say over HTTP what the API expects, and understand what servers answer?"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import ApiError, ApiRequest, HttpTransport, KubeClient, PatchType
from fairlead.kube.core import ConfigMap, Pod
from fairlead.kube.meta import ObjectMeta


class Asked:
    """Keeps what was asked; answers with what the test says."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, object]] = []
        self.status = 200
        self.body: object = {"metadata": {"name": "a", "resourceVersion": "3"}}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        told = json.loads(body) if body else None
        self.requests.append((request.method, request.path_qs, request.content_type, told))
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in (b'{"one"', b": 1}\n\n{", b'"two": 2}\n{"thr', b'ee": 3}\n'):
                await response.write(piece)
                await asyncio.sleep(0)
            return response
        return web.json_response(self.body, status=self.status)


@pytest.fixture
async def asked() -> Asked:
    return Asked()


@pytest.fixture
async def client(asked: Asked, tmp_path: Path) -> AsyncIterator[KubeClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", asked.answer)
    async with TestServer(application) as server:
        config = tmp_path / "kubeconfig"
        named = {"server": f"http://127.0.0.1:{server.port}"}
        config.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                    "clusters": [{"name": "k", "cluster": named}],
                    "users": [{"name": "u", "user": {}}],
                }
            )
        )
        client = KubeClient(HttpTransport.from_kubeconfig(config))
        yield client
        await client.close()


async def test_reading_names_the_path_and_the_selectors(client: KubeClient, asked: Asked) -> None:
    assert (await client.get(ConfigMap, "a", "shop")).metadata.resource_version == "3"
    asked.body = {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "a"}}]}
    listed = await client.list(Pod, labels="a in (b,c)", fields="spec.nodeName=n")
    assert (listed.resource_version, len(listed.items)) == ("9", 1)
    paths = [path for _, path, _, _ in asked.requests]
    assert paths[0] == "/api/v1/namespaces/shop/configmaps/a"
    assert "labelSelector=a" in paths[1]
    assert paths[1].endswith("fieldSelector=spec.nodeName%3Dn")


async def test_writing_sends_what_the_api_expects(client: KubeClient, asked: Asked) -> None:
    await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="shop"), data={"k": "v"}))
    await client.patch(Pod, "p", "shop", {"a": 1}, subresource="status", patch_type=PatchType.STRATEGIC)
    await client.delete(Pod, "p", "shop", grace_seconds=0, uid="u", propagation="Orphan")
    await client.bind("p", "shop", "node-1")
    methods = [(method, path) for method, path, _, _ in asked.requests]
    assert methods == [
        ("POST", "/api/v1/namespaces/shop/configmaps"),
        ("PATCH", "/api/v1/namespaces/shop/pods/p/status"),
        ("DELETE", "/api/v1/namespaces/shop/pods/p"),
        ("POST", "/api/v1/namespaces/shop/pods/p/binding"),
    ]
    assert asked.requests[0][3] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "shop"},
        "data": {"k": "v"},
    }
    assert asked.requests[1][2] == "application/strategic-merge-patch+json"
    assert asked.requests[2][3] == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Orphan",
    }


async def test_a_refusal_becomes_an_error_classified_by_code(client: KubeClient, asked: Asked) -> None:
    asked.status = 409
    asked.body = {"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "no", "details": {"name": "a"}}
    with pytest.raises(ApiError) as caught:
        await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="shop")))
    error = caught.value
    assert (error.status, error.reason, error.message, error.details) == (409, "AlreadyExists", "no", {"name": "a"})


async def test_absence_is_none_only_where_it_is_asked_for(client: KubeClient, asked: Asked) -> None:
    asked.status, asked.body = 404, {"kind": "Status", "code": 404, "reason": "NotFound", "message": "no"}
    assert await client.get_or_none(Pod, "p", "shop") is None
    with pytest.raises(ApiError, match="no"):
        await client.get(Pod, "p", "shop")


async def test_a_stream_is_cut_into_lines_wherever_the_network_cuts_it(client: KubeClient) -> None:
    lines = [line async for line in client.transport.stream(ApiRequest("GET", "/x", (("watch", "true"),)))]
    assert lines == [b'{"one": 1}', b'{"two": 2}', b'{"three": 3}']


async def test_no_server_is_an_error_of_status_0_with_a_remedy() -> None:
    transport = HttpTransport("http://127.0.0.1:1")
    with pytest.raises(ApiError) as caught:
        await transport.send(ApiRequest("GET", "/version"))
    await transport.close()
    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")
    assert "kubeconfig" in str(caught.value)


@pytest.mark.parametrize("text", ["", "a: [", "current-context: x\ncontexts: []\n"])
def test_a_kubeconfig_that_says_too_little_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    with pytest.raises(FairleadError, match="cannot be used"):
        HttpTransport.from_kubeconfig(file)
