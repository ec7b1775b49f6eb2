"""Containers of a pod: what runs, with which environment, volumes, ports and probes. Source: core/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.meta import LocalObjectReference

IntOrString = int | str
Quantity = int | float | str


class ContainerPort(Wire, frozen=True):
    """A port the container says it listens on."""

    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"
    host_port: int | None = None
    host_ip: str = ""


class KeySelector(Wire, frozen=True):
    """A key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class ObjectFieldSelector(Wire, frozen=True):
    """A field of the pod itself, by path."""

    api_version: str = "v1"
    field_path: str = ""


class ResourceFieldSelector(Wire, frozen=True):
    """A container's resource, such as limits.cpu, in units of `divisor`."""

    container_name: str = ""
    resource: str = ""
    divisor: Quantity = "0"


class EnvVarSource(Wire, frozen=True):
    """Where a variable's value comes from: exactly one of these."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Wire, frozen=True):
    """One variable; `value` may use $(NAME) of earlier ones."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvFromRef(Wire, frozen=True):
    """A ConfigMap or Secret whose keys all become variables."""

    name: str = ""
    optional: bool = False


class EnvFromSource(Wire, frozen=True):
    """Variables from all keys of one object, each with `prefix` before its name."""

    prefix: str = ""
    config_map_ref: EnvFromRef | None = None
    secret_ref: EnvFromRef | None = None


class HTTPHeader(Wire, frozen=True):
    """A request header of a probe."""

    name: str = ""
    value: str = ""


class HTTPGetAction(Wire, frozen=True):
    """A request to the pod; `port` may be a port's name."""

    path: str = "/"
    port: IntOrString = 0
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Wire, frozen=True):
    """A connection to the pod."""

    port: IntOrString = 0
    host: str = ""


class ExecAction(Wire, frozen=True):
    """A command run in the container."""

    command: tuple[str, ...] = ()


class GRPCAction(Wire, frozen=True):
    """A call of grpc.health.v1.Health/Check."""

    port: int = 0
    service: str = ""


class SleepAction(Wire, frozen=True):
    """A pause."""

    seconds: int = 0


class Probe(Wire, frozen=True):
    """A periodic check of a container; times in seconds. Exactly one action is set."""

    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    exec_: ExecAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Wire, frozen=True):
    """What runs at a turn of a container's life."""

    exec_: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Wire, frozen=True):
    """Handlers after the start and before the end of a container."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class ResourceRequirements(Wire, frozen=True):
    """What a container asks for and may use, as quantities by resource name."""

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class VolumeMount(Wire, frozen=True):
    """A pod's volume, shown at a path of the container."""

    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False


class Container(Wire, frozen=True):
    """One program of a pod. `restart_policy` Always makes an init container a sidecar."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    restart_policy: str | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class KeyToPath(Wire, frozen=True):
    """A key shown as a file; `mode` is the file's permission bits."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class ConfigMapVolumeSource(Wire, frozen=True):
    """The keys of a ConfigMap as files; no items means all keys."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool = False


class SecretVolumeSource(Wire, frozen=True):
    """The keys of a Secret as files; no items means all keys."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool = False


class EmptyDirVolumeSource(Wire, frozen=True):
    """A folder that lives as long as the pod."""

    medium: str = ""
    size_limit: Quantity | None = None


class HostPathVolumeSource(Wire, frozen=True):
    """A path of the node."""

    path: str = ""
    type: str = ""


class DownwardAPIVolumeFile(Wire, frozen=True):
    """A field of the pod as a file."""

    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIVolumeSource(Wire, frozen=True):
    """Fields of the pod as files."""

    items: tuple[DownwardAPIVolumeFile, ...] = ()
    default_mode: int | None = None


class ConfigMapProjection(Wire, frozen=True):
    """A ConfigMap's share of a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class ServiceAccountTokenProjection(Wire, frozen=True):
    """A token's share of a projected volume."""

    audience: str = ""
    expiration_seconds: int | None = None
    path: str = ""


class VolumeProjection(Wire, frozen=True):
    """One source of a projected volume: exactly one is set."""

    config_map: ConfigMapProjection | None = None
    secret: ConfigMapProjection | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Wire, frozen=True):
    """Several sources in one folder."""

    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int | None = None


class PersistentVolumeClaimVolumeSource(Wire, frozen=True):
    """A claim of the same namespace."""

    claim_name: str = ""
    read_only: bool = False


class Volume(Wire, frozen=True):
    """A named volume of a pod: exactly one source is set, else it is an empty folder."""

    name: str = ""
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    empty_dir: EmptyDirVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None


ImagePullSecret = LocalObjectReference
