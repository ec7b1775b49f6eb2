"""Ingress of `extensions/v1beta1` and `networking.k8s.io/v1beta1` as `networking.k8s.io/v1`, and back.

Comes in: a document of any kind. Goes out: the document as today's API spells it, and a warning when it was converted;
or an Ingress of today as the old API spelt it. Source: pkg/apis/networking/v1beta1/conversion.go.
"""

from fairlead.kube.documents import Document, Json, items_at, mapping_at, text_at

LEGACY_INGRESS = {
    "extensions/v1beta1": "extensions/v1beta1 Ingress is deprecated in v1.14+, unavailable in v1.22+; "
    "use networking.k8s.io/v1 Ingress",
    "networking.k8s.io/v1beta1": "networking.k8s.io/v1beta1 Ingress is deprecated in v1.19+, unavailable in v1.22+; "
    "use networking.k8s.io/v1 Ingress",
}


def convert_legacy(document: Document) -> tuple[Document, str]:
    """The document in a group version that is served today, and the warning to show; empty when nothing was done."""
    warning = LEGACY_INGRESS.get(text_at(document, "apiVersion"), "")
    if not warning or text_at(document, "kind") != "Ingress":
        return document, ""
    return {**ingress_of_today(document), "apiVersion": "networking.k8s.io/v1"}, warning


def ingress_of_today(document: Document) -> Document:
    """The fields of an old Ingress, or of a patch of one, as today's API spells them."""
    if not isinstance(document.get("spec"), dict):
        return document
    spec: Document = dict(mapping_at(document, "spec"))
    if "backend" in spec:
        given = spec.pop("backend")
        spec["defaultBackend"] = None if given is None else _backend(mapping_at(given))
    if "rules" in spec:
        spec["rules"] = [_rule(mapping_at(rule)) for rule in items_at(spec, "rules")]
    return {**document, "spec": spec}


def ingress_patch_of_today(patch: Document) -> Document:
    """The same for a patch that is merged: a default backend whose port is given by number loses its name, and the
    other way round.
    """
    converted, given = ingress_of_today(patch), mapping_at(patch, "spec").get("backend")
    if not isinstance(given, dict):
        return converted
    backend: Document = {key: value for key, value in given.items() if key not in ("serviceName", "servicePort")}
    service: Document = {}
    if "serviceName" in given:
        service["name"] = given["serviceName"]
    if "servicePort" in given:
        port = given["servicePort"]
        service["port"] = {"name": port, "number": None} if isinstance(port, str) else {"name": None, "number": port}
    if service:
        backend["service"] = service
    return {**converted, "spec": {**mapping_at(converted, "spec"), "defaultBackend": backend}}


def ingress_of_old(document: Document) -> Document:
    """The fields of an Ingress of today as the old API spelt them."""
    if not isinstance(document.get("spec"), dict):
        return document
    spec: Document = dict(mapping_at(document, "spec"))
    if "defaultBackend" in spec:
        spec["backend"] = _old_backend(mapping_at(spec.pop("defaultBackend")))
    if "rules" in spec:
        spec["rules"] = [_old_rule(mapping_at(rule)) for rule in items_at(spec, "rules")]
    return {**document, "spec": spec}


def _old_rule(rule: Document) -> Document:
    if not isinstance(rule.get("http"), dict):
        return rule
    paths: list[Json] = [
        {**mapping_at(path), "backend": _old_backend(mapping_at(path, "backend"))}
        for path in items_at(rule, "http", "paths")
    ]
    return {**rule, "http": {**mapping_at(rule, "http"), "paths": paths}}


def _old_backend(backend: Document) -> Document:
    if not isinstance(backend.get("service"), dict):
        return backend
    service, port = mapping_at(backend, "service"), mapping_at(backend, "service", "port")
    others: Document = {key: value for key, value in backend.items() if key != "service"}
    return {**others, "serviceName": service.get("name"), "servicePort": port.get("number") or port.get("name") or 0}


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
