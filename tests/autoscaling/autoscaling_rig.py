"""An API server in this process with one Deployment and its pods, whose metrics the test writes itself."""

from typing import Any

import msgspec

from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.paths import Target
from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.cluster.controllers.actions import Tell
from fairlead.cluster.controllers.autoscaling_pace import History
from fairlead.cluster.controllers.autoscaling_round import Outcome, Round
from fairlead.cluster.controllers.autoscaling_rules import Settings
from fairlead.cluster.controllers.autoscaling_scales import Scales
from fairlead.cluster.controllers.timestamps import format_time
from fairlead.cluster.metrics.custom import Described, metric_values
from fairlead.cluster.metrics.served import SERVED
from fairlead.drivers.kubeapi import KubeClient
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.autoscaling import HorizontalPodAutoscaler
from fairlead.kube.documents import Document, Json
from fairlead.kube.resources import resource_of
from fairlead.net import parse_prefix

NOW = 1_800_000_000.0
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


class Rig:
    """Deployment `web` in namespace `shop`, and rounds over an autoscaler of it."""

    def __init__(self) -> None:
        self.server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
        self.server.measure(SERVED, self.answer)
        self.client = KubeClient(InProcessTransport(self.server))
        self.scales = Scales(self.client)
        self.told: list[Tell] = []
        self.usage: dict[str, dict[str, str]] = {}
        """CPU of each container of each pod."""
        self.values: dict[str, float] = {}
        """Custom metrics by `plural/name/metric`."""
        self.history = History()

    async def answer(self, request: ApiRequest, target: Target) -> ApiResponse:
        if target.group == "metrics.k8s.io":
            items = [
                {
                    "metadata": {"name": name},
                    "timestamp": format_time(NOW - 2),
                    "window": "15s",
                    "containers": [{"name": each, "usage": {"cpu": cpu}} for each, cpu in used.items()],
                }
                for name, used in self.usage.items()
            ]
            return ApiResponse(200, {}, msgspec.json.encode({"items": items}))
        found = [
            Described(kind="Pod", api_version="v1", namespace="shop", name=key.split("/")[1], value=value)
            for key, value in self.values.items()
            if target.name in ("*", key.split("/")[1])
            and key.startswith(f"{target.plural}/")
            and key.endswith(f"/{target.subresource}")
        ]
        if not found and target.name != "*":
            raise StatusError(404, "NotFound", "the server could not find the metric", {})
        listed = metric_values("v1beta2", target.subresource, found, at=NOW, window=15.0, selector=None)
        return ApiResponse(200, {}, msgspec.json.encode(listed))

    async def begin(self, replicas: int, *, request: str = "200m", unready: int = 0) -> None:
        """Make the Deployment and its pods, the last `unready` of them not ready."""
        await self._create("Namespace", {"metadata": {"name": "shop"}})
        resources: Document = {"requests": {"cpu": request}} if request else {}
        containers: list[Json] = [{"name": "main", "image": "i", "resources": resources}]
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        await self._create("Deployment", {"metadata": {"name": "web"}, "spec": spec})
        await self.client.patch_document(
            resource_of(_kinds()["Deployment"]), "web", "shop", {"status": {"replicas": replicas}}, subresource="status"
        )
        for number in range(replicas):
            name = f"web-{number}"
            await self._create(
                "Pod", {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": containers}}
            )
            ready: Document = {
                "type": "Ready",
                "status": "False" if number >= replicas - unready else "True",
                "lastTransitionTime": format_time(NOW - 1000),
            }
            status: Document = {"phase": "Running", "startTime": format_time(NOW - 1000), "conditions": [ready]}
            await self.client.patch_document(
                resource_of(_kinds()["Pod"]), name, "shop", {"status": status}, subresource="status"
            )
            self.usage[name] = {"main": "100m"}

    async def use(self, cpu: str) -> None:
        """Have every pod use so much."""
        for used in self.usage.values():
            used["main"] = cpu

    async def autoscale(self, **spec: Any) -> None:
        """Make the autoscaler, from 1 to 8 on CPU unless told otherwise."""
        whole = {"scaleTargetRef": TARGET, "maxReplicas": 8, "metrics": [CPU], **spec}
        await self._create("HorizontalPodAutoscaler", {"metadata": {"name": "web"}, "spec": whole})

    async def round(self, after: float = 0.0, others: list[str] | None = None) -> tuple[Outcome, dict[str, Any]]:
        """One round, `after` seconds from the beginning; returns also its conditions by type as [status, reason]."""
        autoscaler = await self.client.get(HorizontalPodAutoscaler, "web", "shop")
        one = Round(
            self.client,
            self.scales,
            Settings(),
            self.told.append,
            lambda _: others or [],
            autoscaler,
            NOW + after,
        )
        outcome = await one.run(self.history)
        self.history = outcome.history
        status = one.status.document()
        await self.client.patch(HorizontalPodAutoscaler, "web", "shop", {"status": status}, subresource="status")
        return outcome, status

    async def replicas(self) -> int:
        document = await self.client.get_document(resource_of(_kinds()["Deployment"]), "web", "shop")
        return document["spec"]["replicas"]  # pyright: ignore

    async def create(self, path: str, document: Any) -> None:
        """Create what has no type here."""
        headers = {"Content-Type": "application/json"}
        await self.client.request(ApiRequest("POST", path, (), headers, msgspec.json.encode(document)))

    async def read(self, path: str) -> dict[str, Any]:
        """What the API has at a path."""
        return msgspec.json.decode((await self.client.request(ApiRequest("GET", path))).body)

    async def _create(self, kind: str, document: Any) -> None:
        resource = resource_of(_kinds()[kind])
        await self.client.create_document(resource, document, "shop" if resource.namespaced else "")


def _kinds() -> dict[str, Any]:
    from fairlead.kube.apps import Deployment
    from fairlead.kube.core import Namespace, Pod

    return {
        "Namespace": Namespace,
        "Deployment": Deployment,
        "Pod": Pod,
        "HorizontalPodAutoscaler": HorizontalPodAutoscaler,
    }
