"""A node with the agent's own service part at work on the kernel: objects in, rows in the kernel, packets through.

Comes in: documents as an API server would send them. Goes out: what packets come to. There is no API server and no
loop: every change is one round of the agent's tables (`fairlead.agents.node.tables`), sent before it returns.
"""

import json
import socket
import struct
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from rule_hosts import DEADLINE, HOSTS, NODE, SECONDARY, Answer, Conversation, Hosts, wait_until

from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.services import Answerers, ServicePart, ServiceSettings
from fairlead.agents.node.staleness import stale_flows
from fairlead.agents.node.tables import Feed, Outcome, Table
from fairlead.drivers.graceperiods import wait_for_grace_period
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.drivers.netlink.conntrack import ConntrackSocket
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered
from fairlead.kube.core import Node
from fairlead.net import Address, Family, parse_prefix
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import Transaction

Document = dict[str, Any]
_MOMENT = 0.05
"""How long nobody may answer after somebody else already was, for it to count as silence."""


class Rig:
    """One node and its neighbours. `begin` starts a test with a world of its own."""

    def __init__(self) -> None:
        self.hosts = Hosts()
        with entered(self.hosts.node):
            self.nft = NftSocket()
            self._conntrack = ConntrackSocket()
        self._conversations: list[Conversation] = []
        self._masquerade_all = False
        self._opens_on: Callable[[Node], tuple[Address, ...]] | None = None
        self._start()

    def close(self) -> None:
        """Let go of everything."""
        self.end_conversations()
        self.nft.close()
        self._conntrack.close()
        self.hosts.close()

    def _start(self) -> None:
        prefixes = tuple(map(parse_prefix, ("10.96.0.0/16", "fd00:96::/112")))
        self.objects = ServiceObjects("node-1", self._opens_on)
        settings = ServiceSettings(service_prefixes=prefixes, masquerade_all=self._masquerade_all)
        part = ServicePart(self.objects, settings, self._forget)
        self._feeds: dict[str, Feed[Any, Any]] = {}
        for feed in part.feeds():
            self._feeds[feed.cls.__name__.removesuffix("Outline")] = feed
        self._tables: tuple[Table, ...] = tuple(part.tables())
        self._begun: set[str] = set()

    def start_over(self) -> None:
        """Forget everything, as an agent does that is started anew; the rows stay."""
        self._start()

    def begin(
        self,
        *documents: Document,
        node: Mapping[str, Any] | None = None,
        masquerade_all: bool = False,
        opens_on: Sequence[Address] = (),
    ) -> None:
        """Start from nothing, as an agent does on a new node, with these objects and no others.

        `node` are labels of the own node; node ports open on its primary addresses or on those of `opens_on`.
        """
        self.run("nft", "flush ruleset")
        self._masquerade_all = masquerade_all
        self._opens_on = (lambda _: tuple(opens_on)) if opens_on else None
        self.restart(*documents, node=node)

    def restart(self, *documents: Document, node: Mapping[str, Any] | None = None) -> None:
        """Start over beside the rows of the life before, as an agent does that is started anew."""
        self.end_conversations()
        self._start()
        here = a_node(**(node or {}))
        for kind in self._feeds:
            of_kind = [each for each in (here, *documents) if each["kind"] == kind]
            self.list_kind(kind, *of_kind)

    def list_kind(self, kind: str, *documents: Document) -> None:
        """Hear of all objects of a kind at once."""
        feed = self._feeds[kind]
        feed.take(Replaced(tuple(feed.keep(msgspec.convert(each, feed.cls)) for each in documents)))
        self._attend()

    def apply(self, *documents: Document) -> None:
        """Hear of objects that are new or changed, all in one round."""
        for each in documents:
            feed = self._feeds[each["kind"]]
            feed.take(Applied(feed.keep(msgspec.convert(each, feed.cls))))
        self._attend()

    def delete(self, *documents: Document) -> None:
        """Hear of objects that are gone."""
        for each in documents:
            feed = self._feeds[each["kind"]]
            feed.take(Deleted(feed.keep(msgspec.convert(each, feed.cls))))
        self._attend()

    def _attend(self) -> None:
        """One round of all tables, the stages of all beside each other."""
        courses: list[tuple[Table, Outcome, deque[Transaction]]] = []
        for table in self._tables:
            if not table.synced:
                continue
            if table.label not in self._begun or table.outdated:
                self._begun.add(table.label)
                outcome = table.begin(self.nft.list_table(table.family, table.name))
            elif table.pending:
                outcome = table.round()
            else:
                continue
            courses.append((table, outcome, deque(outcome.transactions())))
        while courses:
            for table, outcome, stages in courses:
                stage = stages.popleft()
                self.nft.apply(stage)
                if stage is outcome.transaction:
                    table.programmed()
            courses = [each for each in courses if each[2]]
            if courses:
                wait_for_grace_period()

    def _forget(self, family: Family, answerers: Answerers) -> None:
        stale = stale_flows(answerers, self._conntrack.udp_flows(family))
        self._conntrack.forget(stale, family)

    def table(self, family: Family = Family.IPV4) -> TableContents:
        """The family's table as the kernel has it."""
        wanted = next(each for each in self._tables if each.ip_family is family)
        listed = self.nft.list_table(wanted.family, wanted.name)
        assert listed is not None
        return listed

    def run(self, *words: str, place: str = "node") -> str:
        """Run a program at a place, and return what it prints."""
        with entered(self.hosts[place]):
            return subprocess.run(words, check=True, text=True, capture_output=True).stdout

    def open(self, place: str, address: str, port: int, protocol: str = "TCP", source: str = "") -> Conversation:
        """Begin a conversation that lasts until the test ends."""
        conversation = self.hosts.dial(place, address, port, protocol, source)
        self._conversations.append(conversation)
        return conversation

    def ask(self, place: str, address: str, port: int, protocol: str = "TCP") -> Answer:
        """Send a first packet, and return what comes of it; as long as it takes."""
        conversation = self.hosts.dial(place, address, port, protocol)
        try:
            return conversation.hear()
        finally:
            conversation.close()

    def ask_many(self, place: str, address: str, port: int, protocol: str = "TCP", times: int = 24) -> set[str]:
        """Send many first packets at once, and return who answered; what nobody answered under its outcome."""
        conversations = [self.hosts.dial(place, address, port, protocol) for _ in range(times)]
        answers = [each.hear() for each in conversations]
        for each in conversations:
            each.close()
        return {answer.by or answer.outcome for answer in answers}

    def is_silent(self, place: str, address: str, port: int, protocol: str = "TCP") -> bool:
        """Whether a first packet is dropped: another one, sent later the same way to a pod, is answered before it."""
        conversation = self.hosts.dial(place, address, port, protocol)
        try:
            target = next(name for name in ("web-1", "web-2") if name != place)
            family = int(":" in address)
            for _ in range(2):
                other = self.ask(place, HOSTS[target][family], 8080, protocol)
                assert other.by == target, f"the way to {target} is shut: {other}"
            return conversation.hear(_MOMENT) == Answer("silence")
        finally:
            conversation.close()

    def ping(self, place: str, address: str) -> bool:
        """Whether an ICMP echo request is answered, at the latest when a later one to another pod is."""
        with entered(self.hosts[place]):
            sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with sender:
            sender.settimeout(DEADLINE)
            for number, target in enumerate((address, HOSTS["far-1"][0])):
                sender.sendto(_echo_request(number), (target, 0))
            heard: set[int] = set()
            while 1 not in heard:
                packet = sender.recv(1000)[20:]
                if packet[0] == 0:
                    heard.add(int.from_bytes(packet[6:8], "big"))
            return 0 in heard

    def remembered(self) -> list[int]:
        """The seconds that each row a rule has added still has to live."""
        listing = json.loads(self.run("nft", "-j", "list", "table", "ip", "fairlead"))
        held = [each.get("map", each.get("set", {})) for each in listing["nftables"]]
        rows = [row[0] if isinstance(row, list) else row for each in held for row in each.get("elem", ())]
        states = [row["elem"] for row in rows if isinstance(row, dict) and "elem" in row]
        return [each["expires"] for each in states if "expires" in each]

    def flows(self, address: str) -> str:
        """What connection tracking knows of packets to an address, without counts and times."""
        words = self.run("conntrack", "-L", "--orig-dst", address).split()
        return " ".join(word for word in words if "=" in word and not word.startswith("use="))

    def wait_for_flow(self, address: str) -> None:
        """Wait until connection tracking knows of a packet to an address."""
        wait_until(lambda: bool(self.flows(address)), f"no packet to {address} came by")

    def end_conversations(self) -> None:
        """Close what is open, and forget every flow."""
        for each in self._conversations:
            each.close()
        self._conversations.clear()
        self.run("conntrack", "-F")


