"""Values that try to become syntax: wherever the model holds text, the configuration stays the same tree.

Source: reference section 7. The tree of a configuration with hostile text has to be that of one with harmless text,
word for word but for the text itself. The texts themselves are tried on a real `nginx -t` as well.
"""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nginx_running import RunningNginx, nginx_missing
from nginx_worlds import key, routing

from fairlead.model.origins import Origin
from fairlead.model.route_proxy import BackendProtocol, FastCgi, ProxySettings
from fairlead.model.route_rules import (
    AuthType,
    BasicAuth,
    Canary,
    Cors,
    CustomErrors,
    ExternalAuth,
    Limits,
    Mirror,
    Rate,
    Redirect,
    Rewrite,
)
from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import CertificateId, ClientCertificates
from fairlead.model.route_upstreams import CookieAffinity, Upstream, UpstreamKey
from fairlead.model.routes import Location, Match, Routing, Server, ToUpstream
from fairlead.nginx.reader import Read, read_config
from fairlead.render.nginx import render_nginx
from fairlead.render.nginx_names import Layout

CA = CertificateId("shop", "ca")
LAYOUT = Layout(directory="/nginx", lua="/lua", generation="g")
ATTACKS = (
    '/x" { } location /y { alias /var/run/secrets/ ; #',
    "a.com; } server {",
    "GET;proxy_pass http://evil",
    "../../x",
    "_mirror-;",
    "http://x/#; load_module y",
    "$pid ${ssl_client_raw_cert} $http_authorization",
    "CN=x) { } ssl_engine y;",
    "x\\",
    'x\\"',
    "' \" ` {{ }} ; # $",
    "]] .. os.execute('x') --",
    "*/ @x ~^ =/",
)


def world(text: str) -> Routing:
    """Every place of the model where a tenant's text could get to, holding `text`."""
    origin = Origin("Ingress", text, text)
    upstream = UpstreamKey(text, text, text)

    def at(number: int, **more: object) -> Location:
        fields: dict[str, object] = {
            "path": f"/{number}{text}x", "match": Match.PREFIX, "action": ToUpstream(upstream), "origin": origin,
        }  # fmt: skip
        return Location(**{**fields, **more})  # type: ignore[arg-type]

    canary = Canary(upstream=upstream, origin=origin, header=text, header_value=text, header_pattern=text, cookie=text)
    proxy = ProxySettings(
        host=(text,),
        forwarded_prefix=text,
        connection=text,
        request_headers=((text, (text,)),),
        hide_headers=(text,),
        pass_headers=(text,),
        redirect=("/" + text, "/" + text),
        cookie_domain=("d" + text, text),
        cookie_path=("/" + text, text),
    )
    fastcgi = FastCgi(index="i" + text, parameters=((text, (text,)),))
    auth = ExternalAuth(
        url=("http://127.0.0.1:1/", text), host=text, sign_in=("http://x/", text), sign_in_parameter=text,
        response_headers=("X-A",), request_headers=((text, (text,)),), request_redirect=(text,), cache_key=(text,),
        cache_valid=((200, 5),),
    )  # fmt: skip
    locations = (
        at(1, proxy=proxy, rewrite=Rewrite("/(.*)", ("/" + text,)), app_root="/" + text, secure_redirect=True),
        at(2, action=ToUpstream(upstream, (canary,), upstream), external_auth=auth),
        at(3, action=Redirect(301, ("https://x/" + text,))),
        at(4, basic_auth=BasicAuth(type=AuthType.BASIC, realm=text, users=(f"a:{text}",), origin=origin)),
        at(5, basic_auth=BasicAuth(type=AuthType.DIGEST, realm=text, users=(f"a:{text}",), origin=origin)),
        at(
            6,
            cors=Cors(
                origins=("https://" + text, "https://*." + text), methods=text, headers=text, expose_headers=text
            ),
        ),
        at(7, errors=CustomErrors(statuses=(404,), upstream=upstream), match=Match.EXACT),
        at(8, mirror=Mirror(url=("http://127.0.0.1:1/", text), host=text)),
        at(9, limits=Limits(rates=(Rate(1, 1, 5, key=(text,)),), connections=1, scope=text)),
        at(10, proxy=ProxySettings(protocol=BackendProtocol.FCGI, fastcgi=fastcgi), response_headers=((text, text),)),
        at(11, proxy=ProxySettings(protocol=BackendProtocol.GRPC, request_headers=((text, (text,)),))),
        at(12, match=Match.RAW_PREFIX, snippet="return 418;"),
    )
    clients = ClientCertificates(ca=CA, match_common_name="CN=x", error_page="/" + text)
    servers = (
        Server(host="a.example", locations=locations, origin=origin, client_certificates=clients, snippet="return 1;"),
        Server(host=text.replace("*", "") or "b", locations=locations[:1], origin=origin, aliases=("*." + text,)),
    )
    affinity = CookieAffinity(name=text, path=text, domain=text)
    upstreams = (Upstream(key=upstream, origin=origin, hash_by=(text,), affinity=affinity),)
    return routing(*servers, upstreams=upstreams, default_upstream=key("default"))


