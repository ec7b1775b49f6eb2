"""Installs the ingress controller when the first Ingress for it appears: objects come in, applied manifests go out.

What somebody installed already is left alone, and so is a cluster whose Ingresses name classes of other controllers.
Removed again by deleting its namespace: an Ingress that comes later brings it back.
"""

from fairlead.cluster.addons.ingress import NAMESPACE, ingress_manifests, wants_ours
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.world import World
from fairlead.cluster.manifests import Manifest, apply_manifests
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.networking import Ingress

_WHAT = "ingress"


class AddonLoop:
    """Installs what is needed, once it is."""

    def __init__(self, world: World, client: KubeClient) -> None:
        self._world = world
        self._client = client
        self.loop = Loop("addons", WorkQueue[str](), self.reconcile)
        world.ingresses.listen(self._on_ingress)

    def _on_ingress(self, old: Ingress | None, new: Ingress | None) -> None:
        if old is None and new is not None and wants_ours(new):
            self.loop.queue.add(_WHAT)

    async def reconcile(self, what: str) -> float | None:
        """Apply the manifests, unless the namespace is there already."""
        del what
        if self._world.namespaces.get("", NAMESPACE) is not None:
            return None
        manifests = [Manifest("built in", each) for each in ingress_manifests()]
        outcomes = await apply_manifests(self._client, manifests, lambda _: None)
        refused = next((outcome for outcome in outcomes if outcome.refusal), None)
        if refused is not None:
            raise ApiError(0, "", f"{refused.manifest}: {refused.refusal}")
        return None
