"""Old manifests: Ingress of `extensions/v1beta1` and `networking.k8s.io/v1beta1` as `networking.k8s.io/v1`.

Comes in: a document of any kind. Goes out: the document as today's API spells it, and a warning when it was converted.
Source: pkg/apis/networking/v1beta1/conversion.go.
"""

from fairlead.kube.documents import Document, Json, items_at, mapping_at, text_at

_LEGACY_INGRESS = {
    "extensions/v1beta1": "extensions/v1beta1 Ingress is deprecated in v1.14+, unavailable in v1.22+; "
    "use networking.k8s.io/v1 Ingress",
    "networking.k8s.io/v1beta1": "networking.k8s.io/v1beta1 Ingress is deprecated in v1.19+, unavailable in v1.22+; "
    "use networking.k8s.io/v1 Ingress",
}


def convert_legacy(document: Document) -> tuple[Document, str]:
    """The document in a group version that is served today, and the warning to show; empty when nothing was done."""
    warning = _LEGACY_INGRESS.get(text_at(document, "apiVersion"), "")
    if not warning or text_at(document, "kind") != "Ingress":
        return document, ""
    spec: Document = dict(mapping_at(document, "spec"))
    if "backend" in spec:
        spec["defaultBackend"] = _backend(mapping_at(spec, "backend"))
        del spec["backend"]
    if "rules" in spec:
        spec["rules"] = [_rule(mapping_at(rule)) for rule in items_at(spec, "rules")]
    return {**document, "apiVersion": "networking.k8s.io/v1", "spec": spec}, warning


def _rule(rule: Document) -> Document:
    if "http" not in rule:
        return rule
    paths: list[Json] = []
    for item in items_at(rule, "http", "paths"):
        path: Document = {"pathType": "ImplementationSpecific", **mapping_at(item)}
        if path["pathType"] is None:
            path["pathType"] = "ImplementationSpecific"
        path["backend"] = _backend(mapping_at(path, "backend"))
        paths.append(path)
    return {**rule, "http": {**mapping_at(rule, "http"), "paths": paths}}


def _backend(backend: Document) -> Document:
    name, port = backend.get("serviceName"), backend.get("servicePort")
    others: Document = {key: value for key, value in backend.items() if key not in ("serviceName", "servicePort")}
    if not name and port is None:
        return others
    number = isinstance(port, int) and not isinstance(port, bool)
    return {**others, "service": {"name": name or "", "port": {"number": port} if number else {"name": port or ""}}}
