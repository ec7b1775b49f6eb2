"""What does NGINX have to be told when only endpoints change?"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import convert

from fairlead.agents.ingress import serving
from fairlead.agents.ingress.placeholder import make_placeholder, with_default
from fairlead.compile.route_options import IngressOptions
from fairlead.compile.routes import Routes
from fairlead.drivers.nginxd import Nginx, NginxFolder, Workers
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.networking import Ingress, IngressClass
from fairlead.render.nginx import render_nginx
from fairlead.render.nginx_names import Layout


class TakesAll(Nginx):
    """An NGINX that takes every configuration at once, and keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(NginxFolder(folder))
        self.generation = b""
        self.told: list[str] = []

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            if "structure" in name:
                self.generation = text.split('"generation":"', 1)[1].split('"', 1)[0].encode()

    async def test(self, text: str) -> None:
        del text

    async def start(self) -> None:
        self.told.append("start")

    def master(self) -> int:
        return 1 if self.told else 0

    def workers(self) -> Workers:
        return Workers()

    def reload(self) -> None:
        self.told.append("reload")

    async def wait_for_end(self) -> None:
        await asyncio.Event().wait()

    async def ask(self, path: str, body: bytes | None = None) -> bytes:
        if body is None:
            return self.generation
        self.told.append(f"{path} {body.decode() if path == '/endpoints' else ''}")
        return b""


def piece(address: str) -> EndpointSlice:
    metadata = {"name": "web-a", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
    ends = [{"addresses": [address], "conditions": {"ready": True}}]
    ports = [{"name": "", "port": 80, "protocol": "TCP"}]
    return convert({"metadata": metadata, "addressType": "IPv4", "endpoints": ends, "ports": ports}, EndpointSlice)


def web(size: str) -> Ingress:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    annotations = {"nginx.ingress.kubernetes.io/proxy-body-size": size}
    metadata = {"name": "web", "namespace": "shop", "annotations": annotations}
    return convert({"metadata": metadata, "spec": {"ingressClassName": "nginx", "rules": [rule]}}, Ingress)


async def test_a_change_of_endpoints_renders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []

    def render(*args: object, **more: object) -> dict[str, str]:
        rendered.append(1)
        return render_nginx(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(serving, "render_nginx", render)
    routes = Routes(IngressOptions())
    found = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
    routes.set_class(convert(found, IngressClass))
    ports = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}}
    routes.set_service(convert(ports, Service))
    routes.set_ingress(web("1m"))
    nginx, default = TakesAll(tmp_path), make_placeholder()
    layout = Layout(directory=str(tmp_path), lua=str(tmp_path))
    served = serving.Serving(nginx, layout, routes, lambda: None)
    running = asyncio.create_task(served.run())

    async def serve(address: str) -> list[str]:
        """What NGINX is told from an endpoint's change until nothing more comes."""
        nginx.told[1:] = []
        routes.set_slice(piece(address))
        await served.serve(with_default(routes.build(), default))
        for _ in range(10_000):
            if served.ready and any(address in each for each in nginx.told):
                break
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        return nginx.told[1:]

    try:
        async with asyncio.timeout(10):
            await serve("10.0.0.1")
            assert rendered == [1]
            assert len(await serve("10.0.0.2")) == 1
            assert rendered == [1]
            routes.set_ingress(web("2m"))
            assert "reload" in await serve("10.0.0.3")
            assert rendered == [1, 1]
    finally:
        running.cancel()
