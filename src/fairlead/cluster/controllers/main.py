"""All controllers in one program: a client and a clock come in, a cluster that keeps its promises goes out.

Talks to the API server through the client alone, whatever carries its requests.
"""

import asyncio
import time
from collections.abc import Callable

from fairlead.cluster.controllers.deployment_loop import DeploymentLoop
from fairlead.cluster.controllers.events import EventRecorder
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.replicaset_loop import ReplicaSetLoop
from fairlead.cluster.controllers.scheduler import Scheduler
from fairlead.cluster.controllers.slice_loop import SliceLoop
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.apps import Deployment, ReplicaSet
from fairlead.kube.core import Pod
from fairlead.kube.discovery import EndpointSlice


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
    specs = Specs(client)
    scheduler = Scheduler(world, performer, clock)
    loops = (
        SliceLoop(world, performer).loop,
        scheduler.loop,
        ReplicaSetLoop(world, performer, specs, clock).loop,
        DeploymentLoop(world, client, performer, specs, clock).loop,
    )
    reflectors = world.reflectors(client)
    try:
        await world.wait_until_synced()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run(), name="events")
            for loop in loops:
                tasks.create_task(loop.run(4), name=loop.name)
    finally:
        for each in reflectors:
            each.cancel()
        await asyncio.gather(*reflectors, return_exceptions=True)
