"""Does no text of a tenant raise or break out, and is incremental equal to full, in any order of events?"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingress_objects_made import COMMUNITY, F5, a_config_map, a_secret, a_service, a_slice, an_ingress, routes_with

from fairlead.compile.annotations.catalogue import SUPPORTED
from fairlead.compile.annotations.f5 import F5 as F5_TABLE
from fairlead.compile.routes import Routes
from fairlead.model import Origin
from fairlead.model.route_settings import ControllerSettings
from fairlead.nginx.reader import Read, read_config
from fairlead.render.nginx import render_nginx
from fairlead.render.nginx_names import Layout

LAYOUT = Layout(directory="/run/x", lua="/usr/share/x")
EVIL = (
    '"; } location /y { alias /etc/; #', "x;\nload_module /tmp/evil.so", "a\rb", "$ssl_client_raw_cert", "${x};", "\\",
    "'", "`id`", "a\x00b", "\u2028", "}", "{", "#", "GET;proxy_pass http://evil", "http://x/#;\nload_module x",
    "https://x;}", "CN=x) { } ssl_engine y", "1m;", "-1", "9" * 40, "../../x", "content_by_lua 'x'", "/x\"y", "$1$1$1",
)  # fmt: skip
NAMES = [COMMUNITY + name for name in SUPPORTED] + [F5 + name for name in F5_TABLE]


def names_of(config: tuple[Read, ...]) -> set[str]:
    """The names of all directives, however deep; what maps hold are no directives."""
    found: set[str] = set()
    for each in config:
        found.add(each.words[0])
        if each.words[0] not in ("map", "geo"):
            found |= names_of(each.block or ())
    return found


def plain_names() -> set[str]:
    built = routes_with(an_ingress("w", "a.example", "/")).build()
    return names_of(read_config(render_nginx(built.routing, ControllerSettings(), LAYOUT)["nginx.conf"]))


PLAIN = plain_names()
DANGEROUS = {"load_module", "alias", "root", "include", "ssl_engine", "js_import", "perl", "content_by_lua"}


def built_with(annotation: str, text: str) -> dict[str, str]:
    routes = routes_with(an_ingress("w", "a.example", "/x", annotations={annotation: text}))
    built = routes.build()
    return render_nginx(built.routing, built.settings, LAYOUT)


@pytest.mark.parametrize("name", NAMES)
def test_no_attack_breaks_out_of_an_annotation(name: str) -> None:
    for text in EVIL:
        files = built_with(name, text)
        found = names_of(read_config(files["nginx.conf"]))
        assert not found & (DANGEROUS - PLAIN), (name, text)
        assert all(key == "nginx.conf" or key.startswith("files/") for key in files)


@given(st.sampled_from(NAMES), st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_text_of_an_annotation_ever_raises(name: str, text: str) -> None:
    found = names_of(read_config(built_with(name, text)["nginx.conf"]))
    assert not found & (DANGEROUS - PLAIN)


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"]))
@settings(max_examples=150, deadline=None)
def test_no_host_or_path_breaks_out(host: str, path: str, kind: str) -> None:
    built = routes_with(an_ingress("w", host, "/" + path, kind=kind)).build()
    found = names_of(read_config(render_nginx(built.routing, built.settings, LAYOUT)["nginx.conf"]))
    assert not found & (DANGEROUS - PLAIN)


ACTIONS: list[tuple[str, Any]] = [
    ("set_ingress", an_ingress("a", "a.example", "/", "/x", tls="cert")),
    ("set_ingress", an_ingress("a", "b.example", "/", annotations={COMMUNITY + "server-alias": "a.example"})),
    ("set_ingress", an_ingress("b", "a.example", "/x", annotations={COMMUNITY + "use-regex": "true"})),
    ("set_ingress", an_ingress("c", "b.example", "/", annotations={COMMUNITY + "from-to-www-redirect": "true"})),
    ("set_ingress", an_ingress("d", "www.b.example", "/")),
    (
        "set_ingress",
        an_ingress("e", "a.example", "/", annotations={COMMUNITY + "canary": "true", COMMUNITY + "canary-weight": "5"}),
    ),
    (
        "set_ingress",
        an_ingress(
            "f", "f.example", "/", annotations={COMMUNITY + "auth-type": "basic", COMMUNITY + "auth-secret": "users"}
        ),
    ),
    (
        "set_ingress",
        an_ingress("m", "m.example", annotations={F5 + "mergeable-ingress-type": "master", F5 + "keepalive": "9"}),
    ),
    ("set_ingress", an_ingress("n", "m.example", "/n", annotations={F5 + "mergeable-ingress-type": "minion"})),
    *(("delete_ingress", ("shop", name)) for name in "abcdefmn"),
    ("set_service", a_service()),
    ("delete_service", ("shop", "web")),
    ("set_slice", a_slice("web", "10.0.0.2", "10.0.0.3")),
    ("delete_slice", ("shop", "web")),
    ("set_secret", a_secret("users", auth="me:x")),
    ("delete_secret", ("shop", "users")),
    ("set_config_map", a_config_map("headers", {"X": "1"})),
    ("settings", {"ssl-redirect": "false"}),
    ("settings", {}),
    ("build", None),
]


def apply(routes: Routes, action: tuple[str, Any]) -> None:
    name, value = action
    if name == "build":
        routes.build()
    elif name == "settings":
        routes.set_settings(value, Origin("ConfigMap", "shop", "settings"))
    else:
        getattr(routes, name)(value)


def last_state(actions: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The actions that make the same state at once: the last of each object."""
    latest: dict[tuple[str, str], tuple[str, Any]] = {}
    for name, value in actions:
        if name == "build":
            continue
        kind = name.partition("_")[2] or name
        key = value[1] if isinstance(value, tuple) else "" if isinstance(value, dict) else value.metadata.name
        latest.pop((kind, key), None)
        latest[kind, key] = (name, value)
    return [each for each in latest.values() if not each[0].startswith("delete")] + [
        each for each in latest.values() if each[0].startswith("delete")
    ]


@given(st.lists(st.sampled_from(ACTIONS), max_size=25))
@settings(max_examples=200, deadline=None)
def test_incremental_equals_full(actions: list[tuple[str, Any]]) -> None:
    grown, fresh = routes_with(), routes_with()
    for action in actions:
        apply(grown, action)
    for action in last_state(actions):
        apply(fresh, action)
    assert grown.build() == fresh.build()
