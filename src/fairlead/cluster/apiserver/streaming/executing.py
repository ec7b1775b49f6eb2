"""The exec and attach subresources of pods: a command, or what a container writes, on a client's channels.

Comes in: an upgrade request and its options. Goes out: a session, run by the kubelet with the descriptors made here: a
terminal, or pipes. Refuses to know how a container is entered. Source: ExecLocation and AttachLocation in
pkg/registry/core/pod/strategy.go, ValidatePodExecOptions in pkg/apis/core/validation/validation.go.
"""

import asyncio
from pathlib import Path

from aiohttp import web
from msgspec import Struct

from fairlead.cluster.apiserver.destinations import Get
from fairlead.cluster.apiserver.logs import choose_container
from fairlead.cluster.apiserver.proxying import ProxyTarget, refusal_response
from fairlead.cluster.apiserver.statuses import StatusError, bad_request
from fairlead.cluster.apiserver.streaming import spdy_sessions, websockets
from fairlead.cluster.apiserver.streaming.channels import Carrier, Channel, failed
from fairlead.cluster.apiserver.streaming.commands import CommandRun, run_command
from fairlead.cluster.apiserver.streaming.spdy_sessions import choose_protocol, open_carrier, spdy_connection
from fairlead.cluster.apiserver.streaming.takeover import Answered, wants_upgrade
from fairlead.kube.documents import Document, text_at

_TRUE = ("1", "t", "T", "true", "True", "TRUE")
_CHANNELS = {"stdin": Channel.STDIN, "stdout": Channel.STDOUT, "stderr": Channel.STDERR}


class StreamOptions(Struct, frozen=True):
    """What is run where, and which channels the client has for it."""

    container: str
    command: tuple[str, ...]
    channels: frozenset[Channel]
    tty: bool


def parse_stream_options(request: web.Request, name: str, *, command: bool) -> StreamOptions:
    """Read the options of a request. Raises StatusError: 400 where they make no sense."""
    query = request.query
    chosen = {channel for key, channel in _CHANNELS.items() if query.get(key) in _TRUE}
    tty = query.get("tty") in _TRUE
    words = tuple(query.getall("command", []))
    if command and not words:
        raise bad_request("you must specify a command to execute")
    if not chosen:
        raise bad_request("you must specify at least one of stdin, stdout, stderr")
    if tty:
        chosen -= {Channel.STDERR}
        chosen.add(Channel.RESIZE)
    return StreamOptions(query.get("container", ""), words if command else (), frozenset(chosen), tty)


def find_pod(get: Get, target: ProxyTarget) -> Document:
    """The pod of a request. Raises StatusError: 404, or 400 while it has no node."""
    pod = get("pods", target.namespace, target.name)
    if pod is None:
        raise StatusError(404, "NotFound", f'pods "{target.name}" not found', {"name": target.name, "kind": "pods"})
    if not text_at(pod, "spec", "nodeName"):
        raise bad_request(f"pod {target.name} does not have a host assigned")
    return pod


class ExecConnector:
    """Serves `pods/exec`, and `pods/attach` where `command` is off. The kubelet's socket runs what is asked for."""

    def __init__(self, get: Get, kubelet: Path, *, command: bool = True) -> None:
        self._get = get
        self._kubelet = kubelet
        self._command = command

    async def __call__(self, request: web.Request, target: ProxyTarget) -> web.StreamResponse:
        """Answer one request. A refusal is answered as a Status."""
        try:
            pod = find_pod(self._get, target)
            options = parse_stream_options(request, target.name, command=self._command)
            container = choose_container(pod, options.container)
            if not wants_upgrade(request):
                raise bad_request("Upgrade request required")
            run = CommandRun(target.namespace, target.name, container, options.command, options.tty, options.channels)
            if request.headers["Upgrade"].lower() == "websocket":
                socket = await websockets.open_websocket(request, websockets.PROTOCOLS)
                await self._serve(websockets.WebSocketCarrier(socket), run)
                return socket
            await self._over_spdy(request, run)
            return Answered()
        except StatusError as refusal:
            return refusal_response(refusal)

    async def _over_spdy(self, request: web.Request, run: CommandRun) -> None:
        protocol = choose_protocol(request, spdy_sessions.PROTOCOLS)
        wanted = run.channels if protocol.startswith(("v4", "v3")) else run.channels - {Channel.RESIZE}
        async with spdy_connection(request, protocol) as connection:
            try:
                carrier = await open_carrier(connection, wanted, protocol)
            except TimeoutError:
                return
            try:
                await self._serve(carrier, run)
                async with asyncio.timeout(_LINGER):
                    await connection.gone.wait()  # the client ends the connection once it has read everything
            except TimeoutError:
                pass
            finally:
                carrier.close()

    async def _serve(self, carrier: Carrier, run: CommandRun) -> None:
        try:
            status = await run_command(self._kubelet, run, carrier)
        except OSError as error:
            status = failed(f"the kubelet does not answer: {error.strerror or error}")
        if status is not None:
            await carrier.finish(status)


_LINGER = 10.0
