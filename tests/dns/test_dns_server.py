"""Cluster DNS as dig sees it, in a network namespace of its own, and the manifests that bring it up."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest
from dnslib import RR, A

from fairlead.cluster.dns.answers import Zone
from fairlead.cluster.dns.app import DnsApp
from fairlead.cluster.dns.manifests import system_manifests
from fairlead.cluster.dns.messages import parse_query
from fairlead.cluster.dns.records import Records
from fairlead.cluster.dns.server import serve_dns
from fairlead.drivers.netlink.links import LOOPBACK, LinkSocket, VethEnd, add_address, create_veth, set_up
from fairlead.drivers.netns import entered, new_namespace, open_socket
from fairlead.kube.core import Service, ServicePort, ServiceSpec
from fairlead.kube.discovery import Endpoint, EndpointSlice, SlicePort
from fairlead.kube.documents import items_at, mapping_at, text_at
from fairlead.kube.meta import ObjectMeta
from fairlead.net import Address, parse_address

pytestmark = pytest.mark.kernel

WEB = ObjectMeta(name="web", namespace="shop")
HERE, UPSTREAM = parse_address("192.0.2.1"), parse_address("192.0.2.2")


def records() -> Records:
    known = Records()
    known.replace_namespaces({"shop"})
    known.apply_service(Service(metadata=WEB, spec=ServiceSpec(cluster_ip="10.96.0.5", ports=(ServicePort(port=80),))))
    known.apply_service(Service(metadata=ObjectMeta(name="big", namespace="shop"), spec=ServiceSpec(cluster_ip="None")))
    external = ServiceSpec(type="ExternalName", external_name="api.example.com")
    known.apply_service(Service(metadata=ObjectMeta(name="out", namespace="shop"), spec=external))
    labels = {"kubernetes.io/service-name": "big"}
    known.apply_slice(
        EndpointSlice(
            metadata=ObjectMeta(name="big-1", namespace="shop", labels=labels),
            address_type="IPv4",
            endpoints=tuple(Endpoint(addresses=(f"10.244.1.{last}",)) for last in range(1, 201)),
            ports=(SlicePort(name="sql", port=1, protocol="TCP"),),
        )
    )
    return known


def bind(netns: int) -> list[socket.socket]:
    datagrams = open_socket(netns, socket.AF_INET, socket.SOCK_DGRAM)
    listener = open_socket(netns, socket.AF_INET, socket.SOCK_STREAM)
    for each in (datagrams, listener):
        each.bind(("", 53))
    listener.listen()
    return [datagrams, listener]


async def serving(upstreams: tuple[Address, ...]) -> AsyncIterator[int]:
    netns = new_namespace()
    with entered(netns):
        links = LinkSocket()
        links.apply([set_up(LOOPBACK)])
        links.close()
    task = asyncio.create_task(serve_dns(bind(netns), records(), Zone(), upstreams))
    yield netns
    task.cancel()
    await asyncio.wait([task])
    os.close(netns)


@pytest.fixture
async def netns() -> AsyncIterator[int]:
    async for each in serving(()):
        yield each


@pytest.fixture
async def resolver() -> AsyncIterator[int]:
    """The namespace of the upstream resolver, with an address and no program yet."""
    netns = new_namespace()
    yield netns
    os.close(netns)


@pytest.fixture
async def forwarding(resolver: int) -> AsyncIterator[int]:
    async for netns in serving((parse_address("203.0.113.1"), UPSTREAM)):
        here, there = (
            VethEnd(index=5, name="up", mac=b"\2\0\0\0\0\1"),
            VethEnd(index=6, name="up", mac=b"\2\0\0\0\0\2", netns=resolver),
        )
        for fd, requests in (
            (netns, [create_veth(here, there), add_address(5, HERE, 24)]),
            (resolver, [set_up(6), add_address(6, UPSTREAM, 24)]),
        ):
            with entered(fd):
                links = LinkSocket()
            links.apply(requests)
            links.close()
        yield netns


async def dig(netns: int, *words: str) -> str:
    command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns}", "dig", "@127.0.0.1", "+tries=1", "+time=5", *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode()


async def test_a_service_over_udp_and_tcp(netns: int):
    assert await dig(netns, "+short", "web.shop.svc.cluster.local") == "10.96.0.5\n"
    assert await dig(netns, "+short", "+tcp", "web.shop.svc.cluster.local") == "10.96.0.5\n"


async def test_search_lists_find_a_service(netns: int):
    assert await dig(netns, "+short", "+search", "+domain=shop.svc.cluster.local", "web") == "10.96.0.5\n"


async def test_the_spelling_of_the_question_is_kept(netns: int):
    text = await dig(netns, "+noedns", "WEB.Shop.svc.cluster.LOCAL")
    assert "\nWEB.Shop.svc.cluster.LOCAL. 30 IN" in text.replace("\t", " ")
    assert "flags: qr aa rd;" in text


async def test_names_without_data_and_names_that_are_not(netns: int):
    empty = await dig(netns, "web.shop.svc.cluster.local", "AAAA")
    assert "status: NOERROR" in empty
    assert "ns.dns.cluster.local. hostmaster.cluster.local." in empty
    missing = await dig(netns, "none.shop.svc.cluster.local")
    assert "status: NXDOMAIN" in missing
    assert "ns.dns.cluster.local. hostmaster.cluster.local." in missing


async def test_reverse_and_version(netns: int):
    assert await dig(netns, "+short", "-x", "10.96.0.5") == "web.shop.svc.cluster.local.\n"
    assert "status: NXDOMAIN" in await dig(netns, "-x", "10.9.9.9")
    assert await dig(netns, "+short", "dns-version.cluster.local", "TXT") == '"1.1.0"\n'


async def test_long_answers_are_cut_and_come_whole_over_tcp(netns: int):
    cut = await dig(netns, "+ignore", "+bufsize=4096", "big.shop.svc.cluster.local")
    assert "flags: qr aa tc rd;" in cut
    assert "ANSWER: 0" in cut
    whole = await dig(netns, "+short", "big.shop.svc.cluster.local")
    assert len(whole.split()) == 200


async def test_srv_answers_leave_out_addresses_that_do_not_fit(netns: int):
    text = await dig(netns, "+tcp", "_sql._tcp.big.shop.svc.cluster.local", "SRV")
    assert "ANSWER: 200" in text
    assert "ADDITIONAL: 201" in text


async def test_other_domains_are_refused_without_an_upstream(netns: int):
    assert "status: REFUSED" in await dig(netns, "example.com")
    assert "status: REFUSED" in await dig(netns, "-c", "CH", "version.bind", "TXT")
    assert await dig(netns, "+short", "out.shop.svc.cluster.local") == "api.example.com.\n"


async def answer_as_upstream(netns: int) -> None:
    """A resolver for which every name has the address 192.0.2.99."""
    loop = asyncio.get_running_loop()
    with open_socket(netns, socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.bind((str(UPSTREAM), 53))
        while True:
            data, client = await loop.sock_recvfrom(upstream, 4096)
            query = parse_query(data)
            assert query is not None
            reply = query.message.reply()
            reply.add_answer(RR(query.message.q.qname, rdata=A("192.0.2.99"), ttl=60))
            await loop.sock_sendto(upstream, reply.pack(), client)


async def test_other_domains_are_asked_for_upstream_one_resolver_after_the_other(forwarding: int, resolver: int):
    upstream = asyncio.create_task(answer_as_upstream(resolver))
    assert await dig(forwarding, "+short", "example.com") == "192.0.2.99\n"
    assert await dig(forwarding, "+short", "+tcp", "example.com") == "192.0.2.99\n"
    assert await dig(forwarding, "+short", "out.shop.svc.cluster.local") == "api.example.com.\n192.0.2.99\n"
    assert await dig(forwarding, "+short", "web.shop.svc.cluster.local") == "10.96.0.5\n"
    upstream.cancel()


async def test_upstreams_that_do_not_answer_are_told(forwarding: int):
    assert "status: SERVFAIL" in await dig(forwarding, "example.com")


async def test_noise_is_survived(netns: int):
    loop = asyncio.get_running_loop()
    with open_socket(netns, socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for noise in (b"", b"x", b"\0" * 11, b"\x12\x34\1\0\0\1" + b"\0" * 6 + b"\xff" * 9, b"\xff" * 40):
            await loop.sock_sendto(sender, noise, ("127.0.0.1", 53))
        async with asyncio.timeout(5):
            refusal = await loop.sock_recv(sender, 100)
    assert refusal[:2] == b"\x12\x34"
    assert refusal[3] & 0xF == 1
    assert await dig(netns, "+short", "web.shop.svc.cluster.local") == "10.96.0.5\n"


async def test_containers_share_one_watch_that_ends_with_the_last():
    watches: list[asyncio.Task[None]] = []

    def feed(known: Records, filled: asyncio.Event) -> "asyncio.Task[None]":
        known.replace_services([Service(metadata=WEB, spec=ServiceSpec(cluster_ip="10.96.0.5"))])
        filled.set()
        watches.append(asyncio.create_task(asyncio.sleep(3600)))
        return watches[-1]

    app, said = DnsApp(feed, Zone()), list[str]()
    spaces = [new_namespace(), new_namespace()]
    for netns in spaces:
        with entered(netns):
            links = LinkSocket()
        links.apply([set_up(LOOPBACK)])
        links.close()
    running = [asyncio.create_task(app(None, [(None, each) for each in bind(netns)], said.append)) for netns in spaces]
    for netns in spaces:
        assert await dig(netns, "+short", "web.shop.svc.cluster.local") == "10.96.0.5\n"
    assert (len(watches), said) == (1, ["serving cluster.local"] * 2)
    running[0].cancel()
    await asyncio.wait({running[0]})
    assert await dig(spaces[1], "+short", "web.shop.svc.cluster.local") == "10.96.0.5\n"
    running[1].cancel()
    await asyncio.wait({running[1], *watches})
    assert watches[0].cancelled()
    for netns in spaces:
        os.close(netns)


async def test_a_watch_that_breaks_ends_the_container():
    async def broken() -> None:
        raise ValueError("broken")

    netns = new_namespace()
    sockets = bind(netns)
    with pytest.raises(ValueError, match="broken"):
        await DnsApp(lambda known, filled: asyncio.create_task(broken()), Zone())(
            None, [(None, each) for each in sockets], print
        )
    for each in sockets:
        each.close()
    os.close(netns)


def test_the_manifests_select_their_pods():
    service, deployment = system_manifests()
    assert text_at(service, "spec", "clusterIP") == "10.96.0.10"
    labels = mapping_at(deployment, "spec", "template", "metadata", "labels")
    assert mapping_at(service, "spec", "selector") == labels == {"k8s-app": "kube-dns"}
    assert [(text_at(port, "name"), text_at(port, "protocol")) for port in items_at(service, "spec", "ports")] == [
        ("dns", "UDP"),
        ("dns-tcp", "TCP"),
    ]
