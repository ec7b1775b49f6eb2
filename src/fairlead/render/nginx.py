"""Routing to NGINX's files: the model comes in, the text of nginx.conf and of the files it names goes out.

What changes without a reload is not in here: `nginx_dynamic`. The generation in the files is a hash of them, so that
equal routing is an equal configuration.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import Certificate, CertificateId
from fairlead.model.routes import Routing
from fairlead.nginx import Config, block, write_config
from fairlead.render.nginx_http import render_balancer, render_control, render_http, render_main, render_refuser
from fairlead.render.nginx_maps import render_names
from fairlead.render.nginx_names import Layout
from fairlead.render.nginx_needs import Needs
from fairlead.render.nginx_proxying import render_shared
from fairlead.render.nginx_streams import render_streams
from fairlead.render.nginx_structure import render_structure
from fairlead.render.nginx_surroundings import KEEPALIVE, Bundles, Surroundings
from fairlead.render.nginx_texts import ServerTexts
from fairlead.render.nginx_whole import complete_routing

CONFIG = "nginx.conf"


def render_nginx(
    routing: Routing,
    settings: ControllerSettings,
    layout: Layout,
    *,
    certificates: Mapping[CertificateId, Certificate] | None = None,
    authorities: Mapping[CertificateId, str] | None = None,
    revocations: Mapping[CertificateId, str] | None = None,
    texts: ServerTexts | None = None,
) -> dict[str, str]:
    """The files by name, relative to the layout's directory; the configuration itself is `nginx.conf`.

    `certificates` are shown to upstreams; `authorities` check clients and upstreams, and `revocations` say which of
    theirs are void (PEM). With `texts` of an earlier call, servers that did not change are not written anew. Raises
    ValueError for a value that no configuration can hold, such as a control character.
    """
    routing = complete_routing(routing)
    needs = Needs(layout)
    bundles = Bundles(
        {key: needs.file("pair", each.chain + each.key) for key, each in (certificates or {}).items()},
        {key: needs.file("authority", text) for key, text in (authorities or {}).items()},
        {key: needs.file("revoked", text) for key, text in (revocations or {}).items()},
    )
    needs.pool(KEEPALIVE)
    around = Surroundings(routing, settings, needs, bundles)
    shared = render_shared(around.names)
    around.shared = frozenset(shared)
    servers = (texts or ServerTexts()).render(routing.servers, around)
    told = render_structure(routing, settings, "")
    generation = layout.generation or _digest(routing, settings, needs.files, (told, *(each.text for each in servers)))
    structure = needs.file("structure", told.replace('"generation":""', f'"generation":"{generation}"', 1))
    http = (
        *render_http(settings, layout, structure),
        *render_names(routing, settings),
        *shared,
        *needs.http,
        *(render_balancer(name, keepalive, settings) for name, keepalive in needs.pools),
        render_control(layout),
        render_refuser(layout),
        *servers,
    )
    config: Config = (
        *render_main(settings, layout),
        block("http", of=http),
        *render_streams(routing, settings),
    )
    return {CONFIG: write_config(config), **needs.files}


def _digest(routing: Routing, settings: ControllerSettings, files: Mapping[str, str], texts: Iterable[str]) -> str:
    """A hash of everything that a configuration says; files are named by what is in them."""
    found = sha256(repr((routing.streams, routing.upstreams, settings, sorted(files))).encode())
    for text in texts:
        found.update(text.encode())
    return found.hexdigest()[:16]
