"""The kinds that a CustomResourceDefinition makes, and the kind of definitions themselves.

In: a definition. Out: a `KindSpec` for each version it serves. Objects are stored in the definition's storage
version; between versions nothing is converted but the apiVersion.
"""

import json
from collections.abc import Iterator

from fairlead.cluster.apiserver.custom import definitions as rules
from fairlead.cluster.apiserver.custom.jsonpaths import find
from fairlead.cluster.apiserver.custom.structural import fill_defaults, judge
from fairlead.cluster.apiserver.kinds import prepare
from fairlead.cluster.apiserver.kinds.columns.ages import age_text
from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import FieldError
from fairlead.cluster.apiserver.kinds.spec import Column, KindSpec, ScalePaths, Subresource, keep
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import listed, listed_update, metadata_of
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, text_at
from fairlead.kube.resources import Resource

GROUP = "apiextensions.k8s.io"
_READ_WRITE = ("get", "patch", "update")


def _definition_row(definition: Document, now: float) -> list[Json]:
    return [name_of(definition), text_at(definition, "metadata", "creationTimestamp")]


DEFINITION = KindSpec(
    resource=Resource(GROUP, "v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    singular="customresourcedefinition",
    schema="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=(Subresource(name="status", kind="CustomResourceDefinition", verbs=_READ_WRITE),),
    has_generation=True,
    has_status=True,
    columns=(NAME, Column("Created At", "date", "", "When the object was created.")),
    row=_definition_row,
    default=rules.default_definition,
    prepare_create=rules.prepare_definition,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), rules.definition_rules),
    validate_update=listed_update(rules.definition_update_rules),
)


def kinds_of(definition: Document) -> Iterator[KindSpec]:
    """Yield the kinds a definition serves, one for each version."""
    spec = mapping_at(definition, "spec")
    versions = children(spec, "versions")
    stored = next((text_at(each, "name") for each in versions if flag_at(each, "storage")), "")
    group = text_at(spec, "group")
    for version in versions:
        if flag_at(version, "served"):
            yield _kind(spec, version, f"{group}/{stored}")


def _kind(spec: Document, version: Document, stored: str) -> KindSpec:
    group, name, names = text_at(spec, "group"), text_at(version, "name"), mapping_at(spec, "names")
    kind = text_at(names, "kind")
    schema = mapping_at(version, "schema", "openAPIV3Schema")
    status = isinstance(mapping_at(version, "subresources").get("status"), dict)
    scale = mapping_at(version, "subresources", "scale")
    subresources: list[Subresource] = []
    if status:
        subresources.append(Subresource(name="status", kind=kind, verbs=_READ_WRITE))
    if scale:
        subresources.append(
            Subresource(name="scale", kind="Scale", group="autoscaling", version="v1", verbs=_READ_WRITE)
        )
    columns = children(version, "additionalPrinterColumns")
    reverse = ".".join(reversed(group.split(".")))

    def default(document: Document) -> None:
        fill_defaults(schema, document)

    def validate(document: Document) -> list[FieldError]:
        return [*_metadata(document), *judge(schema, document)]

    def validate_update(new: Document, old: Document) -> list[FieldError]:
        return []

    def validate_status(new: Document, old: Document) -> list[FieldError]:
        return list(judge(schema, new))

    def row(document: Document, now: float) -> list[Json]:
        if not columns:
            return [name_of(document), age_of(document, now)]
        return [name_of(document), *(_cell(column, document, now) for column in columns)]

    return KindSpec(
        resource=Resource(group, name, kind, text_at(names, "plural"), text_at(spec, "scope") == "Namespaced"),
        singular=text_at(names, "singular"),
        schema=f"{reverse}.{name}.{kind}",
        structure=schema,
        stored_version=stored,
        short_names=tuple(str(each) for each in items_at(names, "shortNames")),
        categories=tuple(str(each) for each in items_at(names, "categories")),
        subresources=tuple(subresources),
        has_generation=True,
        has_status=status,
        allow_unconditional_update=False,
        columns=(NAME, *(_column(each) for each in columns)) if columns else (NAME, AGE),
        row=row,
        default=default,
        prepare_create=_drop_status if status else keep,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        scale_paths=ScalePaths(
            spec=text_at(scale, "specReplicasPath") or ".spec.replicas",
            status=text_at(scale, "statusReplicasPath") or ".status.replicas",
            selector=text_at(scale, "labelSelectorPath"),
        )
        if scale
        else None,
    )


def _drop_status(document: Document) -> None:
    document.pop("status", None)


_metadata = listed(metadata_of(texts.dns_subdomain))


def _column(column: Document) -> Column:
    return Column(
        text_at(column, "name"),
        text_at(column, "type"),
        text_at(column, "format"),
        text_at(column, "description"),
        number_at(column, "priority") or 0,
    )


def _cell(column: Document, document: Document, now: float) -> Json:
    value = find(text_at(column, "jsonPath"), document)
    if text_at(column, "type") == "date":
        return age_text(value, now) if isinstance(value, str) else None
    if text_at(column, "type") == "string" and value is not None and not isinstance(value, str):
        return json.dumps(value, separators=(",", ":"), sort_keys=True)  # as PrintResults of client-go's jsonpath
    return value
