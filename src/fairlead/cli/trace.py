"""`fairlead trace`: what happens to a connection, hop by hop, and whether the kernel does the same."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from fairlead.cli.homes import DEFAULT_NAME, NameOption, running_cluster
from fairlead.cli.objects import list_where_served
from fairlead.cli.output import EXIT_NO, EXIT_REFUSED, EXIT_USAGE, Output, answer_json, complain
from fairlead.drivers.errors import FairleadError

if TYPE_CHECKING:
    from fairlead.sim.answers import Sent, Trace
    from fairlead.sim.ingress_objects import IngressObjects
    from fairlead.sim.world import World

_PATIENCE = 3.0
"""Seconds without an answer that count as silence."""


class Transport(StrEnum):
    """The protocols a trace can follow."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


def trace(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="client, lb, node/NAME or pod/NAMESPACE/NAME.", show_default=False)
    ],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="svc/NAMESPACE/NAME:PORT, ADDRESS:PORT or a URL.", show_default=False)
    ],
    files: Annotated[
        list[Path] | None,
        typer.Option("-f", "--filename", metavar="PATH", help="Manifests to trace in, instead of a running cluster."),
    ] = None,
    proto: Annotated[Transport, typer.Option("--proto", help="The transport protocol.")] = Transport.TCP,
    method: Annotated[str, typer.Option("--method", help="For a URL of an Ingress: the request's method.")] = "GET",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header of the request.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The name of the URL, in place of an address in it.")] = "",
    path: Annotated[str, typer.Option("--path", help="The path of the URL, in place of the one in it.")] = "",
    packet: Annotated[bool, typer.Option("--packet", help="Also send it for real, and compare.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="Text or JSON.")] = Output.TEXT,
    name: NameOption = DEFAULT_NAME,
) -> None:
    """Show what happens to a connection, each step with the rule and the object field that decided.

    A URL whose host an Ingress has goes on through NGINX: listener, server, location, rewrite, upstream, pod. Exit 0
    when it is delivered, 1 when it is not, when NGINX answers 400 or more, or when --packet shows otherwise.
    """
    from fairlead.cli.requests import asked_url, read_headers, send_request
    from fairlead.net import Protocol
    from fairlead.sim.answers import Disposition
    from fairlead.sim.ingress_trace import is_ingress_host, trace_url
    from fairlead.sim.places import AbsentError, UnreadableError
    from fairlead.sim.telling import tell_trace
    from fairlead.sim.trace import trace_connection

    if packet and files:
        raise typer.BadParameter("manifests send no packets: leave out -f", param_hint="--packet")
    if packet and proto is Transport.SCTP:
        raise typer.BadParameter("only tcp and udp are sent for real", param_hint="--packet")
    world, objects = _read_world(files) if files else _live_world(name)
    url = asked_url(target, host, path)
    try:
        if url is not None and is_ingress_host(objects, url.host):
            answer = trace_url(world, objects, source, url, method=method, headers=read_headers(header))
        else:
            answer = trace_connection(world, source, target, Protocol[proto.name])
    except UnreadableError as error:
        complain(str(error))
        raise typer.Exit(EXIT_USAGE) from None
    except AbsentError as error:
        complain(str(error))
        raise typer.Exit(EXIT_REFUSED) from None
    if packet and answer.request is not None and url is not None:
        answer = replace(answer, sent=send_request(answer, url, method, header or (), name))
    elif packet and answer.packet:
        answer = replace(answer, sent=_send(answer, proto, name))
    if output is Output.JSON:
        answer_json(answer)
    else:
        print(tell_trace(answer))
    as_told = answer.sent is None or answer.sent.agrees
    refused = answer.request is not None and answer.request.status >= 400
    if answer.disposition is not Disposition.DELIVERED or refused or not as_told:
        raise typer.Exit(EXIT_NO)


def _read_world(files: Sequence[Path]) -> "tuple[World, IngressObjects]":
    from fairlead.cluster.manifests import manifest_files
    from fairlead.kube.yamlcodec import parse_documents
    from fairlead.sim.ingress_objects import read_ingress_objects
    from fairlead.sim.manifests import derive_world

    try:
        texts = [
            ("standard input", sys.stdin.read()) if str(path) == "-" else (str(path), path.read_text())
            for path in manifest_files([each for each in files if str(each) != "-"])
            + [each for each in files if str(each) == "-"]
        ]
        documents = [document for where, text in texts for document in parse_documents(text, source=where)]
        return derive_world(documents), read_ingress_objects(documents)
    except (OSError, ValueError) as error:
        raise FairleadError(f"cannot read the manifests: {error}") from error


def _live_world(name: str) -> "tuple[World, IngressObjects]":
    home, _ = running_cluster(name)
    return asyncio.run(_list_world(home.kubeconfig))


async def _list_world(kubeconfig: Path) -> "tuple[World, IngressObjects]":
    from fairlead.cli.objects import list_ingress_objects
    from fairlead.drivers.kubeapi import HttpTransport, KubeClient
    from fairlead.kube.core import Namespace, Node, Pod, Service
    from fairlead.kube.discovery import EndpointSlice
    from fairlead.kube.metallb import BGPAdvertisement, IPAddressPool, L2Advertisement, ServiceL2Status
    from fairlead.kube.networking import NetworkPolicy
    from fairlead.kube.policy import ClusterNetworkPolicy
    from fairlead.sim.world import Announcing, World

    client = KubeClient(HttpTransport.from_kubeconfig(kubeconfig))
    try:
        nodes, pods, services, slices = await asyncio.gather(
            client.list(Node), client.list(Pod), client.list(Service), client.list(EndpointSlice)
        )
        namespaces, policies, tiered = await asyncio.gather(
            client.list(Namespace), client.list(NetworkPolicy), list_where_served(client, ClusterNetworkPolicy)
        )
        objects = await list_ingress_objects(client)
        announcing = Announcing(
            pools=await list_where_served(client, IPAddressPool),
            l2=await list_where_served(client, L2Advertisement),
            bgp=await list_where_served(client, BGPAdvertisement),
            l2_states=await list_where_served(client, ServiceL2Status),
        )
    finally:
        await client.close()
    every = (*policies.items, *tiered)
    world = World.of(nodes.items, pods.items, services.items, slices.items, namespaces.items, every, announcing)
    return world, objects


def _send(answer: "Trace", proto: Transport, name: str) -> "Sent":
    """Send the traced packet from its place, in a child process, and compare what became of it."""
    from fairlead.sim.answers import Sent
    from fairlead.sim.compare import agrees

    address, _, port = answer.packet.rpartition(" ")[2].rpartition(":")
    words = [proto.value, address.strip("[]"), port, str(_PATIENCE)]
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("probe.py")), *words]
    inside = [sys.executable, "-m", "fairlead", "exec", "--name", name, "--from", answer.source, "--", *program]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FairleadError(f"cannot send a packet from {answer.source}: {done.stderr.strip()}")
    outcome = done.stdout.strip()
    return Sent(outcome, agrees(answer, outcome))
