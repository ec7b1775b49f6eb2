"""What the agent knows of the world: Services, the endpoints of their slices, and its own Node.

Comes in: changes. Goes out: objects by key, and to every listener the keys that changed. One store serves the machines
of both address families. Refuses to know what any of it means.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol, TypeAlias, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from fairlead.compile.endpoints import SliceEndpoints, compile_slice
from fairlead.compile.hostports import has_host_ports
from fairlead.compile.services import PROXY_NAME_LABEL, ZONE_LABEL, NodeFacts
from fairlead.drivers.kubeapi import Applied, Change, Deleted, Replaced
from fairlead.kube.core import Node, Service
from fairlead.kube.discovery import EndpointSlice, EndpointSliceOutline
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.outlines import PodOutline
from fairlead.model import Origin
from fairlead.net import Address, Family, Prefix, parse_address, parse_prefix

Key: TypeAlias = tuple[str, str]
"""Namespace and name; where services and pods are together, a pod's name begins with `POD`."""

POD = "pod/"
T = TypeVar("T")

HAPPENED_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
_NONE: dict[str, str] = {}


class KeptSlice(Struct, frozen=True):
    """What is kept of a slice: its namespace and name, endpoints, version, and when what it tells of happened."""

    key: Key
    endpoints: SliceEndpoints
    version: int = 0
    happened: str = ""


class KeptPod(Struct, frozen=True):
    """What is kept of a pod: nothing but its name where it has no host ports."""

    key: Key
    pod: PodOutline | None


class Heard(Struct):
    """How many changes were heard of, ever and since everything was programmed last; lists do not count."""

    services: int = 0
    slices: int = 0
    services_pending: int = 0
    slices_pending: int = 0
    happened: list[tuple[Family | None, str]] = field(default_factory=list[tuple[Family | None, str]])
    """When the changes of slices happened, as their annotations say, since everything was programmed last."""

    def settle(self) -> None:
        """Note that everything is programmed."""
        self.services_pending = self.slices_pending = 0
        self.happened.clear()


class Listener(Protocol):
    """Who wants to know which services must be looked at again."""

    def touch(self, key: Key, family: Family | None) -> None:
        """Service `key` or a slice of it changed, the slice being of `family`; None is for both."""
        ...

    def touch_node(self) -> None:
        """What is known of the own Node changed."""
        ...


