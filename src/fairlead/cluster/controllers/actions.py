"""What a reconciliation asks for: values that say which object to create, patch, delete or bind, and what to tell
about it.

Controllers decide and return these; the performer carries them out. Nothing here knows how.
"""

from msgspec import Struct

from fairlead.drivers.kubeapi import PatchType
from fairlead.kube.documents import Document
from fairlead.kube.meta import KubeObject


class Create(Struct, frozen=True, kw_only=True):
    """Create `document`, which names its own namespace. An object of that name already there is an error."""

    kind: type[KubeObject]
    document: Document


class Patch(Struct, frozen=True, kw_only=True):
    """Merge `patch` into an object; with `metadata.resourceVersion` in it, only if nobody wrote in between.

    A strategic patch merges lists of conditions by their type; others replace whole lists.
    """

    kind: type[KubeObject]
    namespace: str
    name: str
    patch: Document
    subresource: str = ""
    patch_type: PatchType = PatchType.MERGE


class Delete(Struct, frozen=True, kw_only=True):
    """Delete the object with this uid; one that is gone, or replaced by another of the name, is no error."""

    kind: type[KubeObject]
    namespace: str
    name: str
    uid: str
    grace_seconds: int | None = None
    propagation: str = ""


class Bind(Struct, frozen=True, kw_only=True):
    """Give a pod its node."""

    namespace: str
    name: str
    uid: str
    node: str


class About(Struct, frozen=True, kw_only=True):
    """The object an Event is about, as `involvedObject` names it."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


class Tell(Struct, frozen=True, kw_only=True):
    """Say something about an object to people: becomes an Event, or counts up one that said the same."""

    about: About
    reason: str
    message: str
    warning: bool = False
    component: str


class Again(Struct, frozen=True):
    """Look at the same key again in `seconds`, since something is then due that no event announces."""

    seconds: float


Action = Create | Patch | Delete | Bind | Tell | Again
