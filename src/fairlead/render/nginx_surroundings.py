"""What every server and location is rendered with."""

from copy import copy

from msgspec import Struct

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import CertificateId
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.routes import Routing
from fairlead.nginx.tree import Line
from fairlead.render.nginx_maps import spelled
from fairlead.render.nginx_needs import Needs
from fairlead.render.nginx_plain import not_simple

KEEPALIVE = 320


class Bundles(Struct, frozen=True):
    """Where the files are: certificates for upstreams (with their keys), authorities, and what those revoked."""

    pairs: dict[CertificateId, str]
    authorities: dict[CertificateId, str]
    revocations: dict[CertificateId, str]


class Surroundings:
    """Settings, needs, files, spellings of variables; and of upstreams what shows in the text.

    `shared` is what holds at the level of `http` already.
    """

    def with_needs(self, needs: Needs) -> "Surroundings":
        """The same, with needs collected elsewhere."""
        found = copy(self)
        found.needs = needs
        return found

    def __init__(self, routing: Routing, settings: ControllerSettings, needs: Needs, bundles: Bundles) -> None:
        self.settings = settings
        self.needs = needs
        self.bundles = bundles
        self.default_upstream = routing.default_upstream
        self.names = spelled(settings)
        self.shared: frozenset[Line] = frozenset()
        self.keepalives: dict[UpstreamKey, int] = {each.key: each.keepalive for each in routing.upstreams}
        self.sticky = frozenset(each.key for each in routing.upstreams if each.affinity is not None)
        self.not_simple = not_simple(routing)
