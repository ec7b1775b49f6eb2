"""What a pod gets of its service account: a volume with a token, the certificate to trust, and its namespace.

In: a new pod and the accounts of its namespace. Out: the pod with the volume and its mounts, unless pod or account
do not want them. Source: k8s.io/kubernetes/plugin/pkg/admission/serviceaccount.
"""

from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import child, children
from fairlead.kube.documents import Document, Json, text_at, value_at

PREFIX = "kube-api-access-"
FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
LIFETIME = 3607
"""Seconds: an hour, and a bit by which the token is known as one of these."""

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def mount_token(pod: Document, accounts: Sequence[Document]) -> None:
    """Add the volume, and mount it in every container that has nothing at its place."""
    spec = child(pod, "spec")
    name = text_at(spec, "serviceAccountName")
    account = next((each for each in accounts if text_at(each, "metadata", "name") == name), None)
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = value_at(account, "automountServiceAccountToken")
    if wanted is False:
        return
    containers = [*children(spec, "initContainers"), *children(spec, "containers")]
    lacking = [each for each in containers if not _has_one(each)]
    if not lacking:
        return
    volume = PREFIX + _letters(text_at(pod, "metadata", "uid"))
    for container in lacking:
        mount: Document = {"name": volume, "readOnly": True, "mountPath": FOLDER}
        container["volumeMounts"] = [*children(container, "volumeMounts"), mount]
    spec["volumes"] = [*children(spec, "volumes"), _volume(volume)]


def _has_one(container: Document) -> bool:
    return any(text_at(mount, "mountPath") == FOLDER for mount in children(container, "volumeMounts"))


def _letters(uid: str) -> str:
    """Return five letters drawn from the uid of the pod, which is random itself."""
    number = int(uid.replace("-", "") or "0", 16)
    return "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(5))


def _volume(name: str) -> Document:
    field: Document = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources: list[Json] = [
        {"serviceAccountToken": {"expirationSeconds": LIFETIME, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [field]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
