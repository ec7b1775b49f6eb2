"""Routing to NGINX's files: the model comes in, the text of nginx.conf and of the files it names goes out.

What changes without a reload is not in here: `nginx_dynamic`. The generation in the files is a hash of them, so that
equal routing is an equal configuration.
"""

from collections.abc import Mapping
from hashlib import sha256

from msgspec.structs import replace

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import Certificate, CertificateId
from fairlead.model.routes import Routing
from fairlead.nginx import Config, Raw, block, write_config
from fairlead.render.nginx_http import render_balancer, render_control, render_http, render_main
from fairlead.render.nginx_locations import KEEPALIVE, Surroundings
from fairlead.render.nginx_names import Layout
from fairlead.render.nginx_needs import Needs
from fairlead.render.nginx_proxying import Bundles
from fairlead.render.nginx_servers import default_server, render_server
from fairlead.render.nginx_streams import render_streams
from fairlead.render.nginx_structure import render_structure

CONFIG = "nginx.conf"


def render_nginx(
    routing: Routing,
    settings: ControllerSettings,
    layout: Layout,
    *,
    certificates: Mapping[CertificateId, Certificate] | None = None,
    authorities: Mapping[CertificateId, str] | None = None,
) -> dict[str, str]:
    """The files by name, relative to the layout's directory; the configuration itself is `nginx.conf`.

    `certificates` are shown to upstreams, `authorities` (PEM) check clients and upstreams.
    """
    marked = layout if layout.generation else replace(layout, generation=_digest(routing, settings, authorities))
    needs = Needs(marked)
    structure = needs.file("structure", render_structure(routing, marked.generation))
    needs.upstream(KEEPALIVE)
    bundles = Bundles(
        {key: needs.file("pair", each.chain + each.key) for key, each in (certificates or {}).items()},
        {key: needs.file("authority", text) for key, text in (authorities or {}).items()},
    )
    around = Surroundings(settings, needs, bundles, routing.upstreams)
    servers: Config = tuple(line for server in routing.servers for line in render_server(server, around))
    if not any(not server.host for server in routing.servers):
        servers = (default_server(settings), *servers)
    http = (
        *render_http(settings, marked, structure),
        *needs.http,
        *(render_balancer(f"fairlead_{number}", number, settings) for number in needs.keepalives),
        render_control(marked),
        *servers,
    )
    config: Config = (
        *render_main(settings, marked),
        block("http", of=http),
        *render_streams(routing, ipv6=settings.ipv6),
        *((Raw(settings.stream_snippet),) if settings.stream_snippet else ()),
    )
    return {CONFIG: write_config(config), **needs.files}


def _digest(routing: Routing, settings: ControllerSettings, authorities: Mapping[CertificateId, str] | None) -> str:
    return sha256(repr((routing, settings, sorted((authorities or {}).items()))).encode()).hexdigest()[:16]