class ServiceObjects:
    """The Services, slices and own Node as last heard of."""

    def __init__(self, node: str, opens_on: Callable[[Node], tuple[Address, ...]] | None = None) -> None:
        """`opens_on` says on which addresses node ports open; by default on the Node's first of each family."""
        self._opens_on = opens_on or primary_addresses
        self.facts = NodeFacts(node, ())
        self.pod_prefixes: tuple[Prefix, ...] = ()
        """Where the addresses of the node's pods come from, as the Node object says; empty until it does."""
        self.node: Node | None = None
        self.node_deleted = False
        """Whether the Node object was there once and is not any more."""
        self.services: dict[Key, Service] = {}
        self.pods: dict[Key, PodOutline] = {}
        """The own node's pods that have host ports."""
        self.heard = Heard()
        self._slices: dict[Key, SliceEndpoints] = {}
        self._versions: dict[Key, int] = {}
        self._slices_of: dict[Key, dict[str, SliceEndpoints]] = {}
        self._listeners: list[Listener] = []
        self._unsynced = {"Service", "EndpointSlice", "Node", "Pod"}

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return not self._unsynced

    @property
    def families(self) -> frozenset[Family]:
        """The families of the Node's addresses and pods; empty while nothing is known."""
        found = {address.family for address in self.facts.addresses} | {each.family for each in self.pod_prefixes}
        return frozenset(found)

    def uid_of(self, origin: Origin) -> str:
        """The uid of a service or a pod with host ports, empty for what is not known here."""
        key = key_of(origin)
        known = self.services.get(key) or self.pods.get(key)
        return known.metadata.uid if known else ""

    def created(self, key: Key) -> str:
        """When a service or pod that is there was created."""
        known = self.pods[key] if key[1].startswith(POD) else self.services[key]
        return known.metadata.creation_timestamp or ""

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of every change from now on."""
        self._listeners.append(listener)

    def slices_of(self, key: Key) -> tuple[SliceEndpoints, ...]:
        """The slices of a service."""
        return tuple(self._slices_of.get(key, {}).values())

    def local_ready(self, key: Key) -> frozenset[Address]:
        """The addresses of a service's ready endpoints on this node, of both families."""
        pieces = self._slices_of.get(key, {}).values()
        return frozenset(each.address for piece in pieces for each in piece.endpoints if each.local and each.ready)

    def without_local(self, family: Family) -> dict[str, int]:
        """How many services want local endpoints for a kind of traffic, have endpoints, and none of them here."""
        found = {"internal": 0, "external": 0}
        for key, service in self.services.items():
            spec = service.spec
            internal = spec.internal_traffic_policy == "Local"
            external = spec.external_traffic_policy == "Local"
            if not internal and not external:
                continue
            endpoints = [each for piece in self.slices_of(key) if piece.family is family for each in piece.endpoints]
            if endpoints and not any(each.local for each in endpoints):
                found["internal"] += internal
                found["external"] += external
        return found

    def take_services(self, change: Change[Service]) -> None:
        """Note a change of Services."""
        match change:
            case Replaced(items):
                self._unsynced.discard("Service")
                before = self.services
                self.services = {(item.metadata.namespace, item.metadata.name): item for item in items}
                for key, item in self.services.items():
                    if before.pop(key, None) != item:
                        self._touch(key)
                for key in before:
                    self._touch(key)
            case Applied(item):
                self._hear_service()
                key = item.metadata.namespace, item.metadata.name
                known = self.services.get(key)
                if known is None or known.metadata.uid != item.metadata.uid or not _is_older(item, known):
                    self.services[key] = item
                    self._touch(key)
            case Deleted(item):
                self._hear_service()
                key = item.metadata.namespace, item.metadata.name
                if self.services.pop(key, None) is not None:
                    self._touch(key)

    def keep_slice(self, piece: EndpointSlice | EndpointSliceOutline) -> KeptSlice:
        """What is kept of a slice."""
        key = piece.metadata.namespace, piece.metadata.name
        happened = piece.metadata.annotations.get(HAPPENED_ANNOTATION, "")
        return KeptSlice(key, compile_slice(piece, self.facts.name), _version(piece.metadata), happened)

    def take_slices(self, change: Change[KeptSlice]) -> None:
        """Note a change of EndpointSlices."""
        match change:
            case Replaced(items):
                self._unsynced.discard("EndpointSlice")
                for key in self._slices.keys() - {item.key for item in items}:
                    self._drop_slice(key)
                self._versions = {item.key: item.version for item in items}
                for item in items:
                    self._put_slice(item)
            case Applied(item):
                self._hear_slice(item)
                if item.version >= self._versions.get(item.key, 0):
                    self._versions[item.key] = item.version
                    self._put_slice(item)
            case Deleted(item):
                self._hear_slice(item)
                self._drop_slice(item.key)

    def keep_pod(self, pod: PodOutline) -> KeptPod:
        """What is kept of a pod."""
        key = pod.metadata.namespace, POD + pod.metadata.name
        mine = pod.spec.node_name == self.facts.name and has_host_ports(pod)
        return KeptPod(key, _keep_host_ports(pod) if mine else None)

    def take_pods(self, change: Change[KeptPod]) -> None:
        """Note a change of the own node's pods."""
        match change:
            case Replaced(items):
                self._unsynced.discard("Pod")
                for key in self.pods.keys() - {item.key for item in items}:
                    self._put_pod(KeptPod(key, None))
                for item in items:
                    self._put_pod(item)
            case Applied(item):
                self._put_pod(item)
            case Deleted(item):
                self._put_pod(KeptPod(item.key, None))

    def do_without_pods(self) -> None:
        """Note that pods are not ours to see: there are no host ports then, and services need not wait for them."""
        self._unsynced.discard("Pod")

    def take_nodes(self, change: Change[Node]) -> None:
        """Note a change of the own Node. One that is deleted leaves behind what it said: the traffic goes on."""
        match change:
            case Replaced(items):
                self._unsynced.discard("Node")
                node = next((item for item in items if item.metadata.name == self.facts.name), None)
            case Applied(item):
                node = item if item.metadata.name == self.facts.name else self.node
            case Deleted(item):
                node = None if item.metadata.name == self.facts.name else self.node
        self.node_deleted = node is None and (self.node is not None or self.node_deleted)
        self.node = node
        if node is None:
            return
        self.pod_prefixes = _parsed(parse_prefix, node.spec.pod_cidrs) or self.pod_prefixes
        zone = node.metadata.labels.get(ZONE_LABEL, "")
        facts = NodeFacts(self.facts.name, self._opens_on(node), zone)
        if facts != self.facts:
            if zone != self.facts.zone:
                for key in self.services:
                    self._touch(key)
            self.facts = facts
            for listener in self._listeners:
                listener.touch_node()

    def _touch(self, key: Key, family: Family | None = None) -> None:
        for listener in self._listeners:
            listener.touch(key, family)

    def _hear_service(self) -> None:
        self.heard.services += 1
        self.heard.services_pending += 1

    def _hear_slice(self, item: KeptSlice) -> None:
        self.heard.slices += 1
        self.heard.slices_pending += 1
        if item.happened:
            self.heard.happened.append((item.endpoints.family, item.happened))

    def _put_pod(self, kept: KeptPod) -> None:
        if self.pods.get(kept.key) == kept.pod:
            return
        if kept.pod is None:
            self.pods.pop(kept.key, None)
        else:
            self.pods[kept.key] = kept.pod
        self._touch(kept.key)

    def _put_slice(self, kept: KeptSlice) -> None:
        key, compiled = kept.key, kept.endpoints
        old = self._slices.get(key)
        if old == compiled:
            return
        if old is not None and (old.service != compiled.service or old.family is not compiled.family):
            self._drop_slice(key)
        self._slices[key] = compiled
        service = key[0], compiled.service
        self._slices_of.setdefault(service, {})[key[1]] = compiled
        self._touch(service, compiled.family)

    def _drop_slice(self, key: Key) -> None:
        self._versions.pop(key, None)
        old = self._slices.pop(key, None)
        if old is None:
            return
        service = key[0], old.service
        pieces = self._slices_of[service]
        del pieces[key[1]]
        if not pieces:
            del self._slices_of[service]
        self._touch(service, old.family)


