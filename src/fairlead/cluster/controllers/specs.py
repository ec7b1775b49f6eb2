"""The specs of workloads as their authors wrote them, unknown fields included: asked for by object, kept by
generation.

Comes in: a typed view. Goes out: the document of its spec, fetched once per generation, since only a new generation
has another.
"""

from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.documents import Document, mapping_at, number_at, text_at
from fairlead.kube.meta import KubeObject
from fairlead.kube.resources import resource_of

REMEMBERED = 4096


class Specs:
    """Specs by uid and generation."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._specs: dict[str, tuple[int, Document]] = {}

    async def of(self, item: KubeObject) -> Document:
        """The spec of `item`. Raises ApiError 409 when the server already has a newer one: look again then."""
        meta = item.metadata
        known = self._specs.get(meta.uid)
        if known is not None and known[0] == meta.generation:
            return known[1]
        document = await self._client.get_document(resource_of(type(item)), meta.name, meta.namespace)
        if text_at(document, "metadata", "uid") != meta.uid or number_at(document, "metadata", "generation") != (
            meta.generation
        ):
            raise ApiError(409, "Conflict", f"{meta.namespace}/{meta.name} has changed meanwhile")
        spec = mapping_at(document, "spec")
        self._specs.pop(meta.uid, None)
        self._specs[meta.uid] = (meta.generation, spec)
        while len(self._specs) > REMEMBERED:
            del self._specs[next(iter(self._specs))]
        return spec
