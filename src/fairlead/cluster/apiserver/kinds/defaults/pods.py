"""Defaults of pods and of the pod templates of workloads.

In: a pod or a pod spec, changed in place. Source: SetDefaults_* of k8s.io/kubernetes/pkg/apis/core/v1/defaults.go,
and of the admission plugins ServiceAccount and DefaultTolerationSeconds.
"""

from fairlead.cluster.apiserver.kinds.editing import child, children, fill
from fairlead.kube.documents import Document, Json, flag_at, mapping_at, text_at

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
FILE_MODE = 0o644
UNHEALTHY_NODE_SECONDS = 300
DEFAULT_SERVICE_ACCOUNT = "default"


def default_pod(pod: Document) -> None:
    """Fill in a pod."""
    spec = child(pod, "spec")
    default_pod_spec(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    for name in CONTAINER_LISTS:
        for container in children(spec, name):
            _request_the_limits(container)


def default_template(template: Document) -> None:
    """Fill in the pod template of a workload."""
    child(template, "metadata")
    default_pod_spec(child(template, "spec"))


def default_pod_spec(spec: Document) -> None:
    """Fill in what pods and templates share."""
    fill(spec, "dnsPolicy", "ClusterFirst")
    fill(spec, "restartPolicy", "Always")
    fill(spec, "schedulerName", "default-scheduler")
    fill(spec, "terminationGracePeriodSeconds", 30)
    child(spec, "securityContext")
    _mirror_service_account(spec)
    for name in CONTAINER_LISTS:
        for container in children(spec, name):
            _default_container(container, host_network=flag_at(spec, "hostNetwork"))
    for volume in children(spec, "volumes"):
        _default_volume(volume)


def _mirror_service_account(spec: Document) -> None:
    name = text_at(spec, "serviceAccountName") or text_at(spec, "serviceAccount")
    if name:
        spec["serviceAccountName"] = name
        spec["serviceAccount"] = name


def pull_policy(image: str) -> str:
    """Return Always for an image without a tag or with the tag latest, as it may change under its name."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _default_container(container: Document, *, host_network: bool) -> None:
    fill(container, "imagePullPolicy", pull_policy(text_at(container, "image")))
    fill(container, "terminationMessagePath", "/dev/termination-log")
    fill(container, "terminationMessagePolicy", "File")
    child(container, "resources")
    for port in children(container, "ports"):
        fill(port, "protocol", "TCP")
        if host_network and not port.get("hostPort"):
            port["hostPort"] = port.get("containerPort")
    for name in PROBES:
        probe = container.get(name)
        if isinstance(probe, dict):
            _default_probe(probe)
    for hook in ("postStart", "preStop"):
        _default_http_get(mapping_at(container, "lifecycle", hook))
    for variable in children(container, "env"):
        reference = mapping_at(variable, "valueFrom", "fieldRef")
        if reference:
            fill(reference, "apiVersion", "v1")


def _default_probe(probe: Document) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    _default_http_get(probe)
    if isinstance(grpc := probe.get("grpc"), dict) and grpc.get("service") is None:
        grpc["service"] = ""


def _default_http_get(parent: Document) -> None:
    get = parent.get("httpGet")
    if isinstance(get, dict):
        fill(get, "path", "/")
        fill(get, "scheme", "HTTP")


def _default_volume(volume: Document) -> None:
    sources = [key for key in volume if key != "name" and volume[key] is not None]
    if not sources:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(source := volume.get(name), dict) and source.get("defaultMode") is None:
            source["defaultMode"] = FILE_MODE
    if isinstance(path := volume.get("hostPath"), dict) and path.get("type") is None:
        path["type"] = ""
    _default_field_references(volume.get("downwardAPI"))
    for source in children(mapping_at(volume, "projected"), "sources"):
        _default_field_references(source.get("downwardAPI"))
        if (token := mapping_at(source, "serviceAccountToken")) and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600


def _default_field_references(source: Json) -> None:
    if isinstance(source, dict):
        for item in children(source, "items"):
            if reference := mapping_at(item, "fieldRef"):
                fill(reference, "apiVersion", "v1")


def _request_the_limits(container: Document) -> None:
    """Ask for as much of each resource as the limit, where nothing is asked for (SetDefaults_Pod)."""
    limits = mapping_at(container, "resources", "limits")
    if limits:
        requests = child(child(container, "resources"), "requests")
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def admit_pod(pod: Document) -> None:
    """Fill in what upstream's admission plugins do on creation: account, and patience with sick nodes."""
    spec = child(pod, "spec")
    fill(spec, "serviceAccountName", DEFAULT_SERVICE_ACCOUNT)
    spec["serviceAccount"] = spec["serviceAccountName"]
    tolerations = children(spec, "tolerations")
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(_tolerates_eviction(each, key) for each in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": UNHEALTHY_NODE_SECONDS,
                }
            )
    spec["tolerations"] = list(tolerations)


def _tolerates_eviction(toleration: Document, key: str) -> bool:
    return text_at(toleration, "key") in (key, "") and text_at(toleration, "effect") in ("NoExecute", "")
