"""The stores all controllers share, with the indexes they look things up by, and the reflectors that fill them.

Comes in: a client. Goes out: caches that follow the API server. One store per kind, however many controllers read it.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from fairlead.cluster.controllers.informers import Key, Store, controller_uid
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.apps import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from fairlead.kube.batch import CronJob, Job
from fairlead.kube.coordination import Lease
from fairlead.kube.core import ConfigMap, Endpoints, Namespace, Node, Pod, Secret, Service, ServiceAccount
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.disruption import PodDisruptionBudget
from fairlead.kube.meta import KubeObject
from fairlead.kube.networking import Ingress, NetworkPolicy
from fairlead.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass

T = TypeVar("T", bound=KubeObject)

Pair = tuple[str, str, str]
"""Namespace, label key, label value."""

ROOT_CA = "kube-root-ca.crt"
NODE_LEASES = "kube-node-lease"


class World:
    """What is known of the cluster. Make it inside the event loop, register listeners, then `run`."""

    def __init__(self) -> None:
        self.namespaces = Store[Namespace]()
        self.nodes = Store[Node]()
        self.leases = Store[Lease]()
        self.pods = Store[Pod]()
        self.services = Store[Service]()
        self.slices = Store[EndpointSlice]()
        self.endpoints = Store[Endpoints]()
        self.deployments = Store[Deployment]()
        self.replica_sets = Store[ReplicaSet]()
        self.daemon_sets = Store[DaemonSet]()
        self.stateful_sets = Store[StatefulSet]()
        self.revisions = Store[ControllerRevision]()
        self.jobs = Store[Job]()
        self.cron_jobs = Store[CronJob]()
        self.budgets = Store[PodDisruptionBudget]()
        self.claims = Store[PersistentVolumeClaim]()
        self.volumes = Store[PersistentVolume]()
        self.storage_classes = Store[StorageClass]()
        self.service_accounts = Store[ServiceAccount]()
        self.config_maps = Store[ConfigMap]()
        self.secrets = Store[Secret]()
        self.ingresses = Store[Ingress]()
        self.policies = Store[NetworkPolicy]()
        self.pods_by_controller = self.pods.index(_controller)
        self.pods_uncontrolled = self.pods.index(_uncontrolled)
        self.pods_by_node = self.pods.index(lambda pod: (pod.spec.node_name,))
        self.pods_by_label = self.pods.index(_label_pairs)
        self.sets_by_controller = self.replica_sets.index(_controller)
        self.sets_uncontrolled = self.replica_sets.index(_uncontrolled)
        self.sets_by_namespace = self.replica_sets.index(_namespace)
        self.deployments_by_namespace = self.deployments.index(_namespace)
        self.daemon_sets_by_namespace = self.daemon_sets.index(_namespace)
        self.revisions_by_controller = self.revisions.index(_controller)
        self.jobs_by_controller = self.jobs.index(_controller)
        self.services_by_pair = self.services.index(_selector_pair)
        self.slices_by_service = self.slices.index(_service_of_slice)

    def reflectors(self, client: KubeClient) -> tuple[Coroutine[None, None, None], ...]:
        """What follows every kind, for ever, once it is awaited."""
        return (
            _follow(client, Namespace, self.namespaces),
            _follow(client, Node, self.nodes),
            _follow(client, Lease, self.leases),
            _follow(client, Pod, self.pods),
            _follow(client, Service, self.services),
            _follow(client, EndpointSlice, self.slices),
            _follow(client, Endpoints, self.endpoints),
            _follow(client, Deployment, self.deployments),
            _follow(client, ReplicaSet, self.replica_sets),
            _follow(client, DaemonSet, self.daemon_sets),
            _follow(client, StatefulSet, self.stateful_sets),
            _follow(client, ControllerRevision, self.revisions),
            _follow(client, Job, self.jobs),
            _follow(client, CronJob, self.cron_jobs),
            _follow(client, PodDisruptionBudget, self.budgets),
            _follow(client, PersistentVolumeClaim, self.claims),
            _follow(client, PersistentVolume, self.volumes),
            _follow(client, StorageClass, self.storage_classes),
            _follow(client, ServiceAccount, self.service_accounts),
            _follow(client, ConfigMap, self.config_maps),
            _follow(client, Secret, self.secrets),
            _follow(client, Ingress, self.ingresses),
            _follow(client, NetworkPolicy, self.policies),
        )

    async def wait_until_synced(self) -> None:
        """Wait until every store has its first list."""
        stores = (
            *(self.namespaces, self.nodes, self.leases, self.pods, self.services, self.slices, self.endpoints),
            *(self.deployments, self.replica_sets, self.daemon_sets, self.service_accounts, self.config_maps),
            *(self.secrets, self.ingresses, self.policies, self.stateful_sets, self.revisions, self.jobs),
            *(self.cron_jobs, self.budgets, self.claims, self.volumes, self.storage_classes),
        )
        await asyncio.gather(*(store.synced.wait() for store in stores))

    def pods_matching(self, namespace: str, selector: dict[str, str]) -> list[Pod]:
        """The pods of a namespace with all these labels; an empty selector selects none, as for Services."""
        pairs = [(namespace, key, value) for key, value in selector.items()]
        if not pairs:
            return []
        rarest = min(pairs, key=self.pods_by_label.count)
        wanted = selector.items()
        return [pod for pod in self.pods_by_label.find(rarest) if wanted <= pod.metadata.labels.items()]

    def services_selecting(self, pod: Pod) -> list[Service]:
        """The Services whose selector matches a pod."""
        labels = pod.metadata.labels
        found = (
            service
            for key, value in labels.items()
            for service in self.services_by_pair.find((pod.metadata.namespace, key, value))
        )
        return [service for service in found if service.spec.selector.items() <= labels.items()]


async def _follow(client: KubeClient, kind: type[T], store: Store[T]) -> None:
    async for change in client.reflect(kind):
        store.take(change)


def _controller(item: KubeObject) -> Iterable[str]:
    uid = controller_uid(item)
    return (uid,) if uid else ()


def _uncontrolled(item: KubeObject) -> Iterable[str]:
    return () if controller_uid(item) else (item.metadata.namespace,)


def _namespace(item: KubeObject) -> Iterable[str]:
    return (item.metadata.namespace,)


def _label_pairs(pod: Pod) -> list[Pair]:
    namespace = pod.metadata.namespace
    return [(namespace, key, value) for key, value in pod.metadata.labels.items()]


def _selector_pair(service: Service) -> Iterable[Pair]:
    """One pair of the selector finds the Service: a pod it selects has them all."""
    if not service.spec.selector:
        return ()
    return ((service.metadata.namespace, *min(service.spec.selector.items())),)


def _service_of_slice(slice_: EndpointSlice) -> Iterable[Key]:
    name = slice_.metadata.labels.get("kubernetes.io/service-name")
    return ((slice_.metadata.namespace, name),) if name else ()
