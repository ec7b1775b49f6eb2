"""What the kubelet says of its pods' use: counters since their start, as it answers GET /usage on its socket."""

from msgspec import Struct


class ContainerUsage(Struct, frozen=True, kw_only=True):
    """One run of a container: CPU seconds since its start, and bytes of memory now."""

    name: str
    run: int
    """Which run of the container, as counters begin anew with each."""
    cpu: float
    memory: int


class PodUsage(Struct, frozen=True, kw_only=True):
    """One pod; `requests` counts what its containers were asked since the start, None where nothing can tell."""

    namespace: str
    name: str
    uid: str
    node: str
    containers: tuple[ContainerUsage, ...]
    requests: int | None = None
    errors: int | None = None


class Usage(Struct, frozen=True):
    """All pods, at one moment in seconds since the epoch."""

    at: float
    pods: tuple[PodUsage, ...]
