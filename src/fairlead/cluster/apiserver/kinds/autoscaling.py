"""The rows of the table of kinds for HorizontalPodAutoscalers: autoscaling/v2, which is stored, and v1."""

from msgspec.structs import replace

from fairlead.cluster.apiserver.kinds import prepare
from fairlead.cluster.apiserver.kinds.autoscaling_v1 import to_v1, to_v2
from fairlead.cluster.apiserver.kinds.columns import autoscaling as columns
from fairlead.cluster.apiserver.kinds.defaults import autoscaling as defaults
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Conversion, KindSpec, Subresource
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

AUTOSCALER_V1 = replace(
    AUTOSCALER,
    resource=replace(AUTOSCALER.resource, version="v1"),
    schema="io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    stored_version=AUTOSCALER.resource.api_version,
    conversion=Conversion(stored=AUTOSCALER, shown=to_v1, received=to_v2),
)
"""The older version of the same objects."""