def _echo_request(number: int) -> bytes:
    words = (0x0800, 0, 0x4641, number)
    total = sum(words)
    checksum = 0xFFFF ^ ((total & 0xFFFF) + (total >> 16))
    return struct.pack(">HHHH", words[0], checksum, *words[2:])


def a_node(**labels: Any) -> Document:
    """The node whose agent is at work; labels by keyword, dots and slashes in a mapping given by `**`."""
    addresses = [{"type": "InternalIP", "address": each} for pair in (NODE, SECONDARY) for each in pair]
    return {
        "kind": "Node",
        "metadata": {"name": "node-1", "labels": labels},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]},
        "status": {"addresses": addresses},
    }


def a_service(
    name: str = "web",
    ports: list[Document] | None = None,
    labels: Mapping[str, str] | None = None,
    ingress: list[Document] | None = None,
    **spec: Any,
) -> Document:
    """A Service of shop with one TCP port 80, a dual-stack cluster address, and the fields of `spec` as given."""
    addresses = ["10.96.0.10", "fd00:96::10"]
    own: Document = {
        "type": "ClusterIP",
        "clusterIP": addresses[0],
        "clusterIPs": addresses,
        "ports": ports or [a_port()],
        **spec,
    }
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": dict(labels or {})},
        "spec": own,
        "status": {"loadBalancer": {"ingress": ingress or []}},
    }


