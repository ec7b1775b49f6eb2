"""What the Ingresses' status says: the addresses at which they are served.

Comes in: the Service in front, or addresses by flag; the accepted Ingresses. Goes out: patches of
`status.loadBalancer`, by the one replica that leads. Source: reference, ingress-nginx 1.4 rule 14.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from fairlead.agents.leases import Leadership
from fairlead.agents.lines import log
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.core import LoadBalancerIngress, LoadBalancerStatus, Service
from fairlead.kube.documents import Document
from fairlead.kube.networking import Ingress

Key = tuple[str, str]


def published_by(service: Service | None) -> tuple[LoadBalancerIngress, ...]:
    """The addresses at which a Service is reached, sorted."""
    if service is None:
        return ()
    external = [LoadBalancerIngress(ip=address) for address in service.spec.external_ips]
    match service.spec.type:
        case "LoadBalancer":
            given = [
                LoadBalancerIngress(ip=each.ip, hostname=each.hostname) for each in service.status.load_balancer.ingress
            ]
            found = given + external
        case "NodePort":
            found = external or [LoadBalancerIngress(ip=service.spec.cluster_ip)]
        case "ExternalName":
            found = [LoadBalancerIngress(hostname=service.spec.external_name)]
        case _:
            found = external + [LoadBalancerIngress(ip=address) for address in service.spec.cluster_ips[:1]]
    return tuple(sorted({(each.ip, each.hostname): each for each in found}.values(), key=_place))


def addresses(texts: tuple[str, ...]) -> tuple[LoadBalancerIngress, ...]:
    """Addresses and host names given by flag, sorted."""
    found = [
        LoadBalancerIngress(ip=text) if text.replace(".", "").isdigit() or ":" in text
        else LoadBalancerIngress(hostname=text) for text in texts
    ]  # fmt: skip
    return tuple(sorted(found, key=_place))


class StatusWriter:
    """Keeps the status of all accepted Ingresses at the wanted addresses."""

    def __init__(self, client: KubeClient, leadership: Leadership, ingresses: Mapping[Key, Ingress]) -> None:
        self._client = client
        self._leadership = leadership
        self._ingresses = ingresses
        self._wanted: tuple[LoadBalancerIngress, ...] = ()
        self._accepted: frozenset[Key] = frozenset()
        self._some = asyncio.Event()

    def want(self, accepted: frozenset[Key], places: tuple[LoadBalancerIngress, ...]) -> None:
        """Set what is served and where; cheap to say again."""
        self._accepted, self._wanted = accepted, places
        self._some.set()

    async def run(self) -> None:
        """Write for ever, while we lead."""
        while True:
            await self._leadership.gained.wait()
            await self._some.wait()
            self._some.clear()
            for key in sorted(self._accepted):
                await self._write(key, self._wanted)

    async def clear(self) -> None:
        """Take the addresses out: nobody serves the Ingresses any more."""
        for key in sorted(self._accepted):
            await self._write(key, ())

    async def _write(self, key: Key, places: tuple[LoadBalancerIngress, ...]) -> None:
        ingress = self._ingresses.get(key)
        if ingress is None or not self._leadership.leads or _same(ingress.status.load_balancer, places):
            return
        namespace, name = key
        listed = [{k: v for k, v in (("ip", each.ip), ("hostname", each.hostname)) if v} for each in places]
        patch: Document = {"status": {"loadBalancer": {"ingress": msgspec.to_builtins(listed)}}}
        try:
            await self._client.patch(Ingress, name, namespace, patch, subresource="status")
        except ApiError as error:
            if error.status != 404:
                log(event="status-refused", ingress=f"{namespace}/{name}", error=str(error))


def _same(status: LoadBalancerStatus, places: tuple[LoadBalancerIngress, ...]) -> bool:
    return sorted(map(_place, status.ingress)) == sorted(map(_place, places))


def _place(place: LoadBalancerIngress) -> tuple[str, str]:
    return place.ip, place.hostname
