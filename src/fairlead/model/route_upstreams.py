"""Upstreams: groups of endpoints that requests are spread over, and how."""

from enum import Enum

from msgspec import Struct

from fairlead.model.origins import Origin
from fairlead.model.route_text import Text
from fairlead.model.services import Backend


class UpstreamKey(Struct, frozen=True, order=True):
    """One port of one Service; `port` is the number or name by which the Ingress named it.

    A struct, not a joined text, so that `a-b/c` and `a/b-c` never meet (reference section 7, joining with `-`).
    """

    namespace: str
    service: str
    port: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"


class Balance(Enum):
    """How the next endpoint is chosen; HASH and the subset variant use ketama (reference 1.1, load-balance)."""

    ROUND_ROBIN = "round_robin"
    LEAST_CONNECTIONS = "least_conn"
    EWMA = "ewma"
    RANDOM_TWO = "random_two"
    HASH = "chash"
    HASH_SUBSET = "chashsubset"


class SameSite(Enum):
    """The SameSite attribute of a cookie."""

    NONE = "None"
    LAX = "Lax"
    STRICT = "Strict"


class CookieAffinity(Struct, frozen=True, kw_only=True):
    """A client keeps its endpoint by a cookie, always HttpOnly.

    `path` None means the location's path; `secure` None means: when the request came over TLS. `persistent` never moves
    a client while its endpoint lives; otherwise clients are spread anew when endpoints are added.
    """

    name: str = "INGRESSCOOKIE"
    path: str | None = None
    max_age: int | None = None
    expires: int | None = None
    same_site: SameSite | None = None
    conditional_same_site_none: bool = False
    secure: bool | None = None
    domain: str | None = None
    change_on_failure: bool = False
    persistent: bool = False
    canary_sticky: bool = True


class Upstream(Struct, frozen=True, kw_only=True):
    """One group of endpoints. Several locations may share it; the first Ingress that names it decides its settings.

    `hash_by` is the text hashed with HASH and HASH_SUBSET. `keepalive` counts idle connections kept by a worker.
    `max_fails`, `fail_timeout` (seconds) and `max_connections` (0: no bound) are for each endpoint.
    """

    key: UpstreamKey
    origin: Origin
    balance: Balance = Balance.ROUND_ROBIN
    hash_by: Text = ()
    subset_size: int = 3
    affinity: CookieAffinity | None = None
    keepalive: int = 320
    max_fails: int = 1
    fail_timeout: int = 10
    max_connections: int = 0


class Endpoints(Struct, frozen=True):
    """Where an upstream's requests go now: sorted, without doubles. Changed without a reload."""

    key: UpstreamKey
    backends: tuple[Backend, ...] = ()
