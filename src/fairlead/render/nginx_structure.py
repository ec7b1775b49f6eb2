"""What Lua has to know of the structure, as a JSON file of the configuration: settings of upstreams and locations.

Read by `lua/fairlead_state.lua`. What is a default there is left out here.
"""

from typing import Any

import msgspec

from fairlead.model.route_rules import AuthType, Canary, CustomErrors
from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_text import Capture, Text, Variable
from fairlead.model.route_upstreams import Balance, CookieAffinity, Upstream, UpstreamKey
from fairlead.model.routes import Location, Routing, Server, ToUpstream
from fairlead.render.nginx_names import location_id, log_name, upstream_id
from fairlead.render.nginx_plain import is_plain, not_simple


def render_structure(routing: Routing, settings: ControllerSettings, generation: str) -> str:
    """The file's text, for a whole routing."""
    excluded = not_simple(routing)
    locations = {
        location_id(server, location): _location(server, location, routing.default_upstream)
        | ({"plain": True} if is_plain(server, location, settings, excluded) else {})
        for server in routing.servers
        for location in server.locations
    }
    upstreams = {upstream_id(each.key): _upstream(each) for each in routing.upstreams}
    told = {"generation": generation, "upstreams": upstreams, "locations": locations}
    return msgspec.json.encode(told).decode()


def explained_by(errors: CustomErrors, default: UpstreamKey | None) -> UpstreamKey | None:
    """Who explains errors: the upstream named for it, else the controller's default backend, else nobody."""
    return errors.upstream or default


def _upstream(upstream: Upstream) -> dict[str, Any]:
    found: dict[str, Any] = {"balance": upstream.balance.value}
    if upstream.balance in (Balance.HASH, Balance.HASH_SUBSET):
        found["hash_by"] = parts_of(upstream.hash_by)
    if upstream.balance is Balance.HASH_SUBSET:
        found["subset"] = max(1, upstream.subset_size)
    if upstream.affinity is not None:
        found["affinity"] = _affinity(upstream.affinity)
    if upstream.max_connections:
        found["max_connections"] = upstream.max_connections
    found["max_fails"], found["fail_timeout"] = upstream.max_fails, upstream.fail_timeout
    return found


def _affinity(affinity: CookieAffinity) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": affinity.name,
        "path": affinity.path,
        "max_age": affinity.max_age,
        "expires": affinity.expires,
        "same_site": None if affinity.same_site is None else affinity.same_site.value,
        "conditional": affinity.conditional_same_site_none or None,
        "secure": affinity.secure,
        "domain": affinity.domain,
        "change_on_failure": affinity.change_on_failure or None,
        "persistent": affinity.persistent or None,
        "legacy": None if affinity.canary_sticky else True,
    }
    return {key: value for key, value in found.items() if value is not None}


def _location(server: Server, location: Location, default: UpstreamKey | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "namespace": location.origin.namespace,
        "ingress": location.origin.name,
        "host": server.host or "_",
        "path": location.path or "/",
    }
    if isinstance(location.action, ToUpstream):
        action = location.action
        found["upstream"] = upstream_id(action.upstream)
        found["service"] = action.upstream.service
        if location.proxy.next_upstream_tries != 1 and "off" not in location.proxy.next_upstream:
            found["tries"] = location.proxy.next_upstream_tries
        if action.fallback is not None:
            found["fallback"] = upstream_id(action.fallback)
        if action.canaries:
            found["canaries"] = [_canary(each) for each in action.canaries]
    if location.errors is not None and (explains := explained_by(location.errors, default)) is not None:
        found["errors"] = upstream_id(explains)
    auth = location.basic_auth
    if auth is not None and auth.type is AuthType.DIGEST:
        found["digest"] = {"realm": auth.realm, "users": _digests(auth.users)}
    return found


def _digests(lines: tuple[str, ...]) -> dict[str, str]:
    """Users and their hashes, out of lines `user:hash`, or `user:realm:hash` as htdigest writes them."""
    return {line.split(":", 1)[0]: line.rsplit(":", 1)[-1] for line in lines}


def _canary(canary: Canary) -> dict[str, Any]:
    found: dict[str, Any] = {
        "upstream": upstream_id(canary.upstream),
        "header": canary.header,
        "value": canary.header_value,
        "pattern": canary.header_pattern,
        "cookie": canary.cookie,
        "weight": canary.weight,
        "total": max(100, canary.weight_total),
        "name": log_name(canary.upstream),
    }
    return {key: value for key, value in found.items() if value is not None}


def parts_of(text: Text) -> list[str | list[str]]:
    """A text as Lua reads it: a variable is a list of its name."""
    found: list[str | list[str]] = []
    for part in text:
        match part:
            case Variable(name):
                found.append([name])
            case Capture(number):
                found.append([str(number)])
            case _:
                found.append(part)
    return found
