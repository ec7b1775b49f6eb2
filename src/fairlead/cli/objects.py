"""Objects for the verbs that explain: read from manifests, or listed from a running cluster."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from fairlead.cli.homes import running_cluster
from fairlead.drivers.errors import FairleadError

if TYPE_CHECKING:
    from fairlead.drivers.kubeapi import KubeClient
    from fairlead.kube.documents import Document
    from fairlead.kube.meta import KubeObject
    from fairlead.sim.ingress_objects import IngressObjects
    from fairlead.sim.reach_objects import PolicyObjects

T = TypeVar("T", bound="KubeObject")


def read_manifests(files: Sequence[Path]) -> "list[Document]":
    """The documents of manifests; `-` is standard input. Raises FairleadError, naming file and line."""
    from fairlead.cluster.manifests import manifest_files
    from fairlead.kube.yamlcodec import parse_documents

    try:
        paths = manifest_files([each for each in files if str(each) != "-"])
        texts = [(str(path), path.read_text()) for path in paths]
        texts += [("standard input", sys.stdin.read()) for each in files if str(each) == "-"]
        return [document for where, text in texts for document in parse_documents(text, source=where)]
    except (OSError, ValueError) as error:
        raise FairleadError(f"cannot read the manifests: {error}") from error


def policy_objects(documents: "Sequence[Document]") -> "PolicyObjects":
    """What decides who may talk to whom, from manifests alone. Raises FairleadError."""
    from fairlead.sim.reach_manifests import objects_of

    try:
        return objects_of(documents)
    except ValueError as error:
        raise FairleadError(f"cannot read the manifests: {error}") from error


def live_objects(name: str) -> "PolicyObjects":
    """The same of a running cluster."""
    home, _ = running_cluster(name)
    return asyncio.run(_list(home.kubeconfig))


async def list_where_served(client: "KubeClient", kind: "type[T]") -> "tuple[T, ...]":
    """Every object of a kind; none where the API server does not know the kind. Raises ApiError."""
    from fairlead.drivers.kubeapi import ApiError

    try:
        return (await client.list(kind)).items
    except ApiError as error:
        if error.status == 404:
            return ()
        raise


async def list_ingress_objects(client: "KubeClient") -> "IngressObjects":
    """Everything that decides about ingress; Secrets are read only where something names them."""
    from fairlead.kube.core import ConfigMap, Secret, Service
    from fairlead.kube.discovery import EndpointSlice
    from fairlead.kube.networking import Ingress, IngressClass
    from fairlead.sim.ingress_objects import IngressObjects, routes_of

    ingresses, classes, services, slices, config_maps = await asyncio.gather(
        client.list(Ingress),
        client.list(IngressClass),
        client.list(Service),
        client.list(EndpointSlice),
        client.list(ConfigMap),
    )
    objects = IngressObjects(
        ingresses=ingresses.items,
        classes=classes.items,
        services=services.items,
        slices=slices.items,
        config_maps=config_maps.items,
    )
    wanted = sorted(routes_of(objects).build().wanted_secrets)
    secrets = [await client.get_or_none(Secret, secret, namespace) for namespace, secret in wanted]
    return replace(objects, secrets=tuple(each for each in secrets if each is not None))


async def _list(kubeconfig: Path) -> "PolicyObjects":
    from fairlead.drivers.kubeapi import HttpTransport, KubeClient
    from fairlead.kube.core import Namespace, Pod, Service
    from fairlead.kube.discovery import EndpointSlice
    from fairlead.kube.networking import Ingress, NetworkPolicy
    from fairlead.kube.policy import ClusterNetworkPolicy
    from fairlead.sim.reach_objects import PolicyObjects

    client = KubeClient(HttpTransport.from_kubeconfig(kubeconfig))
    try:
        namespaces, policies, tiered = await asyncio.gather(
            client.list(Namespace), client.list(NetworkPolicy), list_where_served(client, ClusterNetworkPolicy)
        )
        pods, services, slices, ingresses = await asyncio.gather(
            client.list(Pod), client.list(Service), client.list(EndpointSlice), client.list(Ingress)
        )
    finally:
        await client.close()
    return PolicyObjects(
        namespaces=namespaces.items,
        pods=pods.items,
        policies=(*policies.items, *tiered),
        services=services.items,
        slices=slices.items,
        ingresses=ingresses.items,
    )
