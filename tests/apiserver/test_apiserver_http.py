"""The server on a socket.

Certificates, who may ask what, limits, compression, watches over the wire, and KubeClient.
"""

import asyncio
import datetime
import gzip
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from apiservers import engine, served

from fairlead.cluster.apiserver.http import BODY_LIMIT, ConnectTarget, start
from fairlead.cluster.apiserver.log import SqliteLog
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.pki import Pki
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import Applied, HttpTransport, KubeClient, Replaced
from fairlead.kube.core import ConfigMap
from fairlead.kube.meta import ObjectMeta

CM = "/api/v1/namespaces/default/configmaps"


def client_tls(pki: Pki, folder: Path, signed_by: Pki | None = None) -> ssl.SSLContext:
    credential = (signed_by or pki).client("kubernetes-admin", ("system:masters",))
    context = ssl.create_default_context(cadata=pki.authority.decode())
    for name, content in (("c.crt", credential.certificate), ("c.key", credential.key)):
        (folder / name).write_bytes(content)
    context.load_cert_chain(folder / "c.crt", folder / "c.key")
    return context


async def test_without_a_certificate_one_sees_health_and_version_only(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, url, pki), aiohttp.ClientSession() as session:
        tls = ssl.create_default_context(cadata=pki.authority.decode())
        for path, status in (
            ("/version", 200),
            ("/healthz", 200),
            ("/livez", 200),
            ("/metrics", 403),
            (CM, 403),
            ("/api", 403),
        ):
            async with session.get(url + path, ssl=tls) as answer:
                assert answer.status == status, path
        async with session.get(url + CM, ssl=tls) as answer:
            refusal = await answer.json()
            assert refusal["message"] == (
                'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" '
                'in the namespace "default"'
            )
        async with session.get(url + CM, ssl=tls, headers={"Authorization": "Bearer x"}) as answer:
            assert answer.status == 401


async def test_streaming_subresources_ask_the_roles_first(tmp_path: Path) -> None:
    asked: list[str] = []

    async def connector(request: web.Request, target: ConnectTarget) -> web.StreamResponse:
        asked.append(target.name)
        return web.Response(text="logged")

    pki, server = Pki(tmp_path / "pki"), await engine()
    listening = socket.create_server(("127.0.0.1", 0))
    runner = await start(server, [listening], pki.server_context(), {("pods", "log"): connector})
    url = f"https://127.0.0.1:{listening.getsockname()[1]}/api/v1/namespaces/default/pods/p/log"
    admin, stranger = client_tls(pki, tmp_path), ssl.create_default_context(cadata=pki.authority.decode())
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(url, ssl=stranger) as answer:
                assert (answer.status, asked) == (403, [])
            async with session.get(url, ssl=admin, headers={"Impersonate-User": "bob"}) as answer:
                assert 'User "bob" cannot get resource "pods/log"' in (await answer.json())["message"]
                assert asked == []
            async with session.get(url, ssl=admin) as answer:
                assert (answer.status, asked) == (200, ["p"])
    finally:
        await runner.cleanup()
        server.close()


async def test_a_certificate_of_another_authority_is_turned_away(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, url, pki), aiohttp.ClientSession() as session:
        strange = client_tls(pki, tmp_path, signed_by=Pki(tmp_path / "other"))
        with pytest.raises(aiohttp.ClientError):
            async with session.get(url + CM, ssl=strange) as answer:
                await answer.read()


async def test_big_answers_are_compressed_and_big_bodies_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, url, pki), aiohttp.ClientSession(auto_decompress=False) as session:
        tls = client_tls(pki, tmp_path)
        body = {"metadata": {"name": "big"}, "data": {"a": "x" * 200_000}}
        async with session.post(url + CM, json=body, ssl=tls) as answer:
            assert answer.status == 201
        async with session.get(f"{url}{CM}/big", ssl=tls, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert json.loads(gzip.decompress(await answer.read()))["data"] == body["data"]
        async with session.get(f"{url}{CM}/big", ssl=tls, headers={"Accept-Encoding": ""}) as answer:
            assert "Content-Encoding" not in answer.headers
        async with session.post(url + CM, data=b"x" * (BODY_LIMIT + 1), ssl=tls) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (413, "RequestEntityTooLarge")


async def test_watch_lines_leave_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, url, pki), aiohttp.ClientSession() as session:
        tls = client_tls(pki, tmp_path)
        async with asyncio.timeout(5), session.get(f"{url}{CM}?watch=1&resourceVersion=1", ssl=tls) as stream:
            assert stream.headers["Transfer-Encoding"] == "chunked"
            for name in ("x", "y"):
                async with session.post(url + CM, json={"metadata": {"name": name}}, ssl=tls):
                    event: Any = json.loads(await stream.content.readline())
                    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", name)


async def test_a_watcher_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, url, pki), aiohttp.ClientSession() as session:
        tls = client_tls(pki, tmp_path)
        watchers = server.store._shelf(("", "configmaps")).subscribers  # pyright: ignore[reportPrivateUsage]
        async with session.get(f"{url}{CM}?watch=1", ssl=tls):
            assert len(watchers) == 1
        async with asyncio.timeout(5):
            while watchers:  # noqa: ASYNC110  # nothing tells when the server has noticed
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("carrier", ["https", "in process"])
async def test_the_client_of_the_controllers_works_over_both_transports(tmp_path: Path, carrier: str) -> None:
    async with served(tmp_path, SqliteLog(tmp_path / "data.sqlite")) as (server, url, pki):
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(pki.kubeconfig(url, "kubernetes-admin", ("system:masters",)))
        transport = HttpTransport.from_kubeconfig(kubeconfig) if carrier == "https" else InProcessTransport(server)
        client = KubeClient(transport)
        changes = client.reflect(ConfigMap, namespace="default")
        async with asyncio.timeout(5):
            assert isinstance(await anext(changes), Replaced)
            made = await client.create(ConfigMap(metadata=ObjectMeta(name="x", namespace="default"), data={"a": "b"}))
            seen = await anext(changes)
            assert isinstance(seen, Applied)
            assert seen.object.metadata.uid == made.metadata.uid
            assert (await client.get(ConfigMap, "x", "default")).data == {"a": "b"}
        await changes.aclose()
        await client.close()


def test_certificates_are_kept_and_made_again_when_they_must_be(tmp_path: Path) -> None:
    first = Pki(tmp_path)
    server, admin = first.server(), first.client("admin", ("system:masters",))
    again = Pki(tmp_path)
    assert again.authority == first.authority
    assert again.server() == server
    assert again.client("admin", ("system:masters",)) == admin
    assert again.client("admin", ("others",)) != admin
    assert again.server(("192.0.2.7",)) != server
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    (tmp_path / "server.crt").write_bytes(b"torn")
    assert b"BEGIN CERTIFICATE" in Pki(tmp_path).server().certificate
    late = Pki(tmp_path, now=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=350))
    assert late.authority != first.authority
    assert late.client("admin", ("others",)).certificate != again.client("admin", ("others",)).certificate


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FairleadError, match=r"cannot write .*file/pki"):
        Pki(tmp_path / "file" / "pki")