def a_port(port: int = 80, name: str = "http", protocol: str = "TCP", node_port: int = 0) -> Document:
    """A port of a Service."""
    return {"name": name, "protocol": protocol, "port": port, "nodePort": node_port}


def an_endpoint(pod: str, family: int = 0, **fields: Any) -> Document:
    """A pod as an endpoint; its conditions and other fields by keyword."""
    conditions = {key: fields.pop(key) for key in ("ready", "serving", "terminating") if key in fields}
    node = "node-1" if pod.startswith("web") else "node-2"
    return {"addresses": [HOSTS[pod][family]], "nodeName": node, "conditions": conditions, **fields}


def a_slice(
    *endpoints: Document | str,
    service: str = "web",
    name: str = "",
    port: int | None = 8080,
    ports: list[Document] | None = None,
    protocol: str = "TCP",
) -> Document:
    """A slice of endpoints, or of pods by their names, IPv4 or IPv6 as the first of them is."""
    members = [an_endpoint(each) if isinstance(each, str) else each for each in endpoints]
    six = bool(members) and ":" in members[0]["addresses"][0]
    own = [{"name": "http", "protocol": protocol, "port": port}]
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or f"{service}-{'six' if six else 'four'}",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv6" if six else "IPv4",
        "endpoints": members,
        "ports": own if ports is None else ports,
    }
