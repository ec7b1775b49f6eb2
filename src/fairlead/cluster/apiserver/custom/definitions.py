"""What may stand in a CustomResourceDefinition.

In: the definition. Out: its defaults filled in, and FieldErrors in upstream's words
(k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation). Refused, since nothing here carries them out:
conversion webhooks and rules in CEL.
"""

from collections.abc import Iterator

from fairlead.cluster.apiserver.custom.jsonpaths import parse_path
from fairlead.cluster.apiserver.custom.structural import INT_OR_STRING, PRESERVE
from fairlead.cluster.apiserver.kinds.editing import child, children, fill
from fairlead.cluster.apiserver.kinds.errors import FieldError, forbidden, invalid, required, unsupported
from fairlead.cluster.apiserver.kinds.validation.fields import judged
from fairlead.cluster.apiserver.kinds.validation.texts import dns_1035_label, dns_label, dns_subdomain
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, text_at

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
RULES = "x-kubernetes-validations"

Found = Iterator[FieldError]


def default_definition(definition: Document) -> None:
    """Fill in the names that follow from others, and the conversion."""
    spec = child(definition, "spec")
    names = child(spec, "names")
    fill(names, "singular", text_at(names, "kind").lower())
    fill(names, "listKind", f"{text_at(names, 'kind')}List")
    fill(child(spec, "conversion"), "strategy", "None")


def prepare_definition(definition: Document) -> None:
    """Say that the names are taken and the kind is served, which it is from the next moment on."""
    metadata, spec = child(definition, "metadata"), child(definition, "spec")
    now = text_at(metadata, "creationTimestamp")
    told = (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    )
    conditions: list[Json] = [
        {"type": name, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
        for name, reason, message in told
    ]
    stored: list[Json] = [text_at(each, "name") for each in children(spec, "versions") if flag_at(each, "storage")]
    definition["status"] = {
        "conditions": conditions,
        "acceptedNames": dict(mapping_at(spec, "names")),
        "storedVersions": stored,
    }
    if FINALIZER not in items_at(metadata, "finalizers"):
        metadata["finalizers"] = [*items_at(metadata, "finalizers"), FINALIZER]


def definition_rules(definition: Document) -> Found:
    """Judge a definition."""
    spec = mapping_at(definition, "spec")
    group, names = text_at(spec, "group"), mapping_at(spec, "names")
    wanted = f"{text_at(names, 'plural')}.{group}"
    if text_at(definition, "metadata", "name") != wanted:
        yield invalid(
            "metadata.name", text_at(definition, "metadata", "name"), 'must be spec.names.plural+"."+spec.group'
        )
    if not group:
        yield required("spec.group")
    else:
        yield from judged("spec.group", group, dns_subdomain)
        if "." not in group:
            yield invalid("spec.group", group, "should be a domain with at least one dot")
    if text_at(spec, "scope") not in ("Cluster", "Namespaced"):
        yield unsupported("spec.scope", text_at(spec, "scope"), ("Cluster", "Namespaced"))
    for name in ("plural", "singular", "kind", "listKind"):
        if not text_at(names, name):
            yield required(f"spec.names.{name}")
        else:
            yield from judged(f"spec.names.{name}", text_at(names, name).lower(), dns_1035_label)
    strategy = text_at(spec, "conversion", "strategy")
    if strategy != "None":
        yield unsupported("spec.conversion.strategy", strategy, ("None",))
    if flag_at(spec, "preserveUnknownFields"):
        told = "must be false in order to use defaults in the schema"
        yield invalid("spec.preserveUnknownFields", True, told)
    yield from _versions(children(spec, "versions"))


def _versions(versions: list[Document]) -> Found:
    if sum(flag_at(each, "storage") for each in versions) != 1:
        shown: list[Json] = [text_at(each, "name") for each in versions]
        yield invalid("spec.versions", shown, "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        yield from judged(f"{path}.name", text_at(version, "name"), dns_label)
        schema = version.get("schema")
        root = mapping_at(schema, "openAPIV3Schema")
        if not root:
            yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        else:
            if text_at(root, "type") != "object":
                yield invalid(
                    f"{path}.schema.openAPIV3Schema.type", text_at(root, "type"), 'must be "object" at the root'
                )
            yield from _structural(root, f"{path}.schema.openAPIV3Schema")
        for number, column in enumerate(children(version, "additionalPrinterColumns")):
            text = text_at(column, "jsonPath")
            if not text or parse_path(text) is None:
                told = 'not among the JSON paths served here: names, indexes and [?(@.field=="text")]'
                yield invalid(f"{path}.additionalPrinterColumns[{number}].jsonPath", text, told)


def _structural(schema: Document, path: str) -> Found:
    """Judge whether a schema is structural, and names nothing that is not carried out here."""
    if schema.get(RULES):
        yield forbidden(f"{path}.{RULES}", "rules in CEL are not carried out by this server; take them out")
    untyped = not text_at(schema, "type") and not flag_at(schema, PRESERVE) and not flag_at(schema, INT_OR_STRING)
    if untyped:
        yield required(f"{path}.type", "must not be empty for specified object fields")
    if schema.get("$ref"):
        yield forbidden(f"{path}.$ref", "$ref is not supported")
    if schema.get("additionalProperties") and schema.get("properties"):
        yield forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if text_at(schema, "type") == "array" and not isinstance(schema.get("items"), dict):
        yield required(f"{path}.items", "must be specified")
    for name, inner in mapping_at(schema, "properties").items():
        if isinstance(inner, dict) and not (path.endswith("openAPIV3Schema") and name == "metadata"):
            yield from _structural(inner, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        inner = schema.get(name)
        if isinstance(inner, dict):
            yield from _structural(inner, f"{path}.{name}")


def definition_update_rules(new: Document, old: Document) -> Found:
    """Refuse another group, scope or kind for a definition whose kind is served."""
    for path in (("group",), ("scope",), ("names", "kind"), ("names", "plural")):
        if text_at(new, "spec", *path) != text_at(old, "spec", *path):
            yield invalid(".".join(("spec", *path)), text_at(new, "spec", *path), "field is immutable")