def shape(lines: tuple[Read, ...]) -> object:
    """The tree without its values: names, how many words, and what is inside; the order of locations may differ."""
    return sorted(
        repr((line.words[0] if line.words[0].islower() else "", len(line.words), shape(line.block or ()), line.code))
        for line in lines
    )


def rendered(text: str) -> tuple[Read, ...]:
    files = render_nginx(world(text), ControllerSettings(), LAYOUT, authorities={CA: "pem"})
    return read_config(files["nginx.conf"])


def locations_of(tree: tuple[Read, ...]) -> list[Read]:
    http = next(line for line in tree if line.words[0] == "http")
    servers = [line.block or () for line in http.block or () if line.words[0] == "server"]
    found = [server for server in servers if Read(("server_name", "a.example")) in server]
    return [line for line in found[0] if line.words[0] == "location"]


@cache
def harmless_shape() -> object:
    return shape(tuple(locations_of(rendered("harmless"))))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ATTACKS) | st.text(st.sampled_from("\"'\\${};#/ ab"), min_size=1, max_size=12))
def test_hostile_text_leaves_the_tree_as_it_is(text: str) -> None:
    hostile = locations_of(rendered(text))
    assert shape(tuple(hostile)) == harmless_shape()
    paths = {line.words[-1] for line in hostile}
    assert {f"/{number}{text}x" for number in (3, 7, 12)} <= {path.rstrip("/") for path in paths} | paths


@pytest.mark.parametrize("text", ATTACKS)
def test_names_of_files_zones_and_variables_hold_nothing_of_a_tenant(text: str) -> None:
    files = render_nginx(world(text), ControllerSettings(), LAYOUT, authorities={CA: "pem"})
    assert all(name.replace("files/", "").replace(".", "").replace("-", "").isalnum() for name in files)
    for line in read_config(files["nginx.conf"]):
        for inner in line.block or ():
            if inner.words[0] in ("limit_req_zone", "limit_conn_zone", "upstream", "log_format"):
                assert text not in " ".join(inner.words[1:] if inner.words[0] != "limit_req_zone" else inner.words[2:])


def test_snippets_are_left_out_where_the_operator_did_not_turn_them_on() -> None:
    off = render_nginx(world("x"), ControllerSettings(), LAYOUT, authorities={CA: "pem"})["nginx.conf"]
    on = render_nginx(world("x"), ControllerSettings(snippets_allowed=True), LAYOUT, authorities={CA: "pem"})
    assert "return 418" not in off
    assert "return 418" in on["nginx.conf"]
    assert "return 1;" in on["nginx.conf"]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "a\u2028b"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        render_nginx(world(text), ControllerSettings(), LAYOUT, authorities={CA: "pem"})


@pytest.mark.kernel
@pytest.mark.parametrize("text", ATTACKS)
def test_nginx_takes_hostile_text_for_text(text: str, tmp_path: Path) -> None:
    if missing := nginx_missing():
        pytest.skip(missing)
    nginx = RunningNginx(tmp_path)
    given = world(text)
    harmless = [each for each in given.servers if each.host == "a.example"]
    tried = Routing(servers=tuple(harmless), upstreams=given.upstreams)
    nginx.render(tried)
    assert nginx.test() == ""
