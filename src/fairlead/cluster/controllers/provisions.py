"""What every namespace gets: the ServiceAccount `default` and the ConfigMap with the certificate to trust the API
server by.

Upstream: the serviceaccount and root-ca-cert-publisher controllers. Pods of a namespace wait for both.
"""

from fairlead.cluster.controllers.actions import Action, Create, Patch
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.world import ROOT_CA, World
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.core import ConfigMap, Namespace, ServiceAccount
from fairlead.kube.documents import Document
from fairlead.kube.meta import KubeObject

_WHY = {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver"}


def provide(
    namespace: Namespace, account: ServiceAccount | None, root_ca: ConfigMap | None, certificate: str
) -> tuple[Action, ...]:
    """What a namespace still lacks; nothing once it is being deleted."""
    name = namespace.metadata.name
    if namespace.metadata.deletion_timestamp is not None or namespace.status.phase == "Terminating":
        return ()
    actions: list[Action] = []
    if account is None:
        document: Document = {"metadata": {"name": "default", "namespace": name}}
        actions.append(Create(kind=ServiceAccount, document=document))
    if certificate and root_ca is None:
        metadata: Document = {"name": ROOT_CA, "namespace": name, "annotations": {**_WHY}}
        actions.append(Create(kind=ConfigMap, document={"metadata": metadata, "data": {"ca.crt": certificate}}))
    elif certificate and root_ca is not None and root_ca.data != {"ca.crt": certificate}:
        data = {**dict.fromkeys(root_ca.data), "ca.crt": certificate}
        actions.append(Patch(kind=ConfigMap, namespace=name, name=ROOT_CA, patch={"data": {**data}}))
    return tuple(actions)


class ProvisionLoop:
    """Gives every namespace its provisions, again when somebody takes them away."""

    def __init__(self, world: World, performer: Performer, certificate: str) -> None:
        self._world = world
        self._performer = performer
        self._certificate = certificate
        self.loop = Loop("provisions", WorkQueue[str](), self.reconcile)
        world.namespaces.listen(self._on_namespace)
        world.service_accounts.listen(self._on_content)
        world.config_maps.listen(self._on_content)

    def _on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None:
            self.loop.queue.add(new.metadata.name)

    def _on_content(self, old: KubeObject | None, new: KubeObject | None) -> None:
        item = old if new is None else new
        if item is not None and item.metadata.name in ("default", ROOT_CA):
            self.loop.queue.add(item.metadata.namespace)

    async def reconcile(self, name: str) -> float | None:
        """Look at one namespace."""
        namespace = self._world.namespaces.get("", name)
        if namespace is None:
            return None
        account = self._world.service_accounts.get(name, "default")
        root_ca = self._world.config_maps.get(name, ROOT_CA)
        for action in provide(namespace, account, root_ca, self._certificate):
            try:
                await self._performer.perform((action,))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        return None
