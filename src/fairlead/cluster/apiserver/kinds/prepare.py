"""What a write may change: the status stays out of ordinary writes, and everything else out of writes to /status.

In: the new and the stored document; the new one is changed in place. Source: the strategies of
k8s.io/kubernetes/pkg/registry. The engine itself keeps the metadata that nobody may change.
"""

from fairlead.cluster.apiserver.kinds.editing import child, move
from fairlead.kube.documents import Document, mapping_at

ENVELOPE = ("apiVersion", "kind", "metadata", "status")


def drop_status(document: Document) -> None:
    """Begin without a status."""
    document["status"] = {}


def keep_status(new: Document, old: Document) -> None:
    """Keep the stored status."""
    move(new, old, "status")


def only_status(new: Document, old: Document) -> None:
    """Keep all but the status and the metadata as stored."""
    for key in list(new):
        if key not in ENVELOPE:
            del new[key]
    for key, value in old.items():
        if key not in ENVELOPE:
            new[key] = value


def only_status_and_no_labels(new: Document, old: Document) -> None:
    """Keep all but the status as stored, labels included (the strategies of the apps group)."""
    only_status(new, old)
    move(child(new, "metadata"), mapping_at(old, "metadata"), "labels")
