"""Names for files, zones and ids: made of hashes, so that nothing a tenant wrote is in one (reference section 7)."""

from functools import lru_cache
from hashlib import sha256

from msgspec import Struct

from fairlead.model.route_tls import CertificateId
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.routes import Location, Server

READ_BY_WORKERS = ("files/users-", "lua/")
"""How the names of those files begin that NGINX's workers open while they serve, and not its master at its start."""

_MODULES = ("ndk_http_module", "ngx_http_lua_module", "ngx_stream_module")


class Layout(Struct, frozen=True, kw_only=True):
    """Where this NGINX keeps its files, and what it is told of its surroundings.

    Paths are absolute. `user` None leaves the workers with the master's user, where that has no other to change to.
    `generation` is answered at the control socket, so that it is known which configuration serves.
    """

    directory: str
    generation: str = ""
    lua: str
    modules: str = "/usr/lib/nginx/modules"
    user: str | None = None
    resolvers: tuple[str, ...] = ()

    def path(self, name: str) -> str:
        """The path of a file of the folder."""
        return f"{self.directory}/{name}"

    @property
    def module_files(self) -> tuple[str, ...]:
        """The paths of the modules that NGINX loads, in the order it needs them."""
        return tuple(f"{self.modules}/{name}.so" for name in _MODULES)


def upstream_id(key: UpstreamKey) -> str:
    """The id of an upstream, in Lua's tables and on the control socket."""
    return "u" + _hash(key.namespace, key.service, key.port)


def log_name(key: UpstreamKey) -> str:
    """An upstream as ingress-nginx's log names it; two upstreams may share such a name, so nothing else uses it."""
    return f"{key.namespace}-{key.service}-{key.port}"


def location_id(server: Server, location: Location) -> str:
    """The id of a location: of its host, match and path."""
    return "l" + _hash(server.host, location.match.value, location.path)


def certificate_id(certificate: CertificateId) -> str:
    """The id of a Secret with certificates."""
    return "c" + _hash(certificate.namespace, certificate.secret)


def file_of(kind: str, text: str) -> str:
    """The name of a file that holds `text`; a new text is a new file."""
    return f"files/{kind}-{sha256(text.encode()).hexdigest()[:16]}"


def scope_id(*words: str) -> str:
    """A name for a zone or a variable of our own."""
    return _hash(*words)


@lru_cache(maxsize=1 << 17)
def _hash(*words: str) -> str:
    return sha256("\0".join(words).encode()).hexdigest()[:16]
