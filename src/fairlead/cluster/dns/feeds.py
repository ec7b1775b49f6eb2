"""Keeps the records up to date from the API server: comes in as changes of a watch, goes out into `Records`.

Refuses to know DNS.
"""

import asyncio

from fairlead.cluster.dns.records import Records
from fairlead.drivers.kubeapi.client import KubeClient
from fairlead.drivers.kubeapi.reflector import Applied, Deleted, Replaced
from fairlead.kube.core import Namespace, Service
from fairlead.kube.discovery import EndpointSlice


async def feed(client: KubeClient, records: Records, filled: asyncio.Event) -> None:
    """Follow Services, EndpointSlices and Namespaces until cancelled; `filled` is set once each was listed."""
    listed = [asyncio.Event() for _ in range(3)]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_services(client, records, listed[0]))
        tasks.create_task(_slices(client, records, listed[1]))
        tasks.create_task(_namespaces(client, records, listed[2]))
        for each in listed:
            await each.wait()
        filled.set()


async def _services(client: KubeClient, records: Records, listed: asyncio.Event) -> None:
    async for change in client.reflect(Service):
        match change:
            case Replaced(items):
                records.replace_services(items)
                listed.set()
            case Applied(service):
                records.apply_service(service)
            case Deleted(service):
                records.remove_service(service)


async def _slices(client: KubeClient, records: Records, listed: asyncio.Event) -> None:
    async for change in client.reflect(EndpointSlice):
        match change:
            case Replaced(items):
                records.replace_slices(items)
                listed.set()
            case Applied(part):
                records.apply_slice(part)
            case Deleted(part):
                records.remove_slice(part)


async def _namespaces(client: KubeClient, records: Records, listed: asyncio.Event) -> None:
    names: set[str] = set()
    async for change in client.reflect(Namespace):
        match change:
            case Replaced(items):
                names = {each.metadata.name for each in items}
                listed.set()
            case Applied(namespace):
                names.add(namespace.metadata.name)
            case Deleted(namespace):
                names.discard(namespace.metadata.name)
        records.replace_namespaces(names)
