"""One round over one autoscaler: reads metrics, decides by the algorithm, scales, and says what it did.

The order of steps, the reasons and the words are those of reconcileAutoscaler in
k8s.io/kubernetes/pkg/controller/podautoscaler/horizontal.go.
"""

from collections.abc import Callable
from typing import assert_never

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Tell
from fairlead.cluster.controllers.autoscaling_counts import MetricError, highest_count
from fairlead.cluster.controllers.autoscaling_metrics import (
    REASONS,
    Proposal,
    Size,
    propose_by_object,
    propose_by_pods,
    propose_by_resource,
)
from fairlead.cluster.controllers.autoscaling_pace import History, Limit, Moment, Settled, note_scaling
from fairlead.cluster.controllers.autoscaling_readings import read_object, read_pods, read_resource
from fairlead.cluster.controllers.autoscaling_rules import LIMITS, Settings, bounds_of, settle_for, tolerance_of
from fairlead.cluster.controllers.autoscaling_scales import Scale, Scales
from fairlead.cluster.controllers.autoscaling_status import ABLE, ACTIVE, LIMITED, RoundStatus
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.autoscaling import HorizontalPodAutoscaler, MetricSpec
from fairlead.kube.documents import Document
from fairlead.kube.pods import Pod

COMPONENT = "horizontal-pod-autoscaler"
Others = Callable[[tuple[str, ...]], list[str]]
"""Names the other autoscalers that have scaled any of these pods."""


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a round came to; `recommended` is what the metrics asked for, None where the bounds alone decided."""

    at: float
    namespace: str
    name: str
    current: int
    desired: int
    recommended: int | None = None
    limit: str = ""
    reason: str = ""
    error: str = ""
    metrics: tuple[Document, ...] = ()


class Outcome(Struct, frozen=True):
    """What to remember of a round, and what to tell of it."""

    history: History
    decision: Decision


class Round:
    """One round; made anew for each."""

    def __init__(
        self,
        client: KubeClient,
        scales: Scales,
        settings: Settings,
        tell: Callable[[Tell], None],
        others: Others,
        autoscaler: HorizontalPodAutoscaler,
        now: float,
    ) -> None:
        self._client = client
        self._scales = scales
        self._settings = settings
        self._tell_people = tell
        self._others = others
        self._autoscaler = autoscaler
        self._namespace = autoscaler.metadata.namespace
        self._now = now
        self.status = RoundStatus(autoscaler, now)
        self.pods: tuple[str, ...] = ()
        """Names of the pods that were looked at."""

    async def run(self, history: History) -> Outcome:
        """Do it all but write the status, which is in `status` afterwards. Raises ApiError only when scaling fails."""
        spec = self._autoscaler.spec
        try:
            scale = await self._scales.get(self._namespace, spec.scale_target_ref)
        except ApiError as error:
            told = f"the HPA controller was unable to get the target's current scale: {error.message}"
            self._tell("FailedGetScale", error.message, warning=True)
            self.status.set(ABLE, False, "FailedGetScale", told)
            return Outcome(history, self._decision(self.status.current, self.status.desired, error=error.message))
        told = "the HPA controller was able to get the target's current scale"
        self.status.set(ABLE, True, "SucceededGetScale", told)
        self.status.current = scale.replicas
        if not history.recommended:
            history = History((Moment(self._now, scale.replicas),), history.up, history.down)
        bounds = bounds_of(self._autoscaler, self._settings)
        if scale.replicas == 0 and bounds.least != 0:
            told = "scaling is disabled since the replica count of the target is zero"
            self.status.set(ACTIVE, False, "ScalingDisabled", told)
            self.status.desired = 0
            return Outcome(history, self._decision(0, 0, reason=told))
        if scale.replicas > bounds.most:
            reason = "Current number of replicas above Spec.MaxReplicas"
            return await self._rescale(scale, history, bounds.most, reason, None, Limit.NONE)
        if scale.replicas < bounds.least:
            reason = "Current number of replicas below Spec.MinReplicas"
            return await self._rescale(scale, history, bounds.least, reason, None, Limit.NONE)
        return await self._by_metrics(scale, history)

    async def _by_metrics(self, scale: Scale, history: History) -> Outcome:
        try:
            proposals = await self._propose(scale)
            counts = [each if isinstance(each, MetricError) else each.replicas for each in proposals]
            recommended = highest_count(counts, scale.replicas)
        except MetricError as error:
            self._tell("FailedComputeMetricsReplicas", str(error), warning=True)
            return Outcome(history, self._decision(scale.replicas, self.status.desired, error=str(error)))
        called = next(each.called for each in proposals if isinstance(each, Proposal) and each.replicas == recommended)
        told = f"the HPA was able to successfully calculate a replica count from {called}"
        self.status.set(ACTIVE, True, "ValidMetricFound", told)
        above = f"{called} above target" if recommended > scale.replicas else ""
        reason = "All metrics below target" if recommended < scale.replicas else above
        settled = settle_for(self._autoscaler, self._settings, history, scale.replicas, recommended, self._now)
        self._tell_of_pace(recommended, settled)
        return await self._rescale(scale, settled.history, settled.replicas, reason, recommended, settled.limit)

    def _tell_of_pace(self, recommended: int, settled: Settled) -> None:
        if settled.stabilized > recommended:
            told = "recent recommendations were higher than current one, applying the highest recent recommendation"
            self.status.set(ABLE, True, "ScaleDownStabilized", told)
        elif settled.stabilized < recommended:
            told = "recent recommendations were lower than current one, applying the lowest recent recommendation"
            self.status.set(ABLE, True, "ScaleUpStabilized", told)
        else:
            self.status.set(ABLE, True, "ReadyForNewScale", "recommended size matches current size")
        self.status.set(LIMITED, settled.limit is not Limit.NONE, settled.limit.value, LIMITS[settled.limit])

    async def _rescale(
        self, scale: Scale, history: History, desired: int, reason: str, recommended: int | None, limit: Limit
    ) -> Outcome:
        self.status.desired = desired
        decision = self._decision(scale.replicas, desired, recommended=recommended, limit=limit.value, reason=reason)
        if desired == scale.replicas:
            return Outcome(history, decision)
        try:
            await self._scales.set(self._namespace, scale, desired)
        except ApiError as error:
            told = f"New size: {desired}; reason: {reason}; error: {error.message}"
            self._tell("FailedRescale", told, warning=True)
            told = f"the HPA controller was unable to update the target scale: {error.message}"
            self.status.set(ABLE, False, "FailedUpdateScale", told)
            self.status.desired = scale.replicas
            raise
        told = f"the HPA controller was able to update the target scale to {desired}"
        self.status.set(ABLE, True, "SucceededRescale", told)
        self._tell("SuccessfulRescale", f"New size: {desired}; reason: {reason}")
        self.status.scaled()
        bounds = bounds_of(self._autoscaler, self._settings)
        return Outcome(note_scaling(bounds, history, scale.replicas, desired, self._now), decision)

    # Metrics

    async def _propose(self, scale: Scale) -> list[Proposal | MetricError]:
        """Ask every metric. Raises MetricError where no pods can be told from others."""
        if not scale.selector:
            self._tell("SelectorRequired", "selector is required", warning=True)
            self.status.set(ACTIVE, False, "InvalidSelector", "the HPA target's scale is missing a selector")
            raise MetricError("selector is required")
        pods = (await self._client.list(Pod, self._namespace, labels=scale.selector)).items
        self.pods = tuple(pod.metadata.name for pod in pods)
        others = self._others(self.pods)
        if others:
            every = " ".join(sorted((f"{self._namespace}/{self._autoscaler.metadata.name}", *others)))
            told = f"pods by selector {scale.selector} are controlled by multiple HPAs: [{every}]"
            self._tell("AmbiguousSelector", told, warning=True)
            self.status.set(ACTIVE, False, "AmbiguousSelector", told)
            raise MetricError(told)
        size = Size(
            replicas=scale.replicas,
            present=scale.present,
            pods=pods,
            tolerance=tolerance_of(self._autoscaler, self._settings),
            start=self._settings.start,
            now=self._now,
        )
        proposals = [await self._ask(metric, scale, size) for metric in self._autoscaler.spec.metrics]
        nothing: Document = {"type": ""}
        self.status.metrics = [each.status if isinstance(each, Proposal) else nothing for each in proposals]
        self._tell_of_failures(proposals)
        return proposals

    async def _ask(self, metric: MetricSpec, scale: Scale, size: Size) -> Proposal | MetricError:
        try:
            return await self._proposal(metric, scale, size)
        except MetricError as error:
            return MetricError(_FAILURES[metric.type].format(name=_name_of(metric), error=error))

    async def _proposal(self, metric: MetricSpec, scale: Scale, size: Size) -> Proposal:
        namespace = self._namespace
        if metric.external is not None:
            raise MetricError("no external metrics API is served here")
        of_custom = metric.pods or metric.object
        if of_custom is not None and of_custom.metric.selector is not None:
            raise MetricError(f"the metric {of_custom.metric.name} has no labels here that a selector could choose by")
        if metric.pods is not None:
            readings = await read_pods(self._client, namespace, scale.selector, metric.pods.metric.name)
            return propose_by_pods(metric.pods, readings, size)
        if metric.object is not None:
            source = metric.object
            value = await read_object(self._client, namespace, source.described_object, source.metric.name)
            return propose_by_object(source, value, size)
        source = metric.container_resource or metric.resource
        assert source is not None, "validated"
        readings = await read_resource(self._client, namespace, scale.selector, source.name, source.container)
        return propose_by_resource(metric, readings, size)

    def _tell_of_failures(self, proposals: list[Proposal | MetricError]) -> None:
        """Say of the first metric that failed why scaling may not be active, and of each what failed."""
        told = False
        for metric, proposal in zip(self._autoscaler.spec.metrics, proposals, strict=True):
            match proposal:
                case Proposal():
                    continue
                case MetricError():
                    reason = REASONS[metric.type]
                    self._tell(reason, str(proposal), warning=True)
                    if not told:
                        told = True
                        why = f"the HPA was unable to compute the replica count: {proposal}"
                        self.status.set(ACTIVE, False, reason, why)
                case _:
                    assert_never(proposal)

    def _tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        meta = self._autoscaler.metadata
        about = About(
            api_version="autoscaling/v2",
            kind="HorizontalPodAutoscaler",
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            resource_version=meta.resource_version,
        )
        self._tell_people(Tell(about=about, reason=reason, message=message, warning=warning, component=COMPONENT))

    def _decision(
        self,
        current: int,
        desired: int,
        *,
        recommended: int | None = None,
        limit: str = "",
        reason: str = "",
        error: str = "",
    ) -> Decision:
        return Decision(
            at=self._now,
            namespace=self._namespace,
            name=self._autoscaler.metadata.name,
            current=current,
            desired=desired,
            recommended=recommended,
            limit=limit,
            reason=reason if desired != current else "",
            error=error,
            metrics=tuple(self.status.metrics),
        )


_FAILURES = {
    "Resource": "failed to get {name} utilization: {error}",
    "ContainerResource": "failed to get {name} utilization: {error}",
    "Pods": "failed to get pods metric value: {error}",
    "Object": "failed to get object metric value: {error}",
    "External": "failed to get external metric {name}: {error}",
}


def _name_of(metric: MetricSpec) -> str:
    source = metric.resource or metric.container_resource
    if source is not None:
        return source.name
    other = metric.external or metric.object or metric.pods
    return other.metric.name if other is not None else ""