def key_of(origin: Origin) -> Key:
    """The key of a service or pod."""
    return origin.namespace, POD + origin.name if origin.kind == "Pod" else origin.name


def origin_of(key: Key) -> Origin:
    """The service or pod of a key."""
    if key[1].startswith(POD):
        return Origin("Pod", key[0], key[1].removeprefix(POD))
    return Origin("Service", *key)


def primary_addresses(node: Node) -> tuple[Address, ...]:
    """The first internal address of each family, as a Node says."""
    primary: dict[Family, Address] = {}
    for address in _parsed(
        parse_address, (each.address for each in node.status.addresses if each.type == "InternalIP")
    ):
        primary.setdefault(address.family, address)
    return tuple(primary.values())


def _parsed(parse: Callable[[str], T], texts: Iterable[str]) -> tuple[T, ...]:
    """Those of `texts` that can be read: what a Node says wrong must not stop the agent."""
    found: list[T] = []
    for text in texts:
        with suppress(ValueError):
            found.append(parse(text))
    return tuple(found)


def keep_service(service: Service) -> Service:
    """A service without what its proxy does not need: ten thousand must fit."""
    meta = service.metadata
    kept = ObjectMeta(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        resource_version=meta.resource_version,
        creation_timestamp=meta.creation_timestamp,
        labels={PROXY_NAME_LABEL: ""} if PROXY_NAME_LABEL in meta.labels else _NONE,
        annotations=_NONE,
    )
    return replace(service, metadata=kept, spec=replace(service.spec, selector=_NONE))


def _keep_host_ports(pod: PodOutline) -> PodOutline:
    """A pod without what changes all the time and does not matter to its host ports."""
    meta = ObjectMeta(
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        uid=pod.metadata.uid,
        creation_timestamp=pod.metadata.creation_timestamp,
    )
    ended = pod.status.phase if pod.status.phase in ("Succeeded", "Failed") else ""
    return replace(pod, metadata=meta, status=replace(pod.status, phase=ended))


def _version(meta: ObjectMeta) -> int:
    """The resourceVersion as a number, by which two states of one object can be told apart (KEP-5504); 0 for others."""
    return int(meta.resource_version) if meta.resource_version.isdecimal() else 0


def _is_older(item: Service, known: Service) -> bool:
    return _version(item.metadata) < _version(known.metadata)


def keep_node(node: Node) -> Node:
    """The whole node: there is one."""
    return node
