"""Routes from manifests or listed objects: what an ingress controller would make of them, with nobody to ask.

Comes in: objects. Goes out: routes, ready to be built. Classes that no manifest has are taken for ours.
"""

import base64
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from fairlead.compile.route_options import COMMUNITY_CONTROLLER, IngressOptions, Key
from fairlead.compile.routes import Routes
from fairlead.kube.core import ConfigMap, Secret, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.networking import Ingress, IngressClass, IngressClassSpec
from fairlead.model import Origin
from fairlead.sim.manifests import derive_world

SETTINGS_NAMES = ("nginx-ingress", "ingress-nginx-controller", "nginx-config", "nginx-configuration")
"""What the controller's ConfigMap is called in the installations people come from."""


class IngressObjects(Struct, frozen=True, kw_only=True):
    """Everything that decides about ingress."""

    ingresses: tuple[Ingress, ...] = ()
    classes: tuple[IngressClass, ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    secrets: tuple[Secret, ...] = ()
    config_maps: tuple[ConfigMap, ...] = ()


def read_ingress_objects(documents: Sequence[Document]) -> IngressObjects:
    """The objects of manifests, with the endpoints that a cluster would give them. Raises ValueError."""
    world = derive_world(documents)

    def of(kind: str) -> list[Document]:
        return [_placed(each) for each in documents if text_at(each, "kind") == kind]

    try:
        return IngressObjects(
            ingresses=tuple(msgspec.convert(each, Ingress) for each in of("Ingress")),
            classes=tuple(msgspec.convert(each, IngressClass) for each in of("IngressClass")),
            services=tuple(world.services.values()),
            slices=tuple(piece for every in world.slices.values() for piece in every),
            secrets=tuple(msgspec.convert(_encoded(each), Secret) for each in of("Secret")),
            config_maps=tuple(msgspec.convert(each, ConfigMap) for each in of("ConfigMap")),
        )
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def routes_of(objects: IngressObjects, options: IngressOptions | None = None) -> Routes:
    """Routes that know all of it."""
    routes = Routes(options or IngressOptions(without_class=True))
    known = {each.metadata.name for each in objects.classes}
    for each in objects.classes:
        routes.set_class(each)
    for name in _named_classes(objects.ingresses) - known:
        spec = IngressClassSpec(controller=COMMUNITY_CONTROLLER)
        routes.set_class(IngressClass(metadata=ObjectMeta(name=name), spec=spec))
    for service in objects.services:
        routes.set_service(service)
    for piece in objects.slices:
        routes.set_slice(piece)
    for secret in objects.secrets:
        routes.set_secret(secret)
    for found in objects.config_maps:
        routes.set_config_map(found)
        if found.metadata.name in SETTINGS_NAMES:
            routes.set_settings(found.data, Origin("ConfigMap", found.metadata.namespace, found.metadata.name))
    for ingress in objects.ingresses:
        routes.set_ingress(ingress)
    return routes


def key_of(ingress: Ingress) -> Key:
    """Namespace and name."""
    return ingress.metadata.namespace, ingress.metadata.name


def _named_classes(ingresses: Iterable[Ingress]) -> set[str]:
    return {each.spec.ingress_class_name for each in ingresses if each.spec.ingress_class_name}


def _placed(document: Document) -> Document:
    metadata: Document = {**mapping_at(document, "metadata")}
    metadata.setdefault("namespace", "default")
    return {**document, "metadata": metadata}


def _encoded(document: Document) -> Document:
    """A Secret with `stringData` as the API server would keep it."""
    texts = mapping_at(document, "stringData")
    data: Document = {**mapping_at(document, "data")}
    for name, text in texts.items():
        data[name] = base64.b64encode(str(text).encode()).decode()
    return {**document, "data": data}
