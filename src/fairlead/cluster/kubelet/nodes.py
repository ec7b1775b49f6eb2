"""The Node objects of a cluster: registered, kept Ready, and their leases renewed, for all nodes from one process.

Source: pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus, component-helpers' lease controller (10 s, for
40 s).
"""

import asyncio
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime

from fairlead.cluster.topology import NodeNetwork
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.coordination import Lease
from fairlead.kube.core import Node
from fairlead.kube.documents import Document, Json
from fairlead.kube.meta import Condition
from fairlead.kube.resources import resource_of

_LEASES = "kube-node-lease"
_EVERY, _FOR = 10.0, 40
_STATUS_EVERY = 30  # leases between two reports of the whole status: five minutes
_VERSION = "v1.33.0"
_MAX_PODS = 1000
_REPORTED = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def node_document(node: NodeNetwork, architecture: str) -> Document:
    """The Node to register."""
    return {
        "metadata": {
            "name": node.name,
            "labels": {
                "kubernetes.io/hostname": node.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": architecture,
                "beta.kubernetes.io/os": "linux",
                "beta.kubernetes.io/arch": architecture,
            },
        },
        "spec": {"podCIDR": str(node.pod_prefix), "podCIDRs": [str(prefix) for prefix in node.pod_prefixes]},
    }


def node_status(
    node: NodeNetwork, *, cpus: int, memory_kib: int, architecture: str, now: str, since: dict[str, str]
) -> Document:
    """What a node says of itself; `since` keeps when each condition became so."""
    resources: Document = {
        "cpu": str(cpus),
        "memory": f"{memory_kib}Ki",
        "ephemeral-storage": "100Gi",
        "pods": str(_MAX_PODS),
    }
    addresses: list[Json] = [{"type": "InternalIP", "address": str(address)} for address in node.addresses]
    release = platform.release()
    return {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [*addresses, {"type": "Hostname", "address": node.name}],
        "conditions": [
            _condition(kind, status, reason, message, now, since)
            for kind, status, reason, message in (
                ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            )
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": node.name,
            "systemUUID": node.name,
            "bootID": node.name,
            "kernelVersion": release,
            "osImage": "fairlead",
            "containerRuntimeVersion": "fairlead://0.1.0",
            "kubeletVersion": _VERSION,
            "kubeProxyVersion": _VERSION,
            "operatingSystem": "linux",
            "architecture": architecture,
        },
    }


def _condition(kind: str, status: str, reason: str, message: str, now: str, since: dict[str, str]) -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": since.setdefault(kind, now),
    }


def _as_reported(condition: Condition) -> bool:
    return condition.type not in _REPORTED or condition.status == _REPORTED[condition.type]


class NodeReporter:
    """Keeps one node's Node and Lease."""

    def __init__(self, client: KubeClient, node: NodeNetwork, told: Callable[[str], None]) -> None:
        self._client = client
        self._node = node
        self._told = told
        self._since: dict[str, str] = {}
        machine = platform.machine()
        self._architecture = _ARCHITECTURES.get(machine, machine)

    async def run(self) -> None:
        """Register, then report for ever; a refusal is told and tried again."""
        beat = 0
        while True:
            try:
                if beat % _STATUS_EVERY == 0 or await self._doubted():
                    await self._report()
                await self._renew()
                beat += 1
                await asyncio.sleep(_EVERY)
            except ApiError as error:
                self._told(f"node={self._node.name} report=refused reason={error}")
                beat = 0
                await asyncio.sleep(0.1 if error.status == 0 else 1.0)

    async def _doubted(self) -> bool:
        """Whether the API says otherwise than this node, as it does after a suspended machine renewed no leases."""
        found = await self._client.get_or_none(Node, self._node.name)
        return found is not None and any(not _as_reported(each) for each in found.status.conditions)

    async def _report(self) -> None:
        document = node_document(self._node, self._architecture)
        found = await self._client.get_or_none(Node, self._node.name)
        if found is None:
            await self._client.create_document(resource_of(Node), document)
        else:
            for condition in found.status.conditions:
                if _as_reported(condition):
                    self._since.setdefault(condition.type, condition.last_transition_time or "")
                else:
                    self._since.pop(condition.type, None)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
        status = node_status(
            self._node,
            cpus=os.cpu_count() or 1,
            memory_kib=memory,
            architecture=self._architecture,
            now=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            since=self._since,
        )
        await self._client.patch(Node, self._node.name, "", {"status": status}, subresource="status")

    async def _renew(self) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Document = {"holderIdentity": self._node.name, "leaseDurationSeconds": _FOR, "renewTime": moment}
        try:
            await self._client.patch(Lease, self._node.name, _LEASES, {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            lease: Document = {"metadata": {"name": self._node.name, "namespace": _LEASES}, "spec": spec}
            await self._client.create_document(resource_of(Lease), lease, _LEASES)
