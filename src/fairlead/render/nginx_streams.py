"""TCP and UDP listeners: the `stream` block."""

from fairlead.model.routes import Routing, StreamListener
from fairlead.model.services import Backend
from fairlead.net import Protocol
from fairlead.nginx import Config, Directive, block, directive
from fairlead.nginx.tree import Line
from fairlead.render.nginx_names import scope_id

_SECONDS = 600  # reference 1.3


def render_streams(routing: Routing, *, ipv6: bool) -> Config:
    """The block, or nothing where no listener has a target."""
    listeners = [each for each in routing.streams if each.targets]
    if not listeners:
        return ()
    upstreams = {_name(each): _upstream(each) for each in listeners}
    servers = tuple(_server(each, ipv6=ipv6) for each in listeners)
    log = (directive("access_log", "off"),)
    return (block("stream", of=(*log, *upstreams.values(), *servers)),)


def _name(listener: StreamListener) -> str:
    return "stream_" + scope_id(*(str(each) for each in (listener.upstream, *map(_place, listener.targets))))


def _upstream(listener: StreamListener) -> Directive:
    return block("upstream", _name(listener), of=tuple(directive("server", _place(each)) for each in listener.targets))


def _server(listener: StreamListener, *, ipv6: bool) -> Directive:
    words = ["udp"] if listener.protocol is Protocol.UDP else []
    if listener.decode_proxy:
        words.append("proxy_protocol")
    lines: list[Line] = [directive("listen", str(listener.port), *words)]
    if ipv6:
        lines.append(directive("listen", f"[::]:{listener.port}", *words))
    lines.append(directive("proxy_pass", _name(listener)))
    lines.append(directive("proxy_timeout", f"{_SECONDS}s"))
    if listener.protocol is Protocol.UDP:
        lines.append(directive("proxy_responses", 1))
    if listener.encode_proxy:
        lines.append(directive("proxy_protocol", "on"))
    return block("server", of=tuple(lines))


def _place(backend: Backend) -> str:
    host = str(backend.address)
    return f"[{host}]:{backend.port}" if ":" in host else f"{host}:{backend.port}"
