"""All controllers in one program: a client and a clock come in, a cluster that keeps its promises goes out.

Talks to the API server through the client alone, whatever carries its requests.
"""

import asyncio
import time
from collections.abc import Callable

from fairlead.cluster.controllers.addons import AddonLoop
from fairlead.cluster.controllers.budget_loop import BudgetLoop
from fairlead.cluster.controllers.claim_loop import ClaimLoop
from fairlead.cluster.controllers.cronjob_loop import CronJobLoop
from fairlead.cluster.controllers.daemonset_loop import DaemonSetLoop
from fairlead.cluster.controllers.deployment_loop import DeploymentLoop
from fairlead.cluster.controllers.endpoints import EndpointsLoop
from fairlead.cluster.controllers.events import EventRecorder
from fairlead.cluster.controllers.garbage import GarbageCollector
from fairlead.cluster.controllers.job_loop import JobLoop
from fairlead.cluster.controllers.mirror_loop import MirrorLoop
from fairlead.cluster.controllers.namespaces import NamespaceLoop
from fairlead.cluster.controllers.node_loop import NodeLoop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.provisions import ProvisionLoop
from fairlead.cluster.controllers.replicaset_loop import ReplicaSetLoop
from fairlead.cluster.controllers.scheduler import Scheduler
from fairlead.cluster.controllers.slice_loop import SliceLoop
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.statefulset_loop import StatefulSetLoop
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.apps import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from fairlead.kube.batch import CronJob, Job
from fairlead.kube.coordination import Lease
from fairlead.kube.core import ConfigMap, Endpoints, Node, Pod, Secret, Service, ServiceAccount
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.disruption import PodDisruptionBudget
from fairlead.kube.networking import Ingress, NetworkPolicy
from fairlead.kube.storage import PersistentVolume, PersistentVolumeClaim

WORKERS = 4
"""Keys of one controller worked on side by side."""


async def main(client: KubeClient, clock: Callable[[], float] = time.time, *, root_ca: str = "") -> None:
    """Run every controller and the scheduler until cancelled.

    `clock` gives seconds since the epoch; `root_ca` is the PEM text that pods are to trust the API server by.
    """
    world = World()
    recorder = EventRecorder(client, clock)
    performer = Performer(client, clock, recorder.tell)
    performer.show(Pod, world.pods)
    performer.show(ReplicaSet, world.replica_sets)
    performer.show(Deployment, world.deployments)
    performer.show(EndpointSlice, world.slices)
    performer.show(Endpoints, world.endpoints)
    performer.show(DaemonSet, world.daemon_sets)
    performer.show(Node, world.nodes)
    performer.show(StatefulSet, world.stateful_sets)
    performer.show(ControllerRevision, world.revisions)
    performer.show(Job, world.jobs)
    performer.show(CronJob, world.cron_jobs)
    performer.show(PodDisruptionBudget, world.budgets)
    performer.show(PersistentVolumeClaim, world.claims)
    performer.show(PersistentVolume, world.volumes)
    specs = Specs(client)
    loops = (
        SliceLoop(world, performer).loop,
        Scheduler(world, performer, clock).loop,
        ReplicaSetLoop(world, performer, specs, clock).loop,
        DeploymentLoop(world, client, performer, specs, clock).loop,
        DaemonSetLoop(world, performer, specs, clock).loop,
        StatefulSetLoop(world, performer, specs, clock).loop,
        JobLoop(world, performer, specs, clock).loop,
        CronJobLoop(world, performer, specs, clock).loop,
        BudgetLoop(world, performer, clock).loop,
        ClaimLoop(world, performer).loop,
        NodeLoop(world, performer, clock).loop,
        EndpointsLoop(world, performer).loop,
        MirrorLoop(world, performer).loop,
        ProvisionLoop(world, performer, root_ca).loop,
        NamespaceLoop(world, client).loop,
        AddonLoop(world, client).loop,
        _garbage(world, client, performer).loop,
    )
    # A bug in a listener or a loop ends the group, and with it this program: half a set of controllers helps nobody.
    async with asyncio.TaskGroup() as tasks:
        for reflector in world.reflectors(client):
            tasks.create_task(reflector)
        await world.wait_until_synced()
        tasks.create_task(recorder.run(), name="events")
        for loop in loops:
            tasks.create_task(loop.run(WORKERS), name=loop.name)


def _garbage(world: World, client: KubeClient, performer: Performer) -> GarbageCollector:
    """The garbage collector over every kind that may own or be owned."""
    collector = GarbageCollector(client, performer)
    collector.watch(Pod, world.pods)
    collector.watch(Service, world.services)
    collector.watch(EndpointSlice, world.slices)
    collector.watch(Endpoints, world.endpoints)
    collector.watch(Deployment, world.deployments)
    collector.watch(ReplicaSet, world.replica_sets)
    collector.watch(DaemonSet, world.daemon_sets)
    collector.watch(StatefulSet, world.stateful_sets)
    collector.watch(ControllerRevision, world.revisions)
    collector.watch(Job, world.jobs)
    collector.watch(CronJob, world.cron_jobs)
    collector.watch(PodDisruptionBudget, world.budgets)
    collector.watch(PersistentVolumeClaim, world.claims)
    collector.watch(Node, world.nodes)
    collector.watch(Lease, world.leases)
    collector.watch(ConfigMap, world.config_maps)
    collector.watch(Secret, world.secrets)
    collector.watch(ServiceAccount, world.service_accounts)
    collector.watch(Ingress, world.ingresses)
    collector.watch(NetworkPolicy, world.policies)
    return collector
