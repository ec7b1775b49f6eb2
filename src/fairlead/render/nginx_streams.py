"""TCP and UDP listeners: the `stream` block."""

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.routes import Routing, StreamListener
from fairlead.model.services import Backend
from fairlead.net import Protocol
from fairlead.nginx import Config, Directive, Raw, block, directive
from fairlead.nginx.tree import Line
from fairlead.render.nginx_names import scope_id
from fairlead.render.nginx_text import trusted_peers

_SECONDS = 600  # reference 1.3


def render_streams(routing: Routing, settings: ControllerSettings) -> Config:
    """The block, or nothing where no listener has a target."""
    listeners = [each for each in routing.streams if each.targets]
    snippet = (Raw(settings.stream_snippet),) if settings.stream_snippet else ()
    if not listeners and not snippet:
        return ()
    upstreams = {_name(each): _upstream(each) for each in listeners}
    servers = tuple(_server(each, settings) for each in listeners)
    return (block("stream", of=(directive("access_log", "off"), *snippet, *upstreams.values(), *servers)),)


def _name(listener: StreamListener) -> str:
    return "stream_" + scope_id(*(str(each) for each in (listener.upstream, *map(_place, listener.targets))))


def _upstream(listener: StreamListener) -> Directive:
    return block("upstream", _name(listener), of=tuple(directive("server", _place(each)) for each in listener.targets))


def _server(listener: StreamListener, settings: ControllerSettings) -> Directive:
    datagrams = listener.protocol is Protocol.UDP
    words = ["udp", "reuseport"] if datagrams else []
    decoding = listener.decode_proxy and not datagrams
    if decoding:
        words.append("proxy_protocol")
    hosts = settings.bind_addresses or (("", "[::]") if settings.ipv6 else ("",))
    lines: list[Line] = [
        directive("listen", f"{host}:{listener.port}" if host else str(listener.port), *words) for host in hosts
    ]
    if decoding:
        lines += trusted_peers(settings.client)
    lines.append(directive("proxy_pass", _name(listener)))
    lines.append(directive("proxy_timeout", f"{_SECONDS}s"))
    if datagrams:
        lines.append(directive("proxy_responses", 1))
    elif listener.encode_proxy:
        lines.append(directive("proxy_protocol", "on"))
    return block("server", of=tuple(lines))


def _place(backend: Backend) -> str:
    host = str(backend.address)
    return f"[{host}]:{backend.port}" if ":" in host else f"{host}:{backend.port}"
