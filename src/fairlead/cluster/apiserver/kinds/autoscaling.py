"""The row of the table of kinds for HorizontalPodAutoscalers of autoscaling/v2."""

from fairlead.cluster.apiserver.kinds import prepare
from fairlead.cluster.apiserver.kinds.columns import autoscaling as columns
from fairlead.cluster.apiserver.kinds.defaults import autoscaling as defaults
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import KindSpec, Subresource
from fairlead.cluster.apiserver.kinds.validation import autoscaling as rules
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import listed, metadata_of
from fairlead.kube import autoscaling as types
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.resources import resource_of

NO_EXTERNAL = "this cluster serves no external metrics: nothing is scaled down while an autoscaler asks for one"


def _warnings(autoscaler: Document) -> list[str]:
    metrics = children(mapping_at(autoscaler, "spec"), "metrics")
    return [
        f"spec.metrics[{number}].external: {NO_EXTERNAL}"
        for number, metric in enumerate(metrics)
        if text_at(metric, "type") == "External"
    ]


AUTOSCALER = KindSpec(
    resource=resource_of(types.HorizontalPodAutoscaler),
    singular="horizontalpodautoscaler",
    schema="io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    short_names=("hpa",),
    categories=("all",),
    subresources=(Subresource(name="status", kind="HorizontalPodAutoscaler", verbs=("get", "patch", "update")),),
    has_status=True,
    columns=columns.AUTOSCALER,
    row=columns.autoscaler_row,
    default=defaults.default_autoscaler,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), rules.autoscaler_rules),
    warnings=_warnings,
)
