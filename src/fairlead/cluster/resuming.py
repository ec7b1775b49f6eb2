"""What a cluster that was away says of its pods: none is ready until its kubelet, which starts too, says so again.

Comes in: a client of an API server that nobody else talks to yet. Goes out: pods whose Ready condition is False. On
a machine of its own each node's lifecycle controller would say so (MarkPodsNotReady of
pkg/controller/util/node), once the node had been silent for long enough.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from fairlead.cluster.controllers.pods import is_ready
from fairlead.cluster.controllers.timestamps import format_time
from fairlead.drivers.kubeapi import KubeClient, PatchType
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document

_AT_ONCE = 200


def begins(marker: Path) -> bool:
    """Whether the API server starts for the first time since its cluster did; makes `marker`, which tells."""
    if marker.exists():
        return False
    marker.touch()
    return True


async def doubt_pods(client: KubeClient, now: float) -> int:
    """Make every pod that is told to be ready unready; returns how many were. `now`: seconds since the epoch."""
    ready = [pod for pod in (await client.list(Pod)).items if is_ready(pod)]
    for first in range(0, len(ready), _AT_ONCE):
        await asyncio.gather(*(_doubt(client, pod, now) for pod in ready[first : first + _AT_ONCE]))
    return len(ready)


async def _doubt(client: KubeClient, pod: Pod, now: float) -> None:
    time = format_time(now)
    conditions: Sequence[Document] = [
        {"type": kind, "status": "False", "reason": "NodeStarting", "lastTransitionTime": time}
        for kind in ("Ready", "ContainersReady")
    ]
    meta = pod.metadata
    patch: Document = {"status": {"conditions": list(conditions)}}
    await client.patch(Pod, meta.name, meta.namespace, patch, subresource="status", patch_type=PatchType.STRATEGIC)
